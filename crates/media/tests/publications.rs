//! Media that somebody sends to nobody in particular, for those who subscribe to it.

mod phones;

use phones::{Lab, Phone, line, relay_address, until};
use serde_json::{Value, json};

/// What a camera without a picture would say.
fn sdp(phone: &Phone) -> String {
    let more = "a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\na=ptime:20\r\n";
    let text = phone.sdp(more);
    text.replace("RTP/AVP 0", "RTP/AVP 8 0 101")
}

fn publish(lab: &Lab, phone: &Phone, more: Value) -> Value {
    let mut message = json!({
        "command": "publish", "call-id": "call", "from-tag": "source", "sdp": sdp(phone),
    });
    let entries = more.as_object().expect("an object").clone();
    message.as_object_mut().expect("an object").extend(entries);
    lab.ng(message)
}

#[test]
fn what_is_published_is_heard_by_subscribers_alone() {
    let lab = Lab::start(37_340..=37_359);
    let source = Phone::at("127.0.0.2");
    let answer = publish(&lab, &source, json!({"codec": {"accept": ["PCMU"]}}));
    assert_eq!(answer["result"], "ok", "{answer}");
    let text = answer["sdp"].as_str().expect("an SDP");
    assert!(
        line(text, "m=audio ").ends_with(" RTP/AVP 0"),
        "one codec: {text}"
    );
    assert!(text.contains("a=recvonly\r\n"), "{text}");
    let to = relay_address(text);
    source.say(to, "to nobody");
    until("heard by nobody", || lab.engine.stats().withheld == 1);

    let offer = lab.ng(json!({
        "command": "subscribe request", "call-id": "call", "from-tag": "source",
    }));
    let offered = offer["sdp"].as_str().expect("an SDP");
    assert!(
        line(offered, "m=audio ").ends_with(" RTP/AVP 0"),
        "{offered}"
    );
    let ears = ["127.0.0.4", "127.0.0.5"].map(Phone::at);
    let taken = lab.ng(json!({
        "command": "subscribe answer", "call-id": "call", "to-tag": offer["to-tag"],
        "sdp": ears[0].sdp("a=recvonly\r\n"),
    }));
    assert_eq!(taken["result"], "ok", "{taken}");
    source.say(to, "to one");
    assert_eq!(ears[0].hear().0, "to one");
    until("counted", || lab.engine.stats().withheld == 2);
    let stats = lab.engine.stats();
    assert_eq!((stats.unsent, stats.packets), (0, 0));
    // Said again nothing is made anew.
    let used = stats.ports_used;
    let again = publish(&lab, &source, json!({"codec": {"accept": ["PCMU"]}}));
    let again = again["sdp"].as_str().expect("an SDP");
    assert_eq!(relay_address(again), to);
    source.say(to, "to one again");
    assert_eq!(ears[0].hear().0, "to one again");
    assert_eq!(lab.engine.stats().ports_used, used);
    lab.ng(json!({"command": "delete", "call-id": "call", "from-tag": "source"}));
    assert_eq!(lab.engine.stats().ports_used, 0);
}

#[test]
fn the_first_codec_is_taken_unless_others_are_named() {
    let lab = Lab::start(37_360..=37_379);
    let source = Phone::at("127.0.0.2");
    let codec = |codec: Value| {
        let answer = publish(&lab, &source, json!({"codec": codec}));
        let text = answer["sdp"].as_str().unwrap_or_default();
        line(text, "m=audio ").rsplit(' ').next().map(str::to_owned)
    };
    assert_eq!(codec(json!({})).as_deref(), Some("8"));
    assert_eq!(codec(json!({"strip": ["PCMA"]})).as_deref(), Some("0"));
    let none = publish(&lab, &source, json!({"codec": {"strip": ["PCMA", "PCMU"]}}));
    assert_eq!(none["result"], "error", "{none}");
    let none = lab.ng(json!({"command": "publish", "call-id": "x", "from-tag": "y"}));
    assert_eq!(none["error-reason"], "No SDP body in message");
}

#[test]
fn a_publisher_that_encrypts_gets_a_key() {
    let lab = Lab::start(37_380..=37_399);
    let source = Phone::at("127.0.0.2");
    let key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    let text = sdp(&source).replace("RTP/AVP", "RTP/SAVP") + &crypto;
    let answer = lab.sdp_of(json!({
        "command": "publish", "call-id": "secret", "from-tag": "source", "sdp": text,
    }));
    assert!(
        line(&answer, "m=audio ").ends_with(" RTP/SAVP 8"),
        "{answer}"
    );
    assert!(line(&answer, "a=crypto:").starts_with("1 AES_CM_128_HMAC_SHA1_80 "));
}
