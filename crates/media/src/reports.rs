//! What RTCP says about a stream: how it arrives at the party that hears it, and what that sounds
//! like.
//!
//! Pure; RFC 3550 section 6.4. The words and the arithmetic of the mean opinion score are
//! rtpengine's, so that who reads its `query` reads ours.

/// What one report says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// From us to the hearer and back, microseconds; 0 when it is not known.
    pub round_trip_us: u64,
    /// Interarrival jitter, ms.
    pub jitter_ms: u64,
    /// Packets lost since the report before, percent.
    pub loss_percent: u64,
}

impl Heard {
    /// Mean opinion score in tenths, 10 to 45, by the E-model as monitoring programs simplify it.
    pub fn mos_tenths(&self) -> u64 {
        // Jitter is waited for twice over, and codecs take their time.
        let delay_ms = self.round_trip_us as f64 / 1_000.0 + self.jitter_ms as f64 * 2.0 + 10.0;
        let delayed = if delay_ms < 160.0 {
            delay_ms / 40.0
        } else {
            (delay_ms - 120.0) / 10.0
        };
        let rating = 93.2 - delayed - self.loss_percent as f64 * 2.5;
        let score = if rating < 0.0 {
            1.0
        } else {
            1.0 + 0.035 * rating + 0.000_007 * rating * (rating - 60.0) * (100.0 - rating)
        };
        (score * 10.0).round().clamp(10.0, 45.0) as u64
    }
}

/// All reports about a stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reported {
    /// How many there were.
    pub samples: u64,
    sum: Heard,
    mos_sum: u64,
    /// The worst and when it came, `CLOCK_MONOTONIC` ns.
    pub lowest: (Heard, u64),
    /// The best.
    pub highest: (Heard, u64),
}

impl Reported {
    /// Takes a report that came now.
    pub fn take(&mut self, heard: Heard, now_ns: u64) {
        let mos = heard.mos_tenths();
        if self.samples == 0 || mos < self.lowest.0.mos_tenths() {
            self.lowest = (heard, now_ns);
        }
        if self.samples == 0 || mos > self.highest.0.mos_tenths() {
            self.highest = (heard, now_ns);
        }
        self.samples += 1;
        self.mos_sum += mos;
        self.sum.round_trip_us += heard.round_trip_us;
        self.sum.jitter_ms += heard.jitter_ms;
        self.sum.loss_percent += heard.loss_percent;
    }

    /// The average and its score in tenths; none before the first report.
    pub fn average(&self) -> Option<(Heard, u64)> {
        let of = |sum: u64| sum.checked_div(self.samples);
        let heard = Heard {
            round_trip_us: of(self.sum.round_trip_us)?,
            jitter_ms: of(self.sum.jitter_ms)?,
            loss_percent: of(self.sum.loss_percent)?,
        };
        Some((heard, of(self.mos_sum)?))
    }
}

/// A report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The source it is about.
    pub ssrc: u32,
    /// Lost of 256 since the report before.
    pub fraction_lost: u8,
    /// Interarrival jitter, units of the clock.
    pub jitter: u32,
    /// The sender report that came last, the middle of its time; 0 for none.
    pub last_report: u32,
    /// Since then, 1/65,536 s.
    pub delay: u32,
}

/// What a compound packet says that anybody here wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A sender reported: the middle 32 bits of its time.
    Sent(u32),
    /// A hearer reported.
    Block(Block),
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// Reads a compound packet; what is cut short is left out.
pub fn read(packet: &[u8], mut each: impl FnMut(Item)) {
    let mut rest = packet;
    while let Some(head) = rest.first_chunk::<4>() {
        let (count, kind) = (usize::from(head[0] & 0x1f), head[1]);
        let bytes = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        let Some((report, after)) = rest.split_at_checked(bytes) else {
            return;
        };
        let first = match kind {
            SENDER_REPORT => 28,
            RECEIVER_REPORT => 8,
            _ => report.len(),
        };
        if kind == SENDER_REPORT
            && let (Some(seconds), Some(fraction)) = (word(report, 8), word(report, 12))
        {
            each(Item::Sent(seconds << 16 | fraction >> 16));
        }
        let blocks = (0..count).map_while(|n| block(report, first + n * 24));
        blocks.for_each(|block| each(Item::Block(block)));
        rest = after;
    }
}

fn block(report: &[u8], at: usize) -> Option<Block> {
    Some(Block {
        ssrc: word(report, at)?,
        fraction_lost: *report.get(at + 4)?,
        jitter: word(report, at + 12)?,
        last_report: word(report, at + 16)?,
        delay: word(report, at + 20)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.first_chunk()?;
    Some(u32::from_be_bytes(*word))
}

/// A sender report that went through us: its time and when, `CLOCK_MONOTONIC` ns.
pub type Passed = (u32, u64);

impl Block {
    /// What it says about a stream with this clock, whose last report passed us then.
    pub fn heard(&self, clock_hz: u32, passed: Option<Passed>, now_ns: u64) -> Heard {
        let known = passed.filter(|(time, _)| self.last_report != 0 && *time == self.last_report);
        let round_trip_us = known.map_or(0, |(_, at_ns)| {
            let waited_us = u64::from(self.delay) * 1_000_000 / 65_536;
            (now_ns.saturating_sub(at_ns) / 1_000).saturating_sub(waited_us)
        });
        Heard {
            round_trip_us,
            jitter_ms: u64::from(self.jitter) * 1_000 / u64::from(clock_hz.max(1)),
            loss_percent: u64::from(self.fraction_lost) * 100 / 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_report_tells_jitter_loss_and_the_way_there_and_back() {
        let sender = [0x81c8_000c, 7, 0x1111_2222, 0x3333_4444, 0, 1, 2];
        // 64 of 256 lost, jitter 80, LSR of another report, a delay of half a second.
        let block = [9, 64 << 24, 0, 80, 0x5555_6666, 32_768];
        let mut items = Vec::new();
        read(&words(&[&sender[..], &block[..]].concat()), |item| {
            items.push(item);
        });
        assert_eq!(items[0], Item::Sent(0x2222_3333));
        let Item::Block(block) = items[1] else {
            panic!("a block")
        };
        let passed = Some((0x5555_6666, 1_000_000_000));
        let heard = block.heard(8_000, passed, 1_540_000_000);
        assert_eq!(
            heard,
            Heard {
                round_trip_us: 40_000,
                jitter_ms: 10,
                loss_percent: 25
            }
        );
        let other = block.heard(8_000, Some((1, 1)), 1_540_000_000);
        assert_eq!(other.round_trip_us, 0);
    }

    #[test]
    fn scores_fall_with_delay_and_loss() {
        let score = |round_trip_us, loss_percent| {
            let heard = Heard {
                round_trip_us,
                loss_percent,
                jitter_ms: 0,
            };
            heard.mos_tenths()
        };
        assert_eq!((score(0, 0), score(20_000, 10)), (44, 35));
        assert!(score(400_000, 0) < 35 && score(0, 100) == 10);
    }

    #[test]
    fn reports_are_summed_up() {
        let mut reported = Reported::default();
        assert_eq!(reported.average(), None);
        let bad = Heard {
            loss_percent: 40,
            ..Heard::default()
        };
        reported.take(bad, 1);
        reported.take(Heard::default(), 2);
        let (average, mos) = reported.average().expect("an average");
        assert_eq!((average.loss_percent, reported.samples), (20, 2));
        assert_eq!((reported.lowest, reported.highest.1), ((bad, 1), 2));
        assert_eq!(mos, (bad.mos_tenths() + 44) / 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            clock_hz in any::<u32>(),
        ) {
            let mut reported = Reported::default();
            read(&bytes, |item| {
                if let Item::Block(block) = item {
                    let passed = Some((block.last_report, 5));
                    reported.take(block.heard(clock_hz, passed, u64::MAX), 1);
                }
            });
            if let Some((_, mos)) = reported.average() {
                prop_assert!((10..=45).contains(&mos));
            }
        }
    }
}
