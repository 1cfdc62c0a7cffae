//! Keeps sums of many voices within what a sample can say, without the noise of cut tops.
//!
//! Pure. One curve for the whole room, from the sum of all: whoever listens hears the same
//! loudness, so that mixes may be exchanged for each other between two frames.

/// Where the curve holds the loudest sample: about 1 dB below the top.
const CEILING: f32 = 29_200.0;

/// Part of a frame within which the curve goes down.
const ATTACK: usize = 8;

/// By which factor it comes up again in a frame: 6 dB within 0.7 s.
const RELEASE: f32 = 1.02;

/// The loudness of a room, frame by frame.
#[derive(Debug, Clone)]
pub struct Limiter {
    /// Of each sample of this frame.
    curve: Box<[f32]>,
    /// At the end of it.
    gain: f32,
    /// The frame is passed on as it is.
    open: bool,
}

impl Limiter {
    /// As yet open.
    pub fn new(samples: usize) -> Limiter {
        Limiter {
            curve: vec![1.0; samples].into(),
            gain: 1.0,
            open: true,
        }
    }

    /// Makes the curve of a frame from the sum of all voices.
    pub fn judge(&mut self, total: &[i32]) {
        let peak = total.iter().map(|sum| sum.unsigned_abs()).max();
        let wanted = (CEILING / peak.unwrap_or(0).max(1) as f32).min(1.0);
        let before = self.gain;
        self.gain = wanted.min(before * RELEASE);
        self.open = before >= 1.0 && self.gain >= 1.0;
        if self.open {
            return;
        }
        let down = self.gain < before;
        let length = if down {
            self.curve.len() / ATTACK
        } else {
            self.curve.len()
        };
        let step = (self.gain - before) / length.max(1) as f32;
        for (n, place) in self.curve.iter_mut().enumerate() {
            *place = if n < length {
                before + step * (n + 1) as f32
            } else {
                self.gain
            };
        }
    }

    /// Brings a sum of this frame into the range of samples.
    pub fn apply(&self, sums: impl Iterator<Item = i32>, out: &mut [i16]) {
        let pairs = out.iter_mut().zip(sums);
        if self.open {
            pairs.for_each(|(out, sum)| *out = sum.clamp(-32_768, 32_767) as i16);
            return;
        }
        for ((out, sum), gain) in pairs.zip(&self.curve) {
            *out = (sum as f32 * gain).clamp(-32_768.0, 32_767.0) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limited(limiter: &mut Limiter, sums: &[i32]) -> Vec<i16> {
        let mut out = vec![0; sums.len()];
        limiter.judge(sums);
        limiter.apply(sums.iter().copied(), &mut out);
        out
    }

    #[test]
    fn what_is_not_too_loud_stays_as_it_is() {
        let mut limiter = Limiter::new(4);
        assert_eq!(
            limited(&mut limiter, &[1, -2, 29_000, 0]),
            [1, -2, 29_000, 0]
        );
        assert!(limiter.open);
    }

    #[test]
    fn what_is_too_loud_keeps_its_form_and_the_room_becomes_loud_again() {
        let mut limiter = Limiter::new(160);
        let loud: Vec<i32> = (0..160)
            .map(|n| if n % 16 < 8 { 60_000 } else { -60_000 })
            .collect();
        limited(&mut limiter, &loud);
        let out = limited(&mut limiter, &loud);
        assert!(
            out.iter()
                .all(|sample| (29_100..29_300).contains(&sample.unsigned_abs()))
        );
        let soft = [1_000; 160];
        assert!(limited(&mut limiter, &soft)[159] < 520);
        (0..50).for_each(|_| drop(limited(&mut limiter, &soft)));
        assert_eq!(limited(&mut limiter, &soft), [1_000; 160]);
        assert!(limiter.open);
    }

    proptest! {
        #[test]
        fn after_its_attack_nothing_is_above_the_ceiling_and_signs_stay(
            frames in prop::collection::vec(prop::collection::vec(any::<i32>(), 64), 1..20),
        ) {
            let mut limiter = Limiter::new(64);
            for sums in frames {
                let sums: Vec<i32> = sums.iter().map(|sum| sum / 1_000).collect();
                let out = limited(&mut limiter, &sums);
                for (n, (sum, out)) in sums.iter().zip(&out).enumerate() {
                    prop_assert!(i32::from(*out).signum() * sum.signum() >= 0);
                    prop_assert!(n < 8 || f32::from(out.unsigned_abs()) <= CEILING + 1.0);
                    prop_assert!(i32::from(*out).abs() <= sum.abs());
                }
            }
        }
    }
}
