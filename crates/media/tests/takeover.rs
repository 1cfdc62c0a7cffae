//! An engine dies in the middle of calls, and another one goes on under the same address: no phone
//! is told anything, each hears one stream without a break.

mod phones;

use phones::floating::{answered, at};
use phones::secret::Secret;
use phones::{Lab, Phone, line, relay_address};
use raftpbx_media::Held;
use raftpbx_media::srtp::Suite;
use serde_json::{Value, json};

/// An engine whose calls are at `floating`, an address of the loopback.
fn lab(ports: std::ops::RangeInclusive<u16>, floating: &str) -> Lab {
    phones::floating::lab(ports, floating, |_| {})
}

#[test]
fn plain_phones_hear_each_other_on_when_their_engine_dies() {
    let old = lab(35_000..=35_019, "127.0.0.50");
    let new = lab(35_000..=35_019, "127.0.0.51");
    old.engine.activate(at("127.0.0.50")).expect("here");
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = old.sdp("offer", "plain", ["ta", ""], &a.sdp(""));
    let (answer, state) = answered(&old, "plain", &b.sdp(""));
    let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
    assert_eq!(from_a.ip(), at("127.0.0.50"));
    a.say(from_a, "before");
    assert_eq!(b.hear().0, "before");
    old.engine.shutdown();
    new.engine.restore(&state).expect("armed");
    new.engine.restore(&state).expect("twice is once");
    new.engine.activate(at("127.0.0.50")).expect("here");
    let held = Held {
        address: at("127.0.0.50"),
        calls: 1,
    };
    assert_eq!(new.engine.held(), [held]);
    // Who has said nothing yet is sent to where it was.
    b.say(from_b, "from b");
    let (said, source) = a.hear();
    assert_eq!((&said[..], source), ("from b", from_a));
    a.say(from_a, "after");
    assert_eq!(b.hear().0, "after");
    // A stranger is one here, too.
    Phone::at("127.0.0.4").say(from_a, "stranger");
    // Signalling goes on: hold, and the end.
    let hold = new.sdp("offer", "plain", ["tb", "ta"], &b.sdp("a=sendonly\r\n"));
    assert_eq!(
        relay_address(&hold),
        from_a,
        "nobody is told another address"
    );
    new.sdp("answer", "plain", ["tb", "ta"], &a.sdp("a=recvonly\r\n"));
    b.say(from_b, "held");
    assert_eq!(a.hear().0, "held");
    new.ng(json!({"command": "delete", "call-id": "plain", "from-tag": "ta"}));
    assert_eq!(new.engine.held()[0].calls, 0);
    assert!(new.engine.deactivate(at("127.0.0.50")));
    assert_eq!(new.engine.stats().wrong_source, 1);
}

/// Keys stay, counters go on over their roll-over, and the far end, which knows nothing of it,
/// takes every packet. The state is the one of the answer, before any packet.
#[test]
fn secret_phones_hear_each_other_on_with_every_suite() {
    let old = lab(35_100..=35_199, "127.0.0.50");
    let new = lab(35_100..=35_199, "127.0.0.51");
    old.engine.activate(at("127.0.0.50")).expect("here");
    let mut calls = Vec::new();
    for (n, suite) in Suite::ALL.into_iter().enumerate() {
        let name = format!("secret-{n}");
        let mut a = Secret::beginning("127.0.0.2", suite, 65_530);
        let mut b = Secret::beginning("127.0.0.3", Suite::ALL[7 - n], 9);
        let offer = old.sdp("offer", &name, ["ta", ""], &a.sdp());
        b.agree(&offer);
        let (answer, first) = answered(&old, &name, &b.sdp());
        a.agree(&answer);
        let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
        for _ in 0..4 {
            a.say(from_a, "before");
            assert_eq!(b.hear(), "before");
            b.say(from_b, "before");
            assert_eq!(a.hear(), "before");
        }
        let state = if n % 2 == 0 {
            first
        } else {
            old.engine.snapshot(&name).expect("written")
        };
        calls.push((a, b, from_a, from_b, state));
    }
    old.engine.shutdown();
    for (_, _, _, _, state) in &calls {
        new.engine.restore(state).expect("armed");
    }
    new.engine.activate(at("127.0.0.50")).expect("here");
    for (a, b, from_a, from_b, _) in &mut calls {
        for n in 0..6 {
            a.say(*from_a, "after");
            let number = 65_534_u16.wrapping_add(n);
            assert_eq!(b.hear_numbered(), (8, number, "after".to_owned()));
            b.say(*from_b, "after");
            assert_eq!(a.hear_numbered(), (8, 13 + n, "after".to_owned()));
        }
    }
    let stats = new.engine.stats();
    assert_eq!((stats.forged, stats.replayed), (0, 0));
}

#[test]
fn what_we_say_ourselves_goes_on_behind_it_as_the_same_stream() {
    let old = lab(35_200..=35_219, "127.0.0.50");
    let new = lab(35_200..=35_219, "127.0.0.51");
    old.engine.activate(at("127.0.0.50")).expect("here");
    let mut a = Secret::beginning("127.0.0.2", Suite::AeadAes128Gcm, 100);
    let mut b = Secret::beginning("127.0.0.3", Suite::AeadAes128Gcm, 200);
    let offer = old.sdp("offer", "spoken", ["ta", ""], &a.sdp());
    b.agree(&offer);
    let (answer, _) = answered(&old, "spoken", &b.sdp());
    a.agree(&answer);
    let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
    b.say(from_b, "before");
    assert_eq!(a.hear(), "before");
    let dtmf = |digit: &str| {
        json!({"command": "play DTMF", "call-id": "spoken", "from-tag": "tb", "code": digit,
            "duration": 100})
    };
    let told: Value = old.ng(dtmf("5"));
    assert_eq!(told["result"], "ok", "{told}");
    let (source, mut last, _) = a.hear_numbered();
    assert_eq!(source, 8, "one stream");
    let state = old.engine.snapshot("spoken").expect("written");
    old.engine.shutdown();
    new.engine.restore(&state).expect("armed");
    new.engine.activate(at("127.0.0.50")).expect("here");
    // What was still on its way comes first.
    let said = loop {
        b.say(from_b, "after");
        let (source, number, said) = a.hear_numbered();
        assert_eq!(source, 8);
        assert!(number > last, "{number} after {last}");
        last = number;
        if said == "after" {
            break said;
        }
    };
    assert_eq!(said, "after");
    a.say(from_a, "back");
    assert_eq!(b.hear(), "back");
}

/// A packet with a number and a media time.
fn numbered(payload_type: u8, sequence: u16, timestamp: u32, content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([0, 0, 0, 8]);
    packet.extend(content);
    packet
}

/// Payload type, number and media time of the next packet.
fn heard(phone: &Phone) -> (u8, u16, u32) {
    let mut buffer = [0; 2_048];
    phone.rtp.recv_from(&mut buffer).expect("in time");
    let time = u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]);
    let number = u16::from_be_bytes([buffer[2], buffer[3]]);
    (buffer[1] & 0x7f, number, time)
}

/// The state is the one of the answer, before any packet: numbers and media time go on all the
/// same, or a phone would throw away what it takes for old.
#[test]
fn parties_without_a_common_codec_hear_each_other_on_as_one_stream() {
    const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
    let old = lab(35_280..=35_299, "127.0.0.50");
    let new = lab(35_280..=35_299, "127.0.0.51");
    old.engine.activate(at("127.0.0.50")).expect("here");
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = old.sdp_of(json!({
        "command": "offer", "call-id": "codecs", "from-tag": "ta", "sdp": a.sdp(""),
        "codec": {"transcode": ["opus"]},
    }));
    let opus = b.sdp("").replace("RTP/AVP 0", "RTP/AVP 96");
    let opus = opus.replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:96 opus/48000/2");
    let (answer, state) = answered(&old, "codecs", &opus);
    let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
    let talk = |n: u16| {
        let narrow = numbered(0, n, 1_000 + u32::from(n) * 160, &[0x55; 160]);
        a.rtp.send_to(&narrow, from_a).expect("send");
        assert_eq!(heard(&b), (96, n, 6_000 + u32::from(n) * 960));
        let wide = numbered(96, n, 6_000 + u32::from(n) * 960, &SILENCE);
        b.rtp.send_to(&wide, from_b).expect("send");
        assert_eq!(heard(&a), (0, n, 1_000 + u32::from(n) * 160));
    };
    (0..10).for_each(talk);
    old.engine.shutdown();
    new.engine.restore(&state).expect("armed");
    new.engine.activate(at("127.0.0.50")).expect("here");
    (10..20).for_each(talk);
}

/// Shorter packets are more than those that came: were they numbered as these at the other
/// engine, an encrypted party would take them for old ones and refuse them.
#[test]
fn packets_of_another_length_go_on_behind_those_that_were_sent() {
    let old = lab(35_300..=35_319, "127.0.0.50");
    let new = lab(35_300..=35_319, "127.0.0.51");
    old.engine.activate(at("127.0.0.50")).expect("here");
    let a = Phone::at("127.0.0.2");
    let mut b = Secret::beginning("127.0.0.3", Suite::AeadAes128Gcm, 200);
    let offer = old.sdp_of(json!({
        "command": "offer", "call-id": "short", "from-tag": "ta", "sdp": a.sdp(""),
        "ptime": 10, "transport-protocol": "RTP/SAVP",
    }));
    b.agree(&offer);
    let (answer, _) = answered(&old, "short", &b.sdp());
    let from_a = relay_address(&answer);
    let mut last = 0;
    let mut talk = |n: u16| {
        let whole = numbered(0, n, u32::from(n) * 320, &[0x55; 320]);
        a.rtp.send_to(&whole, from_a).expect("send");
        for _ in 0..4 {
            let (_, number, said) = b.hear_numbered();
            assert!(number > last, "{number} after {last}");
            assert_eq!(said.len(), 80);
            last = number;
        }
    };
    (1..=100).for_each(&mut talk);
    let state = old.engine.snapshot("short").expect("written");
    old.engine.shutdown();
    new.engine.restore(&state).expect("armed");
    new.engine.activate(at("127.0.0.50")).expect("here");
    (101..=110).for_each(&mut talk);
}

#[test]
fn what_cannot_go_on_elsewhere_is_refused_with_the_reason() {
    let old = lab(35_220..=35_239, "127.0.0.50");
    let new = lab(35_240..=35_259, "127.0.0.51");
    let alone = Lab::start(35_260..=35_279);
    let reason = |answer: Value| answer["error-reason"].as_str().unwrap_or("").to_owned();
    let ng = |lab: &Lab, command: &str, field: &str, value: &str| {
        reason(lab.ng(json!({"command": command, field: value})))
    };
    // Not activated: the call is at the fixed address.
    let a = Phone::at("127.0.0.2");
    let offer = old.sdp("offer", "fixed", ["ta", ""], &a.sdp(""));
    assert_eq!(relay_address(&offer).ip(), at("127.0.0.1"));
    assert!(ng(&old, "snapshot", "call-id", "fixed").contains("does not move"));
    assert_eq!(ng(&old, "snapshot", "call-id", "other"), "Unknown call-id");
    assert!(ng(&new, "restore", "state", "{}").starts_with("Not a session"));
    assert!(ng(&alone, "activate", "address", "127.0.0.50").contains("does not float"));
    assert!(ng(&new, "activate", "address", "127.0.0.1").contains("does not float"));
    assert_eq!(ng(&new, "activate", "address", ""), "No address in message");
    let activated = old.ng(json!({"command": "activate", "address": "127.0.0.50"}));
    assert_eq!(activated["result"], "ok");
    old.sdp("offer", "moves", ["ta", ""], &a.sdp(""));
    let (_, state) = answered(&old, "moves", &Phone::at("127.0.0.3").sdp(""));
    let later = state.replacen("\"version\":1", "\"version\":2", 1);
    assert!(ng(&new, "restore", "state", &later).contains("another version"));
    // The one who has it lives, and has its ports.
    assert!(!ng(&new, "restore", "state", &state).is_empty());
    assert_eq!(new.engine.stats().sessions, 0);
    assert!(ng(&alone, "restore", "state", &state).contains("does not float"));
    assert_eq!(new.engine.stats().ports_used, 0);
    let dropped = old.ng(json!({"command": "deactivate", "address": "127.0.0.50"}));
    assert_eq!(dropped["was-here"], 1);
    let offer = old.sdp("offer", "next", ["ta", ""], &a.sdp(""));
    assert_eq!(line(&offer, "c="), "IN IP4 127.0.0.1");
}
