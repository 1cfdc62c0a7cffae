//! What goes to a party as one stream, wherever the packets come from (RFC 3550 section 5.1).
//!
//! Pure. As long as only one source is relayed nothing is changed. Once we have said something
//! ourselves, relayed packets go on behind it: same source, next number, later time. A
//! receiver hears one stream without a break, and a context of SRTP sees no number twice.

use serde::{Deserialize, Serialize};

use crate::limits::{NUMBERS_LEFT_OUT, NUMBERS_LEFT_OUT_MAX, OWN_PACKETS_PER_S};
use crate::packet::RtpHeader;

/// The stream towards one party.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// As the party knows it; none before the first packet.
    ssrc: Option<u32>,
    /// Of the newest packet.
    sequence: u16,
    timestamp: u32,
    sent_ns: u64,
    /// Relayed packets are changed from now on.
    changing: bool,
    /// The source that is relayed and how its packets are changed.
    source: Option<Source>,
}

/// How the packets of a source are changed.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// As it calls itself.
    pub ssrc: u32,
    sequence_step: u16,
    timestamp_step: u32,
    newest: u16,
}

/// A stream that has numbers of ours, written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingState {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Since its newest packet, ms.
    rest_ms: u64,
}

/// A jump of this many packets is a restart (RFC 3550 A.1: `MAX_DROPOUT`).
const DROPOUT_MAX: u16 = 3_000;

/// The head of a packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Source.
    pub ssrc: u32,
    /// Number.
    pub sequence: u16,
    /// Media time.
    pub timestamp: u32,
}

impl Outgoing {
    /// A stream that is under way: what was relayed so far without us.
    pub fn after(ssrc: u32, sequence: u16, timestamp: u32, sent_ns: u64) -> Outgoing {
        Outgoing {
            ssrc: Some(ssrc),
            sequence,
            timestamp,
            sent_ns,
            ..Outgoing::default()
        }
    }

    /// What another engine needs to go on; none while the numbers are those of the source.
    /// `renumbered`: they were given before the packets came here.
    pub fn state(&self, renumbered: bool, now_ns: u64) -> Option<OutgoingState> {
        let ssrc = self.ssrc.filter(|_| self.changing || renumbered)?;
        Some(OutgoingState {
            ssrc,
            sequence: self.sequence,
            timestamp: self.timestamp,
            rest_ms: now_ns.saturating_sub(self.sent_ns) / 1_000_000,
        })
    }

    /// Goes on where another engine was `age_ms` ago. What it sent since is not known, so as many
    /// numbers are left out as it can have used: none may be used twice.
    pub fn resumed(state: OutgoingState, age_ms: u64, now_ns: u64) -> Outgoing {
        let used = age_ms * OWN_PACKETS_PER_S / 1_000 + NUMBERS_LEFT_OUT;
        let step = used.min(NUMBERS_LEFT_OUT_MAX) as u16;
        Outgoing {
            ssrc: Some(state.ssrc),
            sequence: state.sequence.wrapping_add(step),
            timestamp: state.timestamp,
            sent_ns: now_ns.saturating_sub((age_ms + state.rest_ms) * 1_000_000),
            changing: true,
            source: None,
        }
    }

    /// The newest packet was not sent after all.
    pub fn take_back(&mut self) {
        self.sequence = self.sequence.wrapping_sub(1);
    }

    /// The source the party knows.
    pub fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// The relayed source, when its packets are changed; and by how much its time is.
    pub fn changed_source(&self) -> Option<(u32, u32)> {
        let source = self.source.filter(|_| self.changing)?;
        Some((source.ssrc, source.timestamp_step))
    }

    /// The next relayed packet has to follow on what was sent, whatever its number.
    pub fn break_off(&mut self) {
        self.changing |= self.ssrc.is_some();
        self.source = None;
    }

    /// A packet is relayed; its new head, none when it stays as it is.
    pub fn relay(&mut self, header: &RtpHeader, clock_hz: u32, now_ns: u64) -> Option<Head> {
        if !self.changing {
            let first = self.ssrc != Some(header.ssrc);
            if first || header.sequence.wrapping_sub(self.sequence) < 0x8000 {
                self.ssrc = Some(header.ssrc);
                (self.sequence, self.timestamp) = (header.sequence, header.timestamp);
            }
            self.sent_ns = now_ns;
            return None;
        }
        let same = self.source.filter(|source| {
            let step = header.sequence.wrapping_sub(source.newest);
            let near = step <= DROPOUT_MAX || step >= u16::MAX - DROPOUT_MAX;
            source.ssrc == header.ssrc && near
        });
        let mut source = same.unwrap_or_else(|| Source {
            ssrc: header.ssrc,
            sequence_step: self.sequence.wrapping_add(1).wrapping_sub(header.sequence),
            timestamp_step: self.now(clock_hz, now_ns).wrapping_sub(header.timestamp),
            newest: header.sequence,
        });
        let head = Head {
            ssrc: *self.ssrc.get_or_insert(header.ssrc),
            sequence: header.sequence.wrapping_add(source.sequence_step),
            timestamp: header.timestamp.wrapping_add(source.timestamp_step),
        };
        if header.sequence.wrapping_sub(source.newest) < 0x8000 {
            source.newest = header.sequence;
            (self.sequence, self.timestamp) = (head.sequence, head.timestamp);
            self.sent_ns = now_ns;
        }
        self.source = Some(source);
        Some(head)
    }

    /// We begin to say something: the media time of its first packet. `fresh` is the source, the
    /// number and the time to begin with when nothing was ever sent.
    pub fn begin(&mut self, clock_hz: u32, now_ns: u64, fresh: Head) -> u32 {
        if self.ssrc.is_none() {
            self.ssrc = Some(fresh.ssrc);
            self.sequence = fresh.sequence;
            (self.timestamp, self.sent_ns) = (fresh.timestamp, now_ns);
        }
        self.break_off();
        self.now(clock_hz, now_ns)
    }

    /// The head of the next packet of ours, which has this media time; an event has the time it
    /// began at, `back` before the clock.
    pub fn own(&mut self, clock: u32, back: u32, now_ns: u64) -> Head {
        self.sequence = self.sequence.wrapping_add(1);
        (self.timestamp, self.sent_ns) = (clock, now_ns);
        Head {
            ssrc: self.ssrc.unwrap_or_default(),
            sequence: self.sequence,
            timestamp: clock.wrapping_sub(back),
        }
    }

    /// The media time now, if the clock went on since the newest packet; never the same.
    fn now(&self, clock_hz: u32, now_ns: u64) -> u32 {
        let passed_ns = u128::from(now_ns.saturating_sub(self.sent_ns));
        let passed = passed_ns * u128::from(clock_hz) / 1_000_000_000;
        self.timestamp.wrapping_add((passed as u32).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(ssrc: u32, sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            payload_type: 0,
            sequence,
            timestamp,
            ssrc,
            payload_at: 12,
        }
    }

    const FRESH: Head = Head {
        ssrc: 99,
        sequence: 500,
        timestamp: 7_000,
    };

    #[test]
    fn what_is_only_relayed_stays_as_it_is() {
        let mut out = Outgoing::default();
        for n in 0..10_u16 {
            assert_eq!(out.relay(&header(1, n, u32::from(n) * 160), 8_000, 0), None);
        }
        // Another source is nothing to us either.
        assert_eq!(out.relay(&header(2, 9_000, 5), 8_000, 0), None);
    }

    #[test]
    fn a_successor_goes_on_behind_all_that_can_have_been_sent() {
        let ms = 1_000_000;
        let mut old = Outgoing::default();
        assert_eq!(old.state(false, 0), None, "nothing is changed yet");
        let time = old.begin(8_000, 100 * ms, FRESH);
        let before = old.own(time, 0, 100 * ms);
        let state = old.state(false, 140 * ms).expect("a stream of ours");
        // Three seconds pass, in which the old one says 150 packets more.
        let mut new = Outgoing::resumed(state, 3_000, 10_000 * ms);
        let head = new.relay(&header(7, 9, 5), 8_000, 10_000 * ms);
        let head = head.expect("changed");
        assert_eq!(head.ssrc, before.ssrc);
        assert_eq!(head.sequence - before.sequence, 300 + 200 + 1);
        assert_eq!(head.timestamp.wrapping_sub(before.timestamp), 3_040 * 8);
        // However old the state is, the receiver sees a step ahead.
        let mut late = Outgoing::resumed(state, 3_600_000, 0);
        let head = late.relay(&header(7, 9, 5), 8_000, 0).expect("changed");
        assert!(head.sequence.wrapping_sub(before.sequence) < 0x8000);
    }

    #[test]
    fn our_packets_and_relayed_ones_make_one_stream() {
        let ms = 1_000_000;
        let mut out = Outgoing::default();
        out.relay(&header(1, 10, 1_000), 8_000, 100 * ms);
        let begin = out.begin(8_000, 120 * ms, FRESH);
        assert_eq!(begin, 1_160);
        assert_eq!(
            out.own(begin, 0, 120 * ms),
            Head {
                ssrc: 1,
                sequence: 11,
                timestamp: 1_160
            }
        );
        assert_eq!(
            out.own(begin + 160, 0, 140 * ms),
            Head {
                ssrc: 1,
                sequence: 12,
                timestamp: 1_320
            }
        );
        // Meanwhile the relayed source went on, and then a new one comes.
        let relayed = out.relay(&header(1, 50, 9_000), 8_000, 160 * ms);
        assert_eq!(
            relayed,
            Some(Head {
                ssrc: 1,
                sequence: 13,
                timestamp: 1_480
            })
        );
        let relayed = out.relay(&header(1, 52, 9_320), 8_000, 200 * ms);
        assert_eq!(
            relayed,
            Some(Head {
                ssrc: 1,
                sequence: 15,
                timestamp: 1_800
            })
        );
        let relayed = out.relay(&header(7, 3, 3), 8_000, 220 * ms);
        assert_eq!(
            relayed,
            Some(Head {
                ssrc: 1,
                sequence: 16,
                timestamp: 1_960
            })
        );
        assert_eq!(out.changed_source().map(|(ssrc, _)| ssrc), Some(7));
    }

    #[test]
    fn who_never_got_anything_gets_a_fresh_stream() {
        let mut out = Outgoing::default();
        let begin = out.begin(8_000, 5, FRESH);
        assert_eq!(
            out.own(begin, 0, 5),
            Head {
                ssrc: 99,
                sequence: 501,
                timestamp: 7_001
            }
        );
        let relayed = out.relay(&header(1, 60_000, 1), 8_000, 5).expect("changed");
        assert_eq!((relayed.ssrc, relayed.sequence), (99, 502));
    }

    proptest! {
        #[test]
        fn no_number_is_used_twice(
            steps in prop::collection::vec((0_u8..3, any::<u16>(), any::<u32>()), 1..200),
        ) {
            let mut out = Outgoing::after(1, 0, 0, 0);
            let mut begun = out.begin(8_000, 0, FRESH);
            let mut last = out.own(begun, 0, 0);
            let (mut number, mut source) = (0_u16, 0);
            for (n, (what, jump, time)) in steps.into_iter().enumerate() {
                let now_ns = n as u64 * 20_000_000;
                let head = match what {
                    0 => {
                        begun = out.begin(8_000, now_ns, FRESH);
                        out.own(begun, 0, now_ns)
                    }
                    1 => {
                        (number, source) = (jump, source + 1);
                        out.relay(&header(source, number, time), 8_000, now_ns).expect("changed")
                    }
                    _ => {
                        number = number.wrapping_add(1);
                        out.relay(&header(source, number, time), 8_000, now_ns).expect("changed")
                    }
                };
                prop_assert_eq!(head.ssrc, last.ssrc);
                prop_assert_eq!(head.sequence, last.sequence.wrapping_add(1));
                last = head;
            }
        }
    }
}
