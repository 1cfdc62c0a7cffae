//! Digits, playing and blocking, on real packets.

mod phones;

use std::collections::BTreeSet;
use std::time::Instant;

use phones::{DEADLINE, Lab, Phone, Talk, relay_address, until};
use raftpbx_media::MediaEvent;
use raftpbx_media::codec::Codec;
use raftpbx_media::dsp::detect::Detector;
use serde_json::{Value, json};

/// What a packet says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Packet {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload: Vec<u8>,
}

fn next_packet(phone: &Phone) -> Packet {
    let mut buffer = [0; 4_096];
    let (length, _) = phone.rtp.recv_from(&mut buffer).expect("a packet in time");
    let word = |at: usize| {
        u32::from_be_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]])
    };
    Packet {
        payload_type: buffer[1] & 0x7f,
        sequence: u16::from_be_bytes([buffer[2], buffer[3]]),
        timestamp: word(4),
        ssrc: word(8),
        payload: buffer[12..length].to_vec(),
    }
}

fn send(phone: &Phone, to: std::net::SocketAddr, packet: &Packet) {
    let mut bytes = vec![0x80, packet.payload_type];
    bytes.extend(packet.sequence.to_be_bytes());
    bytes.extend(packet.timestamp.to_be_bytes());
    bytes.extend(packet.ssrc.to_be_bytes());
    bytes.extend(&packet.payload);
    phone.rtp.send_to(&bytes, to).expect("send");
}

/// Two phones that take these payload types; the lines are added to both SDPs.
fn talk(lab: &Lab, name: &str, types: &str, lines: &str, flags: Value) -> Talk {
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let sdp = |phone: &Phone| {
        phone
            .sdp(lines)
            .replace("RTP/AVP 0", &format!("RTP/AVP {types}"))
    };
    let offer = json!({
        "command": "offer", "call-id": name, "from-tag": "ta", "sdp": sdp(&a), "flags": flags,
    });
    let answer = json!({
        "command": "answer", "call-id": name, "from-tag": "ta", "to-tag": "tb", "sdp": sdp(&b),
        "flags": flags,
    });
    let from_b = relay_address(&lab.sdp_of(offer));
    let from_a = relay_address(&lab.sdp_of(answer));
    Talk {
        a,
        b,
        from_a,
        from_b,
    }
}

const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\r\n";

fn with_events(lab: &Lab, name: &str) -> Talk {
    talk(lab, name, "0 101", EVENTS, json!([]))
}

fn command(lab: &Lab, mut message: Value, name: &str, call: &str) -> Value {
    message["command"] = name.into();
    message["call-id"] = call.into();
    let answer = lab.ng(message);
    assert_eq!(answer["result"], "ok", "{answer}");
    answer
}

/// The next event that is not about a learned source.
fn next_event(lab: &Lab) -> MediaEvent {
    loop {
        match lab
            .events
            .recv_timeout(DEADLINE)
            .expect("an event in time")
            .remove(0)
        {
            MediaEvent::Latched { .. } => {}
            event => return event,
        }
    }
}

fn event_packets(code: u8, first: u16, timestamp: u32) -> Vec<Packet> {
    let packet = |n: u16, end: u8, duration: u16| {
        let [high, low] = duration.to_be_bytes();
        Packet {
            payload_type: 101,
            sequence: first + n,
            timestamp,
            ssrc: 7,
            payload: vec![code, end | 10, high, low],
        }
    };
    let mut packets: Vec<_> = (0..4).map(|n| packet(n, 0, (n + 1) * 160)).collect();
    packets.extend((4..7).map(|n| packet(n, 0x80, 800)));
    packets
}

/// A tone as a WAV file.
fn wav(folder: &std::path::Path, rate_hz: u32, lasts_ms: u32) -> String {
    let count = (rate_hz / 1_000 * lasts_ms) as usize;
    let angle = |n: usize| std::f64::consts::TAU * 770.0 * n as f64 / f64::from(rate_hz);
    let samples = (0..count).map(|n| (8_000.0 * angle(n).sin()) as i16);
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend((rate_hz * 2).to_le_bytes());
    bytes.extend(*b"\x02\0\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    let path = folder.join(format!("{rate_hz}-{lasts_ms}.wav"));
    std::fs::write(&path, bytes).expect("write");
    path.to_str().expect("text").to_owned()
}

#[test]
fn a_digit_is_relayed_and_told_once_with_its_duration() {
    let lab = Lab::start(34_000..=34_019);
    let talk = with_events(&lab, "digit");
    for packet in event_packets(5, 1, 1_000) {
        send(&talk.a, talk.from_a, &packet);
        assert_eq!(next_packet(&talk.b), packet);
    }
    let told = next_event(&lab);
    let (call_id, tag) = ("digit".into(), "ta".into());
    let (digit, duration_ms, volume, in_band) = ('5', 100, 10, false);
    assert_eq!(
        told,
        MediaEvent::Dtmf {
            call_id,
            tag,
            digit,
            duration_ms,
            volume,
            in_band
        }
    );
    assert_eq!(
        (lab.engine.stats().digits, lab.engine.stats().packets),
        (1, 7)
    );
}

#[test]
fn blocked_digits_are_told_but_do_not_get_through_and_sound_does() {
    let lab = Lab::start(34_020..=34_039);
    let talk = with_events(&lab, "blocked");
    talk.assert_both_ways();
    command(&lab, json!({"from-tag": "ta"}), "block DTMF", "blocked");
    for packet in event_packets(1, 100, 1_000) {
        send(&talk.a, talk.from_a, &packet);
    }
    assert!(matches!(
        next_event(&lab),
        MediaEvent::Dtmf { digit: '1', .. }
    ));
    // What comes next is sound, and no number is missing before it.
    let sound = Packet {
        payload_type: 0,
        sequence: 107,
        timestamp: 9_000,
        ssrc: 7,
        payload: vec![1; 160],
    };
    send(&talk.a, talk.from_a, &sound);
    let heard = next_packet(&talk.b);
    assert_eq!(
        (heard.payload_type, heard.sequence, &heard.payload),
        (0, 1, &sound.payload)
    );
    until("withheld", || lab.engine.stats().withheld == 7);
    command(&lab, json!({"from-tag": "ta"}), "unblock DTMF", "blocked");
    send(&talk.a, talk.from_a, &event_packets(2, 108, 10_000)[0]);
    assert_eq!(next_packet(&talk.b).payload_type, 101);
}

#[test]
fn a_digit_is_played_as_an_event_in_the_stream_of_the_party_that_presses_it() {
    let lab = Lab::start(34_040..=34_059);
    let talk = with_events(&lab, "press");
    talk.assert_both_ways();
    command(
        &lab,
        json!({"from-tag": "ta", "code": "#", "duration": 100}),
        "play DTMF",
        "press",
    );
    let packets: Vec<_> = (0..7).map(|_| next_packet(&talk.b)).collect();
    assert!(
        packets
            .iter()
            .all(|packet| (packet.payload_type, packet.ssrc) == (101, 7))
    );
    let numbers: Vec<u16> = packets.iter().map(|packet| packet.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    let times: BTreeSet<u32> = packets.iter().map(|packet| packet.timestamp).collect();
    assert_eq!(times.len(), 1);
    assert_eq!(packets[0].payload, [11, 8, 0, 160]);
    assert_eq!(packets[6].payload, [11, 0x88, 3, 32]);
    // Afterwards sound goes on behind it.
    until("said", || lab.engine.stats().speaking == 0);
    talk.a.say(talk.from_a, "on");
    let heard = next_packet(&talk.b);
    assert_eq!(
        (heard.ssrc, heard.sequence, &heard.payload[..]),
        (7, 8, &b"on"[..])
    );
    assert!(heard.timestamp.wrapping_sub(packets[6].timestamp) >= 800);
}

#[test]
fn without_events_a_digit_is_a_tone_and_is_found_in_the_sound_when_asked_for() {
    let lab = Lab::start(34_060..=34_079);
    for (name, types, lines, codec) in [
        ("tone-pcmu", "0", "", Codec::Pcmu),
        ("tone-g722", "9", "", Codec::G722),
        (
            "tone-opus",
            "96",
            "a=rtpmap:96 opus/48000/2\r\n",
            Codec::Opus,
        ),
    ] {
        let talk = talk(&lab, name, types, lines, json!(["detect-DTMF"]));
        command(
            &lab,
            json!({"from-tag": "ta", "code": 9}),
            "play DTMF",
            name,
        );
        // What B hears it sends back, so that the engine hears it too.
        let mut coder = codec.coder(8_000).expect("memory");
        let mut down = raftpbx_media::dsp::resample::Resampler::new(coder.rate_hz(), 8_000);
        let (mut detector, mut heard) = (Detector::default(), Vec::new());
        for _ in 0..17 {
            let packet = next_packet(&talk.b);
            send(&talk.b, talk.from_b, &packet);
            let (mut pcm, mut narrow) = ([0; 960], [0; 960]);
            let mut count = coder.decode(&packet.payload, &mut pcm).expect("decoded");
            if let Some(down) = &mut down {
                count = down.run(&pcm[..count], &mut narrow);
                pcm = narrow;
            }
            detector.take(&pcm[..count], |digit| heard.push(digit.digit.key()));
        }
        assert_eq!(heard, ['9'], "{name}");
        let MediaEvent::Dtmf {
            tag,
            digit,
            duration_ms,
            in_band,
            ..
        } = next_event(&lab)
        else {
            panic!("not a digit")
        };
        assert_eq!((&tag[..], digit, in_band), ("tb", '9', true), "{name}");
        assert!((220..=270).contains(&duration_ms), "{name}: {duration_ms}");
    }
}

#[test]
fn a_clip_is_played_on_time_in_the_stream_and_its_end_is_told() {
    let lab = Lab::start(34_080..=34_099);
    let folder = tempfile::tempdir().expect("a folder");
    let talk = with_events(&lab, "play");
    talk.assert_both_ways();
    let file = wav(folder.path(), 16_000, 400);
    let began = Instant::now();
    let answer = command(
        &lab,
        json!({"from-tag": "ta", "file": file}),
        "play media",
        "play",
    );
    assert_eq!(answer["duration"], 400);
    // What B says meanwhile is not for A.
    talk.b.say(talk.from_b, "be quiet");
    let packets: Vec<_> = (0..20).map(|_| next_packet(&talk.a)).collect();
    let took_ms = began.elapsed().as_millis();
    assert!((370..2_000).contains(&took_ms), "{took_ms}");
    for (n, packet) in packets.iter().enumerate() {
        let expected = (0, 7, 1 + n as u16, packets[0].timestamp + n as u32 * 160);
        let is = (
            packet.payload_type,
            packet.ssrc,
            packet.sequence,
            packet.timestamp,
        );
        assert_eq!(is, expected);
        assert_eq!(packet.payload.len(), 160);
    }
    let (call_id, tag, played_ms) = ("play".into(), "ta".into(), 400);
    assert_eq!(
        next_event(&lab),
        MediaEvent::PlayEnd {
            call_id,
            tag,
            played_ms
        }
    );
    // And now B is heard again, in the same stream.
    talk.b.say(talk.from_b, "at last");
    let heard = next_packet(&talk.a);
    assert_eq!(
        (heard.ssrc, heard.sequence, &heard.payload[..]),
        (7, 21, &b"at last"[..])
    );
}

#[test]
fn a_clip_is_stopped_where_it_is() {
    let lab = Lab::start(34_100..=34_119);
    let folder = tempfile::tempdir().expect("a folder");
    let talk = with_events(&lab, "stop");
    let file = wav(folder.path(), 8_000, 5_000);
    let order = json!({"from-tag": "tb", "file": file, "start-pos": 1_000, "repeat-times": 9});
    command(&lab, order, "play media", "stop");
    for _ in 0..3 {
        next_packet(&talk.b);
    }
    let answer = command(&lab, json!({"from-tag": "tb"}), "stop media", "stop");
    let position = answer["last-frame-pos"].as_u64().expect("a position");
    assert!((1_060..1_500).contains(&position), "{answer}");
    until("stopped", || lab.engine.stats().speaking == 0);
}

#[test]
fn a_party_that_was_never_sent_anything_hears_a_tone() {
    let lab = Lab::start(34_120..=34_139);
    let a = Phone::at("127.0.0.2");
    lab.sdp("offer", "early", ["ta", ""], &a.sdp(""));
    let order = json!({"from-tag": "ta", "file": "tone:ring-back:de"});
    let answer = command(&lab, order, "play media", "early");
    assert!(answer.get("duration").is_none());
    let (first, second) = (next_packet(&a), next_packet(&a));
    assert_eq!(second.sequence, first.sequence.wrapping_add(1));
    assert_eq!(second.timestamp, first.timestamp.wrapping_add(160));
    command(
        &lab,
        json!({"call-id": "early", "from-tag": "ta"}),
        "delete",
        "early",
    );
    until("gone", || lab.engine.stats().speaking == 0);
}

#[test]
fn a_caller_with_nobody_at_the_other_end_is_played_to_and_heard() {
    let lab = Lab::start(34_200..=34_219);
    let a = Phone::at("127.0.0.2");
    let sdp = a.sdp(EVENTS).replace("RTP/AVP 0", "RTP/AVP 0 101");
    let offer = json!({"command": "offer", "call-id": "ivr", "from-tag": "ta", "sdp": sdp});
    lab.sdp_of(offer);
    // Call control answers in the place of a phone: nobody listens there.
    let nobody = a.sdp_for("127.0.0.9:9".parse().expect("an address"), EVENTS);
    let nobody = nobody.replace("RTP/AVP 0", "RTP/AVP 0 101");
    let from_a = relay_address(&lab.sdp("answer", "ivr", ["ta", "ivr"], &nobody));
    command(&lab, json!({"from-tag": "ta"}), "block media", "ivr");
    command(
        &lab,
        json!({"from-tag": "ta", "file": "tone:ring-back"}),
        "play media",
        "ivr",
    );
    next_packet(&a);
    event_packets(3, 1, 1_000)
        .iter()
        .for_each(|packet| send(&a, from_a, packet));
    assert!(matches!(
        next_event(&lab),
        MediaEvent::Dtmf { digit: '3', .. }
    ));
    let stats = lab.engine.stats();
    assert_eq!((stats.packets, stats.unsent), (0, 0));
}

#[test]
fn media_are_blocked_and_silenced() {
    let lab = Lab::start(34_140..=34_159);
    let talk = with_events(&lab, "quiet");
    talk.assert_both_ways();
    command(&lab, json!({"from-tag": "ta"}), "silence media", "quiet");
    talk.a.say(talk.from_a, "do not hear this");
    assert_eq!(next_packet(&talk.b).payload, [0xff; 16]);
    command(&lab, json!({"from-tag": "ta"}), "unsilence media", "quiet");
    command(&lab, json!({}), "block media", "quiet");
    talk.a.say(talk.from_a, "nor this");
    talk.b.say(talk.from_b, "nor this");
    until("blocked", || lab.engine.stats().withheld == 2);
    command(&lab, json!({"all": "all"}), "unblock media", "quiet");
    talk.assert_both_ways();
}

#[test]
fn encrypted_parties_are_played_to() {
    let lab = Lab::start(34_160..=34_179);
    let a = Phone::at("127.0.0.2");
    let key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let sdp = a.sdp(&format!(
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
    ));
    let sdp = sdp.replace("RTP/AVP", "RTP/SAVP");
    lab.sdp("offer", "secret", ["ta", ""], &sdp);
    let b = Phone::at("127.0.0.3");
    let offer = b.sdp("").replace("RTP/AVP", "RTP/SAVP");
    let answer = format!("{offer}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    lab.sdp("answer", "secret", ["ta", "tb"], &answer);
    command(
        &lab,
        json!({"from-tag": "ta", "file": "tone:busy"}),
        "play media",
        "secret",
    );
    // Sound and ten bytes of its tag.
    assert_eq!(next_packet(&a).payload.len(), 170);
}

#[test]
fn mistakes_get_rtpengines_words() {
    let lab = Lab::start(34_180..=34_199);
    let _talk = talk(&lab, "wrong", "18", "", json!([]));
    let cases = [
        (
            json!({"command": "play media", "file": "tone:busy"}),
            "No participant party specified",
        ),
        (
            json!({"command": "play media", "from-tag": "ta"}),
            "No media file specified",
        ),
        (
            json!({"command": "play media", "from-tag": "tx", "file": "tone:busy"}),
            "From-tag given, but no such tag exists",
        ),
        (
            json!({"command": "play media", "label": "x", "file": "tone:busy"}),
            "No monologue matching the given label",
        ),
        (
            json!({"command": "block media", "address": "1.2.3.4"}),
            "Failed to match address to any tag",
        ),
        (
            json!({"command": "block media", "address": "x"}),
            "Failed to parse network address",
        ),
        (
            json!({"command": "play DTMF", "from-tag": "ta", "code": 1}),
            "Monologue has no media capable of DTMF injection",
        ),
        (
            json!({"command": "play media", "from-tag": "ta", "file": "tone:busy"}),
            "No supported codec in SDP to play media with",
        ),
        (
            json!({"command": "stop media", "from-tag": "ta", "call-id": "none"}),
            "Unknown call-ID",
        ),
    ];
    for (mut message, reason) in cases {
        if message.get("call-id").is_none() {
            message["call-id"] = "wrong".into();
        }
        let answer = lab.ng(message.clone());
        assert_eq!(answer["error-reason"], reason, "{message}");
    }
}
