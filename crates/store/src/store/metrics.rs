//! What a node measures, as Prometheus text.

use super::Store;
use crate::status::StoreStatus;

type Line<'a> = &'a mut dyn FnMut(&str, &str, u64);

impl Store {
    /// Prometheus text.
    pub fn metrics(&self) -> String {
        let status = self.status();
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, value: u64| {
            text.push_str(&format!("# TYPE {name} {kind}\n{name} {value}\n"));
        };
        of_status(&status, &mut line);
        let expired = self.node.machine.state.read().space.expired();
        line("raftpbx_store_expired_keys_total", "counter", expired);
        let pending = self.node.proposer.pending() as u64;
        line("raftpbx_store_pending_requests", "gauge", pending);
        self.node.proposer.traffic().metrics(&mut line);
        self.node.consensus.metrics(&mut line);
        if let Some(door) = &self.node.door {
            door.metrics(&mut line);
        }
        self.node.consensus.series(&mut text);
        self.node.proposer.traffic().timings(&mut text);
        text
    }
}

fn of_status(status: &StoreStatus, line: Line) {
    let mut gauge = |name: &str, value: u64| {
        line(&format!("raftpbx_store_{name}"), "gauge", value);
    };
    gauge("leading", u64::from(status.leading));
    gauge("term", status.term);
    gauge("last_log_index", status.last_log);
    gauge("committed_index", status.committed);
    gauge("applied_index", status.applied);
    gauge("snapshot_index", status.snapshot);
    // Without a snapshot there is none that could be too old.
    if status.snapshot_at_ms > 0 {
        gauge("snapshot_timestamp_seconds", status.snapshot_at_ms / 1_000);
    }
    gauge("sql_bytes", status.sql_bytes);
    gauge("log_bytes", status.log_bytes);
    gauge("keys", status.keys);
    gauge("lease_remaining_milliseconds", status.lease_remaining_ms);
}
