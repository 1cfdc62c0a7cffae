//! How long things take: counts in fixed buckets, cheap enough for every commit.
//!
//! Owner: whoever measures; anybody may read at any time. Recording is a few relaxed additions, no
//! lock, no allocation. A reader may see the one without the other: a sum that is one event ahead
//! of its buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets in nanoseconds: 10 us to 10 s, three a decade. What is longer is
/// counted behind the last.
const BOUNDS_NS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A distribution of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, spent: Duration) {
        let ns = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NS.partition_point(|bound| *bound < ns);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        if ns > self.longest_ns.load(Ordering::Relaxed) {
            self.longest_ns.fetch_max(ns, Ordering::Relaxed);
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.load().iter().sum()
    }

    /// The longest duration, microseconds; 0 without counts.
    pub fn longest_us(&self) -> u64 {
        self.longest_ns.load(Ordering::Relaxed) / 1_000
    }

    /// Counts the time since `started`.
    pub fn since(&self, started: Instant) {
        self.record(started.elapsed());
    }

    /// An upper bound of a quantile (`0.0..=1.0`), as fine as the buckets; `None` without counts.
    pub fn at_most(&self, quantile: f64) -> Option<Duration> {
        let counts = self.load();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rank needs no more than 53 bits"
        )]
        let rank = (total as f64 * quantile).max(1.0);
        let mut seen = 0;
        for (bound, count) in BOUNDS_NS.iter().zip(counts) {
            seen += count;
            #[expect(
                clippy::cast_precision_loss,
                reason = "a rank needs no more than 53 bits"
            )]
            if seen as f64 >= rank {
                return Some(Duration::from_nanos(*bound));
            }
        }
        Some(Duration::MAX)
    }

    /// [`Histogram::at_most`] of 99 in 100, microseconds; 0 without counts.
    pub fn p99_us(&self) -> u64 {
        let spent = self.at_most(0.99).unwrap_or_default();
        u64::try_from(spent.as_micros()).unwrap_or(u64::MAX)
    }

    /// Writes the Prometheus text of a metric in seconds; `name` ends with `_seconds`.
    pub fn render(&self, name: &str, out: &mut String) {
        use std::fmt::Write;
        let counts = self.load();
        let mut seen = 0;
        let mut write = || -> std::fmt::Result {
            writeln!(out, "# TYPE {name} histogram")?;
            for (bound, count) in BOUNDS_NS.iter().zip(counts) {
                seen += count;
                let bound = Duration::from_nanos(*bound).as_secs_f64();
                writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {seen}")?;
            }
            seen += counts[BOUNDS_NS.len()];
            writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {seen}")?;
            let sum = Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed));
            writeln!(out, "{name}_sum {}", sum.as_secs_f64())?;
            writeln!(out, "{name}_count {seen}")
        };
        write().expect("writing to a string does not fail");
    }

    fn load(&self) -> [u64; BOUNDS_NS.len() + 1] {
        std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed))
    }
}

/// What the state machine's users measure; the log measures its own flushes.
#[derive(Debug, Default)]
pub struct Timings {
    /// From the proposal of a batch on this node as leader until its replies are there.
    pub commit: Histogram,
    /// Applying a chunk of entries, the SQLite commit and the wait for readers included.
    pub apply: Histogram,
    /// How long readers and `apply` stand still for a snapshot.
    pub freeze: Histogram,
    /// Writing a snapshot.
    pub snapshot: Histogram,
    /// Installing a received snapshot.
    pub install: Histogram,
}

impl Timings {
    /// Writes the Prometheus text of all of them.
    pub fn render(&self, out: &mut String) {
        self.commit.render("raftpbx_store_commit_seconds", out);
        self.apply.render("raftpbx_store_apply_seconds", out);
        self.freeze
            .render("raftpbx_store_snapshot_stall_seconds", out);
        self.snapshot.render("raftpbx_store_snapshot_seconds", out);
        self.install
            .render("raftpbx_store_snapshot_install_seconds", out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_land_in_their_buckets() {
        let histogram = Histogram::default();
        assert_eq!(histogram.at_most(0.5), None);
        for us in [1, 10, 11, 900, 900, 20_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let at_most = |quantile| histogram.at_most(quantile).expect("counted");
        assert_eq!(at_most(0.0), Duration::from_micros(10));
        assert_eq!(at_most(0.5), Duration::from_micros(25));
        assert_eq!(at_most(0.8), Duration::from_millis(1));
        assert_eq!(at_most(1.0), Duration::MAX);
        let mut text = String::new();
        histogram.render("x_seconds", &mut text);
        assert!(
            text.starts_with("# TYPE x_seconds histogram\nx_seconds_bucket{le=\"0.00001\"} 2\n")
        );
        assert!(text.contains("x_seconds_bucket{le=\"10\"} 5\nx_seconds_bucket{le=\"+Inf\"} 6\n"));
        assert!(
            text.ends_with("x_seconds_sum 20.001822\nx_seconds_count 6\n"),
            "{text}"
        );
    }
}
