//! G.722 at 64 kbit/s (ITU-T G.722): two bands, six bits for the lower and two for the higher.
//!
//! Bit-exact: the vectors in the tests were made with an independent implementation.

use super::Coder;
use super::adaptive::Band;

/// Half of the symmetric filter that splits and joins the bands.
const MIRROR: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// `WL`: steps of the lower band's scale, and `RL42`: which one a code takes.
const LOW_STEPS: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const LOW_STEP: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
/// The same of the higher band, by code.
const HIGH_STEP: [i32; 4] = [798, -214, 798, -214];

/// `Q6`: bounds of the lower band's quantiser.
const BOUNDS: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940,
    1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// `QQ2`, `QQ4`, `QQ6`: values of the codes with two, four and six bits.
const VALUES_2: [i32; 4] = [-7408, -1616, 7408, 1616];
const VALUES_4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
const VALUES_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// Both directions; they share nothing.
#[derive(Clone, Copy)]
pub struct G722 {
    encoder: Half,
    decoder: Half,
}

/// The memory of one direction.
#[derive(Clone, Copy)]
struct Half {
    low: Band,
    high: Band,
    /// The filter's last samples, oldest first.
    samples: [i32; 24],
}

impl Default for G722 {
    fn default() -> G722 {
        let half = || Half {
            low: Band::new(32),
            high: Band::new(8),
            samples: [0; 24],
        };
        G722 {
            encoder: half(),
            decoder: half(),
        }
    }
}

impl Half {
    /// Filters after two samples came in.
    fn filter(&mut self, first: i32, second: i32) -> (i32, i32) {
        self.samples.copy_within(2.., 0);
        (self.samples[22], self.samples[23]) = (first, second);
        let (mut odd, mut even) = (0, 0);
        for (n, pair) in self.samples.as_chunks::<2>().0.iter().enumerate() {
            odd += pair[0] * MIRROR[n];
            even += pair[1] * MIRROR[11 - n];
        }
        (even, odd)
    }

    /// What the lower band learns from the upper four bits of its code.
    fn adapt_low(&mut self, code: usize) {
        let difference = (self.low.scale * VALUES_4[code]) >> 15;
        self.low.rescale(LOW_STEPS[LOW_STEP[code]], 18_432, 8);
        self.low.adapt(difference);
    }

    /// The same for the higher band; answers the difference.
    fn adapt_high(&mut self, code: usize) -> i32 {
        let difference = (self.high.scale * VALUES_2[code]) >> 15;
        self.high.rescale(HIGH_STEP[code], 22_528, 10);
        self.high.adapt(difference);
        difference
    }

    fn encode(&mut self, first: i16, second: i16) -> u8 {
        let (even, odd) = self.filter(first.into(), second.into());
        let (low, high) = ((even + odd) >> 14, (even - odd) >> 14);
        let error = (low - self.low.predicted).clamp(-32_768, 32_767);
        let magnitude = if error >= 0 { error } else { !error };
        let bound = |&n: &usize| magnitude < (BOUNDS[n] * self.low.scale) >> 12;
        let level = (1..30).find(bound).unwrap_or(30);
        // The codes of levels 1 and 2 with a minus stand apart.
        let low_code = match (error < 0, level) {
            (false, level) => 62 - level,
            (true, level @ 1..=2) => 64 - level,
            (true, level) => 34 - level,
        };
        self.adapt_low(low_code >> 2);
        let error = (high - self.high.predicted).clamp(-32_768, 32_767);
        let magnitude = if error >= 0 { error } else { !error };
        let outer = magnitude >= (564 * self.high.scale) >> 12;
        let high_code = match (error < 0, outer) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        self.adapt_high(high_code);
        (high_code << 6 | low_code) as u8
    }

    fn decode(&mut self, code: u8) -> (i16, i16) {
        let (low_code, high_code) = (usize::from(code & 0x3f), usize::from(code >> 6));
        let limit = |value: i32| value.clamp(-16_384, 16_383);
        let low = self.low.predicted + ((self.low.scale * VALUES_6[low_code]) >> 15);
        self.adapt_low(low_code >> 2);
        let predicted = self.high.predicted;
        let high = limit(predicted + self.adapt_high(high_code));
        let low = limit(low);
        let (even, odd) = self.filter(low + high, low - high);
        let out = |sum: i32| (sum >> 11).clamp(-32_768, 32_767) as i16;
        (out(even), out(odd))
    }
}

impl Coder for G722 {
    fn rate_hz(&self) -> u32 {
        16_000
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Option<usize> {
        let room = pcm.get_mut(..payload.len() * 2)?;
        for (pair, code) in room.as_chunks_mut::<2>().0.iter_mut().zip(payload) {
            (pair[0], pair[1]) = self.decoder.decode(*code);
        }
        Some(payload.len() * 2)
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        let (pairs, odd) = pcm.as_chunks::<2>();
        let room = payload.get_mut(..pairs.len())?;
        for (code, pair) in room.iter_mut().zip(pairs) {
            *code = self.encoder.encode(pair[0], pair[1]);
        }
        odd.is_empty().then_some(pairs.len())
    }

    fn fork(&self) -> Option<Box<dyn Coder>> {
        Some(Box::new(*self))
    }
}
