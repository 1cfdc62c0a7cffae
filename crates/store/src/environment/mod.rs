//! What a node takes from the world around it: clocks, threads, streams and randomness.
//!
//! [`Environment::default`] is the real world. The simulator gives a node another one and thereby
//! decides what time it is, when a flush ends, which bytes arrive, and which way the dice fall;
//! everything else of the node is the code that runs in production.
//!
//! - [`crate::clock`]: wall clock and boot clock. Monotonic time is tokio's, which can be paused.
//! - [`workers`]: threads that serve a queue, and calls that block.
//! - [`network`]: streams to and from other nodes, below TLS.
//! - [`crate::disk`]: the files of the log.
//! - [`randomness`]: election timeouts and origins.

pub mod network;
pub mod randomness;
pub mod workers;

use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::{self, SharedDisk};
use network::{Network, Tcp};
use workers::Workers;

/// See the module head. Cheap to clone.
#[derive(Clone)]
pub struct Environment {
    /// The time of day and the boot clock.
    pub clock: Clock,
    /// Who does work that blocks.
    pub workers: Workers,
    /// Streams to and from other nodes.
    pub network: Arc<dyn Network>,
    /// Where the log lives.
    pub disk: SharedDisk,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            workers: Workers::default(),
            network: Arc::new(Tcp),
            disk: disk::real(),
        }
    }
}
