//! What the door counts. Everything that is refused or limited is one of these.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Shared;

/// Counters since the start of the node.
#[derive(Default)]
pub struct Counters {
    /// Connections.
    pub accepted: AtomicU64,
    /// Connections refused because there were too many.
    pub refused: AtomicU64,
    /// Commands.
    pub commands: AtomicU64,
    /// Commands that the account may not run.
    pub forbidden: AtomicU64,
    malformed: AtomicU64,
    limited: AtomicU64,
    idle: AtomicU64,
    moved: AtomicU64,
}

impl Counters {
    /// A client broke the protocol.
    pub fn malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// A client ran into one of its limits.
    pub fn limited(&self) {
        self.limited.fetch_add(1, Ordering::Relaxed);
    }

    /// A client did not log in in time, or said nothing for too long.
    pub fn idle(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// A client in cluster mode was told where the leader is.
    pub fn moved(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// A client asked for what its account may not do.
    pub fn forbidden(&self) {
        self.forbidden.fetch_add(1, Ordering::Relaxed);
    }
}

/// Prometheus lines.
pub fn metrics(shared: &Shared, line: &mut dyn FnMut(&str, &str, u64)) {
    let (counters, accounts) = (&shared.counters, &shared.accounts);
    let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let gauges = [
        ("clients", shared.connected() as u64),
        ("blocked_clients", shared.list.blocked() as u64),
    ];
    for (name, value) in gauges {
        line(&format!("raftpbx_store_{name}"), "gauge", value);
    }
    let totals = [
        ("clients_accepted", load(&counters.accepted)),
        ("clients_refused", load(&counters.refused)),
        ("clients_idle", load(&counters.idle)),
        ("client_limits_reached", load(&counters.limited)),
        ("blocked_clients_refused", shared.waiters.refused()),
        ("commands", load(&counters.commands)),
        ("commands_forbidden", load(&counters.forbidden)),
        ("commands_moved", load(&counters.moved)),
        ("commands_slow", shared.slow_log.seen()),
        ("failed_logins", load(&accounts.failed)),
        ("throttled_logins", load(&accounts.throttled)),
        ("protocol_errors", load(&counters.malformed)),
        ("slow_subscribers", shared.pubsub.dropped()),
    ];
    for (name, value) in totals {
        line(&format!("raftpbx_store_{name}_total"), "counter", value);
    }
}
