//! A file of Opus in Ogg: each page that was written plays, whatever becomes of those behind it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::codec::opus::{Encoder, encoder};
use crate::ogg::opus::{CLOCK_HZ, Head, tags};
use crate::ogg::{FIRST, LAST, Pages};

/// Packets of 20 ms in a second, and their length in the clock of the stream.
const PACKETS_A_SECOND: u32 = 50;
const PACKET_CLOCK: u64 = (CLOCK_HZ / PACKETS_A_SECOND) as u64;

/// Longest packet of Opus for 20 ms, bytes (RFC 6716 section 3.4).
const PACKET_BYTES_MAX: usize = 1_275 + 1;

/// A file that grows.
pub struct Ogg {
    file: File,
    encoder: Encoder,
    pages: Pages,
    rate_hz: u32,
    /// By how much the encoder is late, in the clock of the stream.
    skip: u16,
    /// Samples that make no whole packet yet.
    rest: Vec<i16>,
    /// Samples so far, and packets in the clock of the stream.
    samples: u64,
    granule: u64,
    bytes: Vec<u8>,
}

impl Ogg {
    /// A new file with its heads; readable by its owner alone, for it holds what people said.
    pub fn create(path: &Path, rate_hz: u32) -> io::Result<Ogg> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = File::options();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut encoder = encoder(rate_hz).ok_or(io::ErrorKind::OutOfMemory)?;
        let late = encoder.lookahead().unwrap_or(0) * (CLOCK_HZ / rate_hz);
        let mut ogg = Ogg {
            file: options.open(path)?,
            encoder,
            pages: Pages::new(rand::random()),
            rate_hz,
            skip: u16::try_from(late).unwrap_or(0),
            rest: Vec::new(),
            samples: 0,
            granule: 0,
            bytes: Vec::new(),
        };
        let head = Head {
            channels: 1,
            skip: ogg.skip,
            rate_hz,
            gain: 0,
        };
        // Each head has a page of its own (RFC 7845 section 3).
        ogg.pages.put(&head.bytes());
        ogg.pages.end(FIRST, 0, &mut ogg.bytes);
        ogg.pages.put(&tags("raftpbx"));
        ogg.pages.end(0, 0, &mut ogg.bytes);
        ogg.flush()?;
        Ok(ogg)
    }

    /// Writes samples behind those that are there, in pages of their own. Less than 20 ms waits
    /// for what comes next.
    pub fn append(&mut self, samples: &[i16]) -> io::Result<()> {
        self.samples += samples.len() as u64;
        self.rest.extend_from_slice(samples);
        self.encode()?;
        if !self.pages.is_empty() {
            self.pages.end(0, self.granule, &mut self.bytes);
        }
        self.flush()
    }

    /// Says that this is all; what is not said is only that.
    pub fn finish(&mut self) -> io::Result<()> {
        let clock = self.samples * u64::from(CLOCK_HZ / self.rate_hz) + u64::from(self.skip);
        let packets = clock.saturating_sub(self.granule).div_ceil(PACKET_CLOCK);
        let samples = packets * u64::from(self.rate_hz / PACKETS_A_SECOND);
        // Silence, until all that was said has come out of the encoder.
        self.rest.resize(samples as usize, 0);
        self.encode()?;
        self.pages.end(LAST, clock, &mut self.bytes);
        self.flush()
    }

    /// Makes packets of what is there.
    fn encode(&mut self) -> io::Result<()> {
        let packet = (self.rate_hz / PACKETS_A_SECOND) as usize;
        let mut payload = [0; PACKET_BYTES_MAX];
        let whole = self.rest.len() / packet * packet;
        for pcm in self.rest[..whole].chunks_exact(packet) {
            let length = self.encoder.encode(pcm, &mut payload);
            let length = length.ok_or(io::ErrorKind::InvalidData)?;
            if !self.pages.put(&payload[..length]) {
                self.pages.end(0, self.granule, &mut self.bytes);
                self.pages.put(&payload[..length]);
            }
            self.granule += PACKET_CLOCK;
        }
        self.rest.drain(..whole);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::clip::Clip;

    fn tone(samples: usize) -> Vec<i16> {
        let angle = |n: usize| std::f64::consts::TAU * 500.0 * n as f64 / 16_000.0;
        (0..samples)
            .map(|n| (8_000.0 * angle(n).sin()) as i16)
            .collect()
    }

    /// How alike two stretches of sound are, 1 being the same but for their loudness.
    fn likeness(one: &[i16], other: &[i16]) -> f64 {
        let dot = |a: &[i16], b: &[i16]| {
            let pairs = a.iter().zip(b);
            pairs
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum::<f64>()
        };
        dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
    }

    #[test]
    fn what_was_written_is_read_back_as_long_and_in_step() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.opus");
        let mut ogg = Ogg::create(&path, 16_000).expect("a file");
        let said = tone(16_000 * 3 + 123);
        for piece in said.chunks(16_001) {
            ogg.append(piece).expect("written");
        }
        let cut = std::fs::read(&path).expect("a file");
        ogg.finish().expect("written");
        let whole = std::fs::read(&path).expect("a file");
        let clip = Clip::parse_ogg(&whole).expect("a clip");
        assert_eq!((clip.rate_hz, clip.samples.len()), (16_000, said.len()));
        // What is late by a sample of the 32 of a wave is this much less alike.
        assert!(likeness(&clip.samples[1_600..], &said[1_600..]) > 0.95);
        // As it is when the power fails: all but the packet at hand.
        let clip = Clip::parse_ogg(&cut).expect("a clip");
        assert!(
            said.len() - clip.samples.len() < 640,
            "{}",
            clip.samples.len()
        );
        // In the middle of a write: up to the last whole page.
        let clip = Clip::parse_ogg(&cut[..cut.len() - 9]).expect("a clip");
        assert!(clip.samples.len() > 16_000 * 19 / 10);
    }
}
