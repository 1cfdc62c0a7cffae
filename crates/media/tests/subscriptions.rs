//! Copies of what parties send, for recorders and supervisors.

mod phones;

use std::net::SocketAddr;

use phones::{Lab, Phone, Talk, line, relay_address};
use serde_json::{Value, json};

fn request(lab: &Lab, more: Value) -> Value {
    let mut message = json!({"command": "subscribe request", "call-id": "call"});
    let entries = more.as_object().expect("an object").clone();
    message.as_object_mut().expect("an object").extend(entries);
    lab.ng(message)
}

fn answer(lab: &Lab, tag: &Value, sdp: &str) -> Value {
    lab.ng(json!({
        "command": "subscribe answer", "call-id": "call", "to-tag": tag, "sdp": sdp,
    }))
}

fn words(answer: &Value) -> &str {
    answer["error-reason"].as_str().unwrap_or_default()
}

#[test]
fn a_subscriber_hears_a_party_until_it_wants_no_more() {
    let lab = Lab::start(33_700..=33_719);
    let talk = Talk::set_up(&lab, "call", ["127.0.0.2", "127.0.0.3"]);
    let offer = request(&lab, json!({"from-tag": "ta"}));
    assert_eq!(offer["result"], "ok", "{offer}");
    assert_eq!(offer["from-tags"], json!(["ta"]));
    let sdp = offer["sdp"].as_str().expect("an SDP");
    assert!(sdp.contains("a=sendonly\r\n"), "{sdp}");
    assert!(line(sdp, "m=audio ").ends_with("RTP/AVP 0"), "{sdp}");
    let from = relay_address(sdp);

    talk.assert_both_ways();
    let ear = Phone::at("127.0.0.4");
    let taken = answer(&lab, &offer["to-tag"], &ear.sdp("a=recvonly\r\n"));
    assert_eq!(taken["result"], "ok", "{taken}");
    talk.assert_both_ways();
    // Of B nothing: the next is A's again.
    talk.assert_both_ways();
    for _ in 0..2 {
        assert_eq!(ear.hear(), ("from a".into(), from));
    }
    // What the other party must not hear the subscriber does.
    lab.ng(json!({"command": "block media", "call-id": "call", "from-tag": "ta"}));
    talk.a.say(talk.from_a, "kept from b");
    assert_eq!(ear.hear().0, "kept from b");

    let used = lab.engine.stats().ports_used;
    let tag = offer["to-tag"].clone();
    let end = json!({"command": "unsubscribe", "call-id": "call", "to-tag": tag});
    assert_eq!(lab.ng(end.clone())["result"], "ok");
    assert_eq!(lab.engine.stats().ports_used, used - 1);
    assert_eq!(words(&lab.ng(end)), "To-tag not found");
}

#[test]
fn both_parties_are_copied_each_to_its_own_place() {
    let lab = Lab::start(33_720..=33_739);
    let talk = Talk::set_up(&lab, "call", ["127.0.0.2", "127.0.0.3"]);
    let offer = request(
        &lab,
        json!({"from-tags": ["ta", "tb"], "to-tag": "recorder"}),
    );
    assert_eq!(offer["to-tag"], "recorder", "{offer}");
    let ears = ["127.0.0.4", "127.0.0.5"].map(Phone::at);
    let section = |phone: &Phone| {
        let sdp = phone.sdp("");
        let media = sdp.find("m=").expect("media");
        let ip = phone.address().ip();
        format!("{}c=IN IP4 {ip}\r\n", &sdp[media..])
    };
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.4\r\ns=-\r\nt=0 0\r\n";
    let sdp = format!("{head}{}{}", section(&ears[0]), section(&ears[1]));
    let taken = answer(&lab, &json!("recorder"), &sdp);
    assert_eq!(taken["result"], "ok", "{taken}");
    talk.assert_both_ways();
    assert_eq!(ears[0].hear().0, "from a");
    assert_eq!(ears[1].hear().0, "from b");
    // Asked for anew, the old one ends.
    let again = request(&lab, json!({"all": "all", "to-tag": "recorder"}));
    assert_eq!(again["from-tags"], json!(["ta", "tb"]), "{again}");
    assert_eq!(lab.engine.stats().ports_used, 4);
    lab.ng(json!({"command": "delete", "call-id": "call"}));
    assert_eq!(
        (lab.engine.stats().ports_used, lab.engine.stats().sessions),
        (0, 0)
    );
}

#[test]
fn only_payload_types_that_were_accepted_are_copied() {
    let lab = Lab::start(33_740..=33_759);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let two = |phone: &Phone| {
        phone
            .sdp("a=rtpmap:8 PCMA/8000\r\n")
            .replace("AVP 0\r", "AVP 0 8\r")
    };
    let from_b: SocketAddr = relay_address(&lab.sdp("offer", "call", ["ta", ""], &two(&a)));
    let from_a = relay_address(&lab.sdp("answer", "call", ["ta", "tb"], &two(&b)));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    let offer = request(&lab, json!({"from-tag": "ta"}));
    let ear = Phone::at("127.0.0.4");
    let refused = answer(&lab, &offer["to-tag"], &ear.sdp(""));
    assert_eq!(words(&refused), "Failed to process subscription answer");
    let taken = lab.ng(json!({
        "command": "subscribe answer", "call-id": "call", "to-tag": offer["to-tag"],
        "flags": ["allow transcoding"], "sdp": ear.sdp(""),
    }));
    assert_eq!(taken["result"], "ok", "{taken}");
    let mut packet = vec![0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    packet.extend_from_slice(b"not wanted");
    talk.a.rtp.send_to(&packet, talk.from_a).expect("send");
    assert_eq!(talk.b.hear().0, "not wanted");
    talk.a.say(talk.from_a, "wanted");
    assert_eq!(ear.hear().0, "wanted");
}

#[test]
fn what_cannot_be_subscribed_to_is_said() {
    let lab = Lab::start(33_760..=33_779);
    assert_eq!(
        words(&request(&lab, json!({"from-tag": "ta"}))),
        "Unknown call-ID"
    );
    let _talk = Talk::set_up(&lab, "call", ["127.0.0.2", "127.0.0.3"]);
    let refused = request(&lab, json!({}));
    assert_eq!(words(&refused), "No participant party specified");
    let refused = request(&lab, json!({"from-tag": "tx"}));
    assert_eq!(words(&refused), "From-tag given, but no such tag exists");
    let sdp = Phone::at("127.0.0.4").sdp("");
    assert_eq!(words(&answer(&lab, &json!("tx"), &sdp)), "To-tag not found");
    let none = lab.ng(json!({"command": "subscribe answer", "call-id": "call", "to-tag": "x"}));
    assert_eq!(words(&none), "No SDP body in message");
    let none = lab.ng(json!({"command": "unsubscribe", "call-id": "call"}));
    assert_eq!(words(&none), "No to-tag in message");
    for _ in 0..2 {
        request(&lab, json!({"all": "all", "to-tag": "recorder"}));
    }
    assert_eq!(lab.engine.stats().ports_used, 4);
}
