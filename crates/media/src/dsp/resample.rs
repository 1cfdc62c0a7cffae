//! Changes the rate of samples by 2, 3 or 6, up or down, as the rates of telephony need it.
//!
//! A windowed sinc in polyphase form: going up, each phase of the filter makes one of the new
//! samples; going down, only the samples that stay are computed. Its delay is 1.5 ms at 8 kHz.

use std::sync::Arc;

/// Taps of one phase, at the lower rate.
const TAPS: usize = 24;

/// Edge of the filter as a part of the lower rate: speech up to 3.3 kHz passes whole at 8 kHz and
/// what would be folded is at least 50 dB down.
const EDGE: f64 = 0.462;

/// Form of the Kaiser window: 55 dB.
const BETA: f64 = 5.0;

/// Most samples of one call of [`Resampler::run`]; longer input is taken in pieces.
const PIECE: usize = 480;

/// Changes one stream of samples from a rate to another.
#[derive(Clone)]
pub struct Resampler {
    up: usize,
    down: usize,
    /// `up` phases of [`TAPS`], or one filter of `down * TAPS`; newest sample's tap last.
    filters: Arc<[f32]>,
    /// The last samples, then the piece at hand.
    window: Box<[f32]>,
    /// Samples before the next one that stays, going down.
    skip: usize,
}

/// The modified Bessel function of the first kind and order 0.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..32 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

/// A low-pass filter for the higher rate, with a gain of 1.
fn low_pass(ratio: usize) -> Vec<f64> {
    let length = ratio * TAPS;
    let middle = (length - 1) as f64 / 2.0;
    let edge = EDGE / ratio as f64;
    let tap = |n: usize| {
        let x = n as f64 - middle;
        let angle = 2.0 * std::f64::consts::PI * edge * x;
        let sinc = if x == 0.0 { 1.0 } else { angle.sin() / angle };
        let window = bessel(BETA * (1.0 - (x / middle).powi(2)).max(0.0).sqrt()) / bessel(BETA);
        2.0 * edge * sinc * window
    };
    let taps: Vec<f64> = (0..length).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| tap / sum).collect()
}

impl Resampler {
    /// From one rate to another; none when they are the same or not a multiple of 2, 3 or 6.
    pub fn new(from_hz: u32, to_hz: u32) -> Option<Resampler> {
        let ratio = |high: u32, low: u32| {
            let whole = low > 0 && high.is_multiple_of(low);
            let ratio = if whole { high / low } else { 0 };
            matches!(ratio, 2 | 3 | 6).then_some(ratio as usize)
        };
        let (up, down) = match (ratio(to_hz, from_hz), ratio(from_hz, to_hz)) {
            (Some(up), _) => (up, 1),
            (_, Some(down)) => (1, down),
            _ => return None,
        };
        let taps = low_pass(up * down);
        let filters = if up > 1 {
            // Tap t of phase p weighs the sample t before the newest one.
            let phase = |p: usize| (0..TAPS).rev().map(move |t| (p, t));
            let tap = |(p, t): (usize, usize)| (taps[t * up + p] * up as f64) as f32;
            (0..up).flat_map(phase).map(tap).collect()
        } else {
            taps.iter().rev().map(|tap| *tap as f32).collect()
        };
        Some(Resampler {
            up,
            down,
            filters,
            window: vec![0.0; down * TAPS - 1 + PIECE].into(),
            skip: 0,
        })
    }

    /// Most samples that come out when `samples` go in.
    pub fn most_out(&self, samples: usize) -> usize {
        (samples * self.up).div_ceil(self.down)
    }

    /// Takes samples and writes what they become; the number written. What does not fit is lost.
    pub fn run(&mut self, input: &[i16], out: &mut [i16]) -> usize {
        let mut written = 0;
        for piece in input.chunks(PIECE) {
            written += self.run_piece(piece, &mut out[written..]);
        }
        written
    }

    fn run_piece(&mut self, piece: &[i16], out: &mut [i16]) -> usize {
        let before = self.down * TAPS - 1;
        for (place, sample) in self.window[before..].iter_mut().zip(piece) {
            *place = f32::from(*sample);
        }
        let width = before + 1;
        let mut out = out.iter_mut();
        let room = out.len();
        let mut at = self.skip;
        while at < piece.len() {
            let seen = &self.window[at..at + width];
            for filter in self.filters.chunks_exact(width) {
                if let Some(out) = out.next() {
                    *out = dot(seen, filter).round().clamp(-32_768.0, 32_767.0) as i16;
                }
            }
            at += self.down;
        }
        self.skip = at - piece.len();
        self.window
            .copy_within(piece.len()..piece.len() + before, 0);
        room - out.len()
    }
}

/// Eight sums side by side, so that the compiler may use vectors.
fn dot(samples: &[f32], filter: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let pairs = samples
        .as_chunks::<8>()
        .0
        .iter()
        .zip(filter.as_chunks::<8>().0);
    for (samples, taps) in pairs {
        for n in 0..8 {
            sums[n] += samples[n] * taps[n];
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sine(hz: f64, rate_hz: f64, samples: usize) -> Vec<i16> {
        let angle = |n: usize| 2.0 * std::f64::consts::PI * hz * n as f64 / rate_hz;
        (0..samples)
            .map(|n| (10_000.0 * angle(n).sin()) as i16)
            .collect()
    }

    fn changed(from_hz: u32, to_hz: u32, input: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from_hz, to_hz).expect("a ratio");
        let mut out = vec![0; resampler.most_out(input.len())];
        let written = resampler.run(input, &mut out);
        out.truncate(written);
        out
    }

    fn level(samples: &[i16]) -> f64 {
        let power: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
        (power / samples.len() as f64 * 2.0).sqrt()
    }

    #[test]
    fn a_tone_of_speech_keeps_its_level_in_every_ratio() {
        let pairs = [(8, 16), (16, 48), (8, 48), (16, 8), (48, 16), (48, 8)];
        for (from, to) in pairs {
            for hz in [300.0, 1_000.0, 3_000.0] {
                let out = changed(
                    from * 1_000,
                    to * 1_000,
                    &sine(hz, f64::from(from) * 1e3, 4_800),
                );
                assert_eq!(out.len(), 4_800 * to as usize / from as usize);
                let level = level(&out[out.len() / 4..]);
                assert!(
                    (9_700.0..10_300.0).contains(&level),
                    "{from}->{to} {hz}: {level}"
                );
            }
        }
    }

    #[test]
    fn what_would_be_folded_is_taken_away() {
        for (from, to, hz) in [(16, 8, 5_000.0), (48, 8, 6_000.0), (48, 16, 10_000.0)] {
            let out = changed(
                from * 1_000,
                to * 1_000,
                &sine(hz, f64::from(from) * 1e3, 4_800),
            );
            let level = level(&out[out.len() / 4..]);
            assert!(level < 40.0, "{from}->{to} {hz}: {level}");
        }
    }

    #[test]
    fn the_delay_stays_below_two_milliseconds() {
        for (from, to) in [(8, 16), (8, 48), (16, 8), (48, 8)] {
            let mut click = vec![0; 480];
            click[0] = 10_000;
            let out = changed(from * 1_000, to * 1_000, &click);
            let highest = (0..out.len())
                .max_by_key(|&n| out[n].unsigned_abs())
                .unwrap_or(0);
            assert!(highest as u32 <= 2 * to, "{from}->{to}: sample {highest}");
        }
    }

    #[test]
    fn other_ratios_are_refused() {
        for (from, to) in [
            (8_000, 8_000),
            (8_000, 44_100),
            (0, 8_000),
            (8_000, 0),
            (8_000, 32_000),
        ] {
            assert!(Resampler::new(from, to).is_none(), "{from}->{to}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_samples(
            input in prop::collection::vec(any::<i16>(), 0..2_000),
            cut in 0_usize..2_000,
            ratio in 0_usize..6,
        ) {
            let (from, to) =
                [(8, 16), (16, 48), (8, 48), (16, 8), (48, 16), (48, 8)][ratio];
            let whole = changed(from * 1_000, to * 1_000, &input);
            let mut resampler = Resampler::new(from * 1_000, to * 1_000).expect("a ratio");
            let (head, tail) = input.split_at(cut.min(input.len()));
            let mut out = vec![0; whole.len() + 8];
            let first = resampler.run(head, &mut out);
            let second = resampler.run(tail, &mut out[first..]);
            prop_assert_eq!(&out[..first + second], &whole[..]);
        }
    }
}
