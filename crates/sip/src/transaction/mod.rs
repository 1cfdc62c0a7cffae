//! The four transaction machines of RFC 3261 section 17 with RFC 6026, without sockets,
//! clocks or message contents: an input goes in, effects come out.
//!
//! ```text
//!  INVITE client:  Calling -> Proceeding -> Completed | Accepted -> Terminated
//!  other client:   Trying  -> Proceeding -> Completed            -> Terminated
//!  INVITE server:  Proceeding -> Completed -> Confirmed          -> Terminated
//!                             -> Accepted                        -> Terminated
//!  other server:   Trying  -> Proceeding -> Completed            -> Terminated
//! ```
//! Invariant: after `Finished` no further effect comes out.
#![forbid(unsafe_code)]

pub mod client;
pub mod key;
pub mod server;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// Round-trip estimate, ms.
pub const T1_MS: u64 = 500;
/// Longest interval of retransmissions, ms.
pub const T2_MS: u64 = 4_000;
/// How long a message may live in the network, ms.
pub const T4_MS: u64 = 5_000;
/// The span of a transaction, 64*T1, ms.
pub const LIFE_MS: u64 = 64 * T1_MS;

/// Timers, named as in RFC 3261 appendix A and RFC 6026.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// INVITE request retransmission.
    A,
    /// INVITE client gives up.
    B,
    /// Wait for repeated finals after our ACK.
    D,
    /// Other request retransmission.
    E,
    /// Other client gives up.
    F,
    /// INVITE final retransmission.
    G,
    /// Wait for ACK.
    H,
    /// Wait for repeated ACKs.
    I,
    /// Wait for repeated requests.
    J,
    /// Wait for repeated finals of other requests.
    K,
    /// Accepted server INVITE: repeated INVITEs, and the wait for the ACK.
    L,
    /// Accepted client INVITE: repeated 2xx.
    M,
    /// 2xx retransmission by the core (RFC 3261 section 13.3.1.4).
    Answer,
}

/// What happens to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Server: the request came again.
    Request,
    /// Server: an ACK, for a non-2xx by branch or for a 2xx by dialog.
    Ack,
    /// Server: the application answers with this status.
    Respond(u16),
    /// Server: a 2xx of somebody else is passed on, who repeats it himself (RFC 3261 section
    /// 16.7): neither its repetition nor its ACK is the business of this transaction.
    Relay,
    /// Client: the request cannot be sent.
    Unreachable,
    /// Client: a response with this status came.
    Response(u16),
    /// A timer that was armed.
    Fired(Timer),
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the transaction's last message (again).
    Transmit,
    /// Send the ACK to a non-2xx final.
    Acknowledge,
    /// Pass the response to the application.
    Deliver,
    /// Start a timer, ms from now.
    Arm(Timer, u64),
    /// Nobody answered in time.
    TimedOut,
    /// Nobody could be reached (RFC 3261 section 8.1.3.1).
    Unreachable,
    /// A 2xx was never acknowledged.
    Unacknowledged,
    /// Forget the transaction.
    Finished,
}

/// Which machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Sends an INVITE.
    InviteClient,
    /// Sends anything else.
    OtherClient,
    /// Received an INVITE.
    InviteServer,
    /// Received anything else.
    OtherServer,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Calling, or Trying.
    Trying,
    /// A provisional was sent or received.
    Proceeding,
    /// A final was sent or received.
    Completed,
    /// The ACK to a non-2xx came.
    Confirmed,
    /// A 2xx was sent or received.
    Accepted,
    /// Over.
    Terminated,
}

/// One transaction's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    kind: Kind,
    state: State,
    reliable: bool,
    /// The interval of the running retransmission timer, ms.
    interval_ms: u64,
    acknowledged: bool,
}

impl Transaction {
    /// A new machine; `reliable` transports need no retransmission.
    pub fn start(kind: Kind, reliable: bool) -> (Transaction, Vec<Effect>) {
        let state = if kind == Kind::InviteServer {
            State::Proceeding
        } else {
            State::Trying
        };
        let transaction = Transaction {
            kind,
            state,
            reliable,
            interval_ms: T1_MS,
            acknowledged: false,
        };
        let effects = match kind {
            Kind::InviteClient => client::begin(reliable, Timer::A, Timer::B),
            Kind::OtherClient => client::begin(reliable, Timer::E, Timer::F),
            Kind::InviteServer | Kind::OtherServer => Vec::new(),
        };
        (transaction, effects)
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the ACK to a 2xx came.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Whether the final response has been decided.
    pub fn is_final(&self) -> bool {
        !matches!(self.state, State::Trying | State::Proceeding)
    }

    /// One step.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        if self.state == State::Terminated {
            return Vec::new();
        }
        match self.kind {
            Kind::InviteClient => client::invite(self, input),
            Kind::OtherClient => client::other(self, input),
            Kind::InviteServer => server::invite(self, input),
            Kind::OtherServer => server::other(self, input),
        }
    }

    fn finish(&mut self) -> Vec<Effect> {
        self.state = State::Terminated;
        vec![Effect::Finished]
    }

    fn double(&mut self, limit_ms: u64) -> u64 {
        self.interval_ms = (self.interval_ms * 2).min(limit_ms);
        self.interval_ms
    }
}
