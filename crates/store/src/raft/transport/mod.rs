//! Frames between nodes over TCP, with mutual TLS unless it is switched off.
//!
//! Each node keeps four links open to each other node, one a lane, so that a heartbeat never waits
//! behind a snapshot. Requests are pipelined: many travel before the first answer comes back.
//!
//! - [`frame`]: the bytes of a frame and its kinds.
//! - [`tls`]: certificates; who is not signed by our authority is refused.
//! - [`link`]: the calling side, with reconnection.

pub mod frame;
pub mod link;
pub mod tls;

/// What a link is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Votes, heartbeats and transfers of leadership: small and urgent.
    Control,
    /// Log entries.
    Log,
    /// Forwarded requests and reads.
    Client,
    /// Pieces of snapshots.
    Snapshot,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Lane; 4] = [Lane::Control, Lane::Log, Lane::Client, Lane::Snapshot];
}
