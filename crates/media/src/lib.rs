//! The media engine: relays the RTP and RTCP of calls, commanded over the NG protocol.
//!
//! Owner of its state: call and stream tables belong to the NG side under one lock; each
//! socket belongs to exactly one worker thread. Invariant: a packet leaves only towards an
//! address that the SDP named or that was learned from a packet the SDP allowed.
//!
//! # Layout
//! - [`limits`](mod@limits): named bounds.

pub mod limits;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// A local address media is relayed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Address the sockets are bound to.
    pub local: IpAddr,
    /// Address written into SDP instead of `local` (behind a static NAT).
    pub advertised: Option<IpAddr>,
}

/// How a [`MediaEngine`] is set up.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Addresses to relay on; the first of a family is its default.
    pub interfaces: Vec<Interface>,
    /// Ports of RTP (even) and RTCP (odd).
    pub ports: RangeInclusive<u16>,
    /// Worker threads; 0 means one per processor.
    pub workers: usize,
    /// UDP address of the NG protocol; none: only [`MediaEngine::ng`].
    pub ng_listen: Option<SocketAddr>,
    /// A call without any packet for this long is reported; 0 switches the report off.
    pub media_timeout_s: u64,
}

/// Something that happened to media without a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MediaEvent {
    /// No valid packet arrived on any stream of the call. Reported once until packets
    /// flow again; the call is kept.
    Timeout {
        /// NG `call-id`.
        call_id: String,
        /// Seconds since the last packet (or since the call was set up).
        silent_s: u64,
    },
    /// A stream learned where its peer really sends from.
    Latched {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party whose packets came.
        tag: String,
        /// The learned source.
        source: SocketAddr,
    },
}

/// Figures of the engine since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MediaStats {
    /// Calls held now.
    pub sessions: u64,
    /// Legs (tags) held now.
    pub legs: u64,
    /// Port pairs in use now.
    pub ports_used: u64,
    /// Port pairs free now.
    pub ports_free: u64,
    /// Calls ever set up.
    pub sessions_total: u64,
    /// Packets relayed.
    pub packets: u64,
    /// Bytes relayed (UDP payload).
    pub bytes: u64,
    /// Packets dropped because their source was not the peer's.
    pub wrong_source: u64,
    /// Packets dropped because they were neither RTP nor RTCP.
    pub not_rtp: u64,
    /// Packets dropped because the other side has no address yet, or sending failed.
    pub unsent: u64,
    /// NG requests answered.
    pub ng_requests: u64,
    /// NG requests refused with an error.
    pub ng_errors: u64,
    /// NG requests answered from the cache of retransmissions.
    pub ng_repeats: u64,
    /// Refusals because a limit was reached (ports, sessions, legs, sizes).
    pub refused: u64,
    /// Calls reported silent.
    pub timeouts: u64,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The configuration cannot work.
    #[error("invalid media configuration: {0}")]
    Config(String),
    /// A socket could not be made or bound.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: String,
        /// The kernel's error.
        source: io::Error,
    },
}

/// Takes what happened, in batches, on an engine thread; must not block.
pub type EventSink = Box<dyn Fn(Vec<MediaEvent>) + Send + Sync>;

/// The running engine: worker threads, NG socket and the tables between them.
pub struct MediaEngine {
    events: EventSink,
}

impl MediaEngine {
    /// Starts the workers and, when asked for, the NG socket.
    ///
    /// # Errors
    /// A configuration that cannot work, or an address that cannot be bound.
    pub fn start(config: MediaConfig, events: EventSink) -> Result<MediaEngine, MediaError> {
        let _ = config;
        Ok(MediaEngine { events })
    }

    /// Answers one NG datagram (`cookie SP bencode-or-JSON`), as it would be over UDP.
    /// Empty when the datagram deserves no answer (no cookie).
    pub fn ng(&self, datagram: &[u8], from: SocketAddr) -> Vec<u8> {
        let _ = (datagram, from, &self.events);
        Vec::new()
    }

    /// Address the NG socket is bound to.
    pub fn ng_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Figures since the start.
    pub fn stats(&self) -> MediaStats {
        MediaStats::default()
    }

    /// Figures as Prometheus text.
    pub fn metrics(&self) -> String {
        String::new()
    }

    /// Stops all threads and closes all sockets. A second call does nothing.
    pub fn shutdown(&self) {}
}
