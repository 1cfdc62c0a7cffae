//! Audio codecs: payloads of RTP to samples and back.
//!
//! Pure. One trait for all; samples are mono `i16`; nothing is allocated per packet. Payloads come
//! from strangers: a decoder answers none for what it cannot read and never panics.

mod adaptive;
mod g711;
mod g722;
mod l16;
pub(crate) mod opus;
mod plugin;

pub use g711::{alaw_decode, alaw_encode, ulaw_decode, ulaw_encode};
pub use g722::G722;
pub use plugin::{PluggedCodec, PluginError, load};

/// Longest packet handled, milliseconds: RFC 7587 has the longest, 120 ms; two fit.
pub const PACKET_MS_MAX: usize = 240;

/// Most samples of one packet, at the highest rate.
pub const SAMPLES_MAX: usize = 48 * PACKET_MS_MAX;

/// What a payload type means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Codec {
    /// G.711, mu-law.
    Pcmu,
    /// G.711, A-law.
    Pcma,
    /// G.722 at 64 kbit/s. 16 kHz, though its RTP clock says 8 (RFC 3551 section 4.5.2).
    G722,
    /// 16-bit samples in network order at this rate.
    L16(u32),
    /// Opus (RFC 6716, RFC 7587).
    Opus,
    /// One of a shared library.
    Plugged(PluggedCodec),
}

/// Whether this is the name of one that is brought along, or of what is no codec.
fn is_built_in(name: &str) -> bool {
    let names = [
        "PCMU",
        "PCMA",
        "G722",
        "L16",
        "opus",
        "CN",
        "telephone-event",
    ];
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Turns samples into payloads and payloads into samples, with the memory that takes.
pub trait Coder: Send {
    /// Rate of the samples on both sides, Hz.
    fn rate_hz(&self) -> u32;

    /// Reads a payload into `pcm`; the number of samples, none when it is malformed or too long.
    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize>;

    /// Writes samples as a payload; its length, none when it does not fit.
    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize>;

    /// Fills `pcm` in place of a lost packet; false when the codec has no memory for that.
    fn conceal(&mut self, _pcm: &mut [i16]) -> bool {
        false
    }

    /// A coder that goes on writing exactly as this one would; none when there is no memory.
    /// What it remembers of reading is its own.
    fn fork(&self) -> Option<Box<dyn Coder>>;

    /// The next payload is to be understood without those before it, as far as the codec can.
    fn stand_alone(&mut self) {}
}

impl Codec {
    /// The codec an `a=rtpmap` names; none for those that are only relayed. Stereo is for Opus
    /// alone, which says 2 always (RFC 7587 section 7).
    pub fn from_rtpmap(name: &str, clock_hz: u32, channels: u32) -> Option<Codec> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match (clock_hz, channels) {
            (8_000, 1) if is("PCMU") => Some(Codec::Pcmu),
            (8_000, 1) if is("PCMA") => Some(Codec::Pcma),
            (8_000, 1) if is("G722") => Some(Codec::G722),
            (48_000, 2) if is("opus") => Some(Codec::Opus),
            (8_000 | 16_000 | 48_000, 1) if is("L16") => Some(Codec::L16(clock_hz)),
            (_, 1) => PluggedCodec::find(name, clock_hz).map(Codec::Plugged),
            _ => None,
        }
    }

    /// The codec of a payload type that needs no `a=rtpmap` (RFC 3551 section 6).
    pub fn from_static(payload_type: u8) -> Option<Codec> {
        match payload_type {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            9 => Some(Codec::G722),
            _ => PluggedCodec::of_type(payload_type).map(Codec::Plugged),
        }
    }

    /// The static payload type.
    pub fn static_type(self) -> Option<u8> {
        match self {
            Codec::Pcmu => Some(0),
            Codec::Pcma => Some(8),
            Codec::G722 => Some(9),
            Codec::L16(_) | Codec::Opus => None,
            Codec::Plugged(codec) => codec.static_type(),
        }
    }

    /// Clock of its RTP timestamps, Hz.
    pub fn clock_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            Codec::L16(rate_hz) => rate_hz,
            Codec::Opus => 48_000,
            Codec::Plugged(codec) => codec.clock_hz(),
        }
    }

    /// Rate of its samples, Hz; the highest one, where it can have several.
    pub fn rate_hz(self) -> u32 {
        match self {
            Codec::G722 => 16_000,
            Codec::Plugged(codec) => codec.rate_hz(),
            codec => codec.clock_hz(),
        }
    }

    /// The codec a command names: `PCMU`, `opus/48000/2`, `L16/16000`.
    pub fn from_name(name: &str) -> Option<Codec> {
        let mut parts = name.split('/');
        let name = parts.next()?;
        let clock_hz = parts.next().and_then(|text| text.parse().ok());
        let opus = name.eq_ignore_ascii_case("opus");
        let usual = || match PluggedCodec::named(name) {
            Some(codec) => codec.clock_hz(),
            None if opus => 48_000,
            None => 8_000,
        };
        let clock_hz = clock_hz.unwrap_or_else(usual);
        Codec::from_rtpmap(name, clock_hz, if opus { 2 } else { 1 })
    }

    /// What stands behind the payload type in `a=rtpmap`.
    pub fn rtpmap(self) -> String {
        match self {
            Codec::Pcmu => "PCMU/8000".into(),
            Codec::Pcma => "PCMA/8000".into(),
            Codec::G722 => "G722/8000".into(),
            Codec::L16(rate_hz) => format!("L16/{rate_hz}"),
            Codec::Opus => "opus/48000/2".into(),
            Codec::Plugged(codec) => codec.rtpmap(),
        }
    }

    /// What stands behind it in `a=fmtp`; none: nothing has to.
    pub fn fmtp(self) -> Option<String> {
        match self {
            Codec::Opus => Some("useinbandfec=1".into()),
            Codec::Plugged(codec) => codec.fmtp(),
            _ => None,
        }
    }

    /// Bytes of a payload in each ms, for codecs whose payloads can be cut anywhere.
    pub fn bytes_per_ms(self) -> Option<usize> {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => Some(8),
            Codec::L16(rate_hz) => Some(rate_hz as usize / 500),
            Codec::Opus | Codec::Plugged(_) => None,
        }
    }

    /// Sound in a payload, whole ms; none for one that is malformed or has parts of a ms.
    pub fn packet_ms(self, payload: &[u8]) -> Option<u32> {
        if let Some(per_ms) = self.bytes_per_ms() {
            let whole = !payload.is_empty() && payload.len().is_multiple_of(per_ms);
            return whole.then_some((payload.len() / per_ms) as u32);
        }
        if self != Codec::Opus {
            return None;
        }
        let samples = ::opus::packet::get_nb_samples(payload, 48_000).ok()?;
        samples.is_multiple_of(48).then_some((samples / 48) as u32)
    }

    /// A length of packets that it can have, ms, when this one is wanted.
    pub fn possible_ms(self, wanted_ms: u32) -> u32 {
        match self {
            // RFC 6716 section 2.1.4: a frame has 2.5, 5, 10, 20, 40 or 60 ms.
            Codec::Opus if wanted_ms == 30 => 20,
            Codec::Plugged(codec) => {
                let frame_ms = codec.frame_ms();
                (wanted_ms / frame_ms).max(1) * frame_ms
            }
            _ => wanted_ms,
        }
    }

    /// A coder with an empty memory. `source_hz` is the rate of what will be encoded: Opus costs
    /// a third when narrow sound is encoded as narrow sound. None when there is no memory.
    pub fn coder(self, source_hz: u32) -> Option<Box<dyn Coder>> {
        Some(match self {
            Codec::Pcmu => Box::new(g711::Ulaw),
            Codec::Pcma => Box::new(g711::Alaw),
            Codec::G722 => Box::new(G722::default()),
            Codec::L16(rate_hz) => Box::new(l16::L16 { rate_hz }),
            Codec::Opus => Box::new(opus::Opus::new(source_hz)?),
            Codec::Plugged(codec) => codec.coder()?,
        })
    }
}

#[cfg(test)]
mod tests;
