//! What a speaker says, frame by frame.

use std::sync::Arc;

use super::super::clip::Clip;
use super::*;
use crate::dsp::resample::Resampler;
use proptest::prelude::*;

const PCMU: Voice = Voice {
    audio: (0, Codec::Pcmu),
    events: Some((101, 8_000)),
    frame_ms: 20,
};

fn clip(rate_hz: u32, lasts_ms: usize) -> Sound {
    let samples = vec![1_000; rate_hz as usize / 1_000 * lasts_ms].into();
    Sound::Clip(Arc::new(Clip { samples, rate_hz }))
}

fn order(sounds: Vec<Sound>) -> Order {
    Order {
        sounds,
        times: Some(1),
        names: Arc::default(),
        first: 0,
        start_ms: 0,
        lasts_ms: None,
        volume: 256,
        shared: false,
    }
}

fn digit(key: u8, lasts_ms: u32) -> DigitOrder {
    DigitOrder {
        digit: Digit::from_key(key).expect("a key"),
        lasts_ms,
        pause_ms: 100,
        volume: 8,
    }
}

/// Frames until it is done, with their payloads.
fn run(speaker: &mut Speaker) -> (Vec<(Frame, Vec<u8>)>, Option<PlayEnd>) {
    let mut frames = Vec::new();
    let mut ended = None;
    while !speaker.is_done() {
        assert!(frames.len() < 10_000, "no end");
        let mut payload = [0; 4_000];
        let (frame, end) = speaker.next(&mut payload);
        frames.push((frame, payload[..frame.length.unwrap_or(0)].to_vec()));
        ended = ended.or(end);
    }
    (frames, ended)
}

#[test]
fn a_clip_is_played_to_its_end_and_said_to_have_ended() {
    let mut speaker = Speaker::new(PCMU, 8_000).expect("memory");
    speaker.play(order(vec![clip(8_000, 110)]));
    let (frames, ended) = run(&mut speaker);
    assert_eq!(frames.len(), 6);
    assert!(
        frames
            .iter()
            .all(|(frame, payload)| frame.payload_type == 0 && payload.len() == 160)
    );
    let markers: Vec<_> = frames.iter().map(|(frame, _)| frame.marker).collect();
    assert_eq!(markers, [true, false, false, false, false, false]);
    assert_eq!(ended, Some(PlayEnd { played_ms: 110 }));
    // The rest of the last frame is silence.
    assert_eq!((frames[5].1[79], frames[5].1[80]), (frames[0].1[0], 0xff));
}

#[test]
fn clips_are_repeated_put_one_behind_the_other_cut_and_begun_later() {
    let played = |change: &dyn Fn(&mut Order)| {
        let mut order = order(vec![clip(8_000, 100), clip(16_000, 50)]);
        change(&mut order);
        let mut speaker = Speaker::new(PCMU, 8_000).expect("memory");
        speaker.play(order);
        run(&mut speaker).1.map(|end| end.played_ms)
    };
    assert_eq!(played(&|_| {}), Some(150));
    assert_eq!(played(&|order| order.times = Some(3)), Some(450));
    assert_eq!(played(&|order| order.start_ms = 60), Some(90));
    assert_eq!(
        played(&|order| (order.times, order.lasts_ms) = (None, Some(1_000))),
        Some(1_000)
    );
    assert_eq!(played(&|order| order.sounds.clear()), Some(0));
    assert_eq!(played(&|order| order.start_ms = 500), Some(50));
}

#[test]
fn a_digit_is_sent_as_an_event_in_the_middle_of_a_clip() {
    let mut speaker = Speaker::new(PCMU, 8_000).expect("memory");
    speaker.play(order(vec![clip(8_000, 100)]));
    speaker.next(&mut [0; 200]);
    assert!(speaker.press(digit(b'5', 100)));
    let (frames, _) = run(&mut speaker);
    let events: Vec<_> = frames
        .iter()
        .filter(|(frame, _)| frame.payload_type == 101)
        .collect();
    let read = |(frame, payload): &&(Frame, Vec<u8>)| {
        let event = Event::parse(payload).expect("an event");
        (
            event.code,
            event.duration,
            event.end,
            frame.marker,
            frame.back,
        )
    };
    let events: Vec<_> = events.iter().map(read).collect();
    let expected = [
        (5, 160, false, true, 0),
        (5, 320, false, false, 160),
        (5, 480, false, false, 320),
        (5, 640, false, false, 480),
        (5, 800, true, false, 640),
        (5, 800, true, false, 800),
        (5, 800, true, false, 960),
    ];
    assert_eq!(events, expected);
    // The pause, then the rest of the clip with a marker.
    assert_eq!(frames[7].0.length, None);
    let rest: Vec<_> = frames
        .iter()
        .filter(|(frame, _)| frame.length == Some(160))
        .collect();
    assert_eq!(
        (rest.len(), rest[0].0.marker, rest[1].0.marker),
        (4, true, false)
    );
}

#[test]
fn without_events_a_digit_is_a_tone() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        let voice = Voice {
            audio: (9, codec),
            events: None,
            frame_ms: 20,
        };
        let mut speaker = Speaker::new(voice, 8_000).expect("memory");
        assert!(speaker.press(digit(b'#', 100)) && speaker.press(digit(b'1', 100)));
        let (frames, _) = run(&mut speaker);
        assert_eq!(frames.len(), 20);
        let mut coder = codec.coder(8_000).expect("memory");
        let mut down = Resampler::new(coder.rate_hz(), 8_000);
        let mut detector = crate::dsp::detect::Detector::default();
        let mut heard = Vec::new();
        for (_, payload) in &frames {
            let (mut pcm, mut narrow) = ([0; 960], [0; 960]);
            let mut count = coder.decode(payload, &mut pcm).expect("decoded");
            if let Some(down) = &mut down {
                count = down.run(&pcm[..count], &mut narrow);
                pcm = narrow;
            }
            detector.take(&pcm[..count], |digit| heard.push(digit.digit.key()));
        }
        assert_eq!(heard, ['#', '1'], "{codec:?}");
    }
}

#[test]
fn a_signal_goes_on_until_it_is_stopped() {
    let mut speaker = Speaker::new(PCMU, 8_000).expect("memory");
    let busy = crate::dsp::tone::Signal::Busy
        .stretches("de")
        .expect("known");
    speaker.play(order(vec![Sound::Signal(busy)]));
    let mut loud = Vec::new();
    for _ in 0..96 {
        let mut payload = [0; 160];
        speaker.next(&mut payload);
        loud.push(payload.iter().any(|code| code & 0x70 != 0x70));
    }
    assert_eq!(loud.iter().filter(|loud| **loud).count(), 48);
    assert!(loud[..24].iter().all(|loud| *loud) && !loud[24]);
    assert_eq!(speaker.position_ms(), Some(1_920));
    speaker.stop();
    assert!(speaker.is_done());
}

#[test]
fn too_many_digits_are_refused() {
    let mut speaker = Speaker::new(PCMU, 8_000).expect("memory");
    for _ in 0..DIGITS_MAX {
        assert!(speaker.press(digit(b'1', 100)));
    }
    assert!(!speaker.press(digit(b'1', 100)));
}

proptest! {
    #[test]
    fn every_order_comes_to_its_end(
        lengths in prop::collection::vec((0_usize..70, 0_usize..3), 0..4),
        times in 0_u32..4,
        start_ms in 0_u64..200,
        volume in -1_000_i32..1_000,
        codec in 0_usize..3,
        frame in 0_usize..4,
    ) {
        let rates = [8_000, 16_000, 48_000];
        let sounds = lengths.iter().map(|(ms, rate)| clip(rates[*rate], *ms)).collect();
        let codec = [Codec::Pcma, Codec::G722, Codec::Opus][codec];
        let frame_ms = [10, 20, 40, 60][frame];
        let voice = Voice { audio: (1, codec), events: None, frame_ms };
        let mut speaker = Speaker::new(voice, 8_000).expect("memory");
        speaker.play(Order { times: Some(times), start_ms, volume, ..order(sounds) });
        let (_, ended) = run(&mut speaker);
        let longest: usize = lengths.iter().map(|(ms, _)| ms).sum();
        let played = ended.map_or(u64::MAX, |end| end.played_ms);
        prop_assert!(played <= longest as u64 * u64::from(times.max(1)) + 8);
    }
}
