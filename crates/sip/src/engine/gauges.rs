//! The figures that a host shows.
use std::sync::atomic::Ordering::Relaxed;

use super::metrics::Metrics;
use super::{Core, EngineStatus};

impl Core {
    /// Brings the gauges up to date.
    pub fn publish(&self) {
        let metrics = &self.setup.metrics;
        Metrics::set(
            &metrics.transactions,
            self.servers.len() + self.clients.len(),
        );
        Metrics::set(&metrics.dialogs, self.replica.dialog_count());
        Metrics::set(&metrics.bindings, self.replica.binding_count());
        Metrics::set(&metrics.guard.unreachable, self.unreachable_count());
        Metrics::set(&metrics.guard.bans, self.defence.ban_count());
        let users = &self.setup.users;
        metrics.guard.users_read.store(users.read, Relaxed);
        metrics
            .guard
            .users_remembered
            .store(users.remembered, Relaxed);
        Metrics::set(&metrics.applications, self.apps.authenticated_count());
        Metrics::set(&metrics.leading, usize::from(self.leading));
    }
}

/// The figures a host shows, from the gauges.
pub fn status_of(metrics: &Metrics) -> EngineStatus {
    let get = |gauge: &std::sync::atomic::AtomicU64| {
        usize::try_from(gauge.load(Relaxed)).unwrap_or(usize::MAX)
    };
    EngineStatus {
        leading: get(&metrics.leading) == 1,
        transactions: get(&metrics.transactions),
        dialogs: get(&metrics.dialogs),
        bindings: get(&metrics.bindings),
        connections: get(&metrics.connections),
        applications: get(&metrics.applications),
    }
}
