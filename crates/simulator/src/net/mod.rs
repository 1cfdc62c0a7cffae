//! The simulated network: what TCP does to its users, without packets.
//!
//! ```text
//!  node a: stream -- pipe a to b --> (delay, bandwidth, partition) --> ready -- stream: node b
//! ```
//!
//! Bytes of one connection arrive in order or not at all. A path that is blocked holds them back;
//! one that stays blocked for [`GIVE_UP_MS`] breaks the sender's end, as the kernel does. A killed
//! process closes its connections; a server without power says nothing, and answers old
//! connections with a reset when it is back. Who only listens to it learns of that by the kernel's
//! question after [`KEEP_ALIVE_MS`] of silence.
//!
//! - `fabric`: the state and its events, on simulated milliseconds.
//! - `stream`: the two ends as tokio sees them.

mod fabric;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use fabric::Fabric;

use crate::dice::Dice;
use crate::trace::SharedTrace;

/// Time after which a connection without acknowledgement breaks, milliseconds.
const GIVE_UP_MS: u64 = 1_000;

/// Time without a word after which the kernel asks whether the other end is there, milliseconds.
const KEEP_ALIVE_MS: u64 = 1_000;

/// Bytes on their way in one direction before writing waits.
const WINDOW_BYTES: usize = 256 << 10;

/// How good a path from one server to another is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// Nothing gets through.
    pub blocked: bool,
    /// Shortest and longest delay of a write, milliseconds.
    pub delay_ms: (u64, u64),
    /// Bytes that pass in a millisecond.
    pub bytes_per_ms: u64,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            blocked: false,
            delay_ms: (1, 2),
            bytes_per_ms: 100_000,
        }
    }
}

/// The network in the hands of the world and of all streams.
#[derive(Clone)]
pub struct Net {
    fabric: Arc<Mutex<Fabric>>,
}

/// The address of a server.
pub fn address(id: u64) -> SocketAddr {
    let port = 7_000 + u16::try_from(id).unwrap_or(0);
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn server_at(address: SocketAddr) -> u64 {
    u64::from(address.port().saturating_sub(7_000))
}

impl Net {
    /// A network without faults.
    pub fn new(dice: Dice, trace: SharedTrace) -> Self {
        Self {
            fabric: Arc::new(Mutex::new(Fabric::new(dice, trace))),
        }
    }

    /// Does something and then wakes whom it concerns, without the lock.
    fn with<T>(&self, work: impl FnOnce(&mut Fabric) -> T) -> T {
        let mut fabric = self.fabric.lock();
        let outcome = work(&mut fabric);
        let wakers: Vec<Waker> = std::mem::take(&mut fabric.wake);
        drop(fabric);
        wakers.into_iter().for_each(Waker::wake);
        outcome
    }

    /// Moves time forward and delivers what is due.
    pub fn advance_to(&self, now_ms: u64) {
        self.with(|fabric| fabric.advance_to(now_ms));
    }

    /// The network as server `id` sees it.
    pub fn of_server(&self, id: u64) -> Arc<dyn raftpbx_store::environment::network::Network> {
        Arc::new(stream::Door {
            net: self.clone(),
            id,
        })
    }

    /// Changes the path from one server to another.
    pub fn set_path(&self, from: u64, to: u64, change: impl FnOnce(&mut Quality)) {
        self.with(|fabric| fabric.set_path(from, to, change));
    }

    /// All paths are good again.
    pub fn heal(&self) {
        self.with(Fabric::heal);
    }

    /// Breaks all connections between two servers.
    pub fn reset_connections(&self, one: u64, other: u64) {
        self.with(|fabric| fabric.reset_connections(one, other));
    }

    /// A server loses its power, or has it again.
    pub fn set_power(&self, id: u64, on: bool) {
        self.with(|fabric| fabric.set_power(id, on));
    }
}
