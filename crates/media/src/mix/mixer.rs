//! Sums of voices, and the same without one of them.
//!
//! Pure. Sums are 32 bits wide, so that total minus self is exact however many talk: the sum of
//! the others, to the bit.

use super::limiter::Limiter;

/// The sound of a room in one frame.
pub struct Mixer {
    total: Box<[i32]>,
    /// A mix for one party alone.
    special: Box<[i32]>,
    limiter: Limiter,
}

impl Mixer {
    /// For frames of so many samples.
    pub fn new(samples: usize) -> Mixer {
        Mixer {
            total: vec![0; samples].into(),
            special: vec![0; samples].into(),
            limiter: Limiter::new(samples),
        }
    }

    /// Begins a frame: silence.
    pub fn clear(&mut self) {
        self.total.fill(0);
    }

    /// Adds a voice that all hear.
    pub fn add(&mut self, voice: &[i16]) {
        let pairs = self.total.iter_mut().zip(voice);
        pairs.for_each(|(sum, sample)| *sum += i32::from(*sample));
    }

    /// All voices are there: decides how loud the room may be.
    pub fn settle(&mut self) {
        self.limiter.judge(&self.total);
    }

    /// What somebody hears who says nothing.
    pub fn all(&self, out: &mut [i16]) {
        self.limiter.apply(self.total.iter().copied(), out);
    }

    /// What somebody hears who says `own`.
    pub fn without(&self, own: &[i16], out: &mut [i16]) {
        let pairs = self.total.iter().zip(own);
        self.limiter
            .apply(pairs.map(|(sum, own)| sum - i32::from(*own)), out);
    }

    /// What somebody hears who says `own`, if anything, and to whom others whisper.
    pub fn special<'a>(
        &mut self,
        own: Option<&[i16]>,
        whispers: impl Iterator<Item = &'a [i16]>,
        out: &mut [i16],
    ) {
        self.special.copy_from_slice(&self.total);
        let pairs = self.special.iter_mut().zip(own.unwrap_or_default());
        pairs.for_each(|(sum, own)| *sum -= i32::from(*own));
        for whisper in whispers {
            let pairs = self.special.iter_mut().zip(whisper);
            pairs.for_each(|(sum, sample)| *sum += i32::from(*sample));
        }
        self.limiter.apply(self.special.iter().copied(), out);
    }
}

/// Makes a voice louder or softer, evenly from one factor to the other within the frame.
pub fn shape(voice: &mut [i16], from: f32, to: f32) {
    #[allow(clippy::float_cmp, reason = "untouched factors are the same bits")]
    if from == to {
        if to == 1.0 {
            return;
        }
        let scaled = |sample: &mut i16| *sample = (f32::from(*sample) * to) as i16;
        return voice.iter_mut().for_each(scaled);
    }
    let step = (to - from) / voice.len().max(1) as f32;
    for (n, sample) in voice.iter_mut().enumerate() {
        // A cast to fewer bits saturates.
        *sample = (f32::from(*sample) * (from + step * (n + 1) as f32)) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sum of some voices, limited by the curve of all.
    fn summed(mixer: &Mixer, voices: &[&Vec<i16>], samples: usize) -> Vec<i16> {
        let sum = |n: usize| voices.iter().map(|voice| i32::from(voice[n])).sum::<i32>();
        let mut out = vec![0; samples];
        mixer.limiter.apply((0..samples).map(sum), &mut out);
        out
    }

    proptest! {
        #[test]
        fn total_minus_self_is_the_sum_of_the_others_to_the_bit(
            frames in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<i16>(), 32), 1..20), 1..6),
        ) {
            let mut mixer = Mixer::new(32);
            let mut out = vec![0; 32];
            for voices in frames {
                mixer.clear();
                voices.iter().for_each(|voice| mixer.add(voice));
                mixer.settle();
                for (n, own) in voices.iter().enumerate() {
                    let others = voices.iter().enumerate().filter(|(other, _)| *other != n);
                    let others: Vec<_> = others.map(|(_, voice)| voice).collect();
                    mixer.without(own, &mut out);
                    prop_assert_eq!(&out, &summed(&mixer, &others, 32));
                    // A whisper of the first is heard as if it were said.
                    let first = std::iter::once(&voices[0][..]);
                    mixer.special(Some(own), first, &mut out);
                    let others: Vec<_> = others.into_iter().chain([&voices[0]]).collect();
                    prop_assert_eq!(&out, &summed(&mixer, &others, 32));
                }
                mixer.all(&mut out);
                prop_assert_eq!(&out, &summed(&mixer, &voices.iter().collect::<Vec<_>>(), 32));
            }
        }

        #[test]
        fn shapes_stay_between_their_factors(
            voice in prop::collection::vec(any::<i16>(), 1..100),
            from in 0.0_f32..4.0,
            to in 0.0_f32..4.0,
        ) {
            let mut shaped = voice.clone();
            shape(&mut shaped, from, to);
            for (before, after) in voice.iter().zip(&shaped) {
                let most = (f32::from(*before).abs() * from.max(to) + 1.0).min(32_768.0);
                prop_assert!(f32::from(*after).abs() <= most);
                prop_assert!(i32::from(*before).signum() * i32::from(*after).signum() >= 0);
            }
        }
    }
}
