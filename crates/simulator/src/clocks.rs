//! The clocks of one simulated server.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use raftpbx_store::clock::TimeSource;

/// Simulations begin at this Unix time, milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// Clocks that the world moves. They go on through crashes.
#[derive(Debug, Default)]
pub struct Clocks {
    elapsed_ms: AtomicU64,
    wall_offset_ms: AtomicI64,
}

impl Clocks {
    /// Lets time pass.
    pub fn advance(&self, by_ms: u64) {
        self.elapsed_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Lets the wall clock jump.
    pub fn jump(&self, by_ms: i64) {
        self.wall_offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms.load(Ordering::Relaxed)
    }
}

impl TimeSource for Clocks {
    fn wall_ms(&self) -> u64 {
        let offset = self.wall_offset_ms.load(Ordering::Relaxed);
        (EPOCH_MS + self.elapsed_ms()).saturating_add_signed(offset)
    }

    fn boot_ns(&self) -> u64 {
        self.elapsed_ms() * 1_000_000
    }
}
