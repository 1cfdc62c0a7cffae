//! The core with its surroundings on the engine thread: does what the core says.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::EventSink;
use super::mailbox::{Command, Mailbox};
use super::tap::Tap;
use crate::config::Transport;
use crate::engine::flow::Flow;
use crate::engine::handlers::{Place, Question};
use crate::engine::location::NameQuery;
use crate::engine::metrics::Metrics;
use crate::engine::{AppId, Core, Input, Now, Output};
use crate::journal::{Journal, JournalOp};
use crate::limits::{
    APPLICATION_BACKLOG_BYTES_MAX, CONNECTION_BACKLOG_BYTES_MAX, CONNECTIONS_MAX, NAMES_CACHED_MAX,
};
use crate::message::stun;
use crate::transport::dns::Dns;
use crate::transport::tls::Tls;
use crate::view::EngineEvent;

/// A UDP socket and what is to be sent on it.
pub(super) struct UdpPort {
    pub socket: UdpSocket,
    pub waiting: Vec<(SocketAddr, Bytes)>,
}

/// The sending end of a connection; dropping it closes the connection when all is sent.
pub(super) struct Outlet {
    sender: mpsc::UnboundedSender<Bytes>,
    backlog: Rc<Cell<usize>>,
}

/// The receiving end, for the connection's task.
pub(super) struct Outflow {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    backlog: Rc<Cell<usize>>,
}

/// A pair of ends.
pub(super) fn outlet() -> (Outlet, Outflow) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backlog = Rc::new(Cell::new(0));
    (
        Outlet {
            sender,
            backlog: backlog.clone(),
        },
        Outflow { receiver, backlog },
    )
}

/// A connection's place among the others; given back to `Shell::leave`.
pub(super) struct Seat {
    pub flow: Flow,
    /// The peer began it.
    pub accepted: bool,
    /// Tells this connection from a later one between the same addresses.
    mark: Rc<Cell<usize>>,
}

impl Outlet {
    /// Queues bytes; false when the peer does not keep up.
    fn push(&self, bytes: Bytes, limit: usize) -> bool {
        let waiting = self.backlog.get() + bytes.len();
        if waiting > limit {
            return false;
        }
        self.backlog.set(waiting);
        self.sender.send(bytes).is_ok()
    }
}

impl Outflow {
    /// The next message alone; None when the outlet is gone and all is taken.
    pub async fn next_message(&mut self) -> Option<Bytes> {
        let message = self.receiver.recv().await?;
        self.backlog
            .set(self.backlog.get().saturating_sub(message.len()));
        Some(message)
    }

    /// What waits, joined; None when the outlet is gone and all is taken.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let mut joined = self.receiver.recv().await?.to_vec();
        while joined.len() < 256 * 1024 {
            let Ok(more) = self.receiver.try_recv() else {
                break;
            };
            joined.extend_from_slice(&more);
        }
        self.backlog
            .set(self.backlog.get().saturating_sub(joined.len()));
        Some(joined)
    }
}

/// Everything the tasks of the engine thread share.
pub(super) struct Shell {
    core: Core,
    journal: Arc<dyn Journal>,
    events: EventSink,
    mailbox: Arc<Mailbox>,
    pub metrics: Arc<Metrics>,
    tap: Tap,
    started: Instant,
    pub udp: HashMap<SocketAddr, UdpPort>,
    pub streams: HashMap<Flow, Outlet>,
    pub apps: HashMap<AppId, Outlet>,
    told: Vec<EngineEvent>,
    /// Commits of this batch of inputs.
    commits: Vec<(u64, Vec<JournalOp>, Duration)>,
    /// When the clock wakes by itself, ms.
    asleep_until_ms: u64,
    /// The host wants the engine to end.
    pub stopped: bool,
    /// Flows that need a connection first.
    pub wanted: Vec<(Seat, Outflow)>,
    /// Whom secure connections must prove to lead to.
    pub hosts: HashMap<Flow, String>,
    /// Flows that the core used and that are no more.
    lost: Vec<Flow>,
    /// How many connections each address began.
    sources: HashMap<IpAddr, usize>,
    /// How many it may.
    pub per_source_max: usize,
    /// None without a certificate.
    pub tls: Option<Arc<Tls>>,
    /// Host names to look up.
    pub lookups: Vec<(u64, NameQuery)>,
    /// None when the host has no usable name servers.
    pub dns: Option<Rc<Dns>>,
    /// Questions for request handlers.
    pub questions: Vec<(u64, Question)>,
    /// Applications to connect to.
    pub dials: Vec<(AppId, Place)>,
    /// Wakes the task that asks and connects.
    pub handlers: Rc<Notify>,
    /// Wakes the tasks that make connections, look names up, and keep time.
    pub errands: Rc<Notify>,
    pub clock: Rc<Notify>,
}

/// Shared among the tasks of the engine thread.
pub(super) type Shared = Rc<RefCell<Shell>>;

impl Shell {
    pub fn new(
        core: Core,
        journal: Arc<dyn Journal>,
        events: EventSink,
        mailbox: Arc<Mailbox>,
        tap: Tap,
    ) -> Shell {
        Shell {
            core,
            journal,
            events,
            mailbox,
            metrics: tap.metrics(),
            tap,
            started: Instant::now(),
            udp: HashMap::new(),
            streams: HashMap::new(),
            apps: HashMap::new(),
            told: Vec::new(),
            commits: Vec::new(),
            asleep_until_ms: 0,
            stopped: false,
            wanted: Vec::new(),
            hosts: HashMap::new(),
            lost: Vec::new(),
            sources: HashMap::new(),
            per_source_max: usize::MAX,
            tls: None,
            lookups: Vec::new(),
            questions: Vec::new(),
            dials: Vec::new(),
            handlers: Rc::new(Notify::new()),
            dns: None,
            errands: Rc::new(Notify::new()),
            clock: Rc::new(Notify::new()),
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// Steps the core and queues its outputs; `finish` sends them.
    pub fn feed(&mut self, input: Input<'_>) {
        let now = self.now();
        if let Input::Received { flow, bytes } = &input {
            self.tap.received(now.wall_us, *flow, bytes);
        }
        for output in self.core.step(now, input) {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        if let Output::Send { flow, bytes } = &output {
            // Not the time of the step: what is sent follows what came.
            self.tap.sent(self.now().wall_us, *flow, bytes);
        }
        match output {
            Output::Send { flow, bytes } if flow.transport == Transport::Udp => {
                if let Some(port) = self.udp.get_mut(&flow.local) {
                    port.waiting.push((flow.remote, bytes));
                }
            }
            Output::Send { flow, bytes } => self.send_stream(flow, bytes),
            Output::App { app, frame } => {
                let Some(outlet) = self.apps.get(&app) else {
                    return;
                };
                if !outlet.push(frame.into(), APPLICATION_BACKLOG_BYTES_MAX) {
                    tracing::error!(app, "an application does not read; closing its connection");
                    Metrics::count(&self.metrics.refused);
                    self.apps.remove(&app);
                }
            }
            Output::CloseApp { app } => {
                self.apps.remove(&app);
            }
            Output::Commit {
                token,
                ops,
                patience,
            } => self.commits.push((token, ops, patience)),
            Output::Resolve { token, question } => {
                self.lookups.push((token, question));
                self.errands.notify_one();
            }
            Output::Ask { token, question } => {
                self.questions.push((token, question));
                self.handlers.notify_one();
            }
            Output::Dial { app, place } => {
                self.dials.push((app, place));
                self.handlers.notify_one();
            }
            Output::Expect { flow, host } => self.expect(flow, host),
            Output::Leg { call, call_id } => self.tap.leg(&call, &call_id),
            Output::Event(event) => self.told.push(event),
            Output::Disconnect => self.streams.clear(),
        }
    }

    /// Tells a phone which address it is seen with; the core need not know.
    pub fn answer_stun(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
        let port = self.udp.get_mut(&local);
        match (port, stun::answer(datagram, remote)) {
            (Some(port), Some(answer)) => {
                Metrics::count(&self.metrics.stun);
                port.waiting.push((remote, answer.into()));
            }
            _ => Metrics::count(&self.metrics.malformed),
        }
    }

    /// A connection that was made for another name is not used for this one.
    fn expect(&mut self, flow: Flow, host: String) {
        if self.hosts.get(&flow) == Some(&host) {
            return;
        }
        self.streams.remove(&flow);
        if self.hosts.len() >= NAMES_CACHED_MAX {
            // Connections without a name must then prove their address.
            self.hosts.clear();
        }
        self.hosts.insert(flow, host);
    }

    fn send_stream(&mut self, flow: Flow, bytes: Bytes) {
        if !self.streams.contains_key(&flow) {
            if flow.transport.is_web() {
                // Only the peer can begin a WebSocket.
                self.lost.push(flow);
                return;
            }
            let (seat, outflow) = self.seat(flow, false);
            self.wanted.push((seat, outflow));
            self.errands.notify_one();
        }
        let Some(outlet) = self.streams.get(&flow) else {
            return;
        };
        if !outlet.push(bytes, CONNECTION_BACKLOG_BYTES_MAX) {
            Metrics::count(&self.metrics.refused);
            self.streams.remove(&flow);
        }
    }

    fn seat(&mut self, flow: Flow, accepted: bool) -> (Seat, Outflow) {
        let (outlet, outflow) = outlet();
        let mark = outlet.backlog.clone();
        self.streams.insert(flow, outlet);
        (
            Seat {
                flow,
                accepted,
                mark,
            },
            outflow,
        )
    }

    /// A place for a connection that a peer began; None when there are too many.
    pub fn admit(&mut self, flow: Flow) -> Option<(Seat, Outflow)> {
        let source = flow.remote.ip();
        let from_there = self.sources.get(&source).copied().unwrap_or(0);
        if self.streams.len() >= CONNECTIONS_MAX || from_there >= self.per_source_max {
            Metrics::count(&self.metrics.refused_connections);
            tracing::warn!(peer = %flow.remote, "too many connections");
            return None;
        }
        self.sources.insert(source, from_there + 1);
        Some(self.seat(flow, true))
    }

    /// A connection is over.
    pub fn leave(&mut self, seat: &Seat) {
        let source = seat.flow.remote.ip();
        if let Some(count) = self.sources.get_mut(&source).filter(|_| seat.accepted) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        let ours = |outlet: &Outlet| Rc::ptr_eq(&outlet.backlog, &seat.mark);
        let later = self.streams.get(&seat.flow).is_some_and(|o| !ours(o));
        if !later {
            self.streams.remove(&seat.flow);
            self.turn(Input::Disconnected { flow: seat.flow });
        }
    }

    /// Hands the commits over one right after the other, so that the journal's thread wakes
    /// once for all of them and writes them together.
    fn submit(&mut self) {
        for (token, ops, patience) in self.commits.drain(..) {
            let mailbox = self.mailbox.clone();
            let done = move |result| mailbox.complete(token, result);
            self.journal.commit(ops, patience, Box::new(done));
        }
    }

    /// Takes what the host and the journal left.
    fn collect(&mut self) {
        while !self.stopped {
            self.submit();
            let (commands, completions) = self.mailbox.take();
            if commands.is_empty() && completions.is_empty() {
                return;
            }
            for command in commands {
                match command {
                    Command::Changed(changes) => self.feed(Input::Changed(changes)),
                    Command::Reset => self.feed(Input::Reset),
                    Command::Lead => self.feed(Input::Lead),
                    Command::Follow => self.feed(Input::Follow),
                    Command::Stop => self.stopped = true,
                }
            }
            for (token, result) in completions {
                self.feed(Input::Committed { token, result });
            }
        }
    }

    /// After a batch of inputs: commits, takes commits that came back already, sends datagrams,
    /// tells the host, wakes the clock when it sleeps for too long.
    pub fn finish(&mut self) {
        self.collect();
        while let Some(flow) = self.lost.pop() {
            self.feed(Input::Disconnected { flow });
            self.collect();
        }
        for port in self
            .udp
            .values_mut()
            .filter(|port| !port.waiting.is_empty())
        {
            let lost = crate::transport::udp::send(&port.socket, &port.waiting);
            port.waiting.clear();
            if lost > 0 {
                tracing::debug!(lost, "datagrams not sent");
            }
        }
        if !self.told.is_empty() {
            (self.events)(std::mem::take(&mut self.told));
        }
        self.metrics
            .connections
            .store(self.streams.len() as u64, Relaxed);
        self.core.publish();
        if self
            .core
            .next_tick_ms()
            .is_some_and(|next_ms| next_ms < self.asleep_until_ms)
        {
            self.clock.notify_one();
        }
    }

    /// One input with everything that follows from it.
    pub fn turn(&mut self, input: Input<'_>) {
        self.feed(input);
        self.finish();
    }

    /// How long the clock may sleep, ms; None for ever.
    pub fn sleep_ms(&mut self) -> Option<u64> {
        let next_ms = self.core.next_tick_ms();
        self.asleep_until_ms = next_ms.unwrap_or(u64::MAX);
        next_ms.map(|next_ms| next_ms.saturating_sub(self.now().mono_ms))
    }
}
