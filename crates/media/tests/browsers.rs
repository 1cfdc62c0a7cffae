//! Browsers at the relay: ICE, DTLS and SRTP on real sockets, with plain phones on the other side.

mod phones;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use phones::browser::{Browser, relays_credentials};
use phones::callers::{Caller, amplitude};
use phones::{DEADLINE, Lab, Phone, line, relay_address, until};
use raftpbx_media::codec::Codec;
use raftpbx_media::webrtc::{Credentials, Fingerprint};
use serde_json::json;

/// Call `name` of a browser to a plain phone; what was written to both.
fn call(lab: &Lab, name: &str, browser: &Browser, phone: &Phone, setup: &str) -> [String; 2] {
    let to_phone = lab.sdp_of(json!({
        "command": "offer", "call-id": name, "from-tag": "ta", "sdp": browser.sdp(setup),
        "transport-protocol": "RTP/AVP", "ICE": "remove", "DTLS": "passive",
        "rtcp-mux": ["demux"],
        "replace": ["origin"],
    }));
    for trace in [
        "fingerprint",
        "setup",
        "ice-",
        "candidate",
        "BUNDLE",
        "mid",
        "rtcp-mux",
    ] {
        assert!(!to_phone.contains(trace), "{trace} in {to_phone}");
    }
    let to_browser = lab.sdp_of(json!({
        "command": "answer", "call-id": name, "from-tag": "ta", "to-tag": "tb",
        "sdp": phone.sdp(""), "replace": ["origin"],
    }));
    assert!(
        line(&to_browser, "m=audio ").contains(" UDP/TLS/RTP/SAVPF "),
        "{to_browser}"
    );
    [to_phone, to_browser]
}

fn assert_both_ways(browser: &mut Browser, phone: &Phone, relay: [SocketAddr; 2]) {
    browser.say(relay[0], "from the browser");
    assert_eq!(phone.hear().0, "from the browser");
    phone.say(relay[1], "from the phone");
    assert_eq!(browser.hear(), "from the phone");
}

const MUCH: Duration = DEADLINE;

#[test]
fn a_browser_calls_a_plain_phone_and_again_in_the_same_call() {
    let lab = Lab::start(36_000..=36_019);
    let (mut browser, phone) = (Browser::new("127.0.0.2", true), Phone::at("127.0.0.3"));
    let [to_phone, to_browser] = call(&lab, "dialled", &browser, &phone, "actpass");
    assert!(to_browser.contains("a=ice-lite\r\n") && to_browser.contains("a=setup:passive\r\n"));
    assert!(to_browser.contains("a=group:BUNDLE 0\r\n") && to_browser.contains("a=mid:0\r\n"));
    assert!(to_browser.contains("a=rtcp-mux\r\n"), "{to_browser}");
    let relay = [relay_address(&to_browser), relay_address(&to_phone)];
    let credentials = relays_credentials(&to_browser);
    let guessed = Credentials {
        password: Credentials::random().password,
        ..credentials.clone()
    };
    assert!(
        !browser.check(relay[0], &guessed),
        "strangers get no answer"
    );
    // Before there are keys, nothing of the phone gets out and nobody gets in.
    phone.say(relay[1], "too early");
    assert!(browser.check(relay[0], &credentials));
    assert!(browser.shake(relay[0], true, MUCH));
    until("keys at the relay", || lab.engine.stats().handshakes == 1);
    assert_both_ways(&mut browser, &phone, relay);
    let [_, again] = call(&lab, "dialled", &browser, &phone, "actpass");
    assert_eq!(relays_credentials(&again), credentials);
    assert_both_ways(&mut browser, &phone, relay);
    let stats = lab.engine.stats();
    assert_eq!((stats.encrypted, stats.handshakes), (1, 1));
    assert!(stats.checks >= 1 && stats.checks_strange >= 1);
}

#[test]
fn a_browser_in_a_room_hears_the_others_and_is_heard() {
    let lab = Lab::start(37_400..=37_439);
    let (mut browser, nobody) = (Browser::new("127.0.0.2", true), Phone::at("127.0.0.3"));
    let [_, to_browser] = call(&lab, "web", &browser, &nobody, "actpass");
    let to = relay_address(&to_browser);
    assert!(browser.check(to, &relays_credentials(&to_browser)));
    assert!(browser.shake(to, true, MUCH));
    until("keys at the relay", || lab.engine.stats().handshakes == 1);
    let caller = Caller::call(&lab, "plain", Codec::Pcmu);
    lab.ng(json!({"command": "room create", "room": "both"}));
    for (call, tag) in [("web", "ta"), ("plain", "phone")] {
        let joined = lab.ng(json!({
            "command": "room join", "room": "both", "call-id": call, "from-tag": tag,
        }));
        assert_eq!(joined["result"], "ok", "{joined}");
    }
    let mut coder = Codec::Pcmu.coder(8_000).expect("memory");
    let over = AtomicBool::new(false);
    let (mut from_room, to_caller) = std::thread::scope(|scope| {
        scope.spawn(|| caller.sing(600.0, &over));
        let listener = scope.spawn(|| caller.listen(120));
        let mut heard = Vec::new();
        for n in 0..140_u32 {
            let angle = |at: u32| f64::from(at) * 1_000.0 * std::f64::consts::TAU / 8_000.0;
            let sample = |at: u32| (5_000.0 * angle(n * 160 + at).sin()) as i16;
            let pcm: Vec<i16> = (0..160).map(sample).collect();
            let mut payload = [0; 160];
            coder.encode(&pcm, &mut payload).expect("encoded");
            browser.send(to, &payload);
            // The room gives the pace.
            let packet = browser.payload();
            let mut pcm = [0; 960];
            let count = coder.decode(&packet, &mut pcm).expect("sound");
            heard.extend(&pcm[..count]);
        }
        over.store(true, Ordering::Relaxed);
        (heard, listener.join().expect("heard"))
    });
    let newest = (8_000, from_room.split_off(from_room.len() - 4_000));
    assert!(amplitude(&newest, 600.0) > 3_000.0, "the other one");
    assert!(amplitude(&newest, 1_000.0) < 500.0, "and not itself");
    assert!(amplitude(&to_caller, 1_000.0) > 3_000.0, "and is heard");
}

#[test]
fn a_browser_that_moves_to_another_network_is_followed() {
    let lab = Lab::start(36_020..=36_039);
    let (mut browser, phone) = (Browser::new("127.0.0.2", true), Phone::at("127.0.0.3"));
    let [to_phone, to_browser] = call(&lab, "moves", &browser, &phone, "actpass");
    let relay = [relay_address(&to_browser), relay_address(&to_phone)];
    let credentials = relays_credentials(&to_browser);
    assert!(browser.check(relay[0], &credentials));
    assert!(browser.shake(relay[0], true, MUCH));
    until("keys at the relay", || lab.engine.stats().handshakes == 1);
    let elsewhere = Phone::at("127.0.0.9");
    let soon = Duration::from_millis(50);
    elsewhere
        .rtp
        .set_read_timeout(Some(soon))
        .expect("a deadline");
    browser.phone = elsewhere;
    let dropped = lab.engine.stats().wrong_source;
    browser.say(relay[0], "nobody has checked this way");
    until("a stranger's packet dropped", || {
        lab.engine.stats().wrong_source > dropped
    });
    assert!(browser.check(relay[0], &credentials));
    assert_both_ways(&mut browser, &phone, relay);
}

#[test]
fn a_certificate_that_signalling_did_not_name_gets_no_keys() {
    let lab = Lab::start(36_040..=36_059);
    let (mut browser, phone) = (Browser::new("127.0.0.2", true), Phone::at("127.0.0.3"));
    browser.fingerprint = Fingerprint::of(b"another").to_string();
    let [_, to_browser] = call(&lab, "forged", &browser, &phone, "actpass");
    let relay = relay_address(&to_browser);
    assert!(browser.check(relay, &relays_credentials(&to_browser)));
    browser.shake(relay, true, Duration::from_millis(300));
    until("the refusal", || lab.engine.stats().fingerprints_wrong > 0);
    let stats = lab.engine.stats();
    assert_eq!((stats.encrypted, stats.handshakes), (0, 0));
}

#[test]
fn without_ice_the_relay_begins_the_handshake_with_who_waits_for_it() {
    let lab = Lab::start(36_060..=36_079);
    let (mut browser, phone) = (Browser::new("127.0.0.2", false), Phone::at("127.0.0.3"));
    let [to_phone, to_browser] = call(&lab, "waits", &browser, &phone, "passive");
    assert!(to_browser.contains("a=setup:active\r\n") && !to_browser.contains("a=ice"));
    let relay = [relay_address(&to_browser), relay_address(&to_phone)];
    assert!(browser.shake(relay[0], false, MUCH));
    until("keys at the relay", || lab.engine.stats().handshakes == 1);
    assert_both_ways(&mut browser, &phone, relay);
}

#[test]
fn a_lite_party_is_checked_by_the_relay() {
    let lab = Lab::start(36_080..=36_099);
    let (mut browser, phone) = (Browser::new("127.0.0.2", true), Phone::at("127.0.0.3"));
    browser.lite = true;
    let [to_phone, to_browser] = call(&lab, "lite", &browser, &phone, "actpass");
    assert!(!to_browser.contains("a=ice-lite"), "{to_browser}");
    let relay = [relay_address(&to_browser), relay_address(&to_phone)];
    browser.answer_check(false, relay[0]);
    assert!(browser.shake(relay[0], true, MUCH));
    until("keys at the relay", || lab.engine.stats().handshakes == 1);
    assert_both_ways(&mut browser, &phone, relay);
}

#[test]
fn a_plain_phone_calls_a_browser_which_is_offered_everything() {
    let lab = Lab::start(36_100..=36_119);
    let (phone, mut browser) = (Phone::at("127.0.0.3"), Browser::new("127.0.0.2", true));
    let offer = lab.sdp_of(json!({
        "command": "offer", "call-id": "called", "from-tag": "ta", "sdp": phone.sdp(""),
        "transport-protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "DTLS": "passive",
        "replace": ["origin"],
    }));
    assert!(
        offer.contains("a=setup:actpass\r\n") && offer.contains("a=rtcp-mux\r\n"),
        "{offer}"
    );
    let answer = |sdp: &str| {
        lab.ng(json!({
            "command": "answer", "call-id": "called", "from-tag": "ta", "to-tag": "tb",
            "sdp": sdp, "replace": ["origin"],
        }))
    };
    let refused = answer(&phone.sdp(""));
    assert_eq!(refused["error-reason"], "No fingerprint in SDP answer");
    let answered = answer(&browser.sdp("active"));
    let to_phone = answered["sdp"].as_str().expect("an SDP");
    assert!(
        line(to_phone, "m=audio ").contains(" RTP/AVP "),
        "{to_phone}"
    );
    let relay = [relay_address(&offer), relay_address(to_phone)];
    assert!(browser.check(relay[0], &relays_credentials(&offer)));
    assert!(browser.shake(relay[0], true, MUCH));
    until("keys at the relay", || lab.engine.stats().handshakes == 1);
    assert_both_ways(&mut browser, &phone, relay);
}
