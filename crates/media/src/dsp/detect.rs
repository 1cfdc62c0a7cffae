//! Finds the digits of a keypad in sound (ITU-T Q.24), with Goertzel's filters.
//!
//! A digit is two tones and nothing else: one of each group, about equally loud, each far louder
//! than the others of its group, together nearly all that is heard. It counts after
//! two blocks in a row, which speech hardly ever does by accident.

use super::tone::{COLUMNS_HZ, Digit, ROWS_HZ};

/// Rate of the samples, Hz.
pub const RATE_HZ: u32 = 8_000;

/// Samples of a block: 12.75 ms, so that the shortest digit of Q.24 (40 ms) has two whole ones.
const BLOCK: usize = 102;

/// Lowest amplitude of a tone: about -42 dBm0.
const AMPLITUDE_MIN: f32 = 180.0;

/// How much louder the higher tone may be than the lower one (4 dB), and the other way round
/// (8 dB).
const TWIST_UP: f32 = 2.51;
const TWIST_DOWN: f32 = 6.31;

/// How much louder a tone is than others of its group (8 dB).
const PEAK: f32 = 6.3;

/// Part of all energy that both tones have.
const PURITY: f32 = 0.75;

/// A digit that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Which one.
    pub digit: Digit,
    /// How long it was there, ms, to a block.
    pub lasted_ms: u32,
}

/// Listens to one stream.
pub struct Detector {
    /// `2 cos` of each frequency, rows first.
    coefficients: [f32; 8],
    /// Last and last but one value of each filter.
    filters: [(f32, f32); 8],
    energy: f32,
    filled: usize,
    /// What the last block held.
    last: Option<Digit>,
    /// What is pressed now, and for how many blocks.
    pressed: Option<(Digit, u32)>,
    /// Blocks since the pressed digit was heard last.
    missing: u32,
}

impl Default for Detector {
    fn default() -> Detector {
        let coefficient = |hz: &f32| 2.0 * (std::f32::consts::TAU * hz / RATE_HZ as f32).cos();
        let mut coefficients = [0.0; 8];
        let frequencies = ROWS_HZ.iter().chain(&COLUMNS_HZ);
        for (place, hz) in coefficients.iter_mut().zip(frequencies) {
            *place = coefficient(hz);
        }
        Detector {
            coefficients,
            filters: [(0.0, 0.0); 8],
            energy: 0.0,
            filled: 0,
            last: None,
            pressed: None,
            missing: 0,
        }
    }
}

impl Detector {
    /// Takes samples; tells each digit as it ends.
    pub fn take(&mut self, samples: &[i16], mut ended: impl FnMut(Heard)) {
        for sample in samples {
            let sample = f32::from(*sample);
            self.energy += sample * sample;
            for (filter, coefficient) in self.filters.iter_mut().zip(&self.coefficients) {
                *filter = (sample + coefficient * filter.0 - filter.1, filter.0);
            }
            self.filled += 1;
            if self.filled == BLOCK {
                let digit = self.judge();
                (self.filters, self.energy, self.filled) = ([(0.0, 0.0); 8], 0.0, 0);
                if let Some(heard) = self.note(digit) {
                    ended(heard);
                }
            }
        }
    }

    /// What the block holds.
    fn judge(&self) -> Option<Digit> {
        let power = |n: usize| {
            let ((last, before), coefficient) = (self.filters[n], self.coefficients[n]);
            last * last + before * before - coefficient * last * before
        };
        let powers: [f32; 8] = std::array::from_fn(power);
        let (rows, columns) = powers.split_at(4);
        let (row, row_power) = alone(rows)?;
        let (column, column_power) = alone(columns)?;
        // A sine of amplitude A has the power (A * BLOCK / 2)^2 in its filter.
        let lowest = (AMPLITUDE_MIN * BLOCK as f32 / 2.0).powi(2);
        let loud = row_power.min(column_power) > lowest;
        let even = column_power < row_power * TWIST_UP && row_power < column_power * TWIST_DOWN;
        let pure = row_power + column_power > PURITY * self.energy * BLOCK as f32 / 2.0;
        if loud && even && pure {
            Digit::at(row, column)
        } else {
            None
        }
    }

    /// Follows the digit from block to block; one missing block is bridged.
    fn note(&mut self, digit: Option<Digit>) -> Option<Heard> {
        let again = digit.filter(|_| digit == self.last);
        self.last = digit;
        let ended = match (&mut self.pressed, digit) {
            (Some((pressed, blocks)), Some(digit)) if *pressed == digit => {
                *blocks += 1 + self.missing;
                self.missing = 0;
                None
            }
            (Some((pressed, blocks)), _) => {
                self.missing += 1;
                let ended = (self.missing == 2 || again.is_some()).then_some((*pressed, *blocks));
                if ended.is_some() {
                    self.pressed = None;
                }
                ended
            }
            (None, _) => None,
        };
        if self.pressed.is_none()
            && let Some(digit) = again
        {
            self.pressed = Some((digit, 2));
            self.missing = 0;
        }
        ended.map(|(digit, blocks)| Heard {
            digit,
            lasted_ms: blocks * BLOCK as u32 * 1_000 / RATE_HZ,
        })
    }
}

/// The loudest of a group that is far louder than the others.
fn alone(group: &[f32]) -> Option<(usize, f32)> {
    let loudest = (0..group.len()).max_by(|&a, &b| group[a].total_cmp(&group[b]))?;
    let power = group[loudest];
    let others = group.iter().enumerate().filter(|(n, _)| *n != loudest);
    others
        .map(|(_, other)| other * PEAK)
        .all(|other| other < power)
        .then_some((loudest, power))
}

#[cfg(test)]
mod tests {
    use super::super::tone::Oscillators;
    use super::*;
    use proptest::prelude::*;

    fn digit_of(code: u8) -> Digit {
        Digit::from_code(code).expect("a digit")
    }

    fn listen(samples: &[i16]) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut detector = Detector::default();
        samples
            .chunks(160)
            .for_each(|frame| detector.take(frame, |digit| heard.push(digit)));
        heard
    }

    fn press(samples: &mut Vec<i16>, digit: Digit, level_dbm0: f32, lasts_ms: usize) {
        let from = samples.len();
        samples.resize(from + lasts_ms * 8, 0);
        let mut tone = Oscillators::new(RATE_HZ, level_dbm0);
        tone.fill(digit.frequencies_hz(), &mut samples[from..]);
        samples.resize(samples.len() + 400, 0);
    }

    #[test]
    fn every_digit_is_heard_once_at_every_level() {
        for level_dbm0 in [-3.0, -10.0, -25.0, -36.0] {
            let mut samples = Vec::new();
            for code in 0..16 {
                press(&mut samples, digit_of(code), level_dbm0, 50);
            }
            let heard: Vec<u8> = listen(&samples)
                .iter()
                .map(|heard| heard.digit.code())
                .collect();
            assert_eq!(heard, (0..16).collect::<Vec<_>>(), "{level_dbm0}");
        }
    }

    #[test]
    fn the_same_digit_twice_is_two_digits_and_a_long_one_is_one() {
        let mut samples = Vec::new();
        press(&mut samples, digit_of(5), -10.0, 60);
        press(&mut samples, digit_of(5), -10.0, 1_000);
        let heard = listen(&samples);
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert!((35..=70).contains(&heard[0].lasted_ms), "{heard:?}");
        assert!((960..=1_010).contains(&heard[1].lasted_ms), "{heard:?}");
    }

    #[test]
    fn one_tone_alone_a_short_click_and_a_third_tone_are_no_digits() {
        let mut single = vec![0; 4_000];
        Oscillators::new(RATE_HZ, -10.0).fill([770.0, 0.0], &mut single);
        assert_eq!(listen(&single), []);
        let mut short = Vec::new();
        press(&mut short, digit_of(1), -10.0, 15);
        assert_eq!(listen(&short), []);
        let mut third = vec![0; 4_000];
        Oscillators::new(RATE_HZ, -10.0).fill([770.0, 1_336.0], &mut third);
        let mut other = vec![0; 4_000];
        Oscillators::new(RATE_HZ, -10.0).fill([852.0, 0.0], &mut other);
        third
            .iter_mut()
            .zip(&other)
            .for_each(|(sum, other)| *sum += other);
        assert_eq!(listen(&third), []);
    }

    proptest! {
        #[test]
        fn noise_is_no_digit(samples in prop::collection::vec(any::<i16>(), 8_000)) {
            prop_assert_eq!(listen(&samples), []);
        }

        #[test]
        fn a_digit_is_heard_through_noise_of_minus_twenty_decibels(
            code in 0_u8..16,
            noise in prop::collection::vec(-700_i16..700, 1_200),
        ) {
            let mut samples = Vec::new();
            press(&mut samples, digit_of(code), -10.0, 100);
            samples.iter_mut().zip(&noise).for_each(|(sum, noise)| *sum += noise);
            let heard = listen(&samples);
            prop_assert_eq!(heard.len(), 1);
            prop_assert_eq!(heard[0].digit, digit_of(code));
        }
    }
}
