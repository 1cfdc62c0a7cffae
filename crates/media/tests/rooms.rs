//! Rooms with real packets: who hears whom, told apart by tones of different frequencies.

mod phones;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use phones::callers::{Caller, amplitude};
use phones::{DEADLINE, Lab, Phone, until};
use raftpbx_media::codec::Codec;
use raftpbx_media::{MediaEvent, RoomEvent};
use serde_json::{Value, json};

fn ok(lab: &Lab, command: Value) -> Value {
    let answer = lab.ng(command);
    assert_eq!(answer["result"], "ok", "{answer}");
    answer
}

fn join(lab: &Lab, room: &str, caller: &Caller) {
    let command = json!({
        "command": "room join", "room": room, "call-id": caller.call, "from-tag": "phone",
    });
    ok(lab, command);
}

fn change(lab: &Lab, room: &str, caller: &Caller, what: Value) {
    let mut command = json!({
        "command": "room change", "room": room, "call-id": caller.call, "from-tag": "phone",
    });
    let object = command.as_object_mut().expect("an object");
    object.extend(what.as_object().expect("an object").clone());
    ok(lab, command);
}

/// What of these tones each caller hears, while those sing who have one.
fn heard(callers: &[&Caller], tones_hz: &[Option<f64>], packets: usize) -> Vec<Vec<bool>> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (caller, hz) in callers.iter().zip(tones_hz) {
            caller.drain();
            if let Some(hz) = *hz {
                let over = &over;
                scope.spawn(move || caller.sing(hz, over));
            }
        }
        let ears: Vec<_> = callers
            .iter()
            .map(|caller| scope.spawn(move || caller.listen(packets)))
            .collect();
        let sounds: Vec<_> = ears
            .into_iter()
            .map(|ear| ear.join().expect("heard"))
            .collect();
        over.store(true, Ordering::Relaxed);
        let among = |sound: &(u32, Vec<i16>)| {
            let tones = tones_hz.iter().flatten();
            let loud = tones.map(|hz| {
                let amplitude = amplitude(sound, *hz);
                assert!(
                    !(500.0..2_500.0).contains(&amplitude),
                    "{hz} Hz: {amplitude}"
                );
                amplitude > 2_500.0
            });
            loud.collect::<Vec<bool>>()
        };
        sounds.iter().map(among).collect()
    })
}

fn next_where(lab: &Lab, wanted: impl Fn(&MediaEvent) -> bool) -> MediaEvent {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let batch = lab.events.recv_timeout(left).expect("the event in time");
        if let Some(event) = batch.into_iter().find(|event| wanted(event)) {
            return event;
        }
    }
}

fn next_in_room(lab: &Lab, wanted: impl Fn(&RoomEvent) -> bool) -> RoomEvent {
    let event = next_where(
        lab,
        |event| matches!(event, MediaEvent::Room { event, .. } if wanted(event)),
    );
    match event {
        MediaEvent::Room { event, .. } => event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_phones_with_three_codecs_hear_the_others_and_not_themselves() {
    let lab = Lab::start(36_000..=36_099);
    ok(&lab, json!({"command": "room create", "room": "meeting"}));
    let callers = [Codec::Pcmu, Codec::G722, Codec::Opus].map(|codec| {
        let caller = Caller::call(&lab, &format!("{codec:?}"), codec);
        join(&lab, "meeting", &caller);
        caller
    });
    let callers: Vec<&Caller> = callers.iter().collect();
    let tones = [Some(500.0), Some(900.0), Some(1_400.0)];
    let told = heard(&callers, &tones, 60);
    assert_eq!(
        told,
        [
            [false, true, true],
            [true, false, true],
            [true, true, false]
        ]
    );
    let stats = lab.engine.stats();
    assert_eq!((stats.rooms.rooms, stats.rooms.parties), (1, 3));
    assert!(
        stats.rooms.packets >= 180 && stats.rooms.late == 0,
        "{stats:?}"
    );
}

#[test]
fn mute_whisper_and_deafness_change_what_is_heard_at_once() {
    let lab = Lab::start(36_100..=36_199);
    ok(
        &lab,
        json!({"command": "room create", "room": "change", "rate": 8000}),
    );
    let callers = ["a", "b", "c"].map(|call| {
        let caller = Caller::call(&lab, call, Codec::Pcmu);
        join(&lab, "change", &caller);
        caller
    });
    let [a, b, c] = &callers;
    let callers = [a, b, c];
    let tones = [Some(500.0), Some(900.0), Some(1_400.0)];
    change(&lab, "change", a, json!({"muted": "yes"}));
    change(
        &lab,
        "change",
        c,
        json!({"whisper-to": "phone", "whisper-call-id": "b"}),
    );
    assert_eq!(
        heard(&callers, &tones, 60),
        [
            [false, true, false],
            [false, false, true],
            [false, true, false]
        ]
    );
    change(&lab, "change", a, json!({"muted": "no"}));
    change(&lab, "change", c, json!({"whisper-to": "", "deaf": "yes"}));
    assert_eq!(
        heard(&callers, &tones, 60),
        [
            [false, true, true],
            [true, false, true],
            [false, false, false]
        ]
    );
    let query = ok(&lab, json!({"command": "room query", "room": "change"}));
    assert_eq!(
        query["parties"].as_array().map(Vec::len),
        Some(3),
        "{query}"
    );
    assert_eq!(query["parties"][2]["deaf"], "yes");
}

#[test]
fn both_parties_of_a_call_may_be_in_a_room_and_go_back_to_their_call() {
    let lab = Lab::start(36_200..=36_299);
    let talk = phones::Talk::set_up(&lab, "two", ["127.0.0.2", "127.0.0.3"]);
    talk.assert_both_ways();
    let third = Caller::call(&lab, "third", Codec::Pcmu);
    ok(
        &lab,
        json!({"command": "room create", "room": "three", "rate": 8000}),
    );
    for tag in ["ta", "tb"] {
        ok(
            &lab,
            json!({"command": "room join", "room": "three", "call-id": "two", "from-tag": tag}),
        );
    }
    join(&lab, "three", &third);
    let caller = |phone: Phone, to: SocketAddr| Caller {
        rtp: phone.rtp,
        to,
        codec: Codec::Pcmu,
        call: "two".into(),
    };
    let (a, b) = (caller(talk.a, talk.from_a), caller(talk.b, talk.from_b));
    let tones = [Some(500.0), Some(900.0), Some(1_400.0)];
    assert_eq!(
        heard(&[&a, &b, &third], &tones, 60),
        [
            [false, true, true],
            [true, false, true],
            [true, true, false]
        ]
    );
    for tag in ["ta", "tb"] {
        ok(
            &lab,
            json!({"command": "room leave", "call-id": "two", "from-tag": tag}),
        );
    }
    // The relayed stream goes on behind that of the room.
    a.drain();
    b.drain();
    assert_eq!(
        heard(&[&a, &b], &tones[..2], 30),
        [[false, true], [true, false]]
    );
}

#[test]
fn a_party_goes_from_room_to_room_and_from_thread_to_thread() {
    let lab = Lab::start(36_800..=36_899);
    let callers = ["a", "b", "c"].map(|call| Caller::call(&lab, call, Codec::Pcmu));
    let [a, b, c] = &callers;
    for (room, caller) in [("lobby", a), ("meeting", b)] {
        ok(&lab, json!({"command": "room create", "room": room}));
        join(&lab, room, caller);
    }
    join(&lab, "lobby", c);
    let tones = [Some(500.0), Some(900.0), Some(1_400.0)];
    assert_eq!(
        heard(&[a, b, c], &tones, 60),
        [[false, false, true], [false; 3], [true, false, false]]
    );
    // The rooms are at different threads: its sockets go along.
    join(&lab, "meeting", c);
    next_in_room(
        &lab,
        |event| matches!(event, RoomEvent::Left { call_id, .. } if call_id == "c"),
    );
    assert_eq!(
        heard(&[a, b, c], &tones, 60),
        [[false; 3], [false, false, true], [false, true, false]]
    );
}

#[test]
fn a_digit_pressed_in_a_room_is_told() {
    let lab = Lab::start(36_900..=36_999);
    let caller = Caller::call(&lab, "digit", Codec::G722);
    ok(&lab, json!({"command": "room create", "room": "menu"}));
    join(&lab, "menu", &caller);
    for (n, event) in [[6, 10, 0, 160], [6, 0x8a, 3, 32]].into_iter().enumerate() {
        let mut packet = vec![0x80, 101, 0, n as u8, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.extend(event);
        caller.rtp.send_to(&packet, caller.to).expect("send");
    }
    next_where(&lab, |event| {
        matches!(event, MediaEvent::Dtmf { digit: '6', .. })
    });
}

#[test]
fn who_comes_goes_and_talks_is_told() {
    let lab = Lab::start(36_300..=36_399);
    ok(&lab, json!({"command": "room create", "room": "events"}));
    let caller = Caller::call(&lab, "one", Codec::Pcmu);
    join(&lab, "events", &caller);
    let (call_id, tag) = ("one".to_owned(), "phone".to_owned());
    let joined = next_in_room(&lab, |event| matches!(event, RoomEvent::Joined { .. }));
    assert_eq!(joined, RoomEvent::Joined { call_id, tag });
    let over = AtomicBool::new(false);
    let talks = |event: &RoomEvent, begins: bool| match event {
        RoomEvent::Talking { talking, .. } => *talking == begins,
        _ => false,
    };
    std::thread::scope(|scope| {
        scope.spawn(|| caller.sing(500.0, &over));
        next_in_room(&lab, |event| talks(event, true));
        next_in_room(&lab, |event| matches!(event, RoomEvent::Speaker { .. }));
        over.store(true, Ordering::Relaxed);
    });
    next_in_room(&lab, |event| talks(event, false));
    ok(
        &lab,
        json!({"command": "delete", "call-id": "one", "from-tag": "phone"}),
    );
    let why = |event: &RoomEvent, wanted: &str| match event {
        RoomEvent::Left { reason, .. } => *reason == wanted,
        _ => false,
    };
    next_in_room(&lab, |event| why(event, "gone"));
    let other = Caller::call(&lab, "two", Codec::Pcmu);
    join(&lab, "events", &other);
    ok(&lab, json!({"command": "room delete", "room": "events"}));
    next_in_room(&lab, |event| why(event, "closed"));
    assert_eq!(lab.engine.stats().rooms.rooms, 0);
}

#[test]
fn music_is_encoded_once_for_all_who_wait_and_a_prompt_interrupts_it_for_one() {
    let lab = Lab::start(36_400..=36_499);
    ok(
        &lab,
        json!({"command": "room create", "room": "music", "rate": 8000}),
    );
    ok(
        &lab,
        json!({
            "command": "room play", "room": "music", "file": "tone:congestion:us",
            "repeat-times": -1,
        }),
    );
    let waiting: Vec<Caller> = (0..5)
        .map(|n| {
            let caller = Caller::call(&lab, &format!("waits{n}"), Codec::Pcmu);
            let command = json!({
                "command": "room join", "room": "music", "call-id": caller.call,
                "from-tag": "phone", "listen-only": "yes",
            });
            ok(&lab, command);
            caller
        })
        .collect();
    let sounds: Vec<_> = waiting.iter().map(|caller| caller.listen(50)).collect();
    // Congestion in the USA is 480 and 620 Hz, half of the time.
    assert!(sounds.iter().all(|sound| amplitude(sound, 480.0) > 500.0));
    let stats = lab.engine.stats();
    assert_eq!(stats.rooms.shared, 1);
    assert!(stats.rooms.encoded * 4 < stats.rooms.packets, "{stats:?}");
    ok(
        &lab,
        json!({
            "command": "play media", "call-id": "waits0", "from-tag": "phone",
            "file": "tone:ring-back:de", "duration": 400,
        }),
    );
    next_where(&lab, |event| matches!(event, MediaEvent::PlayEnd { .. }));
    waiting[0].listen(60);
}

#[test]
fn a_room_is_recorded_and_goes_on_at_another_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let lab = Lab::with(36_500..=36_599, |config| {
        config.recordings = Some(path.clone())
    });
    ok(
        &lab,
        json!({"command": "room create", "room": "kept", "rate": 8000, "speakers": 3}),
    );
    let callers = ["a", "b"].map(|call| Caller::call(&lab, call, Codec::Pcmu));
    callers.iter().for_each(|caller| join(&lab, "kept", caller));
    change(
        &lab,
        "kept",
        &callers[1],
        json!({"muted": "yes", "gain": -6}),
    );
    ok(
        &lab,
        json!({"command": "room play", "room": "kept", "file": "tone:busy:de"}),
    );
    let begun = ok(
        &lab,
        json!({"command": "room start recording", "room": "kept"}),
    );
    let base = begun["recording"].as_str().expect("a name").to_owned();
    let refs: Vec<&Caller> = callers.iter().collect();
    heard(&refs, &[Some(1_400.0), None], 50);
    let state = ok(&lab, json!({"command": "room capture", "room": "kept"}));
    let state = state["state"].as_str().expect("text").to_owned();
    ok(
        &lab,
        json!({"command": "room stop recording", "room": "kept"}),
    );
    until("written", || lab.engine.stats().recordings == 0);
    let bytes = std::fs::read(format!("{base}-mix.wav")).expect("a file");
    let pairs = bytes[44..].as_chunks::<2>().0.iter();
    let samples: Vec<i16> = pairs.map(|pair| i16::from_le_bytes(*pair)).collect();
    assert!(amplitude(&(8_000, samples), 1_400.0) > 1_500.0);
    assert!(!std::path::Path::new(&format!("{base}-0.wav")).exists());

    let there = Lab::with(36_600..=36_699, |config| config.recordings = Some(path));
    let moved = Caller::call(&there, "b", Codec::Pcmu);
    let answer = ok(&there, json!({"command": "room restore", "state": state}));
    assert_eq!(answer["joined"], 1, "{answer}");
    assert_eq!(answer["missing"][0]["call-id"], "a");
    let late = Caller::call(&there, "a", Codec::Pcmu);
    join(&there, "kept", &late);
    let query = ok(&there, json!({"command": "room query", "room": "kept"}));
    assert_eq!(
        (&query["speakers"], &query["rate"]),
        (&json!(3), &json!(8_000))
    );
    assert_eq!(query["parties"][0]["muted"], "yes", "{query}");
    assert_eq!(query["parties"][0]["gain"], -6);
    assert_eq!(query["parties"][1]["muted"], "no");
    assert!(query["position"].as_u64() >= Some(900), "{query}");
    assert!(
        query["playing"]["position"].as_u64() >= Some(900),
        "{query}"
    );
    assert!(heard(&[&moved, &late], &[None, Some(1_400.0)], 40)[0][0]);
}

#[test]
fn limits_and_mistakes_are_said() {
    let lab = Lab::start(36_700..=36_799);
    let refused = |command: Value| lab.ng(command)["error-reason"].as_str().map(str::to_owned);
    let room = |command: &str| json!({"command": command, "room": "none"});
    assert_eq!(refused(room("room query")).as_deref(), Some("Unknown room"));
    assert_eq!(
        refused(json!({"command": "room play"})).as_deref(),
        Some("No media file specified")
    );
    assert_eq!(
        refused(json!({"command": "room query"})).as_deref(),
        Some("No room in message")
    );
    ok(
        &lab,
        json!({"command": "room create", "room": "small", "max-parties": 1}),
    );
    let again = ok(&lab, json!({"command": "room create", "room": "small"}));
    assert_eq!(again["created"], 0);
    let callers = ["a", "b"].map(|call| Caller::call(&lab, call, Codec::Pcmu));
    join(&lab, "small", &callers[0]);
    join(&lab, "small", &callers[0]);
    let more =
        json!({"command": "room join", "room": "small", "call-id": "b", "from-tag": "phone"});
    let before = lab.engine.stats().refused;
    assert_eq!(refused(more).as_deref(), Some("Too many parties in room"));
    assert_eq!(lab.engine.stats().refused, before + 1);
    let leave =
        json!({"command": "room leave", "room": "small", "call-id": "b", "from-tag": "phone"});
    assert_eq!(refused(leave).as_deref(), Some("Party is not in this room"));
    let nobody = json!({"command": "room join", "room": "small", "call-id": "b", "from-tag": "x"});
    assert_eq!(
        refused(nobody).as_deref(),
        Some("From-tag given, but no such tag exists")
    );
    // Who joins another room has left the first.
    ok(&lab, json!({"command": "room create", "room": "other"}));
    join(&lab, "other", &callers[0]);
    let list = ok(&lab, json!({"command": "room list"}));
    let mut rooms: Vec<String> = list["rooms"]
        .as_array()
        .expect("rooms")
        .iter()
        .map(|room| {
            format!(
                "{} {}",
                room["room"].as_str().expect("a name"),
                room["parties"]
            )
        })
        .collect();
    rooms.sort();
    assert_eq!(rooms, ["other 1", "small 0"]);
    let state = json!({"command": "room restore", "state": "{}"});
    assert_eq!(
        refused(state).as_deref(),
        Some("No valid 'state' specified")
    );
}
