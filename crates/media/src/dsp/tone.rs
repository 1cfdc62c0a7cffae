//! Tones: the digits of a keypad (ITU-T Q.23) and what a line says by itself, by country
//! (ITU-T E.180 supplement 2).

/// Frequencies of the keypad's rows and columns, Hz.
pub const ROWS_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// See [`ROWS_HZ`].
pub const COLUMNS_HZ: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// The keys in the order of their event codes (RFC 4733 section 3.2).
const KEYS: &[u8; 16] = b"0123456789*#ABCD";

/// The keys as they stand on the pad, row by row.
const PAD: &[u8; 16] = b"123A456B789C*0#D";

/// A key: 0 to 9, `*`, `#`, A to D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit(u8);

impl Digit {
    /// From its event code; none above 15.
    pub fn from_code(code: u8) -> Option<Digit> {
        (code < 16).then_some(Digit(code))
    }

    /// From what is printed on the key.
    pub fn from_key(key: u8) -> Option<Digit> {
        let key = key.to_ascii_uppercase();
        let code = KEYS.iter().position(|known| *known == key)?;
        Some(Digit(code as u8))
    }

    /// From the place on the pad.
    pub fn at(row: usize, column: usize) -> Option<Digit> {
        Digit::from_key(*PAD.get(row * 4 + column)?)
    }

    /// Its event code.
    pub fn code(self) -> u8 {
        self.0
    }

    /// What is printed on the key.
    pub fn key(self) -> char {
        char::from(KEYS[usize::from(self.0 & 15)])
    }

    /// Its two frequencies, Hz.
    pub fn frequencies_hz(self) -> [f32; 2] {
        let key = KEYS[usize::from(self.0 & 15)];
        let place = PAD.iter().position(|known| *known == key).unwrap_or(0);
        [ROWS_HZ[place / 4], COLUMNS_HZ[place % 4]]
    }
}

/// A stretch of a tone: up to two frequencies, none for a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Hz; 0 for none.
    pub frequencies_hz: [f32; 2],
    /// How long, ms.
    pub lasts_ms: u32,
}

const fn on(first_hz: f32, second_hz: f32, lasts_ms: u32) -> Stretch {
    Stretch {
        frequencies_hz: [first_hz, second_hz],
        lasts_ms,
    }
}

const fn off(lasts_ms: u32) -> Stretch {
    on(0.0, 0.0, lasts_ms)
}

/// How the signals sound in some countries.
struct Sounds {
    countries: &'static [&'static str],
    /// Ring-back, busy, congestion.
    signals: [&'static [Stretch]; 3],
}

static SOUNDS: [Sounds; 7] = [
    Sounds {
        countries: &["us", "ca"],
        signals: [
            &[on(440.0, 480.0, 2_000), off(4_000)],
            &[on(480.0, 620.0, 500), off(500)],
            &[on(480.0, 620.0, 250), off(250)],
        ],
    },
    Sounds {
        countries: &["gb", "ie"],
        signals: [
            &[
                on(400.0, 450.0, 400),
                off(200),
                on(400.0, 450.0, 400),
                off(2_000),
            ],
            &[on(400.0, 0.0, 375), off(375)],
            &[on(400.0, 0.0, 400), off(350), on(400.0, 0.0, 225), off(525)],
        ],
    },
    Sounds {
        countries: &["fr"],
        signals: [
            &[on(440.0, 0.0, 1_500), off(3_500)],
            &[on(440.0, 0.0, 500), off(500)],
            &[on(440.0, 0.0, 250), off(250)],
        ],
    },
    Sounds {
        countries: &[
            "de", "at", "ch", "it", "nl", "be", "dk", "no", "se", "fi", "pl", "cz",
        ],
        signals: [
            &[on(425.0, 0.0, 1_000), off(4_000)],
            &[on(425.0, 0.0, 480), off(480)],
            &[on(425.0, 0.0, 240), off(240)],
        ],
    },
    Sounds {
        countries: &["es"],
        signals: [
            &[on(425.0, 0.0, 1_500), off(3_000)],
            &[on(425.0, 0.0, 200), off(200)],
            &[on(425.0, 0.0, 200), off(200), on(425.0, 0.0, 200), off(600)],
        ],
    },
    Sounds {
        countries: &["au"],
        signals: [
            &[
                on(413.0, 438.0, 400),
                off(200),
                on(413.0, 438.0, 400),
                off(2_000),
            ],
            &[on(425.0, 0.0, 375), off(375)],
            &[on(425.0, 0.0, 375), off(375)],
        ],
    },
    Sounds {
        countries: &["jp"],
        signals: [
            &[on(384.0, 416.0, 1_000), off(2_000)],
            &[on(400.0, 0.0, 500), off(500)],
            &[on(400.0, 0.0, 500), off(500)],
        ],
    },
];

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The other phone rings.
    RingBack,
    /// The other party talks.
    Busy,
    /// No line is free.
    Congestion,
}

impl Signal {
    /// From its name: `ring-back`, `busy`, `congestion`.
    pub fn from_name(name: &str) -> Option<Signal> {
        Some(match name {
            "ring-back" => Signal::RingBack,
            "busy" => Signal::Busy,
            "congestion" => Signal::Congestion,
            _ => return None,
        })
    }

    /// How it sounds in a country (two letters of ISO 3166); none when that is not known.
    pub fn stretches(self, country: &str) -> Option<&'static [Stretch]> {
        let country = country.to_ascii_lowercase();
        let known = |sounds: &&Sounds| sounds.countries.contains(&&country[..]);
        let Sounds { signals, .. } = SOUNDS.iter().find(known)?;
        Some(match self {
            Signal::RingBack => signals[0],
            Signal::Busy => signals[1],
            Signal::Congestion => signals[2],
        })
    }
}

/// Two oscillators that go on from frame to frame.
#[derive(Debug, Clone)]
pub struct Oscillators {
    /// Samples made since the stretch began.
    position: u32,
    rate_hz: u32,
    amplitude: f32,
}

impl Oscillators {
    /// Each frequency is `level_dbm0` loud; 0 dBm0 is 3.17 dB below the loudest sine (mu-law of
    /// G.711).
    pub fn new(rate_hz: u32, level_dbm0: f32) -> Oscillators {
        Oscillators {
            position: 0,
            rate_hz,
            amplitude: 32_767.0 * 10_f32.powf((level_dbm0 - 3.17) / 20.0),
        }
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        self.position = 0;
    }

    /// Writes the next samples of a sum of sines.
    pub fn fill(&mut self, frequencies_hz: [f32; 2], pcm: &mut [i16]) {
        let step = |hz: f32| f64::from(hz) * std::f64::consts::TAU / f64::from(self.rate_hz);
        let steps = frequencies_hz.map(step);
        for sample in pcm {
            let at = f64::from(self.position);
            let sum = (steps[0] * at).sin() + (steps[1] * at).sin();
            let value = f64::from(self.amplitude) * sum;
            *sample = value.clamp(-32_768.0, 32_767.0) as i16;
            self.position = self.position.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_codes_and_places_agree() {
        for code in 0..16 {
            let digit = Digit::from_code(code).expect("a digit");
            assert_eq!(Digit::from_key(digit.key() as u8), Some(digit));
            let [row, column] = digit.frequencies_hz();
            let row = ROWS_HZ.iter().position(|hz| *hz == row).expect("a row");
            let column = COLUMNS_HZ
                .iter()
                .position(|hz| *hz == column)
                .expect("a column");
            assert_eq!(Digit::at(row, column), Some(digit));
        }
        assert_eq!(Digit::from_code(16), None);
        assert_eq!(Digit::from_key(b'E'), None);
        assert_eq!(Digit::from_key(b'd').map(Digit::key), Some('D'));
    }

    #[test]
    fn countries_differ_and_unknown_ones_are_said() {
        let busy = |country: &str| Signal::Busy.stretches(country);
        assert_ne!(busy("us"), busy("de"));
        assert_eq!(busy("DE"), busy("de"));
        assert_eq!(busy("xx"), None);
    }

    #[test]
    fn the_level_is_what_was_asked_for() {
        let mut samples = [0; 8_000];
        Oscillators::new(8_000, 0.0).fill([1_000.0, 0.0], &mut samples);
        let highest = samples.iter().map(|s| s.unsigned_abs()).max();
        assert!(
            (22_700..22_900).contains(&highest.unwrap_or(0)),
            "{highest:?}"
        );
    }
}
