//! Packets of another length than the other party wants them.

mod phones;

use std::net::SocketAddr;

use phones::{Lab, Phone, Talk, line, relay_address};
use raftpbx_media::srtp::sdes::Crypto;
use raftpbx_media::srtp::{Inbound, MasterKey};
use serde_json::{Value, json};

/// A call, whose offer has these keys too, between phones whose descriptions have these lines.
fn call(lab: &Lab, name: &str, more: Value, lines: [&str; 2]) -> (Talk, [String; 2]) {
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let mut message = json!({
        "command": "offer", "call-id": name, "from-tag": "ta", "sdp": a.sdp(lines[0]),
    });
    for (key, value) in more.as_object().expect("keys") {
        message[key] = value.clone();
    }
    let offer = lab.sdp_of(message);
    let answer = lab.sdp_of(json!({
        "command": "answer", "call-id": name, "from-tag": "ta", "to-tag": "tb",
        "sdp": b.sdp(lines[1]),
    }));
    let (from_b, from_a) = (relay_address(&offer), relay_address(&answer));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    (talk, [offer, answer])
}

/// Number, media time and payload of the next packet.
fn hear(phone: &Phone) -> (u16, u32, Vec<u8>) {
    let mut buffer = [0; 2_048];
    let (length, _) = phone.rtp.recv_from(&mut buffer).expect("a packet in time");
    let time = u32::from_be_bytes(buffer[4..8].try_into().expect("four"));
    let number = u16::from_be_bytes([buffer[2], buffer[3]]);
    (number, time, buffer[12..length].to_vec())
}

/// Sends a packet of so many ms, whose bytes count on from `begin`.
fn say(phone: &Phone, to: SocketAddr, sequence: u16, begin: u32, ms: u32) {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend(begin.to_be_bytes());
    packet.extend([0, 0, 0, 7]);
    packet.extend((begin..begin + ms * 8).map(|n| (n % 251) as u8));
    phone.rtp.send_to(&packet, to).expect("send");
}

#[test]
fn ptime_cuts_packets_for_the_answerer_and_ptime_reverse_for_the_offerer() {
    let lab = Lab::start(37_200..=37_219);
    let keys = json!({"ptime": 30, "ptime-reverse": 10});
    let (talk, [offer, answer]) = call(&lab, "both", keys, ["a=ptime:20\r\n", ""]);
    assert_eq!(line(&offer, "a=ptime:"), "30");
    assert_eq!(line(&answer, "a=ptime:"), "10");
    for n in 0..30_u32 {
        say(&talk.a, talk.from_a, n as u16, n * 160, 20);
        say(&talk.b, talk.from_b, n as u16, n * 240, 30);
    }
    for n in 0..20_u32 {
        let (number, time, payload) = hear(&talk.b);
        assert_eq!((number, time, payload.len()), (n as u16, n * 240, 240));
        let expected: Vec<u8> = (time..time + 240).map(|n| (n % 251) as u8).collect();
        assert_eq!(payload, expected, "the very bytes");
    }
    for n in 0..90_u32 {
        let (number, time, payload) = hear(&talk.a);
        assert_eq!((number, time, payload.len()), (n as u16, n * 80, 80));
    }
    let stats = lab.engine.stats();
    assert_eq!((stats.withheld, stats.unsent), (0, 0));
}

#[test]
fn a_party_that_said_nothing_about_it_gets_packets_as_they_come() {
    let lab = Lab::start(37_220..=37_239);
    let (talk, _) = call(
        &lab,
        "plain",
        json!({}),
        ["a=ptime:20\r\n", "a=ptime:30\r\n"],
    );
    // Who can relay without a look inside does so, whatever was said.
    say(&talk.a, talk.from_a, 1, 0, 20);
    assert_eq!(hear(&talk.b).2.len(), 160);
    let (talk, _) = call(&lab, "asked", json!({"ptime": 40}), ["", ""]);
    say(&talk.b, talk.from_b, 1, 0, 20);
    assert_eq!(hear(&talk.a).2.len(), 160);
}

#[test]
fn an_encrypted_party_gets_whole_packets_as_well() {
    let lab = Lab::start(37_240..=37_259);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = lab.sdp_of(json!({
        "command": "offer", "call-id": "secret", "from-tag": "ta", "sdp": a.sdp(""),
        "ptime": 10, "transport-protocol": "RTP/SAVP",
    }));
    let theirs = Crypto::parse(line(&offer, "a=crypto:")).expect("a key");
    let own = Crypto {
        tag: theirs.tag,
        key: MasterKey::random(theirs.key.suite()),
        mki_bytes: 0,
    };
    let lines = format!("a=crypto:{}\r\n", own.value(false));
    let sdp = b.sdp(&lines).replace("RTP/AVP", "RTP/SAVP");
    let from_a = relay_address(&lab.sdp("answer", "secret", ["ta", "tb"], &sdp));
    let mut keys = Inbound::new(theirs.key, 0);
    say(&a, from_a, 1, 0, 40);
    for number in 1..5_u16 {
        let mut buffer = [0; 2_048];
        let (length, _) = b.rtp.recv_from(&mut buffer).expect("a packet in time");
        let length = keys.open_rtp(&mut buffer[..length]).expect("genuine");
        assert_eq!(
            (length, buffer[2..4].to_vec()),
            (92, number.to_be_bytes().to_vec())
        );
    }
}
