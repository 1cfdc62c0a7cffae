//! Parties that send nothing while they say nothing, and say what that is like.

mod phones;

use std::net::SocketAddr;

use phones::{Lab, Phone, relay_address};
use raftpbx_media::MediaEvent;
use raftpbx_media::codec::ulaw_decode;
use serde_json::json;

const NOISE: u8 = 13;

/// A call between a phone that knows comfort noise and another one; where they send to.
fn call(lab: &Lab, name: &str, second: &str) -> (Phone, Phone, SocketAddr) {
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let sdp = |phone: &Phone, types: &str| {
        phone
            .sdp("")
            .replace("RTP/AVP 0", &format!("RTP/AVP {types}"))
    };
    lab.sdp("offer", name, ["ta", ""], &sdp(&a, "0 13"));
    let answer = lab.sdp("answer", name, ["ta", "tb"], &sdp(&b, second));
    (a, b, relay_address(&answer))
}

fn send(phone: &Phone, to: SocketAddr, payload_type: u8, sequence: u16, time: u32, payload: &[u8]) {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(time.to_be_bytes());
    packet.extend([0, 0, 0, 7]);
    packet.extend(payload);
    phone.rtp.send_to(&packet, to).expect("send");
}

/// Payload type, number and payload of the next packet.
fn hear(phone: &Phone) -> (u8, u16, Vec<u8>) {
    let mut buffer = [0; 2_048];
    let (length, _) = phone.rtp.recv_from(&mut buffer).expect("a packet in time");
    let number = u16::from_be_bytes([buffer[2], buffer[3]]);
    (buffer[1] & 0x7f, number, buffer[12..length].to_vec())
}

#[test]
fn who_does_not_know_comfort_noise_hears_noise_until_the_other_one_speaks() {
    let lab = Lab::start(37_260..=37_279);
    let (a, b, to) = call(&lab, "noise", "0");
    for n in 0..5_u16 {
        send(&a, to, 0, n, u32::from(n) * 160, &[0x55; 160]);
        assert_eq!(hear(&b), (0, n, vec![0x55; 160]));
    }
    send(&a, to, NOISE, 5, 800, &[40]);
    for n in 5..20_u16 {
        let (payload_type, number, payload) = hear(&b);
        assert_eq!((payload_type, number, payload.len()), (0, n, 160));
        let power: f64 = payload
            .iter()
            .map(|octet| f64::from(ulaw_decode(*octet)).powi(2))
            .sum();
        let level = 10.0 * (power / 160.0 / 32_768.0_f64.powi(2)).log10();
        assert!((-43.0..-37.0).contains(&level), "{n}: {level}");
    }
    send(&a, to, 0, 6, 4_000, &[0x66; 160]);
    let mut noise = 0;
    let spoken = loop {
        let (payload_type, number, payload) = hear(&b);
        assert_eq!(payload_type, 0);
        if payload == vec![0x66; 160] {
            break number;
        }
        noise += 1;
        assert!(noise < 10, "it is heard at once");
    };
    send(&a, to, 0, 7, 4_160, &[0x67; 160]);
    assert_eq!(hear(&b), (0, spoken + 1, vec![0x67; 160]));
    // Nobody has asked for a clip, so none has ended.
    let told: Vec<MediaEvent> = lab.events.try_iter().flatten().collect();
    assert_eq!(told, []);
}

#[test]
fn who_knows_it_gets_it_as_it_is() {
    let lab = Lab::start(37_280..=37_299);
    let (a, b, to) = call(&lab, "known", "0 13");
    send(&a, to, 0, 1, 160, &[0x55; 160]);
    assert_eq!(hear(&b).0, 0);
    send(&a, to, NOISE, 2, 320, &[40, 1, 2]);
    assert_eq!(hear(&b), (NOISE, 2, vec![40, 1, 2]));
}

#[test]
fn a_party_without_the_codec_hears_noise_in_its_own() {
    let lab = Lab::start(37_300..=37_319);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let opus = b.sdp("").replace(
        "RTP/AVP 0\r\na=rtpmap:0 PCMU/8000",
        "RTP/AVP 111\r\na=rtpmap:111 opus/48000/2",
    );
    lab.sdp_of(json!({
        "command": "offer", "call-id": "opus", "from-tag": "ta",
        "sdp": a.sdp("").replace("RTP/AVP 0", "RTP/AVP 0 13"),
        "codec": {"mask": ["PCMU"], "transcode": ["opus"]},
    }));
    let to = relay_address(&lab.sdp("answer", "opus", ["ta", "tb"], &opus));
    send(&a, to, 0, 1, 160, &[0x55; 160]);
    assert_eq!(hear(&b).0, 111);
    send(&a, to, NOISE, 2, 320, &[40]);
    for n in 2..10_u16 {
        let (payload_type, number, _) = hear(&b);
        assert_eq!((payload_type, number), (111, n));
    }
}
