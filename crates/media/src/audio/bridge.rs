//! Between two parties without a common way to write sound: payload types are renumbered, and
//! sound is read in one codec and written in the other.
//!
//! Pure. One packet in, one packet out: nothing waits for the next packet, so the only delay is
//! that of the codecs and of the filter between their rates. Only for a party that wants packets
//! of another length than come they are cut and joined (`cut`).

mod cut;

use crate::codec::Codec;
use crate::packet::{RtpHeader, payload};
use crate::sdp::{Coding, Format, Repack, Takes};

use super::event::{EVENT_BYTES, Event};
use super::transcoder::Transcoder;
use cut::Cutting;

/// One direction.
pub struct Bridge {
    /// What the other party takes.
    takes: Takes,
    transcoder: Option<Transcoder>,
    time: Option<Time>,
    cutting: Option<Cutting>,
    /// The packet that came last waits for others.
    waits: bool,
}

/// Media time in the clock of one side as it is in that of the other.
#[derive(Debug, Clone, Copy)]
struct Time {
    ssrc: u32,
    from: u32,
    to: u32,
    from_hz: u32,
    to_hz: u32,
}

impl Time {
    fn convert(&self, timestamp: u32) -> u32 {
        let step = i64::from(timestamp.wrapping_sub(self.from) as i32);
        let step = step * i64::from(self.to_hz) / i64::from(self.from_hz.max(1));
        self.to.wrapping_add(step as u32)
    }
}

/// Where a stream begins in the other clock. It follows from the time alone, so an engine that
/// knows nothing of the packets before goes on where the last one was; but for the steps of
/// 2^32 / 6 that a day brings (RFC 3550 section 5.1 lets a stream begin anywhere).
fn scaled(timestamp: u32, from_hz: u32, to_hz: u32) -> u32 {
    (u64::from(timestamp) * u64::from(to_hz) / u64::from(from_hz.max(1))) as u32
}

impl Bridge {
    /// To a party that takes this.
    pub fn new(takes: Takes) -> Bridge {
        Bridge {
            takes,
            transcoder: None,
            time: None,
            cutting: None,
            waits: false,
        }
    }

    /// Whether a bridge is needed from who sends `sends` to who takes `takes`.
    pub fn is_needed(sends: &Takes, takes: &Takes) -> bool {
        let formats = sends.formats.iter();
        let mut strange =
            formats.filter(|format| takes.coding(format.payload_type) != Some(format.coding));
        let cut = takes.repack == Repack::Always;
        takes.first_audio().is_some() && (cut || strange.next().is_some())
    }

    /// Whether both lead to the same formats.
    pub fn leads_where(&self, other: &Bridge) -> bool {
        self.takes == other.takes
    }

    /// Clock of what comes out, Hz.
    pub fn clock_hz(&self) -> u32 {
        let known = self.time.map(|time| time.to_hz);
        known.unwrap_or_else(|| {
            self.takes
                .first_audio()
                .map_or(8_000, |(_, to)| to.clock_hz())
        })
    }

    /// Whether the other party understands events.
    pub fn takes_events(&self) -> bool {
        self.takes.events_mask() != 0
    }

    /// The media time of a report in the clock of the other side.
    pub fn convert_time(&self, timestamp: u32) -> u32 {
        self.time.map_or(timestamp, |time| time.convert(timestamp))
    }

    /// Changes a packet in place: its header and its length; none when the other party cannot
    /// get it. Unknown payload types are no concern of ours.
    pub fn pass(
        &mut self,
        header: &RtpHeader,
        coding: Option<Coding>,
        room: &mut [u8],
        length: usize,
    ) -> Option<(RtpHeader, usize)> {
        self.begin();
        let passed = match coding {
            Some(Coding::Audio(codec)) => return self.pass_sound(header, codec, room, length),
            Some(Coding::Events(clock_hz)) => self.pass_event(header, clock_hz, room, length),
            Some(coding @ Coding::Noise(_)) => self.pass_noise(header, coding, length),
            None => Some((*header, length)),
        };
        let (header, length) = passed?;
        Some((self.renumbered(header)?, length))
    }

    fn pass_sound(
        &mut self,
        header: &RtpHeader,
        codec: Codec,
        room: &mut [u8],
        length: usize,
    ) -> Option<(RtpHeader, usize)> {
        let same = self.takes.payload_type(Coding::Audio(codec));
        let (payload_type, to) = match same {
            Some(payload_type) => (payload_type, codec),
            None => self.takes.first_audio()?,
        };
        let timestamp = self.convert(header, codec.clock_hz(), to.clock_hz());
        let header = RtpHeader {
            payload_type,
            timestamp,
            ..*header
        };
        if let Some(came_ms) = self.is_cut(codec, to, payload(&room[..length], &header)) {
            return self.cut_sound(&header, (codec, to), came_ms, room, length);
        }
        if to == codec {
            return Some((self.renumbered(header)?, length));
        }
        let transcoder = self.transcoder(codec, to)?;
        let content = payload(&room[..length], &header).len();
        let (written, before) = transcoder.run(room.get_mut(header.payload_at..)?, content)?;
        // The padding is gone.
        room[0] &= !0x20;
        let units = before as u64 * u64::from(to.clock_hz()) / u64::from(transcoder.rate_hz());
        let header = RtpHeader {
            timestamp: header.timestamp.wrapping_sub(units as u32),
            ..header
        };
        Some((self.renumbered(header)?, header.payload_at + written))
    }

    /// What turns one codec into the other; its memory is kept from packet to packet.
    fn transcoder(&mut self, from: Codec, to: Codec) -> Option<&mut Transcoder> {
        let known = self.transcoder.as_ref();
        if known.is_none_or(|known| (known.from, known.to) != (from, to)) {
            self.transcoder = Transcoder::new(from, to);
        }
        self.transcoder.as_mut()
    }

    /// Comfort noise, which the other party takes under a number of its own.
    fn pass_noise(
        &mut self,
        header: &RtpHeader,
        coding: Coding,
        length: usize,
    ) -> Option<(RtpHeader, usize)> {
        let noise = |format: &&Format| matches!(format.coding, Coding::Noise(_));
        let to = self.takes.formats.iter().find(noise).copied()?;
        let timestamp = self.convert(header, coding.clock_hz(), to.coding.clock_hz());
        let header = RtpHeader {
            payload_type: to.payload_type,
            timestamp,
            ..*header
        };
        Some((header, length))
    }

    fn pass_event(
        &mut self,
        header: &RtpHeader,
        clock_hz: u32,
        room: &mut [u8],
        length: usize,
    ) -> Option<(RtpHeader, usize)> {
        let (_, audio) = self.takes.first_audio()?;
        let (payload_type, to_hz) = self.takes.events(audio.clock_hz())?;
        let content = room.get_mut(header.payload_at..length)?;
        let event = Event::parse(content)?;
        let duration = u64::from(event.duration) * u64::from(to_hz) / u64::from(clock_hz.max(1));
        let event = Event {
            duration: duration.min(u16::MAX.into()) as u16,
            ..event
        };
        content[..EVENT_BYTES].copy_from_slice(&event.bytes());
        // Events share the clock of the sound around them.
        let from_hz = self.time.map_or(clock_hz, |time| time.from_hz);
        let timestamp = self.convert(header, from_hz, audio.clock_hz());
        let header = RtpHeader {
            payload_type,
            timestamp,
            ..*header
        };
        Some((header, length))
    }

    fn convert(&mut self, header: &RtpHeader, from_hz: u32, to_hz: u32) -> u32 {
        let known = self
            .time
            .filter(|time| (time.ssrc, time.from_hz, time.to_hz) == (header.ssrc, from_hz, to_hz));
        let mut time = known.unwrap_or(Time {
            ssrc: header.ssrc,
            from: header.timestamp,
            to: self
                .time
                .map_or_else(|| scaled(header.timestamp, from_hz, to_hz), |time| time.to),
            from_hz,
            to_hz,
        });
        let timestamp = time.convert(header.timestamp);
        if header.timestamp.wrapping_sub(time.from) < 1 << 31 {
            (time.from, time.to) = (header.timestamp, timestamp);
        }
        self.time = Some(time);
        timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn takes(formats: &[(u8, Coding)]) -> Takes {
        let format = |&(payload_type, coding)| Format {
            payload_type,
            coding,
        };
        Takes {
            formats: formats.iter().map(format).collect(),
            ptime_ms: 20,
            repack: Repack::Never,
        }
    }

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            payload_type: 0,
            sequence,
            timestamp,
            ssrc: 1,
            payload_at: 12,
        }
    }

    const PCMU: Coding = Coding::Audio(Codec::Pcmu);
    const OPUS: Coding = Coding::Audio(Codec::Opus);

    #[test]
    fn a_bridge_is_needed_only_between_different_words() {
        let plain = takes(&[(0, PCMU), (101, Coding::Events(8_000))]);
        assert!(!Bridge::is_needed(&plain, &plain));
        assert!(Bridge::is_needed(
            &plain,
            &takes(&[(0, PCMU), (96, Coding::Events(8_000))])
        ));
        assert!(Bridge::is_needed(&takes(&[(111, OPUS)]), &plain));
        assert!(!Bridge::is_needed(&plain, &takes(&[])));
    }

    #[test]
    fn every_packet_becomes_one_packet_at_once_with_the_time_of_the_other_clock() {
        let mut bridge = Bridge::new(takes(&[(111, OPUS)]));
        for n in 0..10_u16 {
            let mut room = [0x55; 2_000];
            room[0] = 0x80;
            let header = header(n, 1_000 + u32::from(n) * 160);
            let passed = bridge
                .pass(&header, Some(PCMU), &mut room, 172)
                .expect("a packet");
            assert_eq!((passed.0.payload_type, passed.0.sequence), (111, n));
            assert_eq!(passed.0.timestamp, 6_000 + u32::from(n) * 960);
            assert_eq!(Codec::Opus.packet_ms(&room[12..passed.1]), Some(20));
        }
    }

    #[test]
    fn a_bridge_that_begins_in_the_middle_has_the_time_of_one_that_was_there_before() {
        let near_the_end = u32::MAX - 160 * 5;
        for (first, coding, to, step) in [
            (7, PCMU, (111, OPUS), 160),
            (near_the_end, PCMU, (111, OPUS), 160),
            (11, OPUS, (0, PCMU), 960),
        ] {
            let mut old = Bridge::new(takes(&[to]));
            for n in 0..10_u32 {
                let header = header(n as u16, first.wrapping_add(n * step));
                let mut new = Bridge::new(takes(&[to]));
                let times = [&mut old, &mut new].map(|bridge| {
                    let mut room = [0x55; 2_000];
                    room[..12].fill(0x80);
                    // Opus: a frame without content.
                    room[12..15].copy_from_slice(&[0xf8, 0xff, 0xfe]);
                    let length = if coding == OPUS { 15 } else { 172 };
                    let passed = bridge.pass(&header, Some(coding), &mut room, length);
                    passed.expect("a packet").0.timestamp
                });
                assert_eq!(times[0], times[1], "packet {n} from {first}");
            }
        }
    }

    #[test]
    fn packets_that_opus_cannot_hold_are_cut_without_losing_anything() {
        let mut bridge = Bridge::new(takes(&[(111, OPUS)]));
        let mut lengths = Vec::new();
        let mut times = Vec::new();
        for n in 0..4_u16 {
            let mut room = [0x55; 2_000];
            room[0] = 0x80;
            let header = header(n, u32::from(n) * 240);
            let passed = bridge
                .pass(&header, Some(PCMU), &mut room, 252)
                .expect("a packet");
            lengths.extend(Codec::Opus.packet_ms(&room[12..passed.1]));
            times.push(passed.0.timestamp / 48);
        }
        assert_eq!(
            (lengths, times),
            (vec![20, 40, 20, 40], vec![0, 20, 60, 80])
        );
    }

    #[test]
    fn events_are_renumbered_and_their_clock_is_changed() {
        let to = takes(&[(111, OPUS), (110, Coding::Events(48_000))]);
        let mut bridge = Bridge::new(to);
        let mut room = [0; 100];
        room[12..16].copy_from_slice(&[5, 10, 0, 160]);
        let coding = Some(Coding::Events(8_000));
        let (header, length) = bridge
            .pass(&header(1, 50), coding, &mut room, 16)
            .expect("passed");
        assert_eq!((header.payload_type, length), (110, 16));
        assert_eq!(room[12..16], [5, 10, 3, 0xc0]);
        let mut deaf = Bridge::new(takes(&[(111, OPUS)]));
        assert_eq!(deaf.pass(&header, coding, &mut room, 16), None);
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(
            packets in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..500), any::<u32>(), 0_usize..5), 1..6),
            to in 0_usize..5,
        ) {
            let all = [PCMU, OPUS, Coding::Audio(Codec::G722), Coding::Audio(Codec::L16(48_000)),
                Coding::Events(8_000)];
            let mut bridge = Bridge::new(takes(&[(9, all[to]), (8, Coding::Audio(Codec::Pcma))]));
            for (content, timestamp, from) in packets {
                let mut room = vec![0; 12];
                room.extend(&content);
                let length = room.len();
                room.resize(9_000, 0);
                let header = header(1, timestamp);
                let passed = bridge.pass(&header, Some(all[from]), &mut room, length);
                if let Some((_, length)) = passed {
                    prop_assert!(length <= room.len());
                }
            }
        }
    }
}
