//! When the engine cannot keep up, it says so to new work and goes on with the old: whoever
//! talks shall go on talking (RFC 7339's aim with the means of RFC 3261 section 21.5.4).
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::Core;
use super::flow::Flow;
use super::metrics::Metrics;
use crate::limits::{
    COMMITS_BUSY, LATE_MS_MAX, LATE_MS_REMEMBERED, RETRY_AFTER_S, RETRY_AFTER_SPREAD_S,
    TRANSACTIONS_MAX, TRANSACTIONS_PER_SOURCE_MAX,
};
use crate::message::{Essentials, Message};

/// How late the engine is, and who keeps it busy.
#[derive(Debug, Default)]
pub(super) struct Load {
    late_ms: u64,
    measured_ms: u64,
    refusals: u64,
    /// Live server transactions of each source.
    sources: HashMap<IpAddr, usize>,
}

impl Load {
    /// A timer that was due at `due_ms` fires now: the one delay the engine can see itself.
    pub fn measure(&mut self, due_ms: u64, now_ms: u64) {
        self.late_ms = now_ms.saturating_sub(due_ms);
        self.measured_ms = now_ms;
    }

    pub fn late_ms(&self) -> u64 {
        self.late_ms
    }

    fn is_late(&self, now_ms: u64) -> bool {
        let recent = now_ms.saturating_sub(self.measured_ms) < LATE_MS_REMEMBERED;
        recent && self.late_ms > LATE_MS_MAX
    }

    pub fn begin(&mut self, source: IpAddr) {
        *self.sources.entry(source).or_default() += 1;
    }

    pub fn end(&mut self, source: IpAddr) {
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    fn is_crowded(&self, source: IpAddr) -> bool {
        self.sources
            .get(&source)
            .is_some_and(|count| *count >= TRANSACTIONS_PER_SOURCE_MAX)
    }

    /// Differs from one refusal to the next, so that not all come back at once.
    pub fn retry_after_s(&mut self) -> u32 {
        self.refusals = self.refusals.wrapping_add(1);
        let mixed = self.refusals.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let spread = u32::try_from(mixed % u64::from(RETRY_AFTER_SPREAD_S)).unwrap_or(0);
        RETRY_AFTER_S + spread
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Core {
    /// Whether new work has to wait.
    pub(super) fn is_overloaded(&self) -> bool {
        self.commits.len() >= COMMITS_BUSY || self.load.is_late(self.now.mono_ms)
    }

    /// Answers a request outside any dialog with 503 when there is too much of them; true
    /// when it was answered.
    pub(super) fn shed(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> bool {
        let full = self.servers.len() + self.clients.len() >= TRANSACTIONS_MAX;
        let counter = if full {
            &self.setup.metrics.refused
        } else if self.is_overloaded() {
            &self.setup.metrics.guard.shed
        } else if self.load.is_crowded(flow.remote.ip()) {
            &self.setup.metrics.guard.crowded
        } else {
            return false;
        };
        Metrics::count(counter);
        let after = self.load.retry_after_s().to_string();
        self.respond(flow, message, essentials, 503, &[("Retry-After", &after)]);
        true
    }

    /// Before the timers that are due: how late are they?
    pub(super) fn measure_lateness(&mut self) {
        let now_ms = self.now.mono_ms;
        if let Some(due_ms) = self.timers.next_ms().filter(|due_ms| *due_ms <= now_ms) {
            self.load.measure(due_ms, now_ms);
            let late_ms = self.load.late_ms();
            self.setup.metrics.guard.lateness_ms.store(late_ms, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_timer_counts_for_a_moment() {
        let mut load = Load::default();
        load.measure(1_000, 1_001 + LATE_MS_MAX);
        assert!(load.is_late(1_001 + LATE_MS_MAX));
        assert!(!load.is_late(1_001 + LATE_MS_MAX + LATE_MS_REMEMBERED));
        load.measure(5_000, 5_002);
        assert!(!load.is_late(5_002));
    }

    #[test]
    fn refusals_do_not_ask_everybody_back_at_the_same_time() {
        let mut load = Load::default();
        let mut seen = [0; 64];
        for _ in 0..1_000 {
            seen[load.retry_after_s() as usize] += 1;
        }
        let used: Vec<usize> = (0..64).filter(|at| seen[*at] > 0).collect();
        assert_eq!(used.len(), RETRY_AFTER_SPREAD_S as usize);
        assert_eq!(used[0], RETRY_AFTER_S as usize);
    }

    #[test]
    fn a_source_is_crowded_only_while_it_has_too_much_open() {
        let mut load = Load::default();
        let (one, other) = (IpAddr::from([1; 4]), IpAddr::from([2; 4]));
        for _ in 0..TRANSACTIONS_PER_SOURCE_MAX {
            load.begin(one);
        }
        assert!(load.is_crowded(one) && !load.is_crowded(other));
        load.end(one);
        assert!(!load.is_crowded(one));
        load.end(other);
        assert_eq!(load.sources.len(), 1);
    }
}
