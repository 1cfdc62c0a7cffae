//! How loud a party is, whether it talks, and how much louder or softer it should be.
//!
//! Pure: one call for each frame of 20 ms. Levels are in dBov (RFC 6465): 0 is the loudest square
//! wave, speech on the telephone lies about -26.

/// What is softer is nobody talking, dBov.
const SILENCE_DBOV: f32 = -55.0;

/// Talking is this much louder than what is always there, dB.
const ABOVE_NOISE_DB: f32 = 9.0;

/// What is always there is not taken for louder, dBov: music and tones are no noise.
const NOISE_MAX_DBOV: f32 = -45.0;

/// How fast noise is believed to become louder, dB a frame: 3 dB in a second.
const NOISE_RISE_DB: f32 = 0.06;

/// Frames after the last loud one in which a party still talks: pauses between words.
const HANGOVER: u32 = 20;

/// Loud frames in a row before a party is said to talk: a cough is not talking.
const ONSET: u32 = 3;

/// Where automatic level brings speech, dBov, and by how much at most, dB.
const TARGET_DBOV: f32 = -23.0;
const CORRECTION_DB_MAX: f32 = 12.0;

/// Part of the way to the target in a frame of speech: most of it within two seconds.
const CORRECTION_PART: f32 = 0.02;

/// Part of its height that a level loses in a frame when the sound is softer.
const DECAY: f32 = 0.1;

/// Listens to the level of one party.
#[derive(Debug, Clone)]
pub struct Meter {
    /// Louder at once, softer slowly, dBov.
    level_dbov: f32,
    noise_dbov: f32,
    /// Loud frames in a row, and frames since the last loud one.
    loud: u32,
    since_loud: u32,
    talking: bool,
    correction_db: f32,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            level_dbov: -127.0,
            noise_dbov: -60.0,
            loud: 0,
            since_loud: HANGOVER + 1,
            talking: false,
            correction_db: 0.0,
        }
    }
}

/// The level of samples, dBov; -127 for silence.
pub fn level_dbov(samples: &[i16]) -> f32 {
    // Whole numbers, in pieces that cannot run over, so that vectors may be used.
    let piece = |piece: &[i16]| -> u64 {
        let squares = piece.iter().map(|sample| {
            let sample = i32::from(*sample);
            (sample * sample) as u32 >> 4
        });
        u64::from(squares.sum::<u32>())
    };
    let sum: u64 = samples.chunks(48).map(piece).sum();
    let mean = sum as f32 * 16.0 / samples.len().max(1) as f32;
    (10.0 * (mean / 32_768.0_f32.powi(2)).log10()).max(-127.0)
}

impl Meter {
    /// Takes a frame.
    pub fn take(&mut self, frame: &[i16]) {
        self.take_level(level_dbov(frame));
    }

    /// Takes a frame in which nothing came.
    pub fn take_silence(&mut self) {
        self.take_level(-127.0);
    }

    fn take_level(&mut self, now_dbov: f32) {
        self.level_dbov = if now_dbov > self.level_dbov {
            now_dbov
        } else {
            self.level_dbov + (now_dbov - self.level_dbov) * DECAY
        };
        let loud = now_dbov > SILENCE_DBOV && now_dbov > self.noise_dbov + ABOVE_NOISE_DB;
        // Noise is the softest that is heard for long.
        self.noise_dbov = if now_dbov < self.noise_dbov {
            now_dbov.max(-90.0)
        } else {
            (self.noise_dbov + NOISE_RISE_DB).min(now_dbov)
        }
        .min(NOISE_MAX_DBOV);
        if loud {
            (self.loud, self.since_loud) = (self.loud.saturating_add(1), 0);
            let wanted_db = (TARGET_DBOV - now_dbov).clamp(-CORRECTION_DB_MAX, CORRECTION_DB_MAX);
            self.correction_db += (wanted_db - self.correction_db) * CORRECTION_PART;
        } else {
            (self.loud, self.since_loud) = (0, self.since_loud.saturating_add(1));
        }
        self.talking = self.since_loud <= HANGOVER && (self.talking || self.loud >= ONSET);
    }

    /// Forgets what was heard, but not how loud the party speaks.
    pub fn forget(&mut self) {
        *self = Meter {
            correction_db: self.correction_db,
            ..Meter::default()
        };
    }

    /// There is something to be heard, if only between two words.
    pub fn is_active(&self) -> bool {
        self.since_loud <= HANGOVER
    }

    /// The party talks: told to people, so not by every noise.
    pub fn is_talking(&self) -> bool {
        self.talking
    }

    /// How loud it is, dBov.
    pub fn level(&self) -> f32 {
        self.level_dbov
    }

    /// What brings its speech to the same level as that of others, dB.
    pub fn correction_db(&self) -> f32 {
        self.correction_db
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(amplitude: i16) -> Vec<i16> {
        let sign = |n: i16| if n % 8 < 4 { 1 } else { -1 };
        (0..320).map(|n| sign(n) * amplitude).collect()
    }

    #[test]
    fn levels_are_those_of_a_square_wave() {
        assert!(level_dbov(&frame(32_767)).abs() < 0.01);
        assert!((level_dbov(&frame(3_277)) + 20.0).abs() < 0.05);
        assert!(level_dbov(&frame(0)) <= -127.0 && level_dbov(&[]) <= -127.0);
        assert!(level_dbov(&[i16::MIN; 960]).abs() < 0.01);
    }

    #[test]
    fn a_word_is_talking_until_the_pause_is_long_and_a_click_is_none() {
        let mut meter = Meter::default();
        meter.take(&frame(5_000));
        assert!(meter.is_active() && !meter.is_talking());
        (0..30).for_each(|_| meter.take(&frame(0)));
        assert!(!meter.is_active() && !meter.is_talking());
        (0..ONSET).for_each(|_| meter.take(&frame(5_000)));
        assert!(meter.is_talking());
        (0..HANGOVER).for_each(|_| meter.take_silence());
        assert!(meter.is_talking() && meter.is_active());
        meter.take_silence();
        assert!(!meter.is_talking() && !meter.is_active());
    }

    #[test]
    fn steady_noise_is_no_talking_but_music_is_heard() {
        let mut meter = Meter::default();
        // About -52 dBov: a fan.
        (0..2_000).for_each(|_| meter.take(&frame(80)));
        assert!(!meter.is_active());
        meter.take(&frame(3_000));
        assert!(meter.is_active());
        let mut meter = Meter::default();
        (0..10_000).for_each(|_| meter.take(&frame(2_000)));
        assert!(meter.is_talking());
    }

    #[test]
    fn soft_voices_become_louder_and_loud_ones_softer() {
        for (amplitude, from_db, to_db) in [(600, 10.0, 12.0), (12_000, -12.0, -10.0)] {
            let mut meter = Meter::default();
            (0..300).for_each(|_| meter.take(&frame(amplitude)));
            let db = meter.correction_db();
            assert!((from_db..=to_db).contains(&db), "{amplitude}: {db}");
        }
    }

    proptest! {
        #[test]
        fn no_sound_leads_out_of_bounds(
            frames in prop::collection::vec(prop::collection::vec(any::<i16>(), 0..400), 0..60),
        ) {
            let mut meter = Meter::default();
            for frame in frames {
                meter.take(&frame);
                prop_assert!((-127.0..=0.1).contains(&meter.level()));
                prop_assert!(meter.correction_db().abs() <= CORRECTION_DB_MAX);
                prop_assert!(!meter.is_talking() || meter.is_active());
            }
        }
    }
}
