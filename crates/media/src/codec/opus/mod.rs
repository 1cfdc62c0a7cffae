//! Opus (RFC 6716) by libopus, in mono.

mod encoder;

use opus::{Channels, Decoder};

use super::Coder;
pub use encoder::Encoder;

/// Bits a second: speech of full bandwidth is transparent well below.
const BITRATE: i32 = 24_000;

/// Half of the effort that libopus can make: speech sounds the same, at two thirds of the cost.
const COMPLEXITY: i32 = 5;

/// Both directions.
pub struct Opus {
    encoder: Encoder,
    decoder: Decoder,
    rate_hz: u32,
    /// The next frame stands alone.
    alone: bool,
}

/// An encoder as all of ours are.
///
/// None for a rate that Opus does not have.
pub fn encoder(rate_hz: u32) -> Option<Encoder> {
    let mut encoder = Encoder::new(rate_hz)?;
    let set = encoder.set_bitrate(BITRATE)
        && encoder.set_complexity(COMPLEXITY)
        && encoder.set_inband_fec(true);
    set.then_some(encoder)
}

impl Opus {
    /// At the lowest rate that holds what `source_hz` holds; none when there is no memory.
    pub fn new(source_hz: u32) -> Option<Opus> {
        let rate_hz = match source_hz {
            0..=8_000 => 8_000,
            8_001..=16_000 => 16_000,
            _ => 48_000,
        };
        Some(Opus {
            encoder: encoder(rate_hz)?,
            decoder: Decoder::new(rate_hz, Channels::Mono).ok()?,
            rate_hz,
            alone: false,
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
        let length = self.encoder.encode(pcm, payload);
        if self.alone {
            self.alone = false;
            self.encoder.set_prediction_disabled(false);
        }
        length
    }

    fn fork(&self) -> Option<Box<dyn Coder>> {
        let (encoder, rate_hz) = (self.encoder.fork(), self.rate_hz);
        Some(Box::new(Opus {
            encoder,
            decoder: Decoder::new(rate_hz, Channels::Mono).ok()?,
            rate_hz,
            alone: self.alone,
        }))
    }

    fn stand_alone(&mut self) {
        self.alone = true;
        self.encoder.set_prediction_disabled(true);
    }

    fn conceal(&mut self, pcm: &mut [i16]) -> bool {
        // It writes whole frames of 2.5 ms alone.
        let wanted = pcm.len();
        wanted.is_multiple_of(self.rate_hz as usize / 400)
            && self.decoder.decode(&[], pcm, false).ok() == Some(wanted)
    }
}
