//! The node's view of itself, for status pages and metrics.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use openraft::Instant as _;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use super::Consensus;
use crate::status::{PeerStatus, StoreStatus};

impl Consensus {
    /// What consensus knows; the caller adds the rest.
    pub fn status(&self) -> StoreStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let role = match metrics.state {
            _ if metrics.running_state.is_err() => "stopped",
            ServerState::Leader => "leader",
            ServerState::Candidate => "candidate",
            ServerState::Follower => "follower",
            _ => "learner",
        };
        let lease = self.view.lease.load(Ordering::Acquire);
        let heard = metrics.heartbeat.as_ref();
        let peers = metrics
            .replication
            .iter()
            .flatten()
            .filter(|(id, _)| **id != self.id);
        let peers = peers.map(|(id, matched)| PeerStatus {
            id: *id,
            matched: matched.map(|log_id| log_id.index),
            last_ack_ms: heard
                .and_then(|heard| heard.get(id).copied().flatten())
                .map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        });
        let index = |log_id: Option<super::types::LogId>| log_id.map_or(0, |log_id| log_id.index);
        StoreStatus {
            id: self.id,
            leader: self.leadership.borrow().leader,
            term: metrics.current_term,
            role: role.to_owned(),
            leading: self.is_leading(),
            last_log: metrics.last_log_index.unwrap_or(0),
            committed: index(metrics.local_committed),
            applied: index(metrics.last_applied),
            snapshot: index(metrics.snapshot),
            snapshot_at_ms: self.applier.snapshot_at_ms(),
            leader_since_ms: self.view.since_ms.load(Ordering::Relaxed),
            purged: index(metrics.purged),
            lease_remaining_ms: lease.saturating_sub(self.view.clock.boot_ns()) / 1_000_000,
            peers: peers.collect(),
            log_bytes: self.log.bytes(),
            sql_bytes: self.machine.database.bytes(),
            snapshots_begun: self.machine.timings.freeze.count(),
            snapshots_taken: self.machine.timings.snapshot.count(),
            snapshot_stall_us_max: self.machine.timings.freeze.longest_us(),
            fsync_p99_us: self.log.wal().stats().flush.p99_us(),
            commit_p99_us: self.machine.timings.commit.p99_us(),
            raft_address: Some(self.address),
            stopped: metrics
                .running_state
                .as_ref()
                .err()
                .map(ToString::to_string),
            alarms: self.alarms.list(),
            ..StoreStatus::default()
        }
    }

    /// Prometheus text of what is more than one number: alarms, followers, how long things take.
    pub fn series(&self, out: &mut String) {
        let alarms = self.alarms.list();
        let mut text = format!(
            "# TYPE raftpbx_alarms gauge\nraftpbx_alarms {}\n# TYPE raftpbx_alarm gauge\n",
            alarms.len()
        );
        let codes: BTreeSet<&str> = alarms.iter().map(|alarm| alarm.code).collect();
        for code in codes {
            text.push_str(&format!("raftpbx_alarm{{code=\"{code}\"}} 1\n"));
        }
        let status = self.status();
        text.push_str("# TYPE raftpbx_store_follower_behind_entries gauge\n");
        for PeerStatus { id, matched, .. } in &status.peers {
            let behind = status.last_log.saturating_sub(matched.unwrap_or(0));
            text.push_str(&format!(
                "raftpbx_store_follower_behind_entries{{node=\"{id}\"}} {behind}\n"
            ));
        }
        out.push_str(&text);
        let flush = &self.log.wal().stats().flush;
        flush.render("raftpbx_store_fsync_seconds", out);
        self.machine.timings.render(out);
    }

    /// Prometheus lines of consensus and the log.
    pub fn metrics(&self, line: &mut dyn FnMut(&str, &str, u64)) {
        let wal = self.log.wal().stats();
        let load = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        line("raftpbx_store_wal_bytes_total", "counter", load(&wal.bytes));
        line("raftpbx_store_wal_segments", "gauge", load(&wal.segments));
        line(
            "raftpbx_store_wal_failures_total",
            "counter",
            load(&wal.failures),
        );
        line(
            "raftpbx_store_batches_proposed_total",
            "counter",
            self.counters.proposed.get(),
        );
        line(
            "raftpbx_store_links_refused_total",
            "counter",
            self.counters.links_refused.get(),
        );
        line(
            "raftpbx_store_elections_won_total",
            "counter",
            load(&self.view.elections),
        );
        line(
            "raftpbx_store_log_full_total",
            "counter",
            self.counters.log_full.get(),
        );
        let refused = self.roster.refused();
        line("raftpbx_store_link_queue_full_total", "counter", refused);
    }
}
