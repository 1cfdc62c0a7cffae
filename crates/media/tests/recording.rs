//! Recordings of calls, read back from their files.

mod phones;

use std::time::{Duration, Instant};

use phones::recorded::{loud_ms, part, read, speak};
use phones::{Lab, Phone, Talk, until};
use raftpbx_media::RecordingFormat;
use raftpbx_media::codec::{Codec, ulaw_decode, ulaw_encode};
use serde_json::{Value, json};

fn lab(ports: std::ops::RangeInclusive<u16>) -> (Lab, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    (
        Lab::with(ports, |config| config.recordings = Some(path)),
        folder,
    )
}

fn command(lab: &Lab, name: &str, call: &str) -> Value {
    let answer = lab.ng(json!({"command": name, "call-id": call}));
    assert_eq!(answer["result"], "ok", "{answer}");
    answer
}

/// A wave of 400 Hz for this long, a packet every 20 ms.
fn hum(phone: &std::net::UdpSocket, to: std::net::SocketAddr, lasts_ms: u64) {
    let began = Instant::now();
    let wave = |n: usize| if n % 20 < 10 { 8_000 } else { -8_000 };
    let payload: Vec<u8> = (0..160).map(|n| ulaw_encode(wave(n))).collect();
    for n in 0..lasts_ms / 20 {
        let mut packet = vec![0x80, 0, 0, n as u8, 0, 0];
        packet.extend((n as u16 * 160).to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        packet.extend(&payload);
        phone.send_to(&packet, to).expect("send");
        let due = Duration::from_millis((n + 1) * 20);
        std::thread::park_timeout(due.saturating_sub(began.elapsed()));
    }
}

#[test]
fn both_parties_are_recorded_apart_and_together() {
    let (lab, _folder) = lab(35_000..=35_019);
    let talk = Talk::set_up(&lab, "two/parties", ["127.0.0.2", "127.0.0.3"]);
    let answer = command(&lab, "start recording", "two/parties");
    let base = answer["recording"].as_str().expect("a name").to_owned();
    assert!(base.contains("two_parties"), "{base}");
    let (a, from_a) = (&talk.a.rtp, talk.from_a);
    std::thread::scope(|scope| {
        scope.spawn(move || speak(a, from_a, 1, 8_000, 400));
        speak(&talk.b.rtp, talk.from_b, 2, -8_000, 200);
    });
    // A new source goes on behind the old one.
    speak(&talk.b.rtp, talk.from_b, 3, 8_000, 200);
    command(&lab, "stop recording", "two/parties");
    until("written", || lab.engine.stats().recordings == 0);
    let files = ["0", "1", "mix"].map(|name| read(&part(&base, name)));
    let [first, second, mixed] = &files;
    assert!((380..=400).contains(&loud_ms(first)), "{}", loud_ms(first));
    assert!(
        (380..=400).contains(&loud_ms(second)),
        "{}",
        loud_ms(second)
    );
    assert!(mixed.1.len() >= first.1.len() && mixed.0 == 8_000);
    // Where both speak they cancel each other out.
    for (n, sum) in mixed.1.iter().enumerate() {
        let at = |samples: &[i16]| samples.get(n).copied().unwrap_or(0);
        assert_eq!(*sum, at(&first.1).saturating_add(at(&second.1)));
    }
    assert_eq!(lab.engine.stats().recording_lost, 0);
}

#[test]
fn the_files_are_whole_while_the_call_goes_on() {
    let (lab, _folder) = lab(35_020..=35_039);
    let talk = Talk::set_up(&lab, "crash", ["127.0.0.2", "127.0.0.3"]);
    let answer = command(&lab, "start recording", "crash");
    let mixed = part(answer["recording"].as_str().expect("a name"), "mix");
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200);
    until("written", || {
        let (_, samples) = read(&mixed);
        let length = std::fs::metadata(&mixed).expect("a file").len();
        !samples.is_empty() && length == 44 + samples.len() as u64 * 2
    });
    lab.engine.shutdown();
    assert!(loud_ms(&read(&mixed)) >= 180);
}

#[test]
fn a_pause_is_left_out_and_the_end_of_the_call_is_the_end() {
    let (lab, folder) = lab(35_040..=35_059);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = json!({
        "command": "offer", "call-id": "pause", "from-tag": "ta", "sdp": a.sdp(""),
        "record-call": "yes", "recording-file": "../../known",
    });
    let from_b = phones::relay_address(&lab.sdp_of(offer));
    let from_a = phones::relay_address(&lab.sdp("answer", "pause", ["ta", "tb"], &b.sdp("")));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    assert_eq!(lab.engine.stats().recordings, 1);
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200);
    command(&lab, "pause recording", "pause");
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 400);
    command(&lab, "start recording", "pause");
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200);
    command(&lab, "delete", "pause");
    until("written", || lab.engine.stats().recordings == 0);
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .collect();
    let names = names
        .into_iter()
        .map(|entry| entry.expect("an entry").path());
    let first = names.filter(|path| path.to_string_lossy().ends_with("-0.wav"));
    let first: Vec<_> = first.collect();
    assert!(
        first[0].to_string_lossy().contains("______known-"),
        "{first:?}"
    );
    let heard = read(&first[0]);
    assert!(
        (340..=400).contains(&loud_ms(&heard)),
        "{}",
        loud_ms(&heard)
    );
    assert!(heard.1.len() < 8 * 800, "{}", heard.1.len());
}

#[test]
fn a_change_of_codec_is_survived() {
    let (lab, _folder) = lab(35_060..=35_079);
    let talk = Talk::set_up(&lab, "codec", ["127.0.0.2", "127.0.0.3"]);
    let answer = command(&lab, "start recording", "codec");
    speak(&talk.a.rtp, talk.from_a, 1, 8_000, 200);
    let sdp = |phone: &Phone| {
        phone
            .sdp("a=rtpmap:9 G722/8000\r\n")
            .replace("RTP/AVP 0", "RTP/AVP 9")
    };
    lab.sdp("offer", "codec", ["ta", "tb"], &sdp(&talk.a));
    lab.sdp("answer", "codec", ["ta", "tb"], &sdp(&talk.b));
    let mut coder = Codec::G722.coder(16_000).expect("memory");
    let began = Instant::now();
    for n in 0..20_u16 {
        let pcm: Vec<i16> = (0..320)
            .map(|n| if n / 16 % 2 == 0 { 8_000 } else { -8_000 })
            .collect();
        let mut packet = vec![0x80, 9, 1, n as u8, 0, 9];
        packet.extend((n * 160).to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        let mut payload = [0; 160];
        coder.encode(&pcm, &mut payload).expect("encoded");
        packet.extend(payload);
        talk.a.rtp.send_to(&packet, talk.from_a).expect("send");
        let due = Duration::from_millis(u64::from(n + 1) * 20);
        std::thread::park_timeout(due.saturating_sub(began.elapsed()));
    }
    command(&lab, "stop recording", "codec");
    until("written", || lab.engine.stats().recordings == 0);
    let heard = read(&part(answer["recording"].as_str().expect("a name"), "0"));
    assert!(
        (540..=620).contains(&loud_ms(&heard)),
        "{}",
        loud_ms(&heard)
    );
}

#[test]
fn opus_plays_to_the_last_second_while_it_is_written_and_can_be_played_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let lab = Lab::with(35_100..=35_119, |config| {
        config.recordings = Some(path);
        config.recording_format = RecordingFormat::Opus;
    });
    let talk = Talk::set_up(&lab, "opus", ["127.0.0.2", "127.0.0.3"]);
    let answer = command(&lab, "start recording", "opus");
    let file = format!("{}-0.opus", answer["recording"].as_str().expect("a name"));
    hum(&talk.a.rtp, talk.from_a, 1_400);
    let lasts_ms = |file: &str| {
        let played = lab.ng(json!({
            "command": "play media", "call-id": "opus", "from-tag": "tb", "file": file,
        }));
        lab.ng(json!({"command": "stop media", "call-id": "opus", "from-tag": "tb"}));
        played["duration"].as_u64()
    };
    // It plays although nobody has said that it is at its end.
    until("a second is written", || lasts_ms(&file) >= Some(700));
    command(&lab, "stop recording", "opus");
    until("written", || lab.engine.stats().recordings == 0);
    assert!((1_380..=3_000).contains(&lasts_ms(&file).expect("a clip")));
    let played = lab.ng(json!({
        "command": "play media", "call-id": "opus", "from-tag": "tb", "file": file,
        "start-pos": 500, "duration": 200,
    }));
    assert_eq!(played["result"], "ok", "{played}");
    let mut buffer = [0; 2_048];
    let loud = |packet: &[u8]| {
        let samples = packet[12..].iter().map(|code| ulaw_decode(*code));
        samples
            .filter(|sample| sample.unsigned_abs() > 4_000)
            .count()
            > 100
    };
    until("it is heard", || {
        let length = talk.b.rtp.recv(&mut buffer).expect("a packet in time");
        loud(&buffer[..length])
    });
}

#[test]
fn without_a_folder_nothing_is_recorded_and_that_is_said() {
    let lab = Lab::start(35_080..=35_099);
    let talk = Talk::set_up(&lab, "off", ["127.0.0.2", "127.0.0.3"]);
    let answer = lab.ng(json!({"command": "start recording", "call-id": "off"}));
    assert_eq!(answer["error-reason"], "Recording is not configured");
    talk.assert_both_ways();
}
