//! A worker thread and the flows whose packets it relays.
//!
//! Owner of its flows and their sockets. Invariant: a socket is only closed under the lock
//! of the table, so a worker never touches the descriptor of a flow that is gone; events
//! that were waiting are recognised by the generation in their tag.

mod kernel;
mod legs;
mod rooms;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Mutex, MutexGuard};

use crate::MediaEvent;
use crate::address::RawAddress;
use crate::epoll::{Bell, Events, Poller, Received, monotonic_ns, receive, send};
use crate::flow::{Flow, Side, SocketId, Verdict};
use crate::limits::{BATCH_MAX, DATAGRAM_BYTES_MAX};
use crate::ports::PortPair;
use crate::srtp::GROWTH_MAX;
use rooms::Rooms;

/// Tag of the bell; no flow has it, because generations are 24 bits wide.
const BELL: u64 = u64::MAX;

/// Names a flow of a worker; a removed flow's key is never valid again (until its slot was
/// used 16 million times).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    slot: u32,
    generation: u32,
}

impl FlowKey {
    /// Index into [`Table::last_packets_ns`].
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    fn tag(self, socket: SocketId) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.generation) << 2 | socket.bits()
    }

    fn from_tag(tag: u64) -> (FlowKey, SocketId) {
        let generation = (tag >> 2) as u32 & 0x00ff_ffff;
        (
            FlowKey {
                slot: (tag >> 32) as u32,
                generation,
            },
            SocketId::from_bits(tag),
        )
    }
}

/// Sums over all flows a worker ever had.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Datagrams relayed.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Dropped: wrong source.
    pub wrong_source: u64,
    /// Dropped: not RTP or RTCP, or too large.
    pub not_rtp: u64,
    /// Dropped: wrong authentication.
    pub forged: u64,
    /// Dropped: encrypted and seen before.
    pub replayed: u64,
    /// Dropped: no address to send to, or the kernel refused.
    pub unsent: u64,
    /// Not passed on because a command wants it so.
    pub withheld: u64,
    /// Packets of our own: clips, tones, digits.
    pub spoken: u64,
    /// Digits heard.
    pub digits: u64,
    /// Of the datagrams relayed: by the kernel.
    pub kernel_packets: u64,
    /// Packets of rooms.
    pub mixed: u64,
}

struct Slot {
    generation: u32,
    flow: Option<Flow>,
}

/// The flows of a worker.
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    empty: Vec<u32>,
    /// When flows on which we speak want to say something, soonest first; one entry each.
    clock: BinaryHeap<Reverse<(u64, FlowKey)>>,
    /// Rooms whose parties are here.
    pub rooms: Rooms,
    timers: legs::Timers,
    /// Sums of this worker.
    pub totals: Totals,
}

impl Table {
    /// The flow `key` names.
    pub fn get(&self, key: FlowKey) -> Option<&Flow> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.flow
            .as_ref()
            .filter(|_| slot.generation == key.generation)
    }

    /// The flow `key` names, to be changed: it leaves the kernel, which would not know of it.
    pub fn get_mut(&mut self, key: FlowKey) -> Option<&mut Flow> {
        let moved = self.flow_mut(key)?.recall();
        self.totals.add(moved);
        self.flow_mut(key)
    }

    fn flow_mut(&mut self, key: FlowKey) -> Option<&mut Flow> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.flow
            .as_mut()
            .filter(|_| slot.generation == key.generation)
    }

    /// Number of flows.
    pub fn flows(&self) -> usize {
        self.slots.len() - self.empty.len()
    }

    /// Flows on which we speak.
    pub fn speaking(&self) -> usize {
        self.clock.len()
    }

    /// Notes when a flow wants to speak next, unless that is known.
    fn note_due(&mut self, key: FlowKey) {
        let Some(flow) = self.flow_mut(key) else {
            return;
        };
        if let Some(due_ns) = flow.take_due() {
            self.clock.push(Reverse((due_ns, key)));
        }
    }

    /// How long until somebody wants to speak, ms; -1 when nobody does.
    fn most_ms(&self, now_ns: u64) -> i32 {
        let speech_ns = self.clock.peek().map(|Reverse((due_ns, _))| *due_ns);
        let due_ns = speech_ns.into_iter().chain(self.rooms.due_ns()).min();
        due_ns.map_or(-1, |due_ns| {
            let ms = due_ns.saturating_sub(now_ns).div_ceil(1_000_000);
            i32::try_from(ms).unwrap_or(i32::MAX)
        })
    }

    /// Sides of flows that are encrypted.
    pub fn encrypted(&self) -> u64 {
        let flows = self.slots.iter().filter_map(|slot| slot.flow.as_ref());
        let sides = flows.flat_map(|flow| &flow.sides);
        sides.filter(|side| side.secure.is_some()).count() as u64
    }

    /// Directions of flows that lead to a party with other formats.
    pub fn bridged(&self) -> u64 {
        let flows = self.slots.iter().filter_map(|slot| slot.flow.as_ref());
        flows.map(Flow::bridged).sum::<usize>() as u64
    }

    /// When the last valid packet of each flow came, by slot, `CLOCK_MONOTONIC` ns.
    pub fn last_packets_ns(&self) -> Vec<u64> {
        let last = |slot: &Slot| slot.flow.as_ref().map_or(0, Flow::last_packet_ns);
        self.slots.iter().map(last).collect()
    }

    fn insert(&mut self, flow: Flow) -> FlowKey {
        let slot = self.empty.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                flow: None,
            });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = (entry.generation + 1) & 0x00ff_ffff;
        entry.flow = Some(flow);
        FlowKey {
            slot,
            generation: entry.generation,
        }
    }

    fn remove(&mut self, key: FlowKey) -> Option<Flow> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let mut flow = slot.flow.take()?;
        self.totals.add(flow.recall());
        self.empty.push(key.slot);
        Some(flow)
    }
}

struct Shared {
    table: Mutex<Table>,
    poller: Poller,
    bell: Bell,
    stopping: AtomicBool,
}

/// Hands events to the owner of the engine.
pub type Report = Arc<dyn Fn(Vec<MediaEvent>) + Send + Sync>;

/// A running worker thread.
pub struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread that relays the flows it will be given.
    pub fn start(number: usize, report: Report) -> io::Result<Worker> {
        let (poller, bell) = (Poller::new()?, Bell::new()?);
        poller.watch(bell.as_raw_fd(), BELL)?;
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            poller,
            bell,
            stopping: AtomicBool::new(false),
        });
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("media-{number}"))
            .spawn(move || run(&seen, &report))?;
        Ok(Worker {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The flows, locked against the worker: to be held shortly.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock()
    }

    /// Begins to relay a flow; gives its ports back with the error when it cannot.
    pub fn add(&self, flow: Flow) -> Result<FlowKey, (io::Error, [PortPair; 2])> {
        let mut table = self.shared.table.lock();
        let key = table.insert(flow);
        match self.watch(&table, key) {
            Ok(()) => Ok(key),
            Err(error) => {
                let flow = table
                    .remove(key)
                    .expect("it was inserted under the same lock");
                Err((error, flow.sides.map(|side| side.ports)))
            }
        }
    }

    fn watch(&self, table: &Table, key: FlowKey) -> io::Result<()> {
        let Some(flow) = table.get(key) else {
            return Ok(());
        };
        for (side, Side { ports, .. }) in flow.sides.iter().enumerate() {
            let poller = &self.shared.poller;
            poller.watch(ports.rtp.as_raw_fd(), key.tag(SocketId::new(side, false)))?;
            poller.watch(ports.rtcp.as_raw_fd(), key.tag(SocketId::new(side, true)))?;
        }
        Ok(())
    }

    /// Something is to be said on a flow: wakes the thread for it.
    pub fn rouse(&self, key: FlowKey) {
        self.shared.table.lock().note_due(key);
        self.shared.bell.ring();
    }

    /// Stops relaying a flow and gives its ports back.
    pub fn remove(&self, key: FlowKey) -> Option<[PortPair; 2]> {
        // Closing ends the watch, but the caller may keep the sockets for a while longer:
        // their events find no flow any more.
        let flow = self.shared.table.lock().remove(key)?;
        Some(flow.sides.map(|side| side.ports))
    }

    /// Ends the thread; flows are dropped with the worker.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.bell.ring();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("a media worker had failed");
        }
        *self.shared.table.lock() = Table::default();
    }
}

fn run(shared: &Shared, report: &Report) {
    let mut events = Events::new();
    let mut buffer = vec![0_u8; DATAGRAM_BYTES_MAX + GROWTH_MAX];
    let mut happened = Vec::new();
    let mut most_ms = -1;
    loop {
        if let Err(error) = shared.poller.wait(&mut events, most_ms) {
            tracing::error!(%error, "a media worker cannot wait for packets");
            return;
        }
        let now_ns = monotonic_ns();
        let mut table = shared.table.lock();
        for (n, tag) in events.tags().enumerate() {
            if tag == BELL {
                shared.bell.silence();
                if shared.stopping.load(Ordering::Acquire) {
                    return;
                }
                continue;
            }
            if n % BATCH_MAX == BATCH_MAX - 1 {
                MutexGuard::bump(&mut table);
            }
            relay(&mut table, tag, &mut buffer, now_ns, &mut happened);
        }
        if !table.clock.is_empty() {
            speak(&mut table, &mut buffer, &mut happened);
        }
        Table::run_rooms(&mut table, &mut buffer, &mut happened);
        let now_ns = monotonic_ns();
        legs::tick(&mut table, now_ns);
        most_ms = legs::sooner(table.most_ms(now_ns), &table, now_ns);
        MutexGuard::unlock_fair(table);
        if !happened.is_empty() {
            report(std::mem::take(&mut happened));
        }
    }
}

/// Says what is due on all flows.
fn speak(table: &mut MutexGuard<'_, Table>, buffer: &mut [u8], happened: &mut Vec<MediaEvent>) {
    let now_ns = monotonic_ns();
    let mut spoken = 0;
    while let Some(Reverse((due_ns, key))) = table.clock.peek().copied() {
        if due_ns > now_ns {
            break;
        }
        table.clock.pop();
        if table.get(key).is_some() {
            speak_on(table, key, buffer, now_ns, happened);
        }
        spoken += 1;
        if spoken % BATCH_MAX == 0 {
            MutexGuard::bump(table);
        }
    }
}

fn speak_on(
    table: &mut Table,
    key: FlowKey,
    buffer: &mut [u8],
    now_ns: u64,
    happened: &mut Vec<MediaEvent>,
) {
    for side in 0..2 {
        let Some(flow) = table.slots[key.slot()].flow.as_mut() else {
            return;
        };
        match flow.speak(side, buffer, now_ns, happened) {
            Some(Verdict::Send { from, length, .. })
                if send_from(flow, from, &buffer[..length]) =>
            {
                table.totals.spoken += 1;
            }
            Some(_) => table.totals.unsent += 1,
            None => {}
        }
    }
    if let Some(flow) = table.flow_mut(key) {
        flow.was_roused();
    }
    table.note_due(key);
}

fn descriptor(flow: &Flow, id: SocketId) -> RawFd {
    let ports = &flow.sides[id.side()].ports;
    if id.rtcp() {
        ports.rtcp.as_raw_fd()
    } else {
        ports.rtp.as_raw_fd()
    }
}

fn send_from(flow: &Flow, from: SocketId, packet: &[u8]) -> bool {
    let to = flow.remote(from);
    to.is_some_and(|to| send(descriptor(flow, from), packet, to))
}

/// Relays one datagram of the socket that `tag` names; `buffer` has room for it to grow.
fn relay(
    table: &mut Table,
    tag: u64,
    buffer: &mut [u8],
    now_ns: u64,
    happened: &mut Vec<MediaEvent>,
) {
    let (key, at) = FlowKey::from_tag(tag);
    let Some(slot) = table.slots.get_mut(key.slot as usize) else {
        return;
    };
    if slot.generation != key.generation {
        return;
    }
    let Some(flow) = &mut slot.flow else { return };
    let totals = &mut table.totals;
    let mut source = RawAddress::empty();
    let room = &mut buffer[..DATAGRAM_BYTES_MAX];
    let length = match receive(descriptor(flow, at), room, &mut source) {
        Received::Datagram(length) => length,
        Received::TooLarge => {
            totals.not_rtp += 1;
            return;
        }
        Received::Nothing => return,
    };
    totals.add(flow.refresh());
    let known = happened.len();
    match flow.judge(at, &source, buffer, length, now_ns, happened) {
        Verdict::Send {
            from,
            learned: new,
            length,
        } => {
            if send_from(flow, from, &buffer[..length]) {
                totals.packets += 1;
                totals.bytes += length as u64;
            } else {
                totals.unsent += 1;
            }
            if new && let Some(event) = latched(flow, at, &source) {
                happened.push(event);
            }
        }
        Verdict::Withheld { learned: new } => {
            totals.withheld += 1;
            if new && let Some(event) = latched(flow, at, &source) {
                happened.push(event);
            }
        }
        Verdict::Control { learned: new } => {
            happened.extend(new.then(|| latched(flow, at, &source)).flatten());
            return legs::serve(table, key, now_ns);
        }
        Verdict::WrongSource => totals.wrong_source += 1,
        Verdict::NotRtp => totals.not_rtp += 1,
        Verdict::Forged => totals.forged += 1,
        Verdict::Replayed => totals.replayed += 1,
        Verdict::Nowhere => totals.unsent += 1,
    }
    totals.add(flow.recall_if_misplaced());
    let digit = |event: &&MediaEvent| matches!(event, MediaEvent::Dtmf { .. });
    totals.digits += happened[known..].iter().filter(digit).count() as u64;
    if happened.len() > known {
        // A digit may have to be said in other words.
        table.note_due(key);
    }
}

fn latched(flow: &Flow, at: SocketId, source: &RawAddress) -> Option<MediaEvent> {
    Some(MediaEvent::Latched {
        call_id: flow.call_id.to_string(),
        tag: flow.sides[at.side()].tag.to_string(),
        source: source.to_std()?,
    })
}
