//! What the payload types of a media line mean. Pure.

use super::Media;
use crate::codec::Codec;

/// What a payload type carries, as far as this engine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Sound.
    Audio(Codec),
    /// Named events (RFC 4733) with this clock, Hz.
    Events(u32),
}

impl Coding {
    /// Clock of its RTP timestamps, Hz.
    pub fn clock_hz(self) -> u32 {
        match self {
            Coding::Audio(codec) => codec.clock_hz(),
            Coding::Events(clock_hz) => clock_hz,
        }
    }
}

/// A payload type and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// 0 to 127.
    pub payload_type: u8,
    /// Its meaning.
    pub coding: Coding,
}

/// Shortest and longest packets that are sent, ms; what lies between must be whole frames.
const PTIME_MS: std::ops::RangeInclusive<u32> = 10..=60;

/// What a party takes: the known payload types in its order, and how long its packets are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takes {
    /// In the order of preference.
    pub formats: Box<[Format]>,
    /// Sound in a packet, ms: 10, 20, 40 or 60.
    pub ptime_ms: u32,
}

impl Default for Takes {
    fn default() -> Takes {
        Takes {
            formats: Box::default(),
            ptime_ms: 20,
        }
    }
}

impl Takes {
    /// What the writer of a media line takes.
    pub fn of(media: &Media<'_>) -> Takes {
        let types = media.formats.split_ascii_whitespace();
        let types = types.filter_map(|text| text.parse().ok().filter(|number| *number < 128));
        let format = |payload_type: u8| {
            Some(Format {
                payload_type,
                coding: coding(media, payload_type)?,
            })
        };
        let said = attribute(media, "a=ptime:").and_then(|text| text.trim().parse().ok());
        let ptime_ms = said.filter(|ms| PTIME_MS.contains(ms) && matches!(ms, 10 | 20 | 40 | 60));
        Takes {
            formats: types.filter_map(format).collect(),
            ptime_ms: ptime_ms.unwrap_or(20),
        }
    }

    /// The meaning of a payload type.
    pub fn coding(&self, payload_type: u8) -> Option<Coding> {
        let mut formats = self.formats.iter();
        let format = formats.find(|format| format.payload_type == payload_type)?;
        Some(format.coding)
    }

    /// The payload type with this meaning.
    pub fn payload_type(&self, coding: Coding) -> Option<u8> {
        let mut formats = self.formats.iter();
        let format = formats.find(|format| format.coding == coding)?;
        Some(format.payload_type)
    }

    /// The sound it likes best.
    pub fn first_audio(&self) -> Option<(u8, Codec)> {
        self.formats.iter().find_map(|format| match format.coding {
            Coding::Audio(codec) => Some((format.payload_type, codec)),
            Coding::Events(_) => None,
        })
    }

    /// Its payload type for events, best with this clock; with the clock it has.
    pub fn events(&self, clock_hz: u32) -> Option<(u8, u32)> {
        let events = self
            .formats
            .iter()
            .filter_map(|format| match format.coding {
                Coding::Events(clock) => Some((format.payload_type, clock)),
                Coding::Audio(_) => None,
            });
        events.max_by_key(|(_, clock)| *clock == clock_hz)
    }

    /// The payload types of events, a bit each.
    pub fn events_mask(&self) -> u128 {
        let events = self
            .formats
            .iter()
            .filter(|format| matches!(format.coding, Coding::Events(_)));
        events.fold(0, |mask, format| mask | 1 << format.payload_type)
    }
}

fn attribute<'a>(media: &Media<'a>, prefix: &str) -> Option<&'a str> {
    media
        .lines
        .iter()
        .find_map(|line| line.strip_prefix(prefix))
}

/// `a=rtpmap:<type> <name>/<clock>[/<channels>]`, or what the type means without.
fn coding(media: &Media<'_>, payload_type: u8) -> Option<Coding> {
    let maps = media
        .lines
        .iter()
        .filter_map(|line| line.strip_prefix("a=rtpmap:"));
    let mut maps = maps.filter_map(|map| map.split_once(' '));
    let Some((_, map)) = maps.find(|(number, _)| number.parse() == Ok(payload_type)) else {
        return Codec::from_static(payload_type).map(Coding::Audio);
    };
    let mut parts = map.trim().split('/');
    let name = parts.next()?;
    let clock_hz = parts.next()?.parse().ok()?;
    let channels = parts.next().map_or(Some(1), |text| text.parse().ok())?;
    if name.eq_ignore_ascii_case("telephone-event") {
        return (clock_hz > 0).then_some(Coding::Events(clock_hz));
    }
    Codec::from_rtpmap(name, clock_hz, channels).map(Coding::Audio)
}

#[cfg(test)]
mod tests {
    use super::super::Sdp;
    use super::*;

    fn takes(line: &str) -> Takes {
        let text = format!("v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP {line}\r\n");
        let sdp = Sdp::parse(&text).expect("an SDP");
        Takes::of(&sdp.media[0])
    }

    #[test]
    fn payload_types_are_known_by_map_or_by_number_and_others_left_out() {
        let takes = takes(
            "96 0 18 101 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=rtpmap:97 telephone-event/48000\r\na=ptime:40",
        );
        assert_eq!(takes.first_audio(), Some((96, Codec::Opus)));
        assert_eq!(takes.coding(0), Some(Coding::Audio(Codec::Pcmu)));
        assert_eq!(takes.coding(18), None);
        assert_eq!(
            (takes.events(48_000), takes.events(8_000)),
            (Some((97, 48_000)), Some((101, 8_000)))
        );
        assert_eq!(takes.events_mask(), 1 << 101 | 1 << 97);
        assert_eq!(takes.ptime_ms, 40);
    }

    #[test]
    fn nonsense_means_nothing() {
        let takes = takes("0 200 x\r\na=rtpmap:0\r\na=rtpmap:101 telephone-event/0\r\na=ptime:7");
        assert_eq!(takes.formats.len(), 1);
        assert_eq!(takes.ptime_ms, 20);
        assert_eq!(takes.events(8_000), None);
    }
}
