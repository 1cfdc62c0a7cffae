use super::*;
use crate::mix::writer::Writer;
use proptest::prelude::*;

/// Parties by the side of their place.
#[derive(Default)]
struct People {
    says: Vec<Option<Vec<i16>>>,
    forms: Vec<Option<Form>>,
    gone: Vec<usize>,
    heard: Vec<Vec<Vec<u8>>>,
}

impl Floor for People {
    fn hear(&mut self, place: Place, frame: &mut [i16]) -> Heard {
        if self.gone.contains(&place.side) {
            return Heard::Gone;
        }
        match &self.says[place.side] {
            Some(said) => {
                frame.copy_from_slice(said);
                Heard::Sound
            }
            None => Heard::Silence,
        }
    }

    fn form(&mut self, place: Place) -> Option<Form> {
        self.forms[place.side]
    }

    fn say(&mut self, place: Place, payload: &[u8], _packet_ms: u32) {
        self.heard[place.side].push(payload.to_vec());
    }
}

fn who(n: usize) -> Who {
    Who {
        call_id: format!("call {n}").into(),
        tag: format!("tag {n}").into(),
    }
}

fn place(n: usize) -> Place {
    Place {
        side: n,
        ..Place::default()
    }
}

const fn form(codec: Codec, packet_ms: u32) -> Option<Form> {
    Some(Form { codec, packet_ms })
}

/// A room in which everybody takes these forms.
fn room(rate_hz: u32, forms: &[Option<Form>]) -> (Room, People) {
    let settings = Settings {
        rate_hz,
        ..Settings::default()
    };
    let mut room = Room::new(1, "room".into(), settings);
    for n in 0..forms.len() {
        room.enter(who(n), place(n), Wishes::default(), 0);
    }
    let hall = People {
        says: vec![None; forms.len()],
        forms: forms.to_vec(),
        gone: Vec::new(),
        heard: vec![Vec::new(); forms.len()],
    };
    (room, hall)
}

/// A square wave of this amplitude, so that its level is known.
fn wave(samples: usize, amplitude: i16, half: usize) -> Vec<i16> {
    let sign = |n: usize| if (n / half).is_multiple_of(2) { 1 } else { -1 };
    (0..samples).map(|n| sign(n) * amplitude).collect()
}

fn run(room: &mut Room, hall: &mut People, frames: usize) -> Vec<MediaEvent> {
    let mut happened = Vec::new();
    (0..frames).for_each(|_| room.run(hall, 0, &mut happened));
    happened
}

/// The last packet of a party, as samples of L16.
fn last(hall: &People, n: usize) -> Vec<i16> {
    let payload = hall.heard[n].last().expect("a packet");
    let pairs = payload.as_chunks::<2>().0.iter();
    pairs.map(|pair| i16::from_be_bytes(*pair)).collect()
}

const L16: Option<Form> = form(Codec::L16(8_000), 20);

#[test]
fn everybody_hears_all_but_himself() {
    let (mut room, mut hall) = room(8_000, &[L16; 4]);
    for (n, amplitude) in [1_000, 2_000, 4_000].into_iter().enumerate() {
        hall.says[n] = Some(wave(160, amplitude, 4));
    }
    run(&mut room, &mut hall, 10);
    for (n, amplitude) in [6_000, 5_000, 3_000, 7_000].into_iter().enumerate() {
        assert_eq!(last(&hall, n), wave(160, amplitude, 4), "{n}");
    }
    // Three talk and have writers of their own, the listener has the common one.
    assert_eq!(room.shared().0, 1);
}

#[test]
fn who_only_listens_shares_one_encoding() {
    let (mut room, mut hall) = room(8_000, &[L16; 50]);
    hall.says[0] = Some(wave(160, 1_000, 4));
    run(&mut room, &mut hall, 100);
    assert_eq!(room.shared(), (1, 200));
    assert!(hall.heard.iter().all(|heard| heard.len() == 100));
    hall.says[0] = None;
    run(&mut room, &mut hall, 100);
    // Until the pause is long enough it could be one between two words.
    let (_, encoded) = room.shared();
    assert!((300..330).contains(&encoded), "{encoded}");
}

#[test]
fn mutes_whispers_and_deafness_do_what_they_say() {
    let (mut room, mut hall) = room(8_000, &[L16; 4]);
    for (n, amplitude) in [1_000, 2_000, 4_000, 8_000].into_iter().enumerate() {
        hall.says[n] = Some(wave(160, amplitude, 4));
    }
    room.parties[1].wishes.muted = true;
    // The supervisor is heard by the agent alone.
    room.parties[3].wishes.whisper_to = Some(who(2));
    run(&mut room, &mut hall, 10);
    for (n, amplitude) in [4_000, 5_000, 9_000, 5_000].into_iter().enumerate() {
        assert_eq!(last(&hall, n), wave(160, amplitude, 4), "{n}");
    }
    room.parties[2].wishes.deaf = true;
    room.parties[0].wishes.gain_db = -20;
    room.parties[3].wishes.whisper_to = Some(who(77));
    run(&mut room, &mut hall, 10);
    for (n, amplitude) in [4_000, 4_100, 0, 4_100].into_iter().enumerate() {
        assert_eq!(last(&hall, n), wave(160, amplitude, 4), "{n}");
    }
}

#[test]
fn only_the_loudest_are_heard_and_who_is_heard_stays() {
    let (mut room, mut hall) = room(8_000, &[L16; 4]);
    room.settings.speakers = 2;
    for (n, amplitude) in [1_000, 2_000, 4_000, 0].into_iter().enumerate() {
        hall.says[n] = Some(wave(160, amplitude, 4));
    }
    run(&mut room, &mut hall, 10);
    assert_eq!(last(&hall, 3), wave(160, 6_000, 4));
    // A little louder than the softest who is heard: not yet.
    hall.says[0] = Some(wave(160, 2_300, 4));
    run(&mut room, &mut hall, 10);
    assert_eq!(last(&hall, 3), wave(160, 6_000, 4));
    hall.says[0] = Some(wave(160, 8_000, 4));
    run(&mut room, &mut hall, 30);
    assert_eq!(last(&hall, 3), wave(160, 12_000, 4));
}

#[test]
fn talking_and_the_one_who_speaks_most_are_told_once() {
    let (mut room, mut hall) = room(8_000, &[L16; 2]);
    hall.says[0] = Some(wave(160, 2_000, 4));
    let happened = run(&mut room, &mut hall, 40);
    let told = |event: &MediaEvent| match event {
        MediaEvent::Room { event, .. } => match event {
            RoomEvent::Talking { tag, talking, .. } => format!("{tag} {talking}"),
            RoomEvent::Speaker { tag, .. } => format!("{tag} speaks"),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    };
    let told: Vec<String> = happened.iter().map(told).collect();
    assert_eq!(told, ["tag 0 true", "tag 0 speaks"]);
    hall.says = vec![None, Some(wave(160, 4_000, 4))];
    let happened = run(&mut room, &mut hall, 60);
    assert_eq!(happened.len(), 3, "{happened:?}");
    assert_eq!(room.foremost(), Some(&who(1)));
}

#[test]
fn who_is_gone_is_told_and_the_others_go_on() {
    let (mut room, mut hall) = room(8_000, &[L16; 3]);
    hall.says[1] = Some(wave(160, 2_000, 4));
    run(&mut room, &mut hall, 5);
    hall.gone = vec![0];
    let happened = run(&mut room, &mut hall, 5);
    assert_eq!(happened, [left("room", &who(0), Left::Gone)]);
    assert_eq!(last(&hall, 2), wave(160, 2_000, 4));
    assert_eq!(hall.heard[0].len(), 5);
}

#[test]
fn what_is_played_is_heard_by_all_encoded_once_and_ends() {
    use crate::audio::clip::Clip;
    use crate::audio::speaker::Sound;
    let clip = Clip {
        samples: vec![3_000; 1_600].into(),
        rate_hz: 8_000,
    };
    let order = Order {
        sounds: vec![Sound::Clip(clip.into())],
        times: Some(1),
        names: Arc::default(),
        first: 0,
        start_ms: 0,
        lasts_ms: None,
        volume: 256,
        shared: false,
    };
    let (mut room, mut hall) = room(8_000, &[L16; 20]);
    let listen = |party: &mut Party| party.wishes.listen_only = true;
    room.parties.iter_mut().for_each(listen);
    room.play(order, Playback::default());
    assert_eq!(run(&mut room, &mut hall, 9), []);
    assert_eq!(room.playback().expect("plays").position_ms, 180);
    assert!((0..20).all(|n| last(&hall, n) == [3_000; 160]));
    let happened = run(&mut room, &mut hall, 2);
    let end = super::told("room", RoomEvent::PlayEnd { played_ms: 200 });
    assert_eq!((happened, room.shared()), (vec![end], (1, 11)));
}

/// What a decoder makes of the packets of a party in Opus, and of a reference that has one encoder
/// for the party alone.
fn decoded(payloads: &[Vec<u8>]) -> Vec<i16> {
    let mut coder = Codec::Opus.coder(16_000).expect("memory");
    let mut pcm = vec![0; 11_520];
    let mut all = Vec::new();
    for payload in payloads {
        let count = coder.decode(payload, &mut pcm).expect("a packet of Opus");
        all.extend(&pcm[..count]);
    }
    all
}

#[test]
fn a_decoder_of_opus_hears_no_break_when_its_party_talks_in_between() {
    let (mut room, mut hall) = room(16_000, &[form(Codec::Opus, 20); 3]);
    let tone = |frame: usize, hz: f64| {
        let angle = |n: usize| std::f64::consts::TAU * hz * (frame * 320 + n) as f64 / 16_000.0;
        let sample = |n: usize| (6_000.0 * angle(n).sin()) as i16;
        (0..320).map(sample).collect::<Vec<i16>>()
    };
    let mut reference = Codec::Opus.coder(16_000).expect("memory");
    let mut alone = Vec::new();
    let mut happened = Vec::new();
    for frame in 0..150 {
        hall.says[0] = Some(tone(frame, 300.0));
        // The listener says something twice, each time for a while.
        hall.says[1] = (frame % 60 > 40).then(|| tone(frame, 1_000.0));
        room.run(&mut hall, 0, &mut happened);
        let mut payload = vec![0; 1_000];
        let mix = tone(frame, 300.0);
        let length = reference.encode(&mix, &mut payload).expect("encoded");
        alone.push(payload[..length].to_vec());
    }
    let (heard, expected) = (decoded(&hall.heard[1]), decoded(&alone));
    // The first frames differ, because the first voice fades in.
    for (n, (heard, expected)) in heard
        .chunks(320)
        .zip(expected.chunks(320))
        .enumerate()
        .skip(5)
    {
        let power = |samples: &mut dyn Iterator<Item = i32>| {
            samples.map(|sample| f64::from(sample).powi(2)).sum::<f64>()
        };
        let signal = power(&mut expected.iter().map(|sample| i32::from(*sample)));
        let pairs = heard.iter().zip(expected);
        let noise = power(&mut pairs.map(|(a, b)| i32::from(*a) - i32::from(*b)));
        assert!(
            noise < signal / 10.0,
            "frame {n}: {:.1} dB",
            10.0 * (signal / noise).log10()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// What everybody gets is, to the byte, what a writer for him alone would have written.
    #[test]
    fn sharing_equals_encoding_for_each_alone(
        kinds in prop::collection::vec((0_usize..3, 0_usize..4), 2..7),
        says in prop::collection::vec(prop::collection::vec(0_usize..4, 7), 20..60),
    ) {
        let codecs = [Codec::Pcmu, Codec::Pcma, Codec::L16(8_000)];
        let forms: Vec<_> = kinds
            .iter()
            .map(|(codec, length)| form(codecs[*codec], [10, 20, 40, 60][*length]))
            .collect();
        let (mut room, mut hall) = room(8_000, &forms);
        room.settings.speakers = 3;
        let writer = |form: &Option<Form>| Writer::new(form.expect("a form"), 8_000);
        let alone: Option<Vec<Writer>> = forms.iter().map(writer).collect();
        let mut alone = alone.expect("memory");
        let mut expected = vec![Vec::new(); forms.len()];
        let mut happened = Vec::new();
        for step in says {
            for n in 0..forms.len() {
                let amplitude = [0, 0, 1_500, 9_000][step[n]];
                hall.says[n] = (amplitude > 0).then(|| wave(160, amplitude, n + 2));
            }
            // Steps last, so that people fall silent too.
            for _ in 0..9 {
                room.run(&mut hall, 0, &mut happened);
                let mut mix = [0; 160];
                for n in 0..forms.len() {
                    let own = room.parties[n].speaks.then_some(&room.parties[n].voice[..]);
                    room.mixer.special(own, std::iter::empty(), &mut mix);
                    alone[n].write(&mix);
                    expected[n].extend(alone[n].payloads().map(<[u8]>::to_vec));
                }
            }
        }
        for (n, pair) in hall.heard.iter().zip(&expected).enumerate() {
            prop_assert!(pair.0 == pair.1, "party {} differs", n);
        }
    }
}
