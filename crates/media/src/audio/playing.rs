//! What is played, and where in it somebody is.
//!
//! Pure: the clock is the caller's.

mod state;

use std::sync::Arc;

pub use state::PlayingState;

use super::clip::Clip;
use crate::dsp::noise::{Background, NoiseMaker};
use crate::dsp::resample::Resampler;
use crate::dsp::tone::{Oscillators, Stretch};

/// What is played.
#[derive(Debug, Clone)]
pub enum Sound {
    /// Samples of a file.
    Clip(Arc<Clip>),
    /// A tone of the line, for ever.
    Signal(&'static [Stretch]),
    /// What the silence of a party is like, for ever.
    Noise(Background),
}

/// What to play and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// One behind the other.
    pub sounds: Vec<Sound>,
    /// Their names, for another engine; none when it would not find them there.
    pub names: Arc<[String]>,
    /// How often all of it; none: for ever.
    pub times: Option<u32>,
    /// With which of them to begin.
    pub first: usize,
    /// Where to begin in that one, ms.
    pub start_ms: u64,
    /// When to end, ms from the beginning.
    pub lasts_ms: Option<u64>,
    /// Loudness; 256 is as it was recorded.
    pub volume: i32,
    /// As one stream with all who hear the same, for ever and from where they are.
    pub shared: bool,
}

/// An order that is carried out.
pub struct Playing {
    order: Order,
    sound: usize,
    /// Samples of a clip or milliseconds of a signal.
    position: usize,
    rounds: u32,
    played_ms: u64,
    /// From the rate of the sound that is on.
    resampler: Option<(u32, Resampler)>,
    tone: Oscillators,
    noise: Option<NoiseMaker>,
}

impl Playing {
    /// From the place the order says, for sound at this rate.
    pub fn begin(order: Order, rate_hz: u32) -> Playing {
        let (first, start_ms) = (order.first, order.start_ms);
        let mut playing = Playing {
            order,
            sound: 0,
            position: 0,
            rounds: 0,
            played_ms: 0,
            resampler: None,
            tone: Oscillators::new(rate_hz, -13.0),
            noise: None,
        };
        playing.seek(first, start_ms);
        playing
    }

    /// Goes to a place of one of its sounds.
    pub fn seek(&mut self, sound: usize, position_ms: u64) {
        let per_ms = match self.order.sounds.get(sound) {
            Some(Sound::Clip(clip)) => clip.rate_hz as usize / 1_000,
            // A signal counts milliseconds.
            _ => 1,
        };
        (self.sound, self.position) = (sound, position_ms as usize * per_ms);
    }

    /// Which of its sounds it is at.
    pub fn sound(&self) -> usize {
        self.sound
    }

    /// Where in that one, ms.
    pub fn position_ms(&self) -> u64 {
        match self.order.sounds.get(self.sound) {
            Some(Sound::Clip(clip)) => self.position as u64 * 1_000 / u64::from(clip.rate_hz),
            _ => self.position as u64,
        }
    }

    /// How much of it was heard, ms.
    pub fn played_ms(&self) -> u64 {
        self.played_ms
    }

    /// Whether the last frame, with so much sound in it, was its end.
    pub fn has_ended(&self, heard_ms: u64, frame_ms: u32) -> bool {
        heard_ms < u64::from(frame_ms) || self.is_over()
    }

    fn is_over(&self) -> bool {
        let time = self
            .order
            .lasts_ms
            .is_some_and(|lasts_ms| self.played_ms >= lasts_ms);
        time || self.sound >= self.order.sounds.len()
    }

    /// Fills a frame; how many ms of it are sound.
    pub fn fill(&mut self, rate_hz: u32, pcm: &mut [i16], rough: &mut [i16]) -> u64 {
        let mut filled = 0;
        // Sounds may be shorter than a frame; a bound, because they may be empty too.
        for _ in 0..8 {
            if filled == pcm.len() || self.is_over() {
                break;
            }
            filled += self.fill_from_one(rate_hz, &mut pcm[filled..], rough);
            self.turn();
        }
        pcm[filled..].fill(0);
        let volume = self.order.volume;
        if volume != 256 {
            let louder = |sample: &mut i16| {
                let value = i32::from(*sample).saturating_mul(volume) >> 8;
                *sample = value.clamp(-32_768, 32_767) as i16;
            };
            pcm[..filled].iter_mut().for_each(louder);
        }
        let heard_ms = (filled * 1_000).div_ceil(rate_hz as usize) as u64;
        self.played_ms += heard_ms;
        heard_ms
    }

    /// Goes on to the next sound, or to the first again, when this one is at its end.
    fn turn(&mut self) {
        let over = match self.order.sounds.get(self.sound) {
            Some(Sound::Clip(clip)) => self.position >= clip.samples.len(),
            Some(Sound::Signal(_) | Sound::Noise(_)) => false,
            None => return,
        };
        if !over {
            return;
        }
        (self.sound, self.position) = (self.sound + 1, 0);
        if self.sound == self.order.sounds.len() {
            self.rounds += 1;
            if self.order.times.is_none_or(|times| self.rounds < times) {
                self.sound = 0;
            }
        }
    }

    fn fill_from_one(&mut self, rate_hz: u32, pcm: &mut [i16], rough: &mut [i16]) -> usize {
        match self.order.sounds.get(self.sound) {
            Some(Sound::Clip(clip)) => {
                let clip = Arc::clone(clip);
                self.fill_from_clip(&clip, rate_hz, pcm, rough)
            }
            Some(&Sound::Signal(stretches)) => {
                self.fill_from_signal(stretches, rate_hz, pcm);
                pcm.len()
            }
            Some(&Sound::Noise(background)) => {
                let make = || NoiseMaker::new(background);
                self.noise.get_or_insert_with(make).fill(pcm);
                pcm.len()
            }
            None => 0,
        }
    }

    fn fill_from_clip(
        &mut self,
        clip: &Clip,
        rate_hz: u32,
        pcm: &mut [i16],
        rough: &mut [i16],
    ) -> usize {
        let rest = clip.samples.get(self.position..).unwrap_or_default();
        if clip.rate_hz == rate_hz {
            let count = rest.len().min(pcm.len());
            pcm[..count].copy_from_slice(&rest[..count]);
            self.position += count.max(1);
            return count;
        }
        if self
            .resampler
            .as_ref()
            .is_none_or(|(known, _)| *known != clip.rate_hz)
        {
            self.resampler = Resampler::new(clip.rate_hz, rate_hz).map(|new| (clip.rate_hz, new));
        }
        let Some((_, resampler)) = &mut self.resampler else {
            self.position = clip.samples.len();
            return 0;
        };
        // The rates have a whole ratio, and a frame is a whole number of both.
        let wanted = (pcm.len() as u64 * u64::from(clip.rate_hz)).div_ceil(u64::from(rate_hz));
        let count = rest.len().min(wanted as usize);
        self.position += count.max(1);
        let written = resampler.run(&rest[..count], rough).min(pcm.len());
        pcm[..written].copy_from_slice(&rough[..written]);
        written
    }

    /// The position is in ms; a frame may hold the edge of two stretches.
    fn fill_from_signal(&mut self, stretches: &[Stretch], rate_hz: u32, pcm: &mut [i16]) {
        let round_ms: usize = stretches
            .iter()
            .map(|stretch| stretch.lasts_ms as usize)
            .sum();
        for millisecond in pcm.chunks_mut(rate_hz as usize / 1_000) {
            let mut at = self.position % round_ms.max(1);
            self.position += 1;
            for stretch in stretches {
                let lasts = stretch.lasts_ms as usize;
                if at < lasts {
                    if at == 0 {
                        self.tone.restart();
                    }
                    if stretch.frequencies_hz[0] > 0.0 {
                        self.tone.fill(stretch.frequencies_hz, millisecond);
                    } else {
                        millisecond.fill(0);
                    }
                    break;
                }
                at -= lasts;
            }
        }
    }
}
