//! A worker thread and the flows whose packets it relays.
//!
//! Owner of its flows and their sockets. Invariant: a socket is only closed under the lock
//! of the table, so a worker never touches the descriptor of a flow that is gone; events
//! that were waiting are recognised by the generation in their tag.

mod kernel;
mod legs;
mod more;
mod panics;
mod relay;
mod rooms;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::{Mutex, MutexGuard};

use crate::MediaEvent;
use crate::epoll::{Bell, monotonic_ns};
use crate::flow::{Flow, SocketId, Verdict};
use crate::limits::{BATCH_MAX, DATAGRAM_BYTES_MAX};
use crate::packet_io::{Exchange, Sent, Steering, Watch, Way};
use crate::ports::PortPair;
use crate::srtp::GROWTH_MAX;
use panics::End;
pub use panics::Fault;
use relay::{relay, send_from, take_back};
use rooms::Rooms;

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

    /// Tag of its sockets, whose two low bits say which.
    fn base(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.generation) << 2
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
    /// Their bytes.
    pub kernel_bytes: u64,
    /// Packets of rooms.
    pub mixed: u64,
    /// Times the thread panicked.
    pub panics: u64,
    /// Times it could not wait for packets or send them any more.
    pub failures: u64,
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
    /// What a panic has left behind.
    broken: panics::Broken,
    /// The thread is gone for good: no flow may come.
    pub has_ended: bool,
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

    /// Tags of all flows but those that a panic has broken.
    fn tags(&self) -> impl Iterator<Item = u64> {
        let occupied = (0..).zip(&self.slots).filter(|(_, at)| at.flow.is_some());
        occupied
            .map(|(slot, &Slot { generation, .. })| FlowKey { slot, generation })
            .filter(|key| !self.broken.flows.contains(key))
            .map(FlowKey::base)
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
    watch: Watch,
    bell: Bell,
    stopping: AtomicBool,
    /// Who wants to know whether the thread could begin.
    begun: Mutex<Option<SyncSender<io::Result<()>>>>,
    /// What a test wants to go wrong, as a [`Fault`].
    fault: AtomicU8,
}

/// Hands events to the owner of the engine.
pub type Report = Arc<dyn Fn(Vec<MediaEvent>) + Send + Sync>;

/// A running worker thread.
pub struct Worker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts workers, all in the same way: with epoll when the one that is wanted fails.
pub fn start_all(count: usize, way: &Way, report: &Report) -> io::Result<Arc<[Worker]>> {
    let mut workers = Vec::with_capacity(count);
    for number in 0..count {
        match Worker::start(number, way, report) {
            Ok(worker) => workers.push(worker),
            Err(error) => {
                workers.iter().for_each(Worker::stop);
                if matches!(way, Way::Epoll) {
                    return Err(error);
                }
                tracing::warn!(%error, "media workers begin with epoll");
                return start_all(count, &Way::Epoll, report);
            }
        }
    }
    Ok(workers.into())
}

impl Worker {
    /// Starts a thread that relays the flows it will be given.
    pub fn start(number: usize, way: &Way, report: &Report) -> io::Result<Worker> {
        let (begun, begins) = sync_channel(1);
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            watch: Watch::new(way, number)?,
            bell: Bell::new()?,
            stopping: AtomicBool::new(false),
            begun: Mutex::new(Some(begun)),
            fault: AtomicU8::new(0),
        });
        let (seen, report) = (Arc::clone(&shared), Arc::clone(report));
        let thread = std::thread::Builder::new()
            .name(format!("media-{number}"))
            .spawn(move || panics::guard(&seen, &report))?;
        begins
            .recv()
            .map_err(|_| io::Error::other("the thread has ended"))??;
        Ok(Worker {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// How it receives and sends.
    pub fn way(&self) -> Way {
        self.shared.watch.way()
    }

    /// What leads datagrams to it, when its ports have no sockets.
    pub fn steering(&self) -> Option<Arc<Steering>> {
        match self.way() {
            Way::Steered(steering) => Some(steering),
            _ => None,
        }
    }

    /// The flows, locked against the worker: to be held shortly.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock()
    }

    /// Begins to relay a flow; gives its ports back with the error when it cannot.
    pub fn add(&self, flow: Flow) -> Result<FlowKey, (io::Error, Box<[PortPair; 2]>)> {
        let mut table = self.shared.table.lock();
        if table.has_ended {
            let ports = Box::new(flow.sides.map(|side| side.ports));
            return Err((io::Error::other("the worker has failed"), ports));
        }
        let key = table.insert(flow);
        match self.watch(&table, key) {
            Ok(()) => Ok(key),
            Err(error) => {
                let flow = table
                    .remove(key)
                    .expect("it was inserted under the same lock");
                Err((error, Box::new(flow.sides.map(|side| side.ports))))
            }
        }
    }

    fn watch(&self, table: &Table, key: FlowKey) -> io::Result<()> {
        let Some(flow) = table.get(key) else {
            return Ok(());
        };
        let Shared { watch, bell, .. } = &*self.shared;
        watch.add(key.base(), relay::doors(flow), bell)
    }

    /// Something is to be said on a flow: wakes the thread for it.
    pub fn rouse(&self, key: FlowKey) {
        self.shared.table.lock().note_due(key);
        self.shared.bell.ring();
    }

    /// Stops relaying a flow and gives its ports back.
    pub fn remove(&self, key: FlowKey) -> Option<[PortPair; 2]> {
        // The caller may keep the sockets for a while longer: what comes in finds no flow.
        let flow = self.shared.table.lock().remove(key)?;
        self.shared.watch.gone(key.base(), &self.shared.bell);
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

/// The worker's part of its watch, with the flows that are there.
fn open(shared: &Shared) -> Option<Exchange> {
    let table = shared.table.lock();
    let (watch, bell) = (&shared.watch, &shared.bell);
    let opened = Exchange::open(watch, bell, table.tags(), |tag| table.descriptor(tag));
    let begun = shared.begun.lock().take();
    match opened {
        Ok(io) => {
            begun.map(|begun| begun.send(Ok(())));
            Some(io)
        }
        Err(error) => {
            tracing::error!(%error, "a media worker cannot begin");
            begun.map(|begun| begun.send(Err(error)));
            None
        }
    }
}

fn run(shared: &Shared, report: &Report, happened: &mut Vec<MediaEvent>) -> End {
    let Some(mut io) = open(shared) else {
        return End::NotBegun;
    };
    let mut buffer = vec![0_u8; DATAGRAM_BYTES_MAX + GROWTH_MAX];
    let mut most_ms = -1;
    loop {
        if let Err(error) = io.wait(most_ms) {
            return End::Failed(error);
        }
        if io.rung() {
            shared.bell.silence();
            if shared.stopping.load(Ordering::Acquire) {
                return End::Asked;
            }
            if let Err(error) = panics::let_go_wrong(shared) {
                return End::Failed(error);
            }
        }
        let now_ns = monotonic_ns();
        let mut table = shared.table.lock();
        for n in 0..io.count() {
            if n > 0 && n % BATCH_MAX == 0 {
                pass_by(&mut table, &mut io);
            }
            relay(&mut table, &mut io, n, now_ns, &mut buffer, happened);
        }
        if !table.clock.is_empty() {
            speak(&mut table, &mut io, &mut buffer, happened);
        }
        Table::run_rooms(&mut table, &mut io, &mut buffer, happened);
        let now_ns = monotonic_ns();
        legs::tick(&mut table, now_ns);
        most_ms = legs::sooner(table.most_ms(now_ns), &table, now_ns);
        match io.finish(|tag| table.descriptor(tag)) {
            Ok(unsent) => take_back(&mut table.totals, unsent),
            Err(error) => return End::Failed(error),
        }
        MutexGuard::unlock_fair(table);
        if !happened.is_empty() {
            report(std::mem::take(happened));
        }
    }
}

/// Lets whoever waits for the table have it for a moment.
fn pass_by(table: &mut MutexGuard<'_, Table>, io: &mut Exchange) {
    take_back(&mut table.totals, io.flush());
    MutexGuard::bump(table);
}

/// Says what is due on all flows.
fn speak(
    table: &mut MutexGuard<'_, Table>,
    io: &mut Exchange,
    buffer: &mut [u8],
    happened: &mut Vec<MediaEvent>,
) {
    let now_ns = monotonic_ns();
    let mut spoken = 0;
    while let Some(Reverse((due_ns, key))) = table.clock.peek().copied() {
        if due_ns > now_ns {
            break;
        }
        table.clock.pop();
        if table.get(key).is_some() {
            speak_on(table, io, (key, now_ns), buffer, happened);
        }
        spoken += 1;
        if spoken % BATCH_MAX == 0 {
            pass_by(table, io);
        }
    }
}

fn speak_on(
    table: &mut Table,
    io: &mut Exchange,
    (key, now_ns): (FlowKey, u64),
    buffer: &mut [u8],
    happened: &mut Vec<MediaEvent>,
) {
    for side in 0..2 {
        let Some(flow) = table.slots[key.slot()].flow.as_mut() else {
            return;
        };
        match flow.speak(side, buffer, now_ns, happened) {
            Some(Verdict::Send { from, length, .. })
                if send_from(io, flow, from, &buffer[..length], Sent::Spoken) =>
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
