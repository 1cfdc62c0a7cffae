//! Comfort noise (RFC 3389): what is heard of a party while it says nothing and sends nothing.
//!
//! Pure. White noise through the filter that the payload describes, at the level it names.

/// Most coefficients of the filter that are used; encoders send ten.
const ORDER_MAX: usize = 10;

/// Longest payload, bytes: level and coefficients.
pub const NOISE_BYTES_MAX: usize = 1 + ORDER_MAX;

/// What a payload describes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Background {
    /// Effective value, in units of a sample.
    rms: f32,
    /// Reflection coefficients; those that are not given are 0.
    reflections: [f32; ORDER_MAX],
}

impl Background {
    /// Reads a payload: a level below overload (section 3.1) and reflection coefficients, 8 bits
    /// each (section 3.2). None when it is empty.
    pub fn parse(payload: &[u8]) -> Option<Background> {
        let (level, coefficients) = payload.split_first()?;
        let mut reflections = [0.0; ORDER_MAX];
        for (place, octet) in reflections.iter_mut().zip(coefficients) {
            let value = 258.0 * (f32::from(*octet) - 127.0) / 32_768.0;
            // On the edge the filter would never come to rest.
            *place = value.clamp(-0.98, 0.98);
        }
        Some(Background {
            rms: 32_768.0 * 10.0_f32.powf(-f32::from(level & 0x7f) / 20.0),
            reflections,
        })
    }
}

/// Makes noise without end.
#[derive(Clone)]
pub struct NoiseMaker {
    background: Background,
    /// Effective value of what goes into the filter, so that the right one comes out.
    gain: f32,
    memory: [f32; ORDER_MAX],
    random: u32,
}

impl NoiseMaker {
    /// Noise like this.
    pub fn new(background: Background) -> NoiseMaker {
        let mut maker = NoiseMaker {
            background,
            gain: 0.0,
            memory: [0.0; ORDER_MAX],
            random: 0x9e37_79b9,
        };
        maker.change(background);
        maker
    }

    /// Noise like this from now on.
    pub fn change(&mut self, background: Background) {
        let kept = background.reflections.iter().map(|k| 1.0 - k * k);
        // Uniform noise between -1 and 1 has an effective value of 1 / sqrt(3).
        self.gain = background.rms * (3.0 * kept.product::<f32>()).sqrt();
        self.background = background;
    }

    /// The next samples.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        for sample in pcm {
            *sample = self.next().clamp(-32_768.0, 32_767.0) as i16;
        }
    }

    /// One step of the lattice filter, all poles.
    fn next(&mut self) -> f32 {
        // Marsaglia's xorshift: noise need not be unpredictable.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let mut value = self.gain * (self.random as i32 as f32 / 2_147_483_648.0);
        for stage in (0..ORDER_MAX).rev() {
            let reflection = self.background.reflections[stage];
            value -= reflection * self.memory[stage];
            let after = self.memory[stage] + reflection * value;
            if let Some(place) = self.memory.get_mut(stage + 1) {
                *place = after;
            }
        }
        self.memory[0] = value;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rms(samples: &[i16]) -> f32 {
        let power: f32 = samples.iter().map(|s| f32::from(*s).powi(2)).sum();
        (power / samples.len() as f32).sqrt()
    }

    fn noise(payload: &[u8]) -> Vec<i16> {
        let mut samples = vec![0; 16_000];
        let background = Background::parse(payload).expect("a payload");
        NoiseMaker::new(background).fill(&mut samples);
        samples
    }

    #[test]
    fn the_level_is_that_of_the_payload_with_and_without_a_filter() {
        for payload in [&[40][..], &[40, 200, 90], &[40, 30]] {
            let level = 20.0 * (rms(&noise(payload)) / 32_768.0).log10();
            assert!((-41.5..-38.5).contains(&level), "{payload:?}: {level}");
        }
        assert!(Background::parse(&[]).is_none());
    }

    #[test]
    fn the_filter_gives_the_noise_its_colour() {
        // Neighbours are alike when the first coefficient is negative, else they differ.
        let likeness = |samples: &[i16]| {
            let pairs = samples.windows(2);
            let product: f32 = pairs.map(|two| f32::from(two[0]) * f32::from(two[1])).sum();
            product / samples.len() as f32 / rms(samples).powi(2)
        };
        assert!(likeness(&noise(&[30, 27])) > 0.6);
        assert!(likeness(&noise(&[30, 227])) < -0.6);
        assert!(likeness(&noise(&[30])).abs() < 0.05);
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_grow(payload in prop::collection::vec(any::<u8>(), 1..30)) {
            let mut samples = noise(&payload);
            let late = samples.split_off(8_000);
            prop_assert!(rms(&late) <= 4.0 * rms(&samples) + 100.0);
        }
    }
}
