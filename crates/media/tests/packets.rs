//! What happens to packets between two phones.

mod phones;

use std::net::{SocketAddr, UdpSocket};

use phones::{Lab, Phone, Talk, line, relay_address, until};
use raftpbx_media::MediaEvent;
use serde_json::json;

const RECEIVER_REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 7];

#[test]
fn two_phones_hear_each_other_and_the_counters_say_so() {
    let lab = Lab::start(32_000..=32_019);
    let talk = Talk::set_up(&lab, "both", ["127.0.0.2", "127.0.0.3"]);
    for _ in 0..10 {
        talk.assert_both_ways();
    }
    let answer = lab.ng(json!({"command": "query", "call-id": "both"}));
    assert_eq!(answer["totals"]["RTP"]["packets"], 20, "{answer}");
    let stream = &answer["tags"]["ta"]["medias"][0]["streams"][0];
    assert_eq!(
        (&stream["stats"]["packets"], &stream["stats"]["lost"]),
        (&json!(10), &json!(0))
    );
    assert_eq!(stream["endpoint"]["port"], talk.a.address().port());
    let stats = lab.engine.stats();
    assert_eq!((stats.packets, stats.sessions, stats.legs), (20, 1, 2));
    assert!(
        lab.engine
            .metrics()
            .contains("raftpbx_media_packets_total 20\n")
    );
}

#[test]
fn ipv6_phones_hear_each_other_and_an_ipv4_phone_an_ipv6_one() {
    let lab = Lab::start(32_020..=32_039);
    Talk::set_up(&lab, "six", ["::1", "::1"]).assert_both_ways();
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("::1"));
    let from_b = relay_address(&lab.sdp_of(json!({
        "command": "offer", "call-id": "mixed", "from-tag": "ta", "address-family": "IP6",
        "sdp": a.sdp(""),
    })));
    assert!(from_b.is_ipv6());
    let from_a = relay_address(&lab.sdp("answer", "mixed", ["ta", "tb"], &b.sdp("")));
    Talk {
        a,
        b,
        from_a,
        from_b,
    }
    .assert_both_ways();
}

#[test]
fn packets_from_strangers_and_packets_that_are_not_rtp_are_dropped_and_counted() {
    let lab = Lab::start(32_040..=32_059);
    let talk = Talk::set_up(&lab, "strict", ["127.0.0.2", "127.0.0.3"]);
    let stranger = Phone::at("127.0.0.66");
    stranger.say(talk.from_a, "before the phone");
    talk.assert_both_ways();
    stranger.say(talk.from_a, "after the phone");
    talk.a.rtp.send_to(b"nonsense", talk.from_a).expect("send");
    talk.a.rtp.send_to(&[], talk.from_a).expect("send");
    talk.assert_both_ways();
    let stats = lab.engine.stats();
    assert_eq!((stats.wrong_source, stats.not_rtp), (2, 2));
}

#[test]
fn the_port_a_phone_really_uses_is_learned_once_and_again_after_a_new_offer() {
    let lab = Lab::start(32_060..=32_079);
    let talk = Talk::set_up(&lab, "learn", ["127.0.0.2", "127.0.0.3"]);
    let moved = Phone::at("127.0.0.2");
    moved.say(talk.from_a, "from another port");
    assert_eq!(talk.b.hear().0, "from another port");
    let learned = MediaEvent::Latched {
        call_id: "learn".into(),
        tag: "ta".into(),
        source: moved.address(),
    };
    assert_eq!(lab.next_event(), learned);
    talk.b.say(talk.from_b, "to the learned port");
    assert_eq!(moved.hear().0, "to the learned port");
    // The port of the SDP is now a stranger's.
    talk.a.say(talk.from_a, "too late");
    until("counted", || lab.engine.stats().wrong_source == 1);
    lab.sdp("offer", "learn", ["ta", "tb"], &talk.a.sdp(""));
    talk.assert_both_ways();
}

#[test]
fn a_phone_behind_nat_is_accepted_from_where_its_signalling_came_from() {
    let lab = Lab::start(32_080..=32_099);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let private: SocketAddr = "192.168.77.5:4000".parse().expect("an address");
    let from_b = relay_address(&lab.sdp_of(json!({
        "command": "offer", "call-id": "nat", "from-tag": "ta",
        "received-from": ["IP4", "127.0.0.2"], "sdp": a.sdp_for(private, ""),
    })));
    let from_a = relay_address(&lab.sdp("answer", "nat", ["ta", "tb"], &b.sdp("")));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    talk.assert_both_ways();
    // And only from there.
    Phone::at("127.0.0.4").say(talk.from_a, "a stranger");
    until("counted", || lab.engine.stats().wrong_source == 1);
}

#[test]
fn rtcp_takes_the_odd_ports() {
    let lab = Lab::start(32_100..=32_119);
    let talk = Talk::set_up(&lab, "rtcp", ["127.0.0.2", "127.0.0.3"]);
    let odd = SocketAddr::new(talk.from_a.ip(), talk.from_a.port() + 1);
    talk.a.rtcp.send_to(&RECEIVER_REPORT, odd).expect("send");
    let mut buffer = [0; 64];
    let (length, from) = talk.b.rtcp.recv_from(&mut buffer).expect("a report");
    assert_eq!(buffer[..length], RECEIVER_REPORT);
    assert_eq!(from.port(), talk.from_b.port() + 1);
}

#[test]
fn what_the_hearer_reports_stands_beside_the_stream() {
    let lab = Lab::start(32_200..=32_219);
    let talk = Talk::set_up(&lab, "report", ["127.0.0.2", "127.0.0.3"]);
    talk.a.say(talk.from_a, "from a");
    talk.b.hear();
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_be_bytes()).collect() };
    let odd = |to: SocketAddr| SocketAddr::new(to.ip(), to.port() + 1);
    let sent = words(&[0x80c8_0006, 7, 0x1111_2222, 0x3333_4444, 0, 1, 2]);
    let (a, b) = (&talk.a.rtcp, &talk.b.rtcp);
    a.send_to(&sent, odd(talk.from_a)).expect("send");
    b.recv(&mut [0; 64]).expect("a report");
    // B lost a quarter of A's packets and has a jitter of 10 ms.
    let heard = words(&[0x81c9_0007, 7, 7, 64 << 24, 0, 80, 0x2222_3333, 0]);
    b.send_to(&heard, odd(talk.from_b)).expect("send");
    a.recv(&mut [0; 64]).expect("a report");
    let answer = lab.ng(json!({"command": "query", "call-id": "report", "from-tag": "ta"}));
    let stream = &answer["SSRC"]["7"];
    assert_eq!(stream["average MOS"]["samples"], 1, "{answer}");
    let worst = &stream["lowest MOS"];
    assert_eq!(
        (&worst["jitter"], &worst["packet loss"]),
        (&json!(10), &json!(25)),
        "{answer}"
    );
    assert!(
        worst["round-trip time"]
            .as_u64()
            .is_some_and(|us| us > 0 && us < 5_000_000)
    );
    assert!(
        worst["MOS"]
            .as_u64()
            .is_some_and(|mos| (10..45).contains(&mos))
    );
}

#[test]
fn rtcp_is_taken_off_the_rtp_port_for_a_phone_that_does_not_share_it() {
    let lab = Lab::start(32_120..=32_139);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = lab.sdp_of(json!({
        "command": "offer", "call-id": "demux", "from-tag": "ta", "rtcp-mux": ["demux"],
        "sdp": a.sdp("a=rtcp-mux\r\n"),
    }));
    assert!(!offer.contains("a=rtcp-mux"), "{offer}");
    let answer = lab.sdp("answer", "demux", ["ta", "tb"], &b.sdp(""));
    assert!(answer.contains("a=rtcp-mux\r\n"), "{answer}");
    let from_a = relay_address(&answer);
    assert_eq!(line(&answer, "a=rtcp:"), from_a.port().to_string());
    a.rtp.send_to(&RECEIVER_REPORT, from_a).expect("send");
    let mut buffer = [0; 64];
    let (length, from) = b
        .rtcp
        .recv_from(&mut buffer)
        .expect("a report on the odd port");
    assert_eq!(buffer[..length], RECEIVER_REPORT);
    // Back: from the odd port to the shared one.
    b.rtcp.send_to(&RECEIVER_REPORT, from).expect("send");
    let (length, from) = a
        .rtp
        .recv_from(&mut buffer)
        .expect("a report on the shared port");
    assert_eq!((&buffer[..length], from), (&RECEIVER_REPORT[..], from_a));
}

#[test]
fn silence_is_reported_once_and_again_after_packets() {
    let lab = Lab::with(32_140..=32_159, |config| config.media_timeout_s = 1);
    let talk = Talk::set_up(&lab, "silent", ["127.0.0.2", "127.0.0.3"]);
    // A call that only rings may be silent.
    lab.sdp(
        "offer",
        "ringing",
        ["tx", ""],
        &Phone::at("127.0.0.2").sdp(""),
    );
    for _ in 0..2 {
        talk.assert_both_ways();
        let MediaEvent::Timeout { call_id, silent_s } = lab.next_event() else {
            panic!("not a timeout");
        };
        assert!(
            call_id == "silent" && (1..=4).contains(&silent_s),
            "{call_id} {silent_s}"
        );
    }
    assert_eq!(lab.engine.stats().timeouts, 2);
}

#[test]
fn t38_is_relayed_without_a_look_inside() {
    let lab = Lab::start(32_160..=32_179);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let fax = |phone: &Phone| {
        phone
            .sdp("")
            .replace("m=audio", "m=image")
            .replace("RTP/AVP 0", "udptl t38")
    };
    let offer = lab.sdp("offer", "fax", ["ta", ""], &fax(&a));
    let answer = lab.sdp("answer", "fax", ["ta", "tb"], &fax(&b));
    assert!(!offer.contains("a=rtcp:"), "{offer}");
    let to = SocketAddr::from(([127, 0, 0, 1], phones::port(&answer, "image")));
    a.rtp.send_to(b"\0\0fax", to).expect("send");
    let mut buffer = [0; 64];
    let (length, _) = b.rtp.recv_from(&mut buffer).expect("a fax packet");
    assert_eq!(&buffer[..length], b"\0\0fax");
}

#[test]
fn a_stopped_engine_gives_all_its_ports_back() {
    let lab = Lab::start(32_180..=32_199);
    let talk = Talk::set_up(&lab, "stop", ["127.0.0.2", "127.0.0.3"]);
    lab.engine.shutdown();
    lab.engine.shutdown();
    for port in [talk.from_a, talk.from_b] {
        UdpSocket::bind(port).expect("free again");
    }
}
