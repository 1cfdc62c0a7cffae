//! Connections, paths and events of the simulated network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Waker;

use bytes::{Buf, Bytes};

use super::{GIVE_UP_MS, KEEP_ALIVE_MS, Quality, WINDOW_BYTES};
use crate::dice::Dice;
use crate::trace::SharedTrace;

/// Longest wait for a retransmission after a path healed, milliseconds.
const RETRANSMISSION_MS: u64 = 200;

/// Bytes that arrive together.
struct Piece {
    at_ms: u64,
    bytes: Bytes,
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    flying: VecDeque<Piece>,
    ready: VecDeque<Bytes>,
    unread: usize,
    last_ms: u64,
    closing: bool,
    ended: bool,
    /// Since when something waits for an acknowledgement on a blocked path.
    unacknowledged_since: Option<u64>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a connection.
#[derive(Default, Clone, Copy)]
struct End {
    broken: bool,
    gone: bool,
}

struct Connection {
    servers: [u64; 2],
    opened: bool,
    refused: bool,
    opener: Option<Waker>,
    pipes: [Pipe; 2],
    ends: [End; 2],
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Call(u64),
    Opened(u64),
    Deliver(u64, usize),
    GiveUp(u64, usize, u64),
    Reset(u64, usize),
    KeepAlive(u64, usize),
}

#[derive(Default)]
struct Host {
    listening: bool,
    calls: VecDeque<u64>,
    acceptor: Option<Waker>,
}

pub struct Fabric {
    pub wake: Vec<Waker>,
    now_ms: u64,
    dice: Dice,
    trace: SharedTrace,
    paths: BTreeMap<(u64, u64), Quality>,
    hosts: BTreeMap<u64, Host>,
    dark: BTreeSet<u64>,
    connections: BTreeMap<u64, Connection>,
    events: BTreeMap<(u64, u64), Event>,
    next: u64,
}

/// What a reader finds.
pub enum Found {
    Bytes(usize),
    End,
    Broken,
    Nothing,
}

impl Fabric {
    pub fn new(dice: Dice, trace: SharedTrace) -> Self {
        Self {
            wake: Vec::new(),
            now_ms: 0,
            dice,
            trace,
            paths: BTreeMap::new(),
            hosts: BTreeMap::new(),
            dark: BTreeSet::new(),
            connections: BTreeMap::new(),
            events: BTreeMap::new(),
            next: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn schedule(&mut self, at_ms: u64, event: Event) {
        let number = self.number();
        self.events.insert((at_ms, number), event);
    }

    fn path(&self, from: u64, to: u64) -> Quality {
        self.paths.get(&(from, to)).copied().unwrap_or_default()
    }

    fn passes(&self, from: u64, to: u64) -> bool {
        !self.path(from, to).blocked && !self.dark.contains(&from) && !self.dark.contains(&to)
    }

    fn delay(&mut self, from: u64, to: u64) -> u64 {
        let (least, most) = self.path(from, to).delay_ms;
        self.dice.range(least, most)
    }

    pub fn advance_to(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        while let Some(first) = self.events.first_entry() {
            if first.key().0 > now_ms {
                break;
            }
            let event = first.remove();
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call(number) => self.call_arrives(number),
            Event::Opened(number) => self.call_answered(number),
            Event::Deliver(number, side) => self.deliver(number, side),
            Event::GiveUp(number, side, since) => {
                let waits = self.connections.get(&number).is_some_and(|connection| {
                    connection.pipes[side].unacknowledged_since == Some(since)
                });
                if waits {
                    self.break_end(number, side);
                }
            }
            Event::Reset(number, side) => self.break_end(number, side),
            Event::KeepAlive(number, side) => {
                let other = self.connections.get(&number).map(|one| one.ends[1 - side]);
                if other.is_some_and(|other| other.gone || other.broken) {
                    self.break_end(number, side);
                }
            }
        }
    }

    /// Opens a connection; the number is its name.
    pub fn call(&mut self, from: u64, to: u64) -> u64 {
        let number = self.number();
        let connection = Connection {
            servers: [from, to],
            opened: false,
            refused: false,
            opener: None,
            pipes: Default::default(),
            ends: Default::default(),
        };
        self.connections.insert(number, connection);
        let at = self.now_ms + self.delay(from, to);
        self.schedule(at, Event::Call(number));
        number
    }

    fn call_arrives(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else {
            return;
        };
        let [from, to] = connection.servers;
        if !self.passes(from, to) {
            // Sent again later, as TCP does; the caller's patience is shorter.
            self.schedule(self.now_ms + GIVE_UP_MS, Event::Call(number));
            return;
        }
        let host = self.hosts.entry(to).or_default();
        if host.listening {
            host.calls.push_back(number);
            self.wake.extend(host.acceptor.take());
        } else if let Some(connection) = self.connections.get_mut(&number) {
            connection.refused = true;
        }
        let at = self.now_ms + self.delay(to, from);
        self.schedule(at, Event::Opened(number));
    }

    fn call_answered(&mut self, number: u64) {
        let Some(servers) = self.connections.get(&number).map(|found| found.servers) else {
            return;
        };
        if !self.passes(servers[1], servers[0]) {
            self.schedule(self.now_ms + GIVE_UP_MS, Event::Opened(number));
            return;
        }
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.opened = true;
            self.wake.extend(connection.opener.take());
        }
    }

    /// Whether a call was answered; `Some(false)` when it was refused.
    pub fn poll_call(&mut self, number: u64, waker: &Waker) -> Option<bool> {
        let connection = self.connections.get_mut(&number)?;
        if connection.opened {
            return Some(!connection.refused);
        }
        connection.opener = Some(waker.clone());
        None
    }

    pub fn listen(&mut self, id: u64) {
        let host = self.hosts.entry(id).or_default();
        host.listening = true;
        host.calls.clear();
    }

    pub fn stop_listening(&mut self, id: u64) {
        let host = self.hosts.entry(id).or_default();
        host.listening = false;
        for number in std::mem::take(&mut host.calls) {
            self.close(number, 1);
        }
    }

    pub fn poll_accept(&mut self, id: u64, waker: &Waker) -> Option<(u64, u64)> {
        let host = self.hosts.entry(id).or_default();
        while let Some(number) = host.calls.pop_front() {
            if let Some(connection) = self.connections.get(&number) {
                return Some((number, connection.servers[0]));
            }
        }
        host.acceptor = Some(waker.clone());
        None
    }

    /// Takes bytes of one end; how many, 0 when the window is full, `None` when it is broken.
    pub fn write(
        &mut self,
        number: u64,
        side: usize,
        bytes: &[u8],
        waker: &Waker,
    ) -> Option<usize> {
        let connection = self.connections.get(&number)?;
        if connection.ends[side].broken {
            return None;
        }
        let (from, to) = (connection.servers[side], connection.servers[1 - side]);
        let free = WINDOW_BYTES.saturating_sub(connection.pipes[side].unread);
        let taken = free.min(bytes.len());
        let spent = taken as u64 / self.path(from, to).bytes_per_ms.max(1);
        let at = self.now_ms + self.delay(from, to) + spent;
        let connection = self.connections.get_mut(&number)?;
        let pipe = &mut connection.pipes[side];
        if taken == 0 {
            pipe.writer = Some(waker.clone());
            return Some(0);
        }
        pipe.last_ms = pipe.last_ms.max(at);
        let at_ms = pipe.last_ms;
        pipe.unread += taken;
        let bytes = Bytes::copy_from_slice(&bytes[..taken]);
        pipe.flying.push_back(Piece { at_ms, bytes });
        self.schedule(at_ms, Event::Deliver(number, side));
        Some(taken)
    }

    pub fn read(&mut self, number: u64, side: usize, into: &mut [u8], waker: &Waker) -> Found {
        let Some(connection) = self.connections.get_mut(&number) else {
            return Found::Broken;
        };
        if connection.ends[side].broken {
            return Found::Broken;
        }
        let pipe = &mut connection.pipes[1 - side];
        let Some(first) = pipe.ready.front_mut() else {
            if pipe.ended {
                return Found::End;
            }
            pipe.reader = Some(waker.clone());
            return Found::Nothing;
        };
        let taken = first.len().min(into.len());
        into[..taken].copy_from_slice(&first[..taken]);
        first.advance(taken);
        if first.is_empty() {
            pipe.ready.pop_front();
        }
        pipe.unread -= taken;
        self.wake.extend(pipe.writer.take());
        Found::Bytes(taken)
    }

    fn deliver(&mut self, number: u64, side: usize) {
        let Some(connection) = self.connections.get(&number) else {
            return;
        };
        let (from, to) = (connection.servers[side], connection.servers[1 - side]);
        let (there, back) = (self.passes(from, to), self.passes(to, from));
        let receiver = connection.ends[1 - side];
        if !(there && back) && connection.pipes[side].unacknowledged_since.is_none() {
            let since = self.now_ms;
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.pipes[side].unacknowledged_since = Some(since);
            }
            self.schedule(since + GIVE_UP_MS, Event::GiveUp(number, side, since));
        }
        if !there {
            return;
        }
        if (receiver.gone || receiver.broken) && back {
            let at = self.now_ms + self.delay(to, from);
            self.schedule(at, Event::Reset(number, side));
            return;
        }
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let pipe = &mut connection.pipes[side];
        while let Some(piece) = pipe.flying.pop_front_if(|piece| piece.at_ms <= self.now_ms) {
            let checksum = u64::from(crc32c::crc32c(&piece.bytes));
            self.trace.lock().mark(&[from, to, number, checksum]);
            pipe.ready.push_back(piece.bytes);
        }
        if pipe.closing && pipe.flying.is_empty() {
            pipe.ended = true;
        }
        self.wake.extend(pipe.reader.take());
    }

    fn break_end(&mut self, number: u64, side: usize) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        connection.ends[side].broken = true;
        let [one, two] = &mut connection.pipes;
        let wakers = [
            &mut one.reader,
            &mut one.writer,
            &mut two.reader,
            &mut two.writer,
        ];
        self.wake
            .extend(wakers.into_iter().filter_map(Option::take));
    }

    /// One end is dropped.
    pub fn close(&mut self, number: u64, side: usize) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let (from, to) = (connection.servers[side], connection.servers[1 - side]);
        connection.ends[side].gone = true;
        let alone = !connection.opened && side == 0;
        if connection.ends[1 - side].gone || alone {
            self.connections.remove(&number);
            return;
        }
        if self.dark.contains(&from) {
            return;
        }
        let at = self.now_ms + self.delay(from, to);
        if let Some(connection) = self.connections.get_mut(&number) {
            let pipe = &mut connection.pipes[side];
            pipe.closing = true;
            pipe.last_ms = pipe.last_ms.max(at);
            let at_ms = pipe.last_ms;
            self.schedule(at_ms, Event::Deliver(number, side));
        }
    }

    pub fn set_path(&mut self, from: u64, to: u64, change: impl FnOnce(&mut Quality)) {
        let path = self.paths.entry((from, to)).or_default();
        let was_blocked = path.blocked;
        change(path);
        if was_blocked && !path.blocked {
            self.resume(|servers| servers.contains(&from) && servers.contains(&to));
        }
    }

    pub fn heal(&mut self) {
        self.paths.clear();
        self.resume(|_| true);
    }

    /// Sends again what waited for a path.
    fn resume(&mut self, concerned: impl Fn(&[u64; 2]) -> bool) {
        let mut waiting = Vec::new();
        for (number, connection) in &mut self.connections {
            if !concerned(&connection.servers) {
                continue;
            }
            for (side, pipe) in connection.pipes.iter_mut().enumerate() {
                if pipe.unacknowledged_since.take().is_some() || !pipe.flying.is_empty() {
                    waiting.push((*number, side));
                }
            }
        }
        for (number, side) in waiting {
            let at = self.now_ms + self.dice.range(1, RETRANSMISSION_MS);
            self.schedule(at, Event::Deliver(number, side));
        }
    }

    pub fn reset_connections(&mut self, one: u64, other: u64) {
        let between = |servers: [u64; 2]| servers == [one, other] || servers == [other, one];
        let numbers: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| between(connection.servers) && connection.opened)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.break_end(number, 0);
            self.break_end(number, 1);
        }
    }

    pub fn set_power(&mut self, id: u64, on: bool) {
        if on {
            self.dark.remove(&id);
            self.resume(|servers| servers.contains(&id));
        } else {
            self.dark.insert(id);
            let host = self.hosts.entry(id).or_default();
            host.listening = false;
            host.calls.clear();
            let asked_at = self.now_ms + KEEP_ALIVE_MS + GIVE_UP_MS;
            let open = self.connections.iter();
            let open = open.filter(|(_, one)| one.opened && one.servers.contains(&id));
            let other = |one: &Connection| usize::from(one.servers[0] == id);
            let asking: Vec<_> = open.map(|(number, one)| (*number, other(one))).collect();
            for (number, side) in asking {
                self.schedule(asked_at, Event::KeepAlive(number, side));
            }
        }
    }
}
