//! What the payload types of a media line mean. Pure.

use super::Media;
use crate::codec::Codec;

/// What a payload type carries, as far as this engine knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Coding {
    /// Sound.
    Audio(Codec),
    /// Named events (RFC 4733) with this clock, Hz.
    Events(u32),
    /// Comfort noise (RFC 3389) with this clock, Hz.
    Noise(u32),
}

impl Coding {
    /// Clock of its RTP timestamps, Hz.
    pub fn clock_hz(self) -> u32 {
        match self {
            Coding::Audio(codec) => codec.clock_hz(),
            Coding::Events(clock_hz) | Coding::Noise(clock_hz) => clock_hz,
        }
    }
}

/// A payload type and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Format {
    /// 0 to 127.
    pub payload_type: u8,
    /// Its meaning.
    pub coding: Coding,
}

/// Payload type of comfort noise without `a=rtpmap` (RFC 3389 section 4).
pub const STATIC_NOISE: u8 = 13;

/// Lengths of packets that are sent, ms.
const PACKETS_MS: [u32; 5] = [10, 20, 30, 40, 60];

/// A length of packets that can be sent, ms; none when it is another one.
pub fn packet_time(text: &str) -> Option<u32> {
    let said = text.trim().parse().ok();
    said.filter(|ms| PACKETS_MS.contains(ms))
}

/// Which packets of other lengths are changed for a party.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Repack {
    /// None: it has said nothing.
    #[default]
    Never,
    /// Those that have to be changed anyhow: it has said how long it wants them.
    Bridged,
    /// All: a command wants it.
    Always,
}

/// What a party takes: the known payload types in its order, and how long its packets are to be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Takes {
    /// In the order of preference.
    pub formats: Box<[Format]>,
    /// Sound in a packet, ms: 10, 20, 30, 40 or 60.
    pub ptime_ms: u32,
    /// Which packets of other lengths are brought to that.
    pub repack: Repack,
}

impl Default for Takes {
    fn default() -> Takes {
        Takes {
            formats: Box::default(),
            ptime_ms: 20,
            repack: Repack::Never,
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
        let said = attribute(media, "a=ptime:").and_then(packet_time);
        Takes {
            formats: types.filter_map(format).collect(),
            ptime_ms: said.unwrap_or(20),
            repack: said.map_or(Repack::Never, |_| Repack::Bridged),
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
            Coding::Events(_) | Coding::Noise(_) => None,
        })
    }

    /// Its payload type for events, best with this clock; with the clock it has.
    pub fn events(&self, clock_hz: u32) -> Option<(u8, u32)> {
        let events = self
            .formats
            .iter()
            .filter_map(|format| match format.coding {
                Coding::Events(clock) => Some((format.payload_type, clock)),
                Coding::Audio(_) | Coding::Noise(_) => None,
            });
        events.max_by_key(|(_, clock)| *clock == clock_hz)
    }

    /// The payload types of comfort noise, a bit each.
    pub fn noise_mask(&self) -> u128 {
        let noise = self
            .formats
            .iter()
            .filter(|format| matches!(format.coding, Coding::Noise(_)));
        noise.fold(0, |mask, format| mask | 1 << format.payload_type)
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
        let noise = (payload_type == STATIC_NOISE).then_some(Coding::Noise(8_000));
        return noise.or_else(|| Codec::from_static(payload_type).map(Coding::Audio));
    };
    let mut parts = map.trim().split('/');
    let name = parts.next()?;
    let clock_hz = parts.next()?.parse().ok()?;
    let channels = parts.next().map_or(Some(1), |text| text.parse().ok())?;
    if name.eq_ignore_ascii_case("telephone-event") {
        return (clock_hz > 0).then_some(Coding::Events(clock_hz));
    }
    if name.eq_ignore_ascii_case("CN") {
        return (clock_hz > 0).then_some(Coding::Noise(clock_hz));
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
             a=rtpmap:97 telephone-event/48000\r\na=ptime:30",
        );
        assert_eq!(takes.first_audio(), Some((96, Codec::Opus)));
        assert_eq!(takes.coding(0), Some(Coding::Audio(Codec::Pcmu)));
        assert_eq!(takes.coding(18), None);
        assert_eq!(
            (takes.events(48_000), takes.events(8_000)),
            (Some((97, 48_000)), Some((101, 8_000)))
        );
        assert_eq!(takes.events_mask(), 1 << 101 | 1 << 97);
        assert_eq!((takes.ptime_ms, takes.repack), (30, Repack::Bridged));
    }

    #[test]
    fn comfort_noise_is_known_by_its_number_and_by_its_name() {
        let takes = takes("0 13 98\r\na=rtpmap:98 CN/16000");
        assert_eq!(takes.coding(13), Some(Coding::Noise(8_000)));
        assert_eq!(takes.coding(98), Some(Coding::Noise(16_000)));
        assert_eq!(takes.noise_mask(), 1 << 13 | 1 << 98);
        assert_eq!(takes.first_audio(), Some((0, Codec::Pcmu)));
    }

    #[test]
    fn nonsense_means_nothing() {
        let takes = takes("0 200 x\r\na=rtpmap:0\r\na=rtpmap:101 telephone-event/0\r\na=ptime:7");
        assert_eq!(takes.formats.len(), 1);
        assert_eq!((takes.ptime_ms, takes.repack), (20, Repack::Never));
        assert_eq!(takes.events(8_000), None);
    }
}
