//! Whether this node may stand for election and vote, and why not.
//!
//! Several things forbid a candidacy independently of each other; the library has one switch.

use std::sync::atomic::{AtomicU8, Ordering};

use super::types::Raft;

/// A reason for not standing for election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bar {
    /// Just started: a leader may still hold a lease that this node granted.
    Starting = 1,
    /// Entries that this node acknowledged may be missing from its log.
    Recovering = 2,
    /// There is hardly any room on the disk.
    Full = 4,
    /// The disk is slower than those of the others.
    Slow = 8,
}

/// The code that says that this node lacks part of its log.
pub const RECOVERING: &str = "PBX_STORE_RECOVERING";

/// The reasons in force.
#[derive(Debug)]
pub struct Candidacy {
    bars: AtomicU8,
}

impl Candidacy {
    /// A node that has just been started.
    pub fn new(recovering: bool) -> Candidacy {
        let recovering = if recovering { Bar::Recovering as u8 } else { 0 };
        Candidacy {
            bars: AtomicU8::new(Bar::Starting as u8 | recovering),
        }
    }

    /// Whether a reason is in force.
    pub fn has(&self, bar: Bar) -> bool {
        self.bars.load(Ordering::Acquire) & bar as u8 != 0
    }

    /// Whether nothing speaks against leading.
    pub fn is_free(&self) -> bool {
        self.bars.load(Ordering::Acquire) == 0
    }

    /// Puts a reason in force or lifts it, and tells the library.
    pub fn set(&self, raft: &Raft, bar: Bar, on: bool) {
        let bit = bar as u8;
        let before = if on {
            self.bars.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.bars.fetch_and(!bit, Ordering::AcqRel)
        };
        if (before & bit != 0) != on {
            raft.runtime_config().elect(self.is_free());
        }
    }
}
