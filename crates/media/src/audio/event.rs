//! Named telephone events (RFC 4733): the payload, and digits out of a stream of packets.
//!
//! Pure. A digit is several packets with one timestamp, its last one three times; any of them may
//! be lost, late or double. It is told exactly once: when its end is heard, or when something
//! later shows that the end was lost.

use crate::dsp::tone::Digit;

/// The payload (section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Which event; below 16 a digit.
    pub code: u8,
    /// The event is over.
    pub end: bool,
    /// Level below 0 dBm0, 0 to 63.
    pub volume: u8,
    /// How long so far, in units of the clock.
    pub duration: u16,
}

/// Bytes of the payload.
pub const EVENT_BYTES: usize = 4;

impl Event {
    /// From the payload of a packet.
    pub fn parse(payload: &[u8]) -> Option<Event> {
        let [code, flags, high, low] = *payload.first_chunk::<EVENT_BYTES>()?;
        Some(Event {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// As a payload.
    pub fn bytes(self) -> [u8; EVENT_BYTES] {
        let [high, low] = self.duration.to_be_bytes();
        let end = if self.end { 0x80 } else { 0 };
        [self.code, end | self.volume & 0x3f, high, low]
    }
}

/// A digit that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressed {
    /// Which one.
    pub digit: Digit,
    /// How long, ms.
    pub lasted_ms: u32,
    /// Level below 0 dBm0.
    pub volume: u8,
}

/// What tells one event from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Key {
    ssrc: u32,
    timestamp: u32,
    code: u8,
}

/// An event that goes on.
#[derive(Debug, Clone, Copy)]
struct Running {
    key: Key,
    clock_hz: u32,
    volume: u8,
    /// Of earlier segments (section 2.5.1.3).
    before: u32,
    duration: u16,
    heard_ns: u64,
}

/// Events remembered as told, so that their late packets are not told again.
const TOLD: usize = 8;

/// Without a packet for this long an event is over: more than two are lost in a row then.
const SILENT_NS: u64 = 300_000_000;

/// Listens to the events of one direction.
#[derive(Debug, Default)]
pub struct EventListener {
    running: Option<Running>,
    told: [Option<Key>; TOLD],
    next: usize,
}

impl EventListener {
    /// Takes a packet of events; tells the digit that it ends, and the one before it when that
    /// one's end was lost.
    pub fn take(
        &mut self,
        ssrc: u32,
        timestamp: u32,
        event: Event,
        clock_hz: u32,
        now_ns: u64,
    ) -> [Option<Pressed>; 2] {
        let key = Key {
            ssrc,
            timestamp,
            code: event.code,
        };
        if self.told.contains(&Some(key)) {
            return [None; 2];
        }
        let (mut before, mut lost) = (0, None);
        match &mut self.running {
            Some(running) if running.key == key => {
                before = running.before;
                // A late packet says less than was known.
                let late = event.duration < running.duration;
                running.heard_ns = now_ns;
                if late && !event.end {
                    return [None; 2];
                }
            }
            Some(running) if running.is_continued_by(key) => {
                before = running.before + u32::from(running.duration);
                let segment = running.key;
                self.remember(segment);
            }
            Some(running) if running.key.ssrc == ssrc && running.is_after(timestamp) => {
                // Of an event before the running one: its end was lost, and it was told.
                return [None; 2];
            }
            Some(_) => lost = self.finish(),
            None => {}
        }
        self.running = Some(Running {
            key,
            clock_hz,
            volume: event.volume,
            before,
            duration: event.duration,
            heard_ns: now_ns,
        });
        let ended = if event.end { self.finish() } else { None };
        [lost, ended]
    }

    /// Whether an event goes on.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether any event was ever heard.
    pub fn has_heard(&self) -> bool {
        self.is_running() || self.told[0].is_some()
    }

    /// Time has passed: tells the digit whose end was lost.
    pub fn poll(&mut self, now_ns: u64) -> Option<Pressed> {
        let running = self.running.as_ref()?;
        let silent = now_ns.saturating_sub(running.heard_ns) > SILENT_NS;
        if silent { self.finish() } else { None }
    }

    fn finish(&mut self) -> Option<Pressed> {
        let running = self.running.take()?;
        self.remember(running.key);
        let units = u64::from(running.before) + u64::from(running.duration);
        Some(Pressed {
            digit: Digit::from_code(running.key.code)?,
            lasted_ms: (units * 1_000 / u64::from(running.clock_hz.max(1))) as u32,
            volume: running.volume,
        })
    }

    fn remember(&mut self, key: Key) {
        self.told[self.next] = Some(key);
        self.next = (self.next + 1) % TOLD;
    }
}

impl Running {
    /// A very long event goes on with another timestamp when its duration is used up.
    fn is_continued_by(&self, key: Key) -> bool {
        let step = key.timestamp.wrapping_sub(self.key.timestamp);
        let same = key.ssrc == self.key.ssrc && key.code == self.key.code;
        same && self.duration >= 0xff00 && step == u32::from(self.duration)
    }

    fn is_after(&self, timestamp: u32) -> bool {
        let ahead = self.key.timestamp.wrapping_sub(timestamp);
        ahead != 0 && ahead < 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP_NS: u64 = 20_000_000;

    /// The packets of a digit, as RFC 4733 has them: one every 20 ms, the end three times.
    fn packets(timestamp: u32, code: u8, lasts_ms: u16) -> Vec<(u32, Event)> {
        let event = |duration, end| {
            let volume = 10;
            let event = Event {
                code,
                end,
                volume,
                duration,
            };
            (timestamp, event)
        };
        let mut packets: Vec<_> = (1..lasts_ms / 20).map(|n| event(n * 160, false)).collect();
        packets.extend([event(lasts_ms * 8, true); 3]);
        packets
    }

    fn told(packets: &[(u32, Event)], ssrc: impl Fn(usize) -> u32) -> Vec<(u8, u32)> {
        let mut listener = EventListener::default();
        let mut told = Vec::new();
        let mut now_ns = 0;
        for (n, (timestamp, event)) in packets.iter().enumerate() {
            now_ns += STEP_NS;
            told.extend(listener.take(ssrc(n), *timestamp, *event, 8_000, now_ns));
        }
        told.push(listener.poll(now_ns + 2 * SILENT_NS));
        told.into_iter()
            .flatten()
            .map(|p| (p.digit.code(), p.lasted_ms))
            .collect()
    }

    #[test]
    fn a_digit_is_told_once_with_its_exact_duration() {
        let mut all = packets(1_000, 5, 100);
        all.extend(packets(9_000, 5, 240));
        all.extend(packets(20_000, 11, 60));
        assert_eq!(told(&all, |_| 1), [(5, 100), (5, 240), (11, 60)]);
    }

    #[test]
    fn a_lost_end_is_made_up_by_the_next_digit_or_by_time() {
        let without_end = |timestamp| {
            let mut packets = packets(timestamp, 7, 100);
            packets.truncate(4);
            packets
        };
        let mut all = without_end(1_000);
        all.extend(without_end(5_000));
        assert_eq!(told(&all, |_| 1), [(7, 80), (7, 80)]);
    }

    #[test]
    fn a_new_source_with_the_same_timestamp_is_another_digit() {
        let mut all = packets(1_000, 3, 80);
        let count = all.len();
        all.extend(packets(1_000, 3, 80));
        assert_eq!(told(&all, |n| (n / count) as u32), [(3, 80), (3, 80)]);
    }

    #[test]
    fn an_endless_digit_goes_on_over_the_edge_of_its_duration() {
        let event = |duration, end| {
            let (code, volume) = (1, 10);
            Event {
                code,
                end,
                volume,
                duration,
            }
        };
        let all = [
            (0, event(0x8000, false)),
            (0, event(0xffff, false)),
            (0xffff, event(160, false)),
            (0xffff, event(8_000, true)),
            (0xffff, event(8_000, true)),
        ];
        assert_eq!(told(&all, |_| 1), [(1, (0xffff + 8_000) / 8)]);
    }

    #[test]
    fn other_events_are_not_digits() {
        assert_eq!(told(&packets(0, 16, 80), |_| 1), []);
    }

    proptest! {
        #[test]
        fn every_digit_is_told_once_whatever_is_lost_doubled_or_swapped(
            lost in prop::collection::vec(any::<bool>(), 60),
            swapped in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut all = Vec::new();
            for n in 0..6_u8 {
                let mut digit = packets(u32::from(n) * 4_000, n, 100);
                let mut index = usize::from(n) * 10;
                digit.retain(|_| {
                    index += 1;
                    !lost[index]
                });
                for at in 1..digit.len() {
                    if swapped[usize::from(n) * 10 + at] {
                        digit.swap(at - 1, at);
                    }
                }
                all.extend(digit);
            }
            let mut expected: Vec<u8> = all.iter().map(|(_, event)| event.code).collect();
            expected.dedup();
            let told = told(&all, |_| 1);
            let codes: Vec<u8> = told.iter().map(|(code, _)| *code).collect();
            prop_assert_eq!(codes, expected);
            prop_assert!(told.iter().all(|(_, ms)| *ms <= 100));
        }

        #[test]
        fn no_payload_makes_it_panic(
            packets in prop::collection::vec((any::<[u8; 4]>(), any::<[u32; 3]>()), 0..50),
        ) {
            let mut listener = EventListener::default();
            for (n, (payload, [ssrc, timestamp, clock_hz])) in packets.iter().enumerate() {
                let event = Event::parse(payload).expect("four bytes");
                let written = event.bytes();
                prop_assert_eq!(Event::parse(&written), Some(event));
                listener.take(ssrc % 2, timestamp % 3, event, clock_hz % 9_000, n as u64);
            }
        }
    }
}
