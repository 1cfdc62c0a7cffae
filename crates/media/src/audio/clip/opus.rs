//! Opus in Ogg as a clip.

use ::opus::{Channels, Decoder};

use super::{Clip, ClipError};
use crate::codec::SAMPLES_MAX;
use crate::limits::CLIP_SAMPLES_MAX;
use crate::ogg::opus::{CLOCK_HZ, Head};
use crate::ogg::packets;

/// What was read so far.
struct Reading {
    head: Head,
    decoder: Decoder,
    rate_hz: u32,
    samples: Vec<i16>,
    pcm: Vec<i16>,
    /// The time at the end, in the clock of the stream.
    end: u64,
}

impl Clip {
    /// Reads Opus in Ogg (RFC 7845), one or two channels, the first stream of the file. What is
    /// damaged or cut off is left out.
    ///
    /// # Errors
    /// What is no such file, and more samples than are kept.
    pub fn parse_ogg(bytes: &[u8]) -> Result<Clip, ClipError> {
        let mut reading: Option<Reading> = None;
        let mut number = 0;
        packets(bytes, |packet, granule| {
            match (number, &mut reading) {
                (0, _) => reading = Head::parse(packet).and_then(Reading::begin),
                // Who wrote it, and comments.
                (1, _) | (_, None) => {}
                (_, Some(reading)) => reading.take(packet, granule),
            }
            number += 1;
        });
        reading.ok_or(ClipError::Unsupported)?.end()
    }
}

impl Reading {
    fn begin(head: Head) -> Option<Reading> {
        // What was narrow stays narrow; beyond 8 kHz no telephone hears anything.
        let rate_hz = if (1..=8_000).contains(&head.rate_hz) {
            8_000
        } else {
            16_000
        };
        let mut decoder = Decoder::new(rate_hz, Channels::Mono).ok()?;
        decoder.set_gain(head.gain.into()).ok()?;
        Some(Reading {
            head,
            decoder,
            rate_hz,
            samples: Vec::new(),
            pcm: vec![0; SAMPLES_MAX],
            end: 0,
        })
    }

    fn take(&mut self, packet: &[u8], granule: Option<u64>) {
        // One more than is kept tells that it is too much.
        if self.samples.len() > CLIP_SAMPLES_MAX || packet.is_empty() {
            return;
        }
        if let Ok(count) = self.decoder.decode(packet, &mut self.pcm, false) {
            self.samples.extend_from_slice(&self.pcm[..count]);
        }
        self.end = granule.unwrap_or(self.end);
    }

    fn end(mut self) -> Result<Clip, ClipError> {
        if self.samples.len() > CLIP_SAMPLES_MAX {
            return Err(ClipError::TooLong);
        }
        let ratio = u64::from(CLOCK_HZ / self.rate_hz);
        // The last packet may be longer than what was said; packets behind the last time are not.
        let end = usize::try_from(self.end / ratio).unwrap_or(usize::MAX);
        if self.samples.len().saturating_sub(end) < self.pcm.len() {
            self.samples.truncate(end);
        }
        let skip = u64::from(self.head.skip) / ratio;
        let skip = self.samples.len().min(skip as usize);
        Ok(Clip {
            samples: self.samples.split_off(skip).into(),
            rate_hz: self.rate_hz,
        })
    }
}
