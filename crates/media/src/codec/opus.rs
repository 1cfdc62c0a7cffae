//! Opus (RFC 6716) by libopus, in mono.

use opus::{Application, Bitrate, Channels, Decoder, Encoder};

use super::Coder;

/// Bits a second: speech of full bandwidth is transparent well below.
const BITRATE: i32 = 24_000;

/// Half of the effort that libopus can make: speech sounds the same, at two thirds of the cost.
const COMPLEXITY: i32 = 5;

/// Both directions.
pub struct Opus {
    encoder: Encoder,
    decoder: Decoder,
    rate_hz: u32,
}

impl Opus {
    /// At the lowest rate that holds what `source_hz` holds; none when there is no memory.
    pub fn new(source_hz: u32) -> Option<Opus> {
        let rate_hz = match source_hz {
            0..=8_000 => 8_000,
            8_001..=16_000 => 16_000,
            _ => 48_000,
        };
        let mut encoder = Encoder::new(rate_hz, Channels::Mono, Application::Voip).ok()?;
        encoder.set_bitrate(Bitrate::Bits(BITRATE)).ok()?;
        encoder.set_complexity(COMPLEXITY).ok()?;
        encoder.set_inband_fec(true).ok()?;
        Some(Opus {
            encoder,
            decoder: Decoder::new(rate_hz, Channels::Mono).ok()?,
            rate_hz,
        })
    }
}

impl Coder for Opus {
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
        // To libopus an empty payload is a lost packet.
        if payload.is_empty() {
            return None;
        }
        self.decoder.decode(payload, pcm, false).ok()
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        self.encoder.encode(pcm, payload).ok()
    }

    fn conceal(&mut self, pcm: &mut [i16]) -> bool {
        // It writes whole frames of 2.5 ms alone.
        let wanted = pcm.len();
        wanted.is_multiple_of(self.rate_hz as usize / 400)
            && self.decoder.decode(&[], pcm, false).ok() == Some(wanted)
    }
}
