//! Digits in the sound of a party that sends no events.

use super::event::Pressed;
use crate::codec::{Codec, Coder, SAMPLES_MAX};
use crate::dsp::detect::{Detector, RATE_HZ};
use crate::dsp::resample::Resampler;

/// Listens to one party.
pub struct InBand {
    codec: Codec,
    coder: Box<dyn Coder>,
    down: Option<Resampler>,
    detector: Detector,
    pcm: Box<[i16]>,
    narrow: Box<[i16]>,
}

impl InBand {
    /// Nothing heard yet; none without memory.
    pub fn new(codec: Codec) -> Option<InBand> {
        let coder = codec.coder(RATE_HZ)?;
        Some(InBand {
            codec,
            down: Resampler::new(coder.rate_hz(), RATE_HZ),
            coder,
            detector: Detector::default(),
            pcm: vec![0; SAMPLES_MAX].into(),
            narrow: vec![0; SAMPLES_MAX].into(),
        })
    }

    /// The codec it understands.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Takes a payload; tells the digits that ended with it.
    pub fn take(&mut self, payload: &[u8], mut told: impl FnMut(Pressed)) {
        let Some(count) = self.coder.decode(payload, &mut self.pcm) else {
            return;
        };
        let samples = match &mut self.down {
            Some(down) => {
                let count = down.run(&self.pcm[..count], &mut self.narrow);
                &self.narrow[..count]
            }
            None => &self.pcm[..count],
        };
        self.detector.take(samples, |heard| {
            told(Pressed {
                digit: heard.digit,
                lasted_ms: heard.lasted_ms,
                volume: 0,
            });
        });
    }
}
