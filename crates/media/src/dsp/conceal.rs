//! Fills the place of lost sound with what was heard before it, softer and softer.
//!
//! For codecs that cannot do it themselves. The last pitch period is repeated (as ITU-T G.711
//! appendix I has it), joined by a short overlap, and faded out within 60 ms: longer would sound
//! like a machine.

/// Shortest and longest pitch period, in fractions of a second: 400 Hz and 66 Hz.
const PITCH_HZ: (u32, u32) = (400, 66);

/// Silence from here on, ms.
const FADE_MS: u32 = 60;

/// Remembers enough of a stream to go on without it.
pub struct Concealer {
    rate_hz: u32,
    /// What was heard, newest last: two of the longest periods.
    history: Box<[f32]>,
    /// The period that is repeated and where in it we are, while packets are missing.
    period: usize,
    at: usize,
    missing: u32,
}

impl Concealer {
    /// Has heard nothing but silence.
    pub fn new(rate_hz: u32) -> Concealer {
        let longest = (rate_hz / PITCH_HZ.1) as usize;
        Concealer {
            rate_hz,
            history: vec![0.0; 2 * longest].into(),
            period: longest,
            at: 0,
            missing: 0,
        }
    }

    /// Sound that came; its beginning is joined to what was made up before it.
    pub fn heard(&mut self, pcm: &mut [i16]) {
        if self.missing > 0 {
            let overlap = (self.rate_hz as usize / 200).min(pcm.len());
            for (n, sample) in pcm[..overlap].iter_mut().enumerate() {
                let weight = n as f32 / overlap as f32;
                let made_up = self.next();
                *sample = (f32::from(*sample) * weight + made_up * (1.0 - weight)) as i16;
            }
            self.missing = 0;
        }
        self.remember(pcm);
    }

    /// Makes up what is missing.
    pub fn conceal(&mut self, pcm: &mut [i16]) {
        if self.missing == 0 {
            self.period = self.pitch();
            self.at = 0;
        }
        for sample in pcm {
            *sample = self.next() as i16;
        }
    }

    fn next(&mut self) -> f32 {
        let place = self.history.len() - self.period + self.at;
        self.at = (self.at + 1) % self.period;
        self.missing = self.missing.saturating_add(1);
        let fade = (self.rate_hz / 1_000 * FADE_MS) as f32;
        let loudness = (1.0 - self.missing as f32 / fade).max(0.0);
        self.history[place] * loudness
    }

    fn remember(&mut self, pcm: &[i16]) {
        let new = pcm.len().min(self.history.len());
        self.history.copy_within(new.., 0);
        let from = self.history.len() - new;
        for (place, sample) in self.history[from..].iter_mut().zip(&pcm[pcm.len() - new..]) {
            *place = f32::from(*sample);
        }
    }

    /// The shift at which the sound is most like itself.
    fn pitch(&self) -> usize {
        let (shortest, longest) = (self.rate_hz / PITCH_HZ.0, self.rate_hz / PITCH_HZ.1);
        let likeness = |&period: &usize| {
            let width = longest as usize;
            let newest = &self.history[self.history.len() - width..];
            let before = &self.history[self.history.len() - width - period..][..width];
            let pairs = newest.iter().zip(before);
            let (mut product, mut energy) = (0.0_f32, 1.0_f32);
            for (new, old) in pairs {
                product += new * old;
                energy += old * old;
            }
            product / energy.sqrt()
        };
        let periods = shortest as usize..=longest as usize;
        let best = periods.map(|period| (period, likeness(&period)));
        let best = best.max_by(|first, second| first.1.total_cmp(&second.1));
        best.map_or(longest as usize, |(period, _)| period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(from: usize, samples: usize) -> Vec<i16> {
        let angle = |n: usize| std::f64::consts::TAU * 200.0 * n as f64 / 8_000.0;
        (from..from + samples)
            .map(|n| (8_000.0 * angle(n).sin()) as i16)
            .collect()
    }

    #[test]
    fn a_lost_frame_of_a_tone_goes_on_like_the_tone() {
        let mut concealer = Concealer::new(8_000);
        concealer.heard(&mut tone(0, 800));
        let mut made_up = [0; 80];
        concealer.conceal(&mut made_up);
        for (n, (made_up, real)) in made_up.iter().zip(tone(800, 80)).enumerate() {
            let fade = 1.0 - (n + 1) as f32 / 480.0;
            assert!(
                (f32::from(*made_up) - f32::from(real) * fade).abs() < 200.0,
                "sample {n}"
            );
        }
        let mut next = tone(880, 160);
        concealer.heard(&mut next);
        assert_eq!(next[80..], tone(880, 160)[80..]);
    }

    #[test]
    fn what_stays_away_becomes_silence() {
        let mut concealer = Concealer::new(16_000);
        concealer.heard(&mut tone(0, 3_200));
        let mut made_up = [1; 1_920];
        concealer.conceal(&mut made_up);
        assert!(
            made_up[..100]
                .iter()
                .any(|sample| sample.unsigned_abs() > 4_000)
        );
        assert!(made_up[960..].iter().all(|sample| *sample == 0));
    }

    proptest! {
        #[test]
        fn no_sound_makes_it_panic_or_louder(
            frames in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(any::<i16>(), 0..400)), 0..20),
        ) {
            let mut concealer = Concealer::new(8_000);
            for (lost, mut frame) in frames {
                if lost {
                    concealer.conceal(&mut frame);
                } else {
                    concealer.heard(&mut frame);
                }
            }
        }
    }
}
