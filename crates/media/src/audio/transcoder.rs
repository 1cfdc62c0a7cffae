//! Sound of one codec, written in another.
//!
//! Pure.

use crate::codec::{Codec, Coder, SAMPLES_MAX};
use crate::dsp::resample::Resampler;

/// Frames Opus can hold in a packet, in eighths of a millisecond at 8 kHz: 60, 40, 20, 10, 5 ms.
const OPUS_FRAMES_MS: [usize; 5] = [60, 40, 20, 10, 5];

/// What turns one codec into another.
pub struct Transcoder {
    /// Codec that is read.
    pub from: Codec,
    /// Codec that is written.
    pub to: Codec,
    reader: Box<dyn Coder>,
    writer: Box<dyn Coder>,
    resampler: Option<Resampler>,
    /// Samples at the writer's rate; the first ones may be left over from the packet before.
    pcm: Box<[i16]>,
    left: usize,
    rough: Box<[i16]>,
}

impl Transcoder {
    /// Between two codecs; none when their rates cannot be brought together, or without memory.
    pub fn new(from: Codec, to: Codec) -> Option<Transcoder> {
        // Narrow sound is not made wider by a costlier coder.
        let rate_hz = from.rate_hz().min(to.rate_hz());
        let (reader, writer) = (from.coder(rate_hz)?, to.coder(rate_hz)?);
        let resampler = Resampler::new(reader.rate_hz(), writer.rate_hz());
        if resampler.is_none() && reader.rate_hz() != writer.rate_hz() {
            return None;
        }
        Some(Transcoder {
            from,
            to,
            reader,
            writer,
            resampler,
            pcm: vec![0; 2 * SAMPLES_MAX].into(),
            left: 0,
            rough: vec![0; SAMPLES_MAX].into(),
        })
    }

    /// Reads `length` bytes of `room` and writes the other payload in their place: its length, and
    /// how many samples of it came from the packet before.
    pub fn run(&mut self, room: &mut [u8], length: usize) -> Option<(usize, usize)> {
        let before = self.left;
        let pcm = &mut self.pcm[before..before + SAMPLES_MAX];
        let content = room.get(..length)?;
        let count = match &mut self.resampler {
            None => self.reader.decode(content, pcm)?,
            Some(resampler) => {
                let count = self.reader.decode(content, &mut self.rough)?;
                resampler.run(&self.rough[..count], pcm)
            }
        };
        let there = before + count;
        let samples = match self.to {
            Codec::Opus => {
                let per_ms = self.writer.rate_hz() as usize / 1_000;
                let frames = OPUS_FRAMES_MS.iter().map(|ms| ms * per_ms);
                frames.into_iter().find(|frame| *frame <= there)?
            }
            Codec::Plugged(codec) => {
                let frame = self.writer.rate_hz() / 1_000 * codec.frame_ms();
                there - there % frame as usize
            }
            // Pairs of samples make a byte.
            Codec::G722 => there & !1,
            _ => there,
        };
        let written = self.writer.encode(&self.pcm[..samples], room)?;
        self.pcm.copy_within(samples..there, 0);
        // More than a packet can only be left over from packets of a strange length.
        self.left = (there - samples).min(SAMPLES_MAX);
        Some((written, before))
    }
    /// Rate of the samples between reading and writing, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.writer.rate_hz()
    }

    /// Reads a payload: its samples.
    pub fn read(&mut self, content: &[u8]) -> Option<&[i16]> {
        let pcm = &mut self.pcm[..SAMPLES_MAX];
        let count = match &mut self.resampler {
            None => self.reader.decode(content, pcm)?,
            Some(resampler) => {
                let count = self.reader.decode(content, &mut self.rough)?;
                resampler.run(&self.rough[..count], pcm)
            }
        };
        Some(&self.pcm[..count])
    }

    /// Writes samples as a payload of so many, fewer where the codec allows that; its length.
    pub fn write(&mut self, pcm: &[i16], packet: usize, room: &mut [u8]) -> Option<usize> {
        if self.to.bytes_per_ms().is_some() || pcm.len() >= packet {
            return self.writer.encode(pcm, room);
        }
        let whole = self.rough.get_mut(..packet)?;
        whole[..pcm.len()].copy_from_slice(pcm);
        whole[pcm.len()..].fill(0);
        self.writer.encode(whole, room)
    }
}
