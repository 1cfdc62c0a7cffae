//! Our own voice on a stream: clips, tones and digits, frame by frame.
//!
//! Pure: the clock is the caller's. A digit interrupts what is played, which goes on behind it.
//! What leaves a frame short at the end of a clip is filled with silence.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clip::Clip;
use super::event::{EVENT_BYTES, Event};
use crate::codec::{Codec, Coder, SAMPLES_MAX};
use crate::dsp::resample::Resampler;
use crate::dsp::tone::{Digit, Oscillators, Stretch};
use crate::limits::DIGITS_MAX;

/// What is played.
#[derive(Debug, Clone)]
pub enum Sound {
    /// Samples of a file.
    Clip(Arc<Clip>),
    /// A tone of the line, for ever.
    Signal(&'static [Stretch]),
}

/// What to play and how.
#[derive(Debug, Clone)]
pub struct Order {
    /// One behind the other.
    pub sounds: Vec<Sound>,
    /// How often all of it; none: for ever.
    pub times: Option<u32>,
    /// Where to begin in the first, ms.
    pub start_ms: u64,
    /// When to end, ms from the beginning.
    pub lasts_ms: Option<u64>,
    /// Loudness; 256 is as it was recorded.
    pub volume: i32,
}

/// A digit to be sent.
#[derive(Debug, Clone, Copy)]
pub struct DigitOrder {
    /// Which one.
    pub digit: Digit,
    /// How long, ms.
    pub lasts_ms: u32,
    /// Silence behind it, ms.
    pub pause_ms: u32,
    /// Level below 0 dBm0.
    pub volume: u8,
}

/// How the packets to a party look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// Payload type and codec of sound.
    pub audio: (u8, Codec),
    /// Payload type of events and its clock; none: digits are sent as sound.
    pub events: Option<(u8, u32)>,
    /// Sound in a packet, ms.
    pub frame_ms: u32,
}

/// What [`Speaker::next`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Payload type.
    pub payload_type: u8,
    /// First packet behind a silence or of an event.
    pub marker: bool,
    /// Bytes of payload; none: nothing is sent in this frame's time.
    pub length: Option<usize>,
    /// Media time before the clock's own: an event keeps the time it began at.
    pub back: u32,
}

/// Something that was played has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayEnd {
    /// How much of it was heard, ms.
    pub played_ms: u64,
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
}

struct Sending {
    order: DigitOrder,
    elapsed_ms: u32,
    ends: u8,
    silence_ms: u32,
}

/// Packets that end an event (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;

/// What we say to one party.
pub struct Speaker {
    voice: Voice,
    coder: Box<dyn Coder>,
    playing: Option<Playing>,
    digits: VecDeque<DigitOrder>,
    sending: Option<Sending>,
    tone: Oscillators,
    pcm: Box<[i16]>,
    rough: Box<[i16]>,
    spoke: bool,
}

/// Longest frame, ms.
const FRAME_MS_MAX: usize = 60;

impl Speaker {
    /// Silent as yet. `source_hz` is the rate of what will be played; none without memory.
    pub fn new(voice: Voice, source_hz: u32) -> Option<Speaker> {
        let coder = voice.audio.1.coder(source_hz)?;
        let tone = Oscillators::new(coder.rate_hz(), 0.0);
        Some(Speaker {
            voice,
            coder,
            playing: None,
            digits: VecDeque::new(),
            sending: None,
            tone,
            pcm: vec![0; 48 * FRAME_MS_MAX].into(),
            rough: vec![0; 48 * FRAME_MS_MAX].into(),
            spoke: false,
        })
    }

    /// How its packets look.
    pub fn voice(&self) -> Voice {
        self.voice
    }

    /// The party wants other packets from now on.
    pub fn change_voice(&mut self, voice: Voice) {
        if voice.audio.1 != self.voice.audio.1
            && let Some(coder) = voice.audio.1.coder(self.coder.rate_hz())
        {
            self.coder = coder;
        }
        self.voice = voice;
    }

    /// Plays from now on, in place of what was played.
    pub fn play(&mut self, order: Order) {
        self.playing = Some(Playing::begin(order, self.coder.rate_hz()));
    }

    /// Stops playing.
    pub fn stop(&mut self) {
        self.playing = None;
    }

    /// Where the clip is, ms from its beginning.
    pub fn position_ms(&self) -> Option<u64> {
        self.playing.as_ref().map(Playing::position_ms)
    }

    /// Sends a digit behind those that wait; false when too many wait.
    pub fn press(&mut self, order: DigitOrder) -> bool {
        let room = self.digits.len() < DIGITS_MAX;
        if room {
            self.digits.push_back(order);
        }
        room
    }

    /// Whether there is nothing left to say.
    pub fn is_done(&self) -> bool {
        self.playing.is_none() && self.sending.is_none() && self.digits.is_empty()
    }

    /// Writes the payload of the next frame; and how what was played ended with it.
    pub fn next(&mut self, payload: &mut [u8]) -> (Frame, Option<PlayEnd>) {
        if self.sending.is_none() {
            self.sending = self.digits.pop_front().map(|order| Sending {
                order,
                elapsed_ms: 0,
                ends: 0,
                silence_ms: 0,
            });
            self.tone.restart();
        }
        let frame = match (self.sending.take(), self.voice.events) {
            (Some(sending), Some(events)) => self.event(sending, events, payload),
            (Some(sending), None) => self.sounding_digit(sending, payload),
            (None, _) => return self.next_of_clip(payload),
        };
        self.spoke = false;
        (frame, None)
    }

    fn silent(&self) -> Frame {
        Frame {
            payload_type: self.voice.audio.0,
            marker: false,
            length: None,
            back: 0,
        }
    }

    /// A packet of an event: they come while the key is down, then three that say its end, then
    /// the pause.
    fn event(&mut self, mut sending: Sending, events: (u8, u32), payload: &mut [u8]) -> Frame {
        let order = sending.order;
        let first = sending.elapsed_ms == 0;
        let frame_ms = self.voice.frame_ms;
        let before_ms = sending.elapsed_ms;
        sending.elapsed_ms += frame_ms;
        if sending.ends == ENDS {
            sending.silence_ms += frame_ms;
            if sending.silence_ms < order.pause_ms {
                self.sending = Some(sending);
            }
            return self.silent();
        }
        let down_ms = sending.elapsed_ms.min(order.lasts_ms);
        let end = sending.elapsed_ms >= order.lasts_ms;
        if end {
            sending.ends += 1;
            // The pause begins with the first of the three.
            sending.silence_ms += if sending.ends > 1 { frame_ms } else { 0 };
        }
        self.sending = Some(sending);
        let event = Event {
            code: order.digit.code(),
            end,
            volume: order.volume,
            duration: (down_ms * (events.1 / 1_000)).min(u16::MAX.into()) as u16,
        };
        let room = payload.first_chunk_mut::<EVENT_BYTES>();
        let length = room.map(|room| {
            *room = event.bytes();
            EVENT_BYTES
        });
        Frame {
            payload_type: events.0,
            marker: first,
            length,
            back: before_ms * (self.voice.audio.1.clock_hz() / 1_000),
        }
    }

    fn sounding_digit(&mut self, mut sending: Sending, payload: &mut [u8]) -> Frame {
        let order = sending.order;
        let rate = self.coder.rate_hz() as usize / 1_000;
        let samples = rate * self.voice.frame_ms as usize;
        let left_ms = order.lasts_ms.saturating_sub(sending.elapsed_ms);
        let sounding = samples.min(left_ms as usize * rate);
        let (sound, silence) = self.pcm[..samples].split_at_mut(sounding);
        if sending.elapsed_ms == 0 {
            self.tone = Oscillators::new(self.coder.rate_hz(), -f32::from(order.volume));
        }
        self.tone.fill(order.digit.frequencies_hz(), sound);
        silence.fill(0);
        sending.elapsed_ms += self.voice.frame_ms;
        let marker = sending.elapsed_ms == self.voice.frame_ms;
        if sending.elapsed_ms < order.lasts_ms + order.pause_ms {
            self.sending = Some(sending);
        }
        Frame {
            marker,
            length: self.coder.encode(&self.pcm[..samples], payload),
            ..self.silent()
        }
    }

    fn next_of_clip(&mut self, payload: &mut [u8]) -> (Frame, Option<PlayEnd>) {
        let Some(playing) = &mut self.playing else {
            return (self.silent(), None);
        };
        let frame_ms = self.voice.frame_ms;
        let samples = (self.coder.rate_hz() / 1_000 * frame_ms) as usize;
        let pcm = &mut self.pcm[..samples];
        let heard_ms = playing.fill(self.coder.rate_hz(), pcm, &mut self.rough);
        let over = playing.has_ended(heard_ms, frame_ms);
        let ended = over.then_some(PlayEnd {
            played_ms: playing.played_ms,
        });
        if over {
            self.playing = None;
        }
        let marker = !std::mem::replace(&mut self.spoke, true);
        let silent = self.silent();
        if heard_ms == 0 {
            return (silent, ended);
        }
        let frame = Frame {
            marker,
            length: self.coder.encode(&self.pcm[..samples], payload),
            ..silent
        };
        (frame, ended)
    }
}

impl Playing {
    /// From the place the order says, for sound at this rate.
    pub fn begin(order: Order, rate_hz: u32) -> Playing {
        let start_ms = order.start_ms;
        let mut playing = Playing {
            order,
            sound: 0,
            position: 0,
            rounds: 0,
            played_ms: 0,
            resampler: None,
            tone: Oscillators::new(rate_hz, -13.0),
        };
        playing.seek(0, start_ms);
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
            Some(Sound::Signal(_)) => false,
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

const _: () = assert!(SAMPLES_MAX >= 48 * FRAME_MS_MAX);

#[cfg(test)]
mod tests;
