//! The engine without sockets, clocks or threads: `step(now, input)` gives outputs.
//!
//! ```text
//!  datagrams, streams --Received--> +------+ --Send--> transports
//!  applications ------AppFrame----> | Core | --App---> applications
//!  journal -Committed, Changed----> |      | --Commit> journal
//!  clock ------------Tick---------> +------+ --Event-> host
//! ```
//! Owner of every live transaction and dialog while this node leads; followers only keep
//! the replica. Invariant: what waits for a commit is in `commits` and nowhere else, and
//! the message that acknowledges it is sent by `committed` only.
#![forbid(unsafe_code)]

mod answers;
mod apps;
mod branches;
mod byes;
mod call_records;
mod calls_in;
mod cancels;
mod client;
mod commits;
pub mod dialog_counts;
mod dialogs;
mod early;
mod failover;
pub mod flow;
mod forks;
mod gauges;
pub mod guard;
pub mod handlers;
mod held;
mod hiding;
mod ids;
mod incoming;
mod known_flows;
mod legs;
pub mod location;
mod login;
mod lost;
pub mod metrics;
mod next_flow;
mod orphans;
mod outgoing;
mod overload;
mod proxying;
mod qualify;
mod register;
mod registered;
mod relays;
mod reliable;
mod replaces;
mod replies;
mod responses;
mod retarget;
mod routing;
mod sending;
mod server;
mod session_timer;
mod slow;
mod subscriptions;
mod takeover;
#[cfg(test)]
mod tests;
mod timers;
pub mod timings;
mod turns;
mod updates;

pub use gauges::status_of;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Listen, RegistrarConfig, TopologyHiding};
use crate::defence::{Ban, Defence};
use crate::dialog::session::SessionTimer;
use crate::digest::Authenticator;
use crate::digest::counts::NonceCounts;
use crate::digest::directory::Directory;
use crate::digest::reluctant::Reluctant;
use crate::durable::Replica;
use crate::journal::{JournalError, JournalOp};
use crate::proxy::Veil;
use crate::registrar::Gruus;
use crate::trust::Network;
use crate::view::{EngineEvent, EngineStatus};

use apps::Apps;
use client::Client;
use commits::Then;
use dialogs::LiveDialog;
use flow::Flow;
use ids::Ids;
use location::{NameQuery, Target};
use metrics::Metrics;
use overload::Load;
use qualify::Qualify;
use register::Speculations;
use retarget::LostFlows;
use server::Server;
use timers::Timers;

/// A connection with an application.
pub type AppId = u64;
/// A shared identifier.
type Id = Rc<str>;

/// The two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Monotonic, for timers.
    pub mono_ms: u64,
    /// Since 1970, microseconds.
    pub wall_us: u64,
}

impl Now {
    fn wall_ms(self) -> u64 {
        self.wall_us / 1_000
    }

    fn wall_s(self) -> u64 {
        self.wall_us / 1_000_000
    }

    /// Microseconds since an earlier time. The wall clock is the finer one, but somebody may
    /// have set it meanwhile: then milliseconds have to do.
    fn us_since(self, earlier: Now) -> u64 {
        let mono_us = self.mono_ms.saturating_sub(earlier.mono_ms) * 1_000;
        let wall_us = self.wall_us.saturating_sub(earlier.wall_us);
        if wall_us.abs_diff(mono_us) <= 1_000 {
            wall_us
        } else {
            mono_us
        }
    }
}

/// What happens to the engine.
pub enum Input<'a> {
    /// A datagram or a framed message.
    Received {
        /// From where to where.
        flow: Flow,
        /// The message.
        bytes: &'a [u8],
    },
    /// A connection is gone, or could not be made.
    Disconnected {
        /// Which.
        flow: Flow,
    },
    /// An application connected.
    AppConnected {
        /// Its connection.
        app: AppId,
    },
    /// An application said something.
    AppFrame {
        /// Its connection.
        app: AppId,
        /// The payload of a frame.
        payload: &'a str,
    },
    /// The application of `Output::Dial` cannot be connected to.
    AppUnreachable {
        /// Its connection.
        app: AppId,
    },
    /// The answer to `Output::Ask`.
    HandlerAnswered {
        /// From the question.
        token: u64,
        /// The body of a 200; None for any failure.
        answer: Option<&'a str>,
    },
    /// An application is gone.
    AppClosed {
        /// Its connection.
        app: AppId,
    },
    /// The fate of a commit.
    Committed {
        /// From `Output::Commit`.
        token: u64,
        /// The fate.
        result: Result<(), JournalError>,
    },
    /// The answer to `Output::Resolve`.
    Resolved {
        /// From the question.
        token: u64,
        /// The servers to try, best first.
        targets: Vec<Target>,
    },
    /// What the log applied.
    Changed(Vec<(String, Option<Vec<u8>>)>),
    /// Forget the replicated state.
    Reset,
    /// This node leads.
    Lead,
    /// This node leads no more.
    Follow,
    /// Time passed.
    Tick,
}

/// What has to be done.
#[derive(Debug)]
pub enum Output {
    /// Send a message to a peer.
    Send {
        /// Between which addresses.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// Whoever answers a connection on this flow must show a certificate of this host.
    Expect {
        /// A secure flow.
        flow: Flow,
        /// The host.
        host: String,
    },
    /// Send a frame to an application.
    App {
        /// To which.
        app: AppId,
        /// The whole frame.
        frame: Vec<u8>,
    },
    /// Close the connection with an application, after what was sent to it.
    CloseApp {
        /// Which.
        app: AppId,
    },
    /// Connect to an application: `AppConnected` or `AppUnreachable` follows.
    Dial {
        /// The connection to be.
        app: AppId,
        /// Where it listens.
        place: handlers::Place,
    },
    /// Ask a web server and come back with `Input::HandlerAnswered`.
    Ask {
        /// To be given back.
        token: u64,
        /// What.
        question: handlers::Question,
    },
    /// Commit to the journal and come back with `Input::Committed`.
    Commit {
        /// To be given back.
        token: u64,
        /// One atomic entry.
        ops: Vec<JournalOp>,
        /// How long it may wait for others to share its entry with.
        patience: Duration,
    },
    /// Find the servers of a name and come back with `Input::Resolved`.
    Resolve {
        /// To be given back.
        token: u64,
        /// The name and what is known of it.
        question: NameQuery,
    },
    /// A Call-ID is a leg of a call: who looks at the one wants to see the other.
    Leg {
        /// As call control names it.
        call: String,
        /// On the wire.
        call_id: String,
    },
    /// Tell the host.
    Event(EngineEvent),
    /// Close all SIP connections: this node leads no more.
    Disconnect,
}

/// The address this host uses toward another one; for listeners on a wildcard address.
pub type SourceAddress = fn(IpAddr) -> Option<IpAddr>;

/// What the core is built from.
pub struct Setup {
    /// Listeners with their real ports.
    pub listen: Vec<Listen>,
    /// The secret of applications.
    pub secret: String,
    /// Who decides about new requests.
    pub request_handlers: Vec<crate::config::RequestHandler>,
    /// The registrar, when there is one.
    pub registrar: Option<RegistrarConfig>,
    /// Challenge INVITEs.
    pub authenticate_calls: bool,
    /// Whose asserted identities count (RFC 3325).
    pub trusted: Vec<Network>,
    /// Session timers.
    pub session_timer: SessionTimer,
    /// How many dialogs an address and a user may have.
    pub dialog_limits: dialog_counts::DialogLimits,
    /// What forwarded messages show of the other side.
    pub topology_hiding: TopologyHiding,
    /// Derives To tags.
    pub tag_key: [u8; 32],
    /// Seed of unique identifiers: random, never used twice.
    pub seed: [u8; 32],
    /// Users.
    pub users: Directory,
    /// For wildcard listeners.
    pub source_address: SourceAddress,
    /// Shared figures.
    pub metrics: Arc<Metrics>,
}

/// The engine's state.
pub struct Core {
    setup: Setup,
    authenticator: Option<Authenticator>,
    now: Now,
    out: Vec<Output>,
    ids: Ids,
    timers: Timers,
    leading: bool,
    replica: Replica,
    servers: HashMap<Id, Server>,
    server_keys: HashMap<String, Id>,
    clients: HashMap<Id, Client>,
    client_keys: HashMap<String, Id>,
    dialog_counts: dialog_counts::DialogCounts,
    dialogs: HashMap<Id, LiveDialog>,
    /// `X-Leg` to the client transaction or dialog that is that leg.
    legs: HashMap<String, legs::Place>,
    apps: Apps,
    /// What waits for a commit, and since when.
    commits: HashMap<u64, (Then, Now)>,
    early: early::Early,
    lookups: HashMap<u64, routing::Lookup>,
    /// Requests being forwarded, by the transaction of the caller.
    proxies: HashMap<Id, proxying::LiveProxy>,
    /// Branches whose host is being looked up.
    forward_lookups: HashMap<u64, (Id, usize)>,
    /// Requests that request handlers were asked about.
    questions: HashMap<u64, Id>,
    /// Connections to applications that are being made, each for a request.
    called_for: HashMap<AppId, Id>,
    outbound: AppId,
    /// SUBSCRIBEs of applications by the dialog they will make.
    subscribing: HashMap<Id, Id>,
    tokens: u64,
    speculations: Speculations,
    gruus: Gruus,
    veil: Veil,
    lost_flows: LostFlows,
    known_flows: known_flows::KnownFlows,
    load: Load,
    defence: Defence,
    new_bans: Vec<Ban>,
    nonce_counts: NonceCounts,
    reluctant: Reluctant,
    qualify: Qualify,
    /// Client transactions that wait for a phone to come back.
    stranded: Vec<Id>,
}

impl Core {
    /// A core that follows.
    pub fn new(setup: Setup) -> Core {
        let authenticator = setup
            .registrar
            .as_ref()
            .map(|r| Authenticator::new(&r.realm, r.nonce_key, r.offer));
        let key = setup.registrar.as_ref().map(|r| r.nonce_key);
        let veil = Veil::new(&setup.tag_key);
        let gruus = Gruus::new(key.unwrap_or(setup.tag_key));
        Core {
            ids: Ids::new(setup.seed),
            setup,
            authenticator,
            now: Now::default(),
            out: Vec::new(),
            timers: Timers::default(),
            leading: false,
            replica: Replica::default(),
            servers: HashMap::new(),
            server_keys: HashMap::new(),
            clients: HashMap::new(),
            client_keys: HashMap::new(),
            dialog_counts: dialog_counts::DialogCounts::default(),
            dialogs: HashMap::new(),
            legs: HashMap::new(),
            apps: Apps::default(),
            commits: HashMap::new(),
            early: early::Early::default(),
            lookups: HashMap::new(),
            proxies: HashMap::new(),
            forward_lookups: HashMap::new(),
            questions: HashMap::new(),
            called_for: HashMap::new(),
            outbound: 0,
            subscribing: HashMap::new(),
            tokens: 0,
            speculations: Speculations::default(),
            gruus,
            veil,
            lost_flows: LostFlows::default(),
            known_flows: known_flows::KnownFlows::default(),
            load: Load::default(),
            defence: Defence::default(),
            new_bans: Vec::new(),
            nonce_counts: NonceCounts::default(),
            reluctant: Reluctant::default(),
            qualify: Qualify::default(),
            stranded: Vec::new(),
        }
    }

    /// One step; outputs are to be done in order.
    pub fn step(&mut self, now: Now, input: Input<'_>) -> Vec<Output> {
        self.now = now;
        match input {
            Input::Received { flow, bytes } => self.received(flow, bytes),
            Input::Disconnected { flow } => self.disconnected(flow),
            Input::AppConnected { app } => self.app_connected(app),
            Input::AppFrame { app, payload } => self.app_frame(app, payload),
            Input::AppClosed { app } => self.app_closed(app),
            Input::AppUnreachable { app } => self.not_reached(app),
            Input::HandlerAnswered { token, answer } => self.handler_answered(token, answer),
            Input::Committed { token, result } => self.committed(token, result),
            Input::Resolved { token, targets } => self.resolved(token, targets),
            Input::Changed(changes) => self.changed(changes),
            Input::Reset => self.reset(),
            Input::Lead => self.lead(),
            Input::Follow => self.follow(),
            Input::Tick => self.tick(),
        }
        std::mem::take(&mut self.out)
    }

    /// When `Input::Tick` is due next, ms of the monotonic clock.
    pub fn next_tick_ms(&self) -> Option<u64> {
        self.timers.next_ms()
    }

    /// The address peers see for a listener, toward one of them.
    fn shown(&self, flow: &Flow) -> SocketAddr {
        if !flow.local.ip().is_unspecified() {
            return flow.local;
        }
        let ip = (self.setup.source_address)(flow.remote.ip());
        SocketAddr::new(ip.unwrap_or(flow.local.ip()), flow.local.port())
    }

    /// Whether a peer may assert identities and learn hidden ones.
    fn trusts(&self, ip: IpAddr) -> bool {
        let networks = &self.setup.trusted;
        networks.iter().any(|network| network.contains(ip)) || self.replica.is_peer(ip)
    }

    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }
}
