//! What became of the requests of this process: counted, for operators.

use std::time::Duration;

use crate::error::StoreError;
use crate::histogram::Histogram;
use crate::raft::Counter;

/// Counters since the start of the node.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Writes sent to the leader because this node does not lead; a write that is sent again
    /// counts again.
    pub forwarded_writes: Counter,
    /// Reads sent to the leader.
    pub forwarded_reads: Counter,
    /// Requests that had to wait because nobody led, or because the leader was lost under them.
    pub held: Counter,
    /// Refused because too many were pending.
    pub overloaded: Counter,
    /// Refused because nobody led for as long as a request is held; nothing was changed.
    pub unavailable: Counter,
    /// Given up without knowing whether they were applied.
    pub unknown: Counter,
    /// How long requests were held.
    pub held_time: Histogram,
}

impl Traffic {
    /// A request was held so long.
    pub fn released(&self, held: Duration) {
        self.held.add(1);
        self.held_time.record(held);
    }

    /// A request ended with an error.
    pub fn failed(&self, error: &StoreError) {
        match error {
            StoreError::Overloaded { .. } => self.overloaded.add(1),
            StoreError::Unavailable { .. } => self.unavailable.add(1),
            StoreError::OutcomeUnknown => self.unknown.add(1),
            _ => {}
        }
    }

    /// Prometheus lines of the counters.
    pub fn metrics(&self, line: &mut dyn FnMut(&str, &str, u64)) {
        for (name, counter) in [
            ("forwarded_writes", &self.forwarded_writes),
            ("forwarded_reads", &self.forwarded_reads),
            ("held_requests", &self.held),
            ("refused_requests", &self.overloaded),
            ("unavailable_requests", &self.unavailable),
            ("unknown_outcomes", &self.unknown),
        ] {
            let name = format!("raftpbx_store_{name}_total");
            line(&name, "counter", counter.get());
        }
    }

    /// Prometheus text of the time that requests were held.
    pub fn timings(&self, out: &mut String) {
        self.held_time.render("raftpbx_store_held_seconds", out);
    }
}
