//! What records, plays, blocks and copies in a call goes on at another engine.

mod phones;

use std::path::{Path, PathBuf};

use phones::floating::{at, lab, take_over, talk};
use phones::recorded::{loud_ms, part, read, speak};
use phones::{Lab, Phone, Talk, relay_address, until};
use raftpbx_media::{MediaEvent, RecordingFormat};
use serde_json::{Value, json};

/// An engine that records into this folder, and plays from it.
fn with_folder(ports: std::ops::RangeInclusive<u16>, floating: &str, folder: &Path) -> Lab {
    let lab = lab(ports, floating, |config| {
        config.recordings = Some(folder.into());
        config.prompts = Some(folder.into());
    });
    if floating == "127.0.0.50" {
        lab.engine.activate(at(floating)).expect("here");
    }
    lab
}

/// A command that must succeed, with what was written down behind it.
fn command(lab: &Lab, name: &str, call: &str, more: Value) -> (Value, String) {
    let mut message = json!({"command": name, "call-id": call, "snapshot": "yes"});
    let entries = more.as_object().expect("an object").clone();
    message.as_object_mut().expect("an object").extend(entries);
    let answer = lab.ng(message);
    assert_eq!(answer["result"], "ok", "{answer}");
    let state = answer["state"].as_str().expect("a state").to_owned();
    (answer, state)
}

fn query(lab: &Lab, call: &str) -> Value {
    lab.ng(json!({"command": "query", "call-id": call}))
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The state as it would be, had it been written down so much earlier.
fn aged(state: &str, age_ms: u64) -> String {
    let mut state: Value = serde_json::from_str(state).expect("JSON");
    let written_us = state["written_us"].as_u64().expect("a time");
    state["written_us"] = (written_us - age_ms * 1_000).into();
    state.to_string()
}

#[test]
fn a_recording_goes_on_in_further_files_behind_the_first_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = with_folder(38_000..=38_019, "127.0.0.50", folder.path());
    let new = with_folder(38_000..=38_019, "127.0.0.51", folder.path());
    let (talk, _) = talk(&old, "recorded");
    // Long after the answer.
    let (begun, state) = command(&old, "start recording", "recorded", json!({}));
    let first = begun["recording"].as_str().expect("a name").to_owned();
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200);
    until("a second is on the disk", || {
        loud_ms(&read(&part(&first, "mix"))) >= 180
    });
    let before = names(folder.path());
    take_over(&old, &new, &[&state, &state]);
    let contents = || {
        before
            .iter()
            .map(|name| std::fs::read(folder.path().join(name)))
    };
    let kept: Vec<_> = contents().map(|bytes| bytes.expect("a file")).collect();

    assert_eq!(new.engine.stats().recordings, 1, "armed twice is once");
    let shown = query(&new, "recorded")["recording"].clone();
    assert_eq!(shown["paused"], 0, "{shown}");
    let second = shown["recording"].as_str().expect("a name").to_owned();
    assert!(second.starts_with(&format!("{first}-part02-")), "{second}");
    let list = new.ng(json!({"command": "list"}));
    assert_eq!(list["recorded"], json!(["recorded"]), "{list}");
    std::thread::scope(|scope| {
        scope.spawn(|| speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200));
        speak(&talk.b.rtp, talk.from_b, 2, 8_000, 200);
    });
    new.ng(json!({"command": "stop recording", "call-id": "recorded"}));
    until("written", || new.engine.stats().recordings == 0);
    for party in ["0", "1", "mix"] {
        let heard = loud_ms(&read(&part(&second, party)));
        assert!((180..=400).contains(&heard), "{party}: {heard}");
    }
    // Found by the same beginning, behind the first part, and that is as it was.
    let after = names(folder.path());
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 3);
    let now: Vec<_> = contents().map(|bytes| bytes.expect("a file")).collect();
    assert_eq!(now, kept);
}

#[test]
fn a_pause_goes_on_too_and_the_format_is_the_one_it_was_begun_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().into();
    let old = lab(38_020..=38_039, "127.0.0.50", |config| {
        config.recordings = Some(path);
        config.recording_format = RecordingFormat::Opus;
    });
    old.engine.activate(at("127.0.0.50")).expect("here");
    let new = with_folder(38_020..=38_039, "127.0.0.51", folder.path());
    let (talk, _) = talk(&old, "paused");
    let name = json!({"recording-file": "known"});
    command(&old, "start recording", "paused", name);
    let (_, state) = command(&old, "pause recording", "paused", json!({}));
    take_over(&old, &new, &[&state]);
    let shown = query(&new, "paused")["recording"].clone();
    assert_eq!(shown["paused"], 1, "{shown}");
    let mixed = format!("{}-mix.opus", shown["recording"].as_str().expect("a name"));
    let head = std::fs::metadata(&mixed).expect("a file").len();
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200);
    talk.b.hear();
    let (answer, _) = command(&new, "start recording", "paused", json!({}));
    assert_eq!(answer["recording"], shown["recording"]);
    assert_eq!(std::fs::metadata(&mixed).expect("a file").len(), head);
    assert_eq!(query(&new, "paused")["recording"]["paused"], 0);
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200);
    new.ng(json!({"command": "stop recording", "call-id": "paused"}));
    until("written", || new.engine.stats().recordings == 0);
    assert!(std::fs::metadata(&mixed).expect("a file").len() > head);
    let names = names(folder.path());
    assert!(
        names.iter().all(|name| name.starts_with("known-")),
        "{names:?}"
    );
}

#[test]
fn a_call_goes_on_where_nothing_can_be_recorded_or_played_and_that_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = with_folder(38_040..=38_059, "127.0.0.50", folder.path());
    let new = lab(38_040..=38_059, "127.0.0.51", |config| {
        config.prompts = None
    });
    let (talk, _) = talk(&old, "bare");
    let file = music(folder.path());
    let play = json!({"from-tag": "ta", "file": file, "repeat-times": -1});
    command(&old, "play media", "bare", play);
    let (_, state) = command(&old, "start recording", "bare", json!({}));
    take_over(&old, &new, &[&state]);
    drain(&talk.a);
    talk.assert_both_ways();
    assert!(query(&new, "bare")["recording"].is_null());
    let stats = new.engine.stats();
    assert_eq!((stats.recordings, stats.recording_failed), (0, 1));
}

/// Twenty seconds of which each 80 ms say which they are, as raw G.711.
fn music(folder: &Path) -> String {
    let path = folder.join("music.ul");
    let bytes: Vec<u8> = (0..250).flat_map(|n| [n; 640]).collect();
    std::fs::write(&path, bytes).expect("written");
    path.to_string_lossy().into_owned()
}

/// Takes what waits out of the socket.
fn drain(phone: &Phone) {
    let mut buffer = [0; 2_048];
    phone.rtp.set_nonblocking(true).expect("a socket");
    while phone.rtp.recv(&mut buffer).is_ok() {}
    phone.rtp.set_nonblocking(false).expect("a socket");
}

/// Number of the next packet of music, and where in it that begins, ms.
fn next_of_music(phone: &Phone) -> (u16, u64) {
    let mut buffer = [0; 2_048];
    let (length, _) = phone.rtp.recv_from(&mut buffer).expect("in time");
    assert_eq!(length, 12 + 160);
    let at_ms = u64::from(buffer[12]) * 80;
    (u16::from_be_bytes([buffer[2], buffer[3]]), at_ms)
}

#[test]
fn what_is_played_goes_on_where_it_would_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = music(folder.path());
    for shared in ["no", "yes"] {
        let old = with_folder(38_060..=38_079, "127.0.0.50", folder.path());
        let new = with_folder(38_060..=38_079, "127.0.0.51", folder.path());
        let (talk, _) = talk(&old, "music");
        let play = json!({
            "from-tag": "ta", "file": file, "repeat-times": -1, "start-pos": 4_000,
            "shared": shared,
        });
        let (_, state) = command(&old, "play media", "music", play);
        let (last, at_ms) = next_of_music(&talk.a);
        assert!((4_000..6_000).contains(&at_ms), "{at_ms}");
        // Ten seconds ago; it is of twenty, so that it has not begun anew.
        take_over(&old, &new, &[&aged(&state, 10_000)]);
        drain(&talk.a);
        let (number, at_ms) = next_of_music(&talk.a);
        // It says so in steps of 80.
        assert!(
            (13_920..20_000).contains(&at_ms),
            "shared: {shared}, at {at_ms}"
        );
        assert!(number.wrapping_sub(last) < 0x8000, "{number} behind {last}");
        let stopped = json!({"from-tag": "ta"});
        let (answer, _) = command(&new, "stop media", "music", stopped);
        assert!(
            answer["last-frame-pos"].as_u64() >= Some(14_000),
            "{answer}"
        );
    }
}

#[test]
fn a_prompt_that_would_be_over_is_not_heard_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = with_folder(38_080..=38_099, "127.0.0.50", folder.path());
    let new = with_folder(38_080..=38_099, "127.0.0.51", folder.path());
    let file = music(folder.path());
    let (talk, _) = talk(&old, "prompt");
    let play = json!({"from-tag": "ta", "file": file, "repeat-times": 2});
    let (_, state) = command(&old, "play media", "prompt", play);
    take_over(&old, &new, &[&aged(&state, 40_000)]);
    drain(&talk.a);
    talk.assert_both_ways();
    assert_eq!(new.engine.stats().speaking, 0);
}

#[test]
fn what_is_kept_back_stays_kept_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = with_folder(38_100..=38_119, "127.0.0.50", folder.path());
    let new = with_folder(38_100..=38_119, "127.0.0.51", folder.path());
    let calls = ["block media", "silence media", "block DTMF"].map(|block| {
        let (talk, _) = talk(&old, block);
        let party = json!({"from-tag": "ta"});
        let (_, state) = command(&old, block, block, party);
        (talk, state)
    });
    let states = [0, 1, 2].map(|n| &calls[n].1[..]);
    take_over(&old, &new, &states);
    let [(blocked, _), (silenced, _), (digits, _)] = &calls;
    blocked.a.say(blocked.from_a, "kept back");
    until("it is withheld", || new.engine.stats().withheld == 1);
    blocked.b.say(blocked.from_b, "the other way");
    assert_eq!(blocked.a.hear().0, "the other way");
    silenced.a.say(silenced.from_a, "secret");
    let (heard, _) = silenced.b.hear();
    assert!(!heard.contains("secret"), "{heard}");
    digits.assert_both_ways();
    let party = json!({"from-tag": "ta"});
    command(&new, "unblock media", "block media", party);
    blocked.a.say(blocked.from_a, "let through");
    assert_eq!(blocked.b.hear().0, "let through");
}

#[test]
fn copies_go_on_from_the_same_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = with_folder(38_120..=38_139, "127.0.0.50", folder.path());
    let new = with_folder(38_120..=38_139, "127.0.0.51", folder.path());
    let (talk, _) = talk(&old, "copied");
    let offer = old.ng(json!({
        "command": "subscribe request", "call-id": "copied", "from-tag": "ta",
    }));
    let from = relay_address(offer["sdp"].as_str().expect("an SDP"));
    assert_eq!(from.ip(), at("127.0.0.50"));
    let ear = Phone::at("127.0.0.4");
    let taken = json!({"to-tag": offer["to-tag"], "sdp": ear.sdp("a=recvonly\r\n")});
    let (_, state) = command(&old, "subscribe answer", "copied", taken);
    take_over(&old, &new, &[&state]);
    talk.assert_both_ways();
    assert_eq!(ear.hear(), ("from a".into(), from));
    let used = new.engine.stats().ports_used;
    let tag = json!({"to-tag": offer["to-tag"]});
    command(&new, "unsubscribe", "copied", tag);
    // The port is at an address of the other engine's: it is only closed here.
    std::net::UdpSocket::bind(from).expect("the port is free");
    assert_eq!(new.engine.stats().ports_used, used);
    talk.assert_both_ways();
    ear.rtp.set_nonblocking(true).expect("a socket");
    assert!(ear.rtp.recv(&mut [0; 64]).is_err());
}

fn changed(call_id: &str) -> MediaEvent {
    let call_id = call_id.into();
    MediaEvent::Changed { call_id }
}

#[test]
fn whoever_keeps_a_call_is_told_once_that_it_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let lab = with_folder(38_140..=38_159, "127.0.0.50", folder.path());
    let plain = |name: &str, call: &str| {
        let answer = lab.ng(json!({"command": name, "call-id": call}));
        assert_eq!(answer["result"], "ok", "{answer}");
    };
    // Nobody keeps this one.
    let phone = Phone::at("127.0.0.2");
    lab.sdp("offer", "free", ["ta", ""], &phone.sdp(""));
    plain("start recording", "free");
    let (_talk, _): (Talk, _) = talk(&lab, "kept");
    plain("start recording", "kept");
    assert_eq!(lab.next_event(), changed("kept"));
    plain("pause recording", "kept");
    // Whoever asks for it has it, and needs not be told.
    command(&lab, "start recording", "kept", json!({}));
    plain("pause recording", "kept");
    assert_eq!(lab.next_event(), changed("kept"));
    lab.engine.snapshot("kept").expect("written");
    plain("block media", "kept");
    assert_eq!(lab.next_event(), changed("kept"));
    plain("delete", "kept");
    assert!(lab.events.try_recv().is_err(), "no more than that");
}
