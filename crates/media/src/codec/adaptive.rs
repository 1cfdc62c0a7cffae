//! The adaptive predictor and scale that both bands of G.722 share (ITU-T G.722 section 6).
//!
//! The names of the blocks are those of the recommendation, where their arithmetic is laid down
//! to the bit; 16-bit values saturate, products are cut by 15 bits.

fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// `ILB`: the fractions of an octave that a scale is made of.
const OCTAVE: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// What one band remembers.
#[derive(Debug, Clone, Copy)]
pub struct Band {
    /// The predicted signal, `S`.
    pub predicted: i32,
    /// The quantiser's scale, `DET`.
    pub scale: i32,
    log_scale: i32,
    zeros_predicted: i32,
    /// Reconstructed signal, newest first.
    reconstructed: [i32; 3],
    partly: [i32; 3],
    poles: [i32; 3],
    differences: [i32; 7],
    zeros: [i32; 7],
}

impl Band {
    /// Nothing heard yet; `scale` is 32 in the lower band and 8 in the higher one.
    pub fn new(scale: i32) -> Band {
        Band {
            predicted: 0,
            scale,
            log_scale: 0,
            zeros_predicted: 0,
            reconstructed: [0; 3],
            partly: [0; 3],
            poles: [0; 3],
            differences: [0; 7],
            zeros: [0; 7],
        }
    }

    /// `LOGSCL` and `SCALEL`, or `LOGSCH` and `SCALEH`: the scale for the next sample. `step`
    /// comes from the code, `highest` bounds the logarithm, `shift` is 8 or 10.
    pub fn rescale(&mut self, step: i32, highest: i32, shift: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, highest);
        let fraction = OCTAVE[((self.log_scale >> 6) & 31) as usize];
        let down = shift - (self.log_scale >> 11);
        let scale = if down < 0 {
            fraction << -down
        } else {
            fraction >> down
        };
        self.scale = scale << 2;
    }

    /// Block 4: takes the quantised difference and predicts the next sample.
    pub fn adapt(&mut self, difference: i32) {
        // RECONS, PARREC
        self.differences[0] = difference;
        self.reconstructed[0] = saturate(self.predicted + difference);
        self.partly[0] = saturate(self.zeros_predicted + difference);
        let (first, second) = self.adapted_poles();
        let zeros = self.adapted_zeros(difference);
        // DELAYA
        self.differences.copy_within(0..6, 1);
        self.reconstructed.copy_within(0..2, 1);
        self.partly.copy_within(0..2, 1);
        self.poles = [0, first, second];
        self.zeros = zeros;
        // FILTEP
        let pole = |n: usize| (self.poles[n] * saturate(self.reconstructed[n] * 2)) >> 15;
        let poles_predicted = saturate(pole(1) + pole(2));
        // FILTEZ
        let products = self.zeros[1..].iter().zip(&self.differences[1..]);
        let sum = products.map(|(zero, difference)| (zero * saturate(difference * 2)) >> 15);
        self.zeros_predicted = saturate(sum.sum());
        // PREDIC
        self.predicted = saturate(poles_predicted + self.zeros_predicted);
    }

    /// `UPPOL2` and `UPPOL1`.
    fn adapted_poles(&self) -> (i32, i32) {
        let [newest, before, oldest] = self.partly.map(|partly| partly >> 15);
        let quadruple = saturate(self.poles[1] << 2);
        let turned = if newest == before {
            -quadruple
        } else {
            quadruple
        }
        .min(32_767);
        let step = if newest == oldest { 128 } else { -128 };
        let second = step + (turned >> 7) + ((self.poles[2] * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        let step = if newest == before { 192 } else { -192 };
        let first = saturate(step + ((self.poles[1] * 32_640) >> 15));
        let bound = saturate(15_360 - second);
        (first.clamp(-bound, bound), second)
    }

    /// `UPZERO`.
    fn adapted_zeros(&self, difference: i32) -> [i32; 7] {
        let step = if difference == 0 { 0 } else { 128 };
        let sign = difference >> 15;
        let mut zeros = [0; 7];
        let known = self.zeros.iter().zip(&self.differences);
        for (new, (zero, before)) in zeros.iter_mut().zip(known).skip(1) {
            let step = if before >> 15 == sign { step } else { -step };
            *new = saturate(step + ((zero * 32_640) >> 15));
        }
        zeros
    }
}
