//! Rates of the last second and of the last minute, from counters that only grow. Pure.
//!
//! A sample is taken with each sweep, once a second. Whoever asks changes nothing, so several may.

use std::collections::VecDeque;

use crate::limits::RATE_SAMPLES_MAX;

const NS_PER_S: u128 = 1_000_000_000;

/// What was relayed, or what is relayed in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams dropped.
    pub errors: u64,
}

/// Counters at a time.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// `CLOCK_MONOTONIC`, ns.
    pub at_ns: u64,
    /// Relayed by threads.
    pub threads: Traffic,
    /// Relayed by the kernel.
    pub kernel: Traffic,
    /// Calls held.
    pub sessions: u64,
    /// How often each command came, in an order of the caller's.
    pub commands: Vec<u64>,
}

/// The least, the most and the average of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// The average, rounded.
    pub average: u64,
}

/// The samples of the last minute.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
}

impl Rates {
    /// Takes the newest sample.
    pub fn add(&mut self, sample: Sample) {
        if self.samples.len() == RATE_SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// What threads and the kernel relayed in the last second; nothing before the second sample.
    pub fn traffic(&self) -> [Traffic; 2] {
        let mut newest = self.samples.iter().rev();
        let (Some(last), Some(before)) = (newest.next(), newest.next()) else {
            return [Traffic::default(); 2];
        };
        let lasted_ns = last.at_ns.saturating_sub(before.at_ns);
        let rates = |last: &Traffic, before: &Traffic| Traffic {
            packets: rate(last.packets, before.packets, lasted_ns),
            bytes: rate(last.bytes, before.bytes, lasted_ns),
            errors: rate(last.errors, before.errors, lasted_ns),
        };
        [
            rates(&last.threads, &before.threads),
            rates(&last.kernel, &before.kernel),
        ]
    }

    /// How often a command came, times a second in the last minute.
    pub fn requests(&self, command: usize) -> Spread {
        let count = |sample: &Sample| sample.commands.get(command).copied().unwrap_or(0);
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let rates = pairs.map(|(before, last)| {
            rate(
                count(last),
                count(before),
                last.at_ns.saturating_sub(before.at_ns),
            )
        });
        let (min, max) = ends(rates);
        let average = match (self.samples.front(), self.samples.back()) {
            (Some(first), Some(last)) => {
                let lasted_ns = last.at_ns.saturating_sub(first.at_ns);
                rate(count(last), count(first), lasted_ns)
            }
            _ => 0,
        };
        Spread { min, max, average }
    }

    /// Calls held in the last minute: the fewest and the most.
    pub fn sessions(&self) -> (u64, u64) {
        ends(self.samples.iter().map(|sample| sample.sessions))
    }
}

/// The least and the most of some values; zeros when there are none.
fn ends(values: impl Iterator<Item = u64>) -> (u64, u64) {
    let ends = values.fold(None, |ends, value| {
        let (min, max) = ends.unwrap_or((value, value));
        Some((value.min(min), value.max(max)))
    });
    ends.unwrap_or_default()
}

/// Times a second, rounded. A counter that went back, as one does when packets were taken back,
/// has not grown.
fn rate(last: u64, before: u64, lasted_ns: u64) -> u64 {
    let grown = u128::from(last.saturating_sub(before));
    let lasted_ns = u128::from(lasted_ns);
    if lasted_ns == 0 {
        return 0;
    }
    ((grown * NS_PER_S + lasted_ns / 2) / lasted_ns) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, packets: u64, offers: u64, sessions: u64) -> Sample {
        let traffic = |packets| Traffic {
            packets,
            bytes: 172 * packets,
            errors: packets / 10,
        };
        Sample {
            at_ns: at_ms * 1_000_000,
            threads: traffic(packets),
            kernel: traffic(2 * packets),
            sessions,
            commands: vec![0, offers],
        }
    }

    #[test]
    fn rates_are_of_the_last_second_however_long_it_was() {
        let mut rates = Rates::default();
        assert_eq!(rates.traffic(), [Traffic::default(); 2]);
        rates.add(sample(5_000, 7_000, 0, 0));
        assert_eq!(rates.traffic(), [Traffic::default(); 2], "one is no rate");
        rates.add(sample(6_250, 7_500, 0, 0));
        let [threads, kernel] = rates.traffic();
        assert_eq!(
            (threads.packets, threads.bytes, threads.errors),
            (400, 68_800, 40)
        );
        assert_eq!(kernel.packets, 800);
        rates.add(sample(7_250, 7_400, 0, 0));
        assert_eq!(rates.traffic()[0].packets, 0, "taken back");
        rates.add(sample(7_250, 9_000, 0, 0));
        assert_eq!(rates.traffic()[0].packets, 0, "no time has passed");
    }

    #[test]
    fn commands_and_calls_have_a_least_and_a_most_of_the_last_minute() {
        let mut rates = Rates::default();
        assert_eq!(
            (rates.requests(1), rates.sessions()),
            (Spread::default(), (0, 0))
        );
        for (second, offers, sessions) in [(0, 0, 3), (1, 10, 9), (2, 10, 5), (3, 35, 7)] {
            rates.add(sample(1_000 * second, 0, offers, sessions));
        }
        let spread = |min, max, average| Spread { min, max, average };
        assert_eq!(rates.requests(1), spread(0, 25, 12));
        assert_eq!(rates.requests(0), Spread::default());
        assert_eq!(rates.requests(9), Spread::default(), "there is none");
        assert_eq!(rates.sessions(), (3, 9));
        for second in 4..=RATE_SAMPLES_MAX as u64 + 4 {
            rates.add(sample(1_000 * second, 0, 35 + second, 6));
        }
        assert_eq!(rates.samples.len(), RATE_SAMPLES_MAX);
        assert_eq!(
            rates.requests(1),
            spread(1, 1, 1),
            "older ones count no more"
        );
        assert_eq!(rates.sessions(), (6, 6));
    }
}
