//! Our own voice on a stream: clips, tones and digits, frame by frame.
//!
//! Pure: the clock is the caller's. A digit interrupts what is played, which goes on behind it.
//! What leaves a frame short at the end of a clip is filled with silence.

use std::collections::VecDeque;

use super::choir::Member;
use super::event::{EVENT_BYTES, Event};
use crate::codec::{Codec, Coder, SAMPLES_MAX};
use crate::dsp::tone::{Digit, Oscillators};
use crate::limits::DIGITS_MAX;

pub use super::playing::{Order, Playing, PlayingState, Sound};

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
    /// Music that others hear too, in place of that.
    choir: Option<Member>,
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
            choir: None,
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
        if let Some(member) = self.choir.take() {
            // The others hear it as before.
            self.playing = Some(member.alone(self.coder.rate_hz()));
        }
        self.voice = voice;
    }

    /// Plays from now on, in place of what was played.
    pub fn play(&mut self, order: Order) {
        self.choir = None;
        self.playing = Some(Playing::begin(order, self.coder.rate_hz()));
    }

    /// Hears with others what they hear, in place of what was played.
    pub fn join(&mut self, member: Member) {
        (self.playing, self.choir) = (None, Some(member));
    }

    /// Stops playing.
    pub fn stop(&mut self) {
        (self.playing, self.choir) = (None, None);
    }

    /// Where the clip is, ms from its beginning.
    pub fn position_ms(&self) -> Option<u64> {
        let alone = self.playing.as_ref().map(Playing::position_ms);
        alone.or_else(|| self.choir.as_ref().map(Member::position_ms))
    }

    /// What is played, for another engine; none when nothing is, or it would not find it.
    pub fn state(&self) -> Option<PlayingState> {
        let alone = self.playing.as_ref().and_then(Playing::state);
        alone.or_else(|| self.choir.as_ref()?.state())
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
        let silent = self.playing.is_none() && self.choir.is_none();
        silent && self.sending.is_none() && self.digits.is_empty()
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
        if let Some(member) = &mut self.choir {
            let length = member.next(payload);
            let marker = !std::mem::replace(&mut self.spoke, true);
            let silent = self.silent();
            let frame = Frame {
                marker,
                length,
                ..silent
            };
            return (frame, None);
        }
        let Some(playing) = &mut self.playing else {
            return (self.silent(), None);
        };
        let frame_ms = self.voice.frame_ms;
        let samples = (self.coder.rate_hz() / 1_000 * frame_ms) as usize;
        let pcm = &mut self.pcm[..samples];
        let heard_ms = playing.fill(self.coder.rate_hz(), pcm, &mut self.rough);
        let over = playing.has_ended(heard_ms, frame_ms);
        let ended = over.then_some(PlayEnd {
            played_ms: playing.played_ms(),
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

const _: () = assert!(SAMPLES_MAX >= 48 * FRAME_MS_MAX);

#[cfg(test)]
mod tests;
