//! Whether this node may stand for election and vote, and why not.
//!
//! Several things forbid a candidacy independently of each other; the library has one switch.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

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
    last_resort: AtomicBool,
}

impl Candidacy {
    /// A node that has just been started.
    pub fn new(recovering: bool) -> Candidacy {
        let recovering = if recovering { Bar::Recovering as u8 } else { 0 };
        Candidacy {
            bars: AtomicU8::new(Bar::Starting as u8 | recovering),
            last_resort: AtomicBool::new(false),
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

    /// Whether nobody leads for so long that even a node with a full or slow disk should: it can
    /// serve reads. Reasons of safety stay in force.
    pub fn set_last_resort(&self, raft: &Raft, on: bool) {
        if self.last_resort.swap(on, Ordering::AcqRel) != on {
            raft.runtime_config().elect(self.may_stand());
        }
    }

    fn may_stand(&self) -> bool {
        let safety = Bar::Starting as u8 | Bar::Recovering as u8;
        let bars = self.bars.load(Ordering::Acquire);
        let counted = match self.last_resort.load(Ordering::Acquire) {
            true => bars & safety,
            false => bars,
        };
        counted == 0
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
            raft.runtime_config().elect(self.may_stand());
        }
    }
}
