//! From a mix to the payloads of everybody who hears it in the same form.
//!
//! Pure. A writer takes a frame of 20 ms each time and gives out packets of its own length: two of
//! 10 ms, or one after two or three frames. Packets of all writers of a form begin at the same
//! frames, so that a listener may go from one to the other between two packets.

use super::FRAME_MS;
use crate::codec::{Codec, Coder};
use crate::dsp::resample::Resampler;

/// How packets look: who has the same may share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    /// Codec.
    pub codec: Codec,
    /// Sound in a packet: 10, 20, 40 or 60 ms.
    pub packet_ms: u32,
}

impl Form {
    /// Whether packets of this form begin with this frame.
    pub fn begins_at(self, frame: u64) -> bool {
        frame.is_multiple_of(u64::from((self.packet_ms / FRAME_MS).max(1)))
    }
}

/// Longest payload, bytes: 60 ms of L16 at 48 kHz.
const PAYLOAD_BYTES_MAX: usize = 60 * 48 * 2;

/// Most packets of a frame.
const PACKETS: usize = 2;

/// Writes one mix in one form.
pub struct Writer {
    form: Form,
    coder: Box<dyn Coder>,
    resampler: Option<Resampler>,
    /// Samples at the coder's rate that wait for the packet to be full.
    pcm: Box<[i16]>,
    filled: usize,
    /// The packets of this frame, each with its length.
    payloads: Box<[u8]>,
    lengths: [usize; PACKETS],
    count: usize,
}

impl Writer {
    /// For mixes at this rate; none when the codec cannot be fed from it, or without memory.
    pub fn new(form: Form, rate_hz: u32) -> Option<Writer> {
        let coder = form.codec.coder(rate_hz)?;
        let resampler = Resampler::new(rate_hz, coder.rate_hz());
        if resampler.is_none() && coder.rate_hz() != rate_hz {
            return None;
        }
        let longest_ms = form.packet_ms.max(FRAME_MS);
        Some(Writer {
            form,
            pcm: vec![0; (coder.rate_hz() / 1_000 * longest_ms) as usize].into(),
            coder,
            resampler,
            filled: 0,
            payloads: vec![0; PAYLOAD_BYTES_MAX].into(),
            lengths: [0; PACKETS],
            count: 0,
        })
    }

    /// How its packets look.
    pub fn form(&self) -> Form {
        self.form
    }

    /// A writer that goes on exactly as this one would; none without memory.
    pub fn fork(&self) -> Option<Writer> {
        Some(Writer {
            form: self.form,
            coder: self.coder.fork()?,
            resampler: self.resampler.clone(),
            pcm: self.pcm.clone(),
            filled: self.filled,
            payloads: vec![0; PAYLOAD_BYTES_MAX].into(),
            lengths: [0; PACKETS],
            count: 0,
        })
    }

    /// Somebody joins who heard another writer before: its next packet needs no memory.
    pub fn stand_alone(&mut self) {
        self.coder.stand_alone();
    }

    /// Takes a frame; afterwards [`Writer::payloads`] are those of this frame.
    pub fn write(&mut self, mix: &[i16]) {
        let room = &mut self.pcm[self.filled..];
        let count = match &mut self.resampler {
            Some(resampler) => resampler.run(mix, room),
            None => {
                let count = mix.len().min(room.len());
                room[..count].copy_from_slice(&mix[..count]);
                count
            }
        };
        self.filled += count;
        self.count = 0;
        let packet = (self.coder.rate_hz() / 1_000 * self.form.packet_ms) as usize;
        if self.filled < packet {
            return;
        }
        let mut at = 0;
        for pcm in self.pcm[..self.filled].chunks_exact(packet).take(PACKETS) {
            let Some(length) = self.coder.encode(pcm, &mut self.payloads[at..]) else {
                break;
            };
            self.lengths[self.count] = length;
            (self.count, at) = (self.count + 1, at + length);
        }
        self.filled = 0;
    }

    /// The packets of this frame.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        self.lengths[..self.count].iter().map(move |length| {
            at += length;
            &self.payloads[at - length..at]
        })
    }
}
