//! Latency and the report of one run.

use serde_json::{Value, json};

use crate::options::Options;

/// Latencies above this are counted in the last place, microseconds.
const LATENCY_US_MAX: usize = 200_000;

/// How many packets took how long, by the microsecond.
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; LATENCY_US_MAX + 1],
            total: 0,
        }
    }
}

impl Histogram {
    /// Counts one packet.
    pub fn add(&mut self, latency_ns: u64) {
        let us = usize::try_from(latency_ns / 1_000).unwrap_or(usize::MAX);
        self.counts[us.min(LATENCY_US_MAX)] += 1;
        self.total += 1;
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// Microseconds that this share of all packets did not exceed; 0 without packets.
    pub fn quantile_us(&self, share: f64) -> usize {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut sum = 0;
        self.counts
            .iter()
            .position(|&count| {
                sum += u64::from(count);
                sum >= wanted.max(1)
            })
            .unwrap_or(0)
    }
}

/// What the receiving thread saw of the measured rounds.
#[derive(Default)]
pub struct Received {
    /// Packets of the measured rounds.
    pub packets: u64,
    /// Those that differ from what was sent.
    pub bad: u64,
    /// Packets from ports of no call.
    pub unknown: u64,
    /// Their latencies, from the send call to the kernel's receive time.
    pub latency: Histogram,
}

/// What the sending thread did in the measured rounds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sent {
    /// Packets handed to the kernel.
    pub packets: u64,
    /// Slots begun more than 5 ms late: the generator itself was too slow.
    pub late_slots: u64,
    /// Processor time of the measured process, seconds.
    pub relay_cpu_s: f64,
    /// Processor time of this program, seconds.
    pub own_cpu_s: f64,
}

/// The report as one JSON object.
pub fn report(options: &Options, sent: &Sent, received: &Received) -> Value {
    let packets = received.packets.max(1) as f64;
    let round = |value: f64| (value * 1_000.0).round() / 1_000.0;
    let relay = options.pid.map(|_| sent.relay_cpu_s);
    json!({
        "calls": options.calls,
        "seconds": options.seconds,
        "sent": sent.packets,
        "received": received.packets,
        "lost": sent.packets.saturating_sub(received.packets),
        "bad": received.bad,
        "unknown": received.unknown,
        "latency_us_p50": received.latency.quantile_us(0.5),
        "latency_us_p99": received.latency.quantile_us(0.99),
        "cpu_s": relay.map(round),
        "cpu_us_per_packet": relay.map(|cpu| round(cpu * 1e6 / packets)),
        "packets_per_cpu_s": relay.filter(|cpu| *cpu > 0.0).map(|cpu| (packets / cpu).round()),
        "generator_cpu_s": round(sent.own_cpu_s),
        "late_slots": sent.late_slots,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_read_from_the_histogram() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(0.99), 0);
        (1..=100_u64).for_each(|us| histogram.add(us * 1_000));
        assert_eq!(
            (histogram.quantile_us(0.5), histogram.quantile_us(0.99)),
            (50, 99)
        );
        histogram.add(u64::MAX);
        assert_eq!(histogram.quantile_us(1.0), LATENCY_US_MAX);
    }
}
