//! Music that several parties hear as one stream: encoded once for all of them.
//!
//! Pure. Whoever asks first for a frame has it made; who asks later gets the same bytes. Each goes
//! on at its own pace, a little behind or ahead of the others; who joins begins where the others
//! are. The music has no end.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::playing::{Order, Playing, PlayingState};
use super::speaker::Voice;
use crate::codec::{Coder, SAMPLES_MAX};
use crate::metrics::Count;

/// Frames that are kept for those who come later in their time.
const KEPT: u64 = 8;

/// What all of them hear.
pub struct Choir {
    order: Order,
    playing: Playing,
    coder: Box<dyn Coder>,
    frame_ms: u32,
    /// The newest frames and the number of the next one.
    frames: VecDeque<Box<[u8]>>,
    next: u64,
    pcm: Box<[i16]>,
    rough: Box<[i16]>,
    payload: Box<[u8]>,
    /// Frames that need not be encoded.
    saved: Arc<Count>,
}

/// Longest payload, bytes: 60 ms of L16 at 48 kHz.
const PAYLOAD_BYTES_MAX: usize = 60 * 48 * 2;

impl Choir {
    /// Begins where the order says; none without memory. `source_hz` is the rate of the music.
    pub fn new(order: Order, voice: Voice, source_hz: u32, saved: Arc<Count>) -> Option<Choir> {
        let coder = voice.audio.1.coder(source_hz)?;
        Some(Choir {
            playing: Playing::begin(order.clone(), coder.rate_hz()),
            order,
            coder,
            frame_ms: voice.frame_ms,
            frames: VecDeque::new(),
            next: 0,
            pcm: vec![0; SAMPLES_MAX].into(),
            rough: vec![0; SAMPLES_MAX].into(),
            payload: vec![0; PAYLOAD_BYTES_MAX].into(),
            saved,
        })
    }

    /// Where the music is, ms from its beginning.
    pub fn position_ms(&self) -> u64 {
        self.playing.position_ms()
    }

    /// Makes the next frame.
    fn make(&mut self) {
        let samples = (self.coder.rate_hz() / 1_000 * self.frame_ms) as usize;
        let pcm = &mut self.pcm[..samples];
        self.playing
            .fill(self.coder.rate_hz(), pcm, &mut self.rough);
        let length = self.coder.encode(pcm, &mut self.payload).unwrap_or(0);
        self.frames.push_back(self.payload[..length].into());
        if self.frames.len() as u64 > KEPT {
            self.frames.pop_front();
        }
        self.next += 1;
    }

    /// The frame with this number, made if it is the next one.
    fn frame(&mut self, number: u64) -> Option<&[u8]> {
        if number == self.next {
            self.make();
        } else {
            self.saved.add(1);
        }
        let oldest = self.next - self.frames.len() as u64;
        let at = usize::try_from(number.checked_sub(oldest)?).ok()?;
        self.frames.get(at).map(|frame| &**frame)
    }
}

/// One who hears it.
pub struct Member {
    choir: Arc<Mutex<Choir>>,
    /// The frame that is heard next; none before the first one.
    next: Option<u64>,
}

impl Member {
    /// Joins where the others are.
    pub fn of(choir: Arc<Mutex<Choir>>) -> Member {
        Member { choir, next: None }
    }

    /// Writes the next frame; its length, none when it does not fit.
    pub fn next(&mut self, payload: &mut [u8]) -> Option<usize> {
        let mut choir = self.choir.lock();
        let newest = choir.next.saturating_sub(1);
        let wanted = self.next.unwrap_or(newest);
        // Who was away for long goes on where the others are.
        let number = if wanted > choir.next || wanted + KEPT <= choir.next {
            newest
        } else {
            wanted
        };
        self.next = Some(number + 1);
        let frame = choir.frame(number)?;
        payload.get_mut(..frame.len())?.copy_from_slice(frame);
        Some(frame.len()).filter(|length| *length > 0)
    }

    /// Where the music is, ms from its beginning.
    pub fn position_ms(&self) -> u64 {
        self.choir.lock().position_ms()
    }

    /// The music, for another engine.
    pub fn state(&self) -> Option<PlayingState> {
        self.choir.lock().playing.state()
    }

    /// The same music for one alone, from here on.
    pub fn alone(&self, rate_hz: u32) -> Playing {
        let choir = self.choir.lock();
        let mut playing = Playing::begin(choir.order.clone(), rate_hz);
        playing.seek(choir.playing.sound(), choir.playing.position_ms());
        playing
    }
}

#[cfg(test)]
mod tests {
    use super::super::clip::Clip;
    use super::super::playing::Sound;
    use super::*;
    use crate::codec::Codec;

    fn choir() -> (Arc<Mutex<Choir>>, Arc<Count>) {
        let clip = Clip {
            samples: (0..1_600).map(|n| n * 10).collect(),
            rate_hz: 8_000,
        };
        let order = Order {
            sounds: vec![Sound::Clip(Arc::new(clip))],
            times: None,
            names: Arc::default(),
            first: 0,
            start_ms: 0,
            lasts_ms: None,
            volume: 256,
            shared: true,
        };
        let voice = Voice {
            audio: (0, Codec::Pcmu),
            events: None,
            frame_ms: 20,
        };
        let saved = Arc::new(Count::default());
        let choir = Choir::new(order, voice, 8_000, Arc::clone(&saved)).expect("memory");
        (Arc::new(Mutex::new(choir)), saved)
    }

    fn next(member: &mut Member) -> Vec<u8> {
        let mut payload = [0; 400];
        let length = member.next(&mut payload).expect("a frame");
        payload[..length].to_vec()
    }

    #[test]
    fn who_joins_hears_what_the_others_hear_and_nothing_is_encoded_twice() {
        let (choir, saved) = choir();
        let mut first = Member::of(Arc::clone(&choir));
        let before: Vec<_> = (0..5).map(|_| next(&mut first)).collect();
        let mut second = Member::of(choir);
        assert_eq!(next(&mut second), before[4], "where the first one is");
        for _ in 0..30 {
            assert_eq!(next(&mut second), next(&mut first));
        }
        assert_eq!(saved.get(), 31);
    }

    #[test]
    fn who_was_away_goes_on_where_the_others_are() {
        let (choir, _) = choir();
        let [mut first, mut second] = [Member::of(Arc::clone(&choir)), Member::of(choir)];
        next(&mut second);
        let newest = (0..30).map(|_| next(&mut first)).last().expect("frames");
        assert_eq!(next(&mut second), newest);
        assert_eq!(next(&mut second), next(&mut first));
    }
}
