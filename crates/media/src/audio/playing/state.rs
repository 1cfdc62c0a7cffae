//! What is played written down, and what is left of it later.

use serde::{Deserialize, Serialize};

use super::{Order, Playing, Sound};
use crate::limits::SEQUENCE_MAX;

/// What is played, as another engine goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayingState {
    /// Names as the command gave them.
    files: Vec<String>,
    /// Which of them it is at.
    sound: usize,
    /// Where in that one, ms.
    position_ms: u64,
    /// How often all of it is still to be heard, this time too; none: for ever.
    times: Option<u32>,
    /// When it ends, ms from now.
    lasts_ms: Option<u64>,
    volume: i32,
    shared: bool,
}

impl Playing {
    /// What another engine needs to go on; none when it would not find the sounds.
    pub fn state(&self) -> Option<PlayingState> {
        let order = &self.order;
        if order.names.is_empty() {
            return None;
        }
        let lasts_ms = order.lasts_ms;
        Some(PlayingState {
            files: order.names.to_vec(),
            sound: self.sound,
            position_ms: self.position_ms(),
            times: order.times.map(|times| times.saturating_sub(self.rounds)),
            lasts_ms: lasts_ms.map(|lasts_ms| lasts_ms.saturating_sub(self.played_ms)),
            volume: order.volume,
            shared: order.shared,
        })
    }
}

impl PlayingState {
    /// What is left of it `age_ms` later; none when it is over, or a sound of it cannot be had.
    pub fn order(&self, age_ms: u64, mut read: impl FnMut(&str) -> Option<Sound>) -> Option<Order> {
        let files = self.files.iter().take(SEQUENCE_MAX);
        let sounds: Vec<Sound> = files.map(|name| read(name)).collect::<Option<_>>()?;
        let lasts_ms = self
            .lasts_ms
            .map(|lasts_ms| lasts_ms.saturating_sub(age_ms));
        if lasts_ms == Some(0) {
            return None;
        }
        // A tone of the line has no end, and neither has what it is in.
        let length = |sound: &Sound| match sound {
            Sound::Clip(clip) => Some(clip.lasts_ms()),
            Sound::Signal(_) | Sound::Noise(_) => None,
        };
        let lengths: Vec<Option<u64>> = sounds.iter().map(length).collect();
        let before_ms: u64 = lengths.iter().take(self.sound).flatten().sum();
        let mut at_ms = before_ms
            .saturating_add(self.position_ms)
            .saturating_add(age_ms);
        let mut times = self.times;
        if let Some(round_ms) = lengths.iter().copied().sum::<Option<u64>>() {
            let rounds = at_ms.checked_div(round_ms)?;
            at_ms %= round_ms;
            if let Some(times) = &mut times {
                let rounds = u32::try_from(rounds).ok()?;
                *times = times.checked_sub(rounds).filter(|left| *left > 0)?;
            }
        }
        let mut first = 0;
        while let Some(length_ms) = lengths[first].filter(|length_ms| *length_ms <= at_ms) {
            at_ms -= length_ms;
            first += 1;
        }
        Some(Order {
            sounds,
            names: self.files.clone().into(),
            times,
            first,
            start_ms: at_ms,
            lasts_ms,
            volume: self.volume,
            shared: self.shared,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::clip::Clip;
    use crate::dsp::tone::Signal;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// A clip that lasts as long as its name says, or a tone.
    fn read(name: &str) -> Option<Sound> {
        if name == "tone" {
            let busy = Signal::from_name("busy")?;
            return busy.stretches("us").map(Sound::Signal);
        }
        let lasts_ms: usize = name.parse().ok()?;
        let samples = vec![1_000; lasts_ms * 8].into();
        let rate_hz = 8_000;
        Some(Sound::Clip(Arc::new(Clip { samples, rate_hz })))
    }

    fn order(names: &[&str], times: Option<u32>, lasts_ms: Option<u64>) -> Order {
        Order {
            sounds: names.iter().filter_map(|name| read(name)).collect(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            times,
            first: 0,
            start_ms: 0,
            lasts_ms,
            volume: 200,
            shared: false,
        }
    }

    /// Written down after so many frames of 20 ms.
    fn after(order: Order, frames: usize) -> (Playing, PlayingState) {
        let mut playing = Playing::begin(order, 8_000);
        for _ in 0..frames {
            playing.fill(8_000, &mut [0; 160], &mut [0; 160]);
        }
        let state = playing.state().expect("a state");
        (playing, state)
    }

    #[test]
    fn music_is_where_it_would_be_however_often_it_began_anew() {
        let (_, state) = after(order(&["100", "300"], None, None), 7);
        let at = |age_ms| {
            let order = state.order(age_ms, read).expect("it goes on");
            (order.first, order.start_ms)
        };
        assert_eq!((at(0), at(259)), ((1, 40), (1, 299)));
        assert_eq!((at(260), at(360)), ((0, 0), (1, 0)));
        assert_eq!(at(4_000_260), (0, 0));
    }

    #[test]
    fn what_is_over_is_over_and_rounds_and_time_are_counted_on() {
        let (_, state) = after(order(&["100"], Some(3), None), 6);
        let left = state.order(50, read).expect("it goes on");
        assert_eq!((left.times, left.start_ms), (Some(2), 70));
        assert_eq!(state.order(80, read).expect("once more").times, Some(1));
        assert!(state.order(180, read).is_none());
        let (_, state) = after(order(&["100"], None, Some(1_000)), 10);
        assert_eq!(state.order(300, read).expect("on").lasts_ms, Some(500));
        assert!(state.order(800, read).is_none());
    }

    #[test]
    fn a_tone_goes_on_and_what_cannot_be_read_does_not() {
        let (_, state) = after(order(&["100", "tone", "100"], Some(1), None), 10);
        let left = state.order(5_000, read).expect("it goes on");
        assert_eq!((left.first, left.start_ms, left.volume), (1, 5_100, 200));
        assert!(state.order(0, |_| None).is_none());
        let blob = Order {
            names: Arc::default(),
            ..order(&["100"], None, None)
        };
        assert_eq!(Playing::begin(blob, 8_000).state(), None);
    }

    proptest! {
        #[test]
        fn a_successor_is_where_the_one_before_it_would_have_been(
            lengths in prop::collection::vec(1_u64..12, 1..4),
            times in prop::option::of(1_u32..4),
            before in 0_usize..20,
            more in 0_usize..40,
        ) {
            // In whole frames, so that no rounding is between them.
            let names: Vec<String> = lengths.iter().map(|n| (n * 20).to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (mut playing, state) = after(order(&names, times, None), before);
            prop_assume!(!playing.is_over());
            for _ in 0..more {
                playing.fill(8_000, &mut [0; 160], &mut [0; 160]);
            }
            match state.order(more as u64 * 20, read) {
                None => prop_assert!(playing.is_over()),
                Some(order) => {
                    prop_assert!(!playing.is_over());
                    let next = Playing::begin(order, 8_000);
                    prop_assert_eq!(next.sound(), playing.sound());
                    prop_assert_eq!(next.position_ms(), playing.position_ms());
                }
            }
        }
    }
}
