//! G.711: logarithmic eight-bit samples (ITU-T G.711).
//!
//! Bit arithmetic, so that whole packets are done with vector instructions: a segment is the
//! position of the highest bit, the rest follows.

use super::Coder;

/// Added to the magnitude of mu-law, so that segments begin at powers of two.
const BIAS: i32 = 0x84;
/// Largest magnitude mu-law can say.
const CLIP: i32 = 32_635;

/// A sample as mu-law.
pub fn ulaw_encode(sample: i16) -> u8 {
    let sample = i32::from(sample);
    let sign = (sample >> 31) & 0x80;
    let magnitude = sample.abs().min(CLIP) + BIAS;
    // Bit 7 is the lowest that can be the highest, thanks to the bias.
    let segment = 31 - (magnitude as u32).leading_zeros() as i32 - 7;
    let mantissa = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) | mantissa) as u8
}

/// A sample from mu-law.
pub const fn ulaw_decode(code: u8) -> i16 {
    let code = !code as i32;
    let magnitude = ((((code & 0x0f) << 3) + BIAS) << ((code & 0x70) >> 4)) - BIAS;
    (if code & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }) as i16
}

/// A sample as A-law.
pub fn alaw_encode(sample: i16) -> u8 {
    let sample = i32::from(sample) >> 3;
    // One's complement, so that -1 and 0 are both the smallest step.
    let (magnitude, mask) = if sample >= 0 {
        (sample, 0xd5)
    } else {
        (!sample, 0x55)
    };
    // The two lowest segments have the same step.
    let segment = (27 - (magnitude as u32 | 0x1f).leading_zeros() as i32).max(0);
    let mantissa = (magnitude >> segment.max(1)) & 0x0f;
    ((segment << 4) | mantissa) as u8 ^ mask
}

/// A sample from A-law.
pub const fn alaw_decode(code: u8) -> i16 {
    let code = (code ^ 0x55) as i32;
    let mantissa = (code & 0x0f) << 4;
    let segment = (code & 0x70) >> 4;
    let magnitude = match segment {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (segment - 1),
    };
    (if code & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }) as i16
}

/// All values of a decoder.
const fn table(alaw: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = if alaw {
            alaw_decode(code as u8)
        } else {
            ulaw_decode(code as u8)
        };
        code += 1;
    }
    table
}

static ULAW: [i16; 256] = table(false);
static ALAW: [i16; 256] = table(true);

/// Mu-law.
pub struct Ulaw;

/// A-law.
pub struct Alaw;

fn decode(table: &[i16; 256], payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
    let room = pcm.get_mut(..payload.len())?;
    let pairs = room.iter_mut().zip(payload);
    pairs.for_each(|(sample, code)| *sample = table[usize::from(*code)]);
    Some(payload.len())
}

fn encode(law: impl Fn(i16) -> u8, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
    let room = payload.get_mut(..pcm.len())?;
    let pairs = room.iter_mut().zip(pcm);
    pairs.for_each(|(code, sample)| *code = law(*sample));
    Some(pcm.len())
}

impl Coder for Ulaw {
    fn rate_hz(&self) -> u32 {
        8_000
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
        decode(&ULAW, payload, pcm)
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        encode(ulaw_encode, pcm, payload)
    }

    fn fork(&self) -> Option<Box<dyn Coder>> {
        Some(Box::new(Ulaw))
    }
}

impl Coder for Alaw {
    fn rate_hz(&self) -> u32 {
        8_000
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
        decode(&ALAW, payload, pcm)
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        encode(alaw_encode, pcm, payload)
    }

    fn fork(&self) -> Option<Box<dyn Coder>> {
        Some(Box::new(Alaw))
    }
}
