//! How long things take: counts in fixed buckets, a few relaxed additions each, no lock.
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds: a commit takes a millisecond, a phone that rings
/// a minute. What is longer is counted behind the last.
const BOUNDS_US: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A distribution of durations.
#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    fn record(&self, us: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// The lines of one label set, `method="INVITE"` or nothing.
    fn render(&self, name: &str, label: &str, text: &mut String) {
        let comma = if label.is_empty() { "" } else { "," };
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count.load(Relaxed);
            let bound = BOUNDS_US
                .get(at)
                .map_or("+Inf".to_owned(), |us| seconds(*us));
            let _ = writeln!(text, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {seen}");
        }
        let labels = if label.is_empty() {
            String::new()
        } else {
            format!("{{{label}}}")
        };
        let sum = seconds(self.sum_us.load(Relaxed));
        let _ = writeln!(text, "{name}_sum{labels} {sum}");
        let _ = writeln!(text, "{name}_count{labels} {seen}");
    }
}

fn seconds(us: u64) -> String {
    Duration::from_micros(us).as_secs_f64().to_string()
}

/// A phone rings for as long as a person wants, so INVITE stands apart; REGISTER is the bulk.
const METHODS: [&str; 3] = ["INVITE", "REGISTER", "OTHER"];

fn of_method<'a>(histograms: &'a [Histogram; 3], method: &str) -> &'a Histogram {
    match method {
        "INVITE" => &histograms[0],
        "REGISTER" => &histograms[1],
        _ => &histograms[2],
    }
}

/// What the engine measures.
#[derive(Debug, Default)]
pub struct Timings {
    server: [Histogram; 3],
    client: [Histogram; 3],
    commit: Histogram,
}

impl Timings {
    /// A request got its final response, so long after it came.
    pub fn answered(&self, method: &str, us: u64) {
        of_method(&self.server, method).record(us);
    }

    /// The final response to a request of ours came, so long after it was sent.
    pub fn was_answered(&self, method: &str, us: u64) {
        of_method(&self.client, method).record(us);
    }

    /// A journal entry was committed, so long after it was asked for.
    pub fn committed(&self, us: u64) {
        self.commit.record(us);
    }

    /// In Prometheus text format.
    pub fn render(&self, text: &mut String) {
        for (side, histograms) in [("server", &self.server), ("client", &self.client)] {
            let name = format!("raftpbx_sip_{side}_transaction_seconds");
            let _ = writeln!(text, "# TYPE {name} histogram");
            for (method, histogram) in METHODS.iter().zip(histograms) {
                histogram.render(&name, &format!("method=\"{method}\""), text);
            }
        }
        let name = "raftpbx_sip_commit_seconds";
        let _ = writeln!(text, "# TYPE {name} histogram");
        self.commit.render(name, "", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_land_in_their_buckets() {
        let timings = Timings::default();
        for us in [1, 100, 101, 999, 61_000_000] {
            timings.committed(us);
        }
        timings.answered("INVITE", 2_000_000);
        timings.answered("BYE", 300);
        timings.was_answered("REGISTER", 1_000);
        let mut text = String::new();
        timings.render(&mut text);
        for line in [
            "raftpbx_sip_commit_seconds_bucket{le=\"0.0001\"} 2",
            "raftpbx_sip_commit_seconds_bucket{le=\"0.001\"} 4",
            "raftpbx_sip_commit_seconds_bucket{le=\"60\"} 4",
            "raftpbx_sip_commit_seconds_bucket{le=\"+Inf\"} 5",
            "raftpbx_sip_commit_seconds_sum 61.001201",
            "raftpbx_sip_commit_seconds_count 5",
            "raftpbx_sip_server_transaction_seconds_bucket{method=\"INVITE\",le=\"1\"} 0",
            "raftpbx_sip_server_transaction_seconds_bucket{method=\"INVITE\",le=\"2.5\"} 1",
            "raftpbx_sip_server_transaction_seconds_bucket{method=\"OTHER\",le=\"0.0005\"} 1",
            "raftpbx_sip_server_transaction_seconds_count{method=\"REGISTER\"} 0",
            "raftpbx_sip_client_transaction_seconds_sum{method=\"REGISTER\"} 0.001",
        ] {
            assert!(
                text.lines().any(|one| one == line),
                "{line} is not in\n{text}"
            );
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE"));
        assert_eq!(types.count(), 3);
    }
}
