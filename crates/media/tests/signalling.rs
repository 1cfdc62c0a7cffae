//! What NG commands do to calls and ports.

mod phones;

use std::net::UdpSocket;

use phones::{DEADLINE, Lab, Phone, Talk, line, port, relay_address, until};
use serde_json::json;

#[test]
fn holding_and_resuming_keep_the_ports_and_pass_the_direction_on() {
    let lab = Lab::start(33_000..=33_019);
    let talk = Talk::set_up(&lab, "hold", ["127.0.0.2", "127.0.0.3"]);
    let offer = lab.sdp("offer", "hold", ["ta", "tb"], &talk.a.sdp("a=sendonly\r\n"));
    assert_eq!(relay_address(&offer), talk.from_b);
    assert!(offer.contains("a=sendonly\r\n"), "{offer}");
    let answer = lab.sdp(
        "answer",
        "hold",
        ["ta", "tb"],
        &talk.b.sdp("a=recvonly\r\n"),
    );
    assert_eq!(relay_address(&answer), talk.from_a);
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    talk.assert_both_ways();
}

#[test]
fn the_called_party_may_offer_and_a_phone_may_change_its_port() {
    let lab = Lab::start(33_020..=33_039);
    let talk = Talk::set_up(&lab, "turn", ["127.0.0.2", "127.0.0.3"]);
    let new_b = Phone::at("127.0.0.3");
    let offer = lab.sdp("offer", "turn", ["tb", "ta"], &new_b.sdp(""));
    assert_eq!(relay_address(&offer), talk.from_a);
    let answer = lab.sdp("answer", "turn", ["tb", "ta"], &talk.a.sdp(""));
    assert_eq!(relay_address(&answer), talk.from_b);
    Talk { b: new_b, ..talk }.assert_both_ways();
}

#[test]
fn the_same_offer_again_gives_the_same_ports() {
    let lab = Lab::start(33_040..=33_059);
    let a = Phone::at("127.0.0.2");
    let first = lab.sdp("offer", "again", ["ta", ""], &a.sdp(""));
    assert_eq!(lab.sdp("offer", "again", ["ta", ""], &a.sdp("")), first);
    assert_eq!(
        (lab.engine.stats().sessions, lab.engine.stats().ports_used),
        (1, 2)
    );
}

#[test]
fn branches_have_ports_of_their_own_and_the_one_that_answers_talks() {
    let lab = Lab::start(33_060..=33_099);
    let a = Phone::at("127.0.0.2");
    let offer = |branch: &str| {
        relay_address(&lab.sdp_of(json!({
            "command": "offer", "call-id": "fork", "from-tag": "ta", "via-branch": branch,
            "sdp": a.sdp(""),
        })))
    };
    let (one, two) = (offer("z1"), offer("z2"));
    assert_ne!(one, two);
    let b = Phone::at("127.0.0.3");
    let from_a = relay_address(&lab.sdp_of(json!({
        "command": "answer", "call-id": "fork", "from-tag": "ta", "to-tag": "tb2",
        "via-branch": "z2", "sdp": b.sdp(""),
    })));
    // The branch that lost is deleted without harm to the other.
    lab.ng(json!({"command": "delete", "call-id": "fork", "from-tag": "ta", "via-branch": "z1"}));
    assert_eq!(lab.engine.stats().ports_used, 2);
    let talk = Talk {
        a,
        b,
        from_a,
        from_b: two,
    };
    talk.assert_both_ways();
    // A later re-offer names both tags and no branch.
    let offer = lab.sdp("offer", "fork", ["tb2", "ta"], &talk.b.sdp(""));
    assert_eq!(relay_address(&offer), talk.from_a);
}

#[test]
fn the_answer_of_a_second_phone_takes_the_call_over() {
    let lab = Lab::start(33_100..=33_119);
    let talk = Talk::set_up(&lab, "early", ["127.0.0.2", "127.0.0.3"]);
    let other = Phone::at("127.0.0.4");
    let answer = lab.sdp("answer", "early", ["ta", "tc"], &other.sdp(""));
    assert_eq!(relay_address(&answer), talk.from_a);
    Talk { b: other, ..talk }.assert_both_ways();
}

#[test]
fn deleting_frees_the_ports_and_running_out_of_them_is_an_error() {
    let lab = Lab::start(33_120..=33_127);
    let offer = |name: &str| {
        let sdp = Phone::at("127.0.0.2").sdp("");
        lab.ng(json!({"command": "offer", "call-id": name, "from-tag": "t", "sdp": sdp}))
    };
    assert_eq!(
        (&offer("one")["result"], &offer("two")["result"]),
        (&json!("ok"), &json!("ok"))
    );
    let refused = offer("three");
    assert_eq!(refused["error-reason"], "Ran out of ports", "{refused}");
    let stats = lab.engine.stats();
    assert_eq!((stats.sessions, stats.ports_used, stats.refused), (2, 4, 1));
    let gone = lab.ng(json!({"command": "delete", "call-id": "one", "from-tag": "t"}));
    assert_eq!(
        (&gone["result"], &gone["totals"]["RTP"]["packets"]),
        (&json!("ok"), &json!(0))
    );
    // Its ports rest for a moment.
    until("free again", || offer("three")["result"] == "ok");
}

#[test]
fn a_refused_offer_changes_nothing() {
    // Room for one more pair only, and two lines are offered: neither is kept.
    let lab = Lab::start(33_140..=33_145);
    let talk = Talk::set_up(&lab, "keep", ["127.0.0.2", "127.0.0.3"]);
    let video = talk.a.sdp("m=video 4000 RTP/AVP 96\r\n");
    let message = json!({
        "command": "offer", "call-id": "keep", "from-tag": "ta", "to-tag": "tb", "sdp": video,
    });
    assert_eq!(lab.ng(message)["error-reason"], "Ran out of ports");
    talk.assert_both_ways();
    assert_eq!(lab.engine.stats().ports_used, 2);
}

#[test]
fn every_media_line_is_relayed_and_a_rejected_one_stays_rejected() {
    let lab = Lab::start(33_160..=33_199);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let video = "m=video 4000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";
    let offer = lab.sdp("offer", "video", ["ta", ""], &a.sdp(video));
    assert_ne!(port(&offer, "video"), 0);
    let answer = lab.sdp(
        "answer",
        "video",
        ["ta", "tb"],
        &b.sdp("m=video 0 RTP/AVP 96\r\n"),
    );
    assert_eq!(port(&answer, "video"), 0);
    assert_eq!(line(&answer, "m=video "), "0 RTP/AVP 96");
    let talk = Talk {
        from_a: relay_address(&answer),
        from_b: relay_address(&offer),
        a,
        b,
    };
    talk.assert_both_ways();
}

#[test]
fn mistakes_get_rtpengines_words() {
    let lab = Lab::start(33_200..=33_219);
    let sdp = Phone::at("127.0.0.2").sdp("");
    let cases = [
        (json!({"command": "frobnicate"}), "Unrecognized command"),
        (json!({"x": 1}), "Dictionary contains no key \"command\""),
        (
            json!({"command": "query", "call-id": "none"}),
            "Unknown call-id",
        ),
        (
            json!({"command": "offer", "from-tag": "t", "sdp": sdp}),
            "No call-id in message",
        ),
        (
            json!({"command": "offer", "call-id": "c", "sdp": sdp}),
            "No from-tag in message",
        ),
        (
            json!({"command": "offer", "call-id": "c", "from-tag": "t"}),
            "No SDP body in message",
        ),
        (
            json!({"command": "answer", "call-id": "c", "from-tag": "t", "sdp": sdp}),
            "No to-tag in message",
        ),
        (
            json!({
                "command": "answer", "call-id": "c", "from-tag": "t", "to-tag": "u", "sdp": sdp,
            }),
            "Unknown call-id",
        ),
        (
            json!({"command": "offer", "call-id": "c", "from-tag": "t", "sdp": "hello"}),
            "Failed to parse SDP",
        ),
    ];
    for (message, reason) in cases {
        let answer = lab.ng(message.clone());
        assert_eq!(
            (&answer["result"], &answer["error-reason"]),
            (&json!("error"), &json!(reason)),
            "{message}"
        );
    }
    let answer = lab.ng(json!({"command": "delete", "call-id": "none", "from-tag": "t"}));
    assert_eq!(answer["result"], "ok");
    assert_eq!(answer["warning"], "Call-ID not found or tags didn't match");
    assert_eq!(
        (lab.engine.stats().sessions, lab.engine.stats().ports_used),
        (0, 0)
    );
}

#[test]
fn over_udp_repeats_get_the_first_answer_and_nonsense_gets_none() {
    let lab = Lab::with(33_220..=33_239, |config| {
        config.ng_listen = Some(([127, 0, 0, 1], 0).into());
    });
    let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
    client
        .connect(lab.engine.ng_address().expect("listening"))
        .expect("connect");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut buffer = [0; 4_096];
    let mut ask = |datagram: &[u8]| {
        client.send(datagram).expect("send");
        let length = client.recv(&mut buffer).expect("an answer in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let sdp = Phone::at("127.0.0.2").sdp("");
    let offer = format!(
        "c1 d7:call-id1:x7:command5:offer8:from-tag1:t3:sdp{}:{sdp}e",
        sdp.len()
    );
    let first = ask(offer.as_bytes());
    assert!(first.starts_with("c1 d6:result2:ok3:sdp"), "{first}");
    assert_eq!(ask(offer.as_bytes()), first);
    assert_eq!(
        (lab.engine.stats().ng_repeats, lab.engine.stats().ports_used),
        (1, 2)
    );
    // None of these is answered; the ping behind them is.
    for nonsense in [
        &b""[..],
        b"x",
        b" d7:command4:pinge",
        &[0xff; 300],
        &[b'a'; 60_000],
    ] {
        client.send(nonsense).expect("send");
    }
    assert_eq!(ask(b"c2 d7:command4:pinge"), "c2 d6:result4:ponge");
    assert_eq!(
        ask(b"c3 {\"command\":\"ping\"}"),
        "c3 {\"result\":\"pong\"}"
    );
    let broken = ask(b"c4 d7:command");
    assert_eq!(
        broken,
        "c4 d12:error-reason22:Invalid NG data format6:result5:errore"
    );
    assert_eq!(lab.engine.stats().ng_nonsense, 5);
}

#[test]
fn calls_are_listed_and_counted() {
    let lab = Lab::start(33_240..=33_259);
    lab.sdp(
        "offer",
        "listed",
        ["t", ""],
        &Phone::at("127.0.0.2").sdp(""),
    );
    assert_eq!(
        lab.ng(json!({"command": "list"}))["calls"],
        json!(["listed"])
    );
    let sdp = Phone::at("127.0.0.2").sdp("");
    lab.sdp_of(json!({
        "command": "offer", "call-id": "owned", "from-tag": "t", "owner": "me", "sdp": sdp,
    }));
    let mine = |silent_s: u64| {
        let silent_s = silent_s.to_string();
        lab.ng(json!({"command": "list", "owner": "me", "silent-s": silent_s}))
    };
    assert_eq!(mine(0)["calls"], json!(["owned"]));
    assert_eq!(
        (&mine(9)["calls"], &mine(9)["owner"]),
        (&json!([]), &json!("me"))
    );
    lab.ng(json!({"command": "delete", "call-id": "owned"}));
    let answer = lab.ng(json!({"command": "statistics"}));
    let all = &answer["statistics"];
    let current = &all["currentstatistics"];
    assert_eq!(current["sessionsown"], 1, "{answer}");
    assert_eq!(
        (&current["media_userspace"], &current["media_kernel"]),
        (&json!(1), &json!(0))
    );
    let total = &all["totalstatistics"];
    assert_eq!(
        (
            &total["regularterminatedsessions"],
            &total["forcedterminatedsessions"]
        ),
        (&json!(1), &json!(0)),
        "{answer}"
    );
    let seconds = total["avgcallduration"].as_str().expect("a number");
    assert!(seconds.parse::<f64>().expect("a number") < 60.0);
    let commands = &all["controlstatistics"];
    assert_eq!(
        (&commands["totaldeletecount"], &commands["totalstatscount"]),
        (&json!(1), &json!(1)),
        "{answer}"
    );
    let ports = &all["interfaces"][0]["ports"];
    assert_eq!(ports["used"], 4, "{answer}");
}

#[test]
fn statistics_have_rates_of_the_last_second_and_the_last_minute() {
    let lab = Lab::start(33_280..=33_299);
    let talk = Talk::set_up(&lab, "rates", ["127.0.0.2", "127.0.0.3"]);
    let part = |name: &str| lab.ng(json!({"command": "statistics"}))["statistics"][name].clone();
    let current = |key: &str| part("currentstatistics")[key].as_u64().expect("a number");
    let bytes = "from a".len() as u64 + 12;
    until("packets are counted", || {
        talk.a.say(talk.from_a, "from a");
        talk.b.hear();
        let now = part("currentstatistics");
        let rate = |key: &str| now[key].as_u64().expect("a number");
        let (packets, most) = (rate("packetrate_user"), rate("byterate_user"));
        assert_eq!((rate("packetrate"), rate("byterate")), (packets, most));
        assert_eq!((rate("packetrate_kernel"), rate("errorrate")), (0, 0));
        // Each is rounded.
        assert!(most.abs_diff(bytes * packets) <= bytes, "{now}");
        packets > 0
    });
    let stranger = Phone::at("127.0.0.4");
    until("strangers are counted", || {
        stranger.say(talk.from_a, "hello");
        current("errorrate_user") > 0
    });
    until("it is quiet", || {
        current("packetrate") + current("errorrate") == 0
    });
    let minute = part("intervalstatistics");
    let rate = |key: &str| {
        let text = minute[key].as_str().expect("text, as rtpengine has it");
        text.parse::<u64>().expect("a number")
    };
    assert!(rate("maxstatisticsrequestrate") >= rate("avgstatisticsrequestrate"));
    assert!(rate("maxstatisticsrequestrate") > 0, "{minute}");
    assert_eq!(rate("maxdeleterequestrate"), 0);
    assert_eq!(minute["maxmanagedsessions"], 1, "{minute}");
}

#[test]
fn transports_are_exchanged_as_asked() {
    let lab = Lab::start(33_260..=33_279);
    let message = |protocol: &str| {
        json!({
            "command": "offer", "call-id": "tp", "from-tag": "t",
            "transport-protocol": protocol, "sdp": Phone::at("127.0.0.2").sdp(""),
        })
    };
    assert_eq!(lab.ng(message("TCP/RTP/AVP"))["result"], "error");
    let offer = lab.sdp_of(message("RTP/AVPF"));
    assert!(line(&offer, "m=audio ").ends_with("RTP/AVPF 0"), "{offer}");
    let answer = Phone::at("127.0.0.3")
        .sdp("")
        .replace("RTP/AVP", "RTP/AVPF");
    let answer = lab.sdp("answer", "tp", ["t", "u"], &answer);
    assert!(line(&answer, "m=audio ").ends_with("RTP/AVP 0"), "{answer}");
}
