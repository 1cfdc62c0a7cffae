//! L16: samples as they are, in network order (RFC 3551 section 4.5.11).

use super::Coder;

/// Uncompressed samples.
pub struct L16 {
    /// Rate, Hz.
    pub rate_hz: u32,
}

impl Coder for L16 {
    fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
        let (samples, odd) = payload.as_chunks::<2>();
        let room = pcm.get_mut(..samples.len())?;
        let pairs = room.iter_mut().zip(samples);
        pairs.for_each(|(sample, bytes)| *sample = i16::from_be_bytes(*bytes));
        odd.is_empty().then_some(samples.len())
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        let room = payload.get_mut(..pcm.len() * 2)?;
        let pairs = room.as_chunks_mut::<2>().0.iter_mut().zip(pcm);
        pairs.for_each(|(bytes, sample)| *bytes = sample.to_be_bytes());
        Some(pcm.len() * 2)
    }

    fn fork(&self) -> Option<Box<dyn Coder>> {
        Some(Box::new(L16 { ..*self }))
    }
}
