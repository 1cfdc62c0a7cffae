//! Parties with DTLS whose RTCP has a port of its own: two handshakes with keys of their own, two
//! components of ICE, and the other party may share one port all the same.

mod phones;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use phones::browser::{Browser, relays_credentials};
use phones::{DEADLINE, Lab, Phone, line, relay_address, until};
use raftpbx_media::Floating;
use raftpbx_media::webrtc::Credentials;
use serde_json::{Value, json};

/// What a plain phone reports; its source is 7.
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 7];

/// The port of RTCP beside that of RTP.
fn odd(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

/// Call `name` of a party with DTLS to a plain phone; what was written to both.
fn call(lab: &Lab, name: &str, caller: &Browser, phone: &Phone, setup: &str) -> [String; 2] {
    let to_phone = lab.sdp_of(json!({
        "command": "offer", "call-id": name, "from-tag": "ta", "sdp": caller.sdp(setup),
        "transport-protocol": "RTP/AVP", "ICE": "remove", "DTLS": "passive",
        "rtcp-mux": ["demux"], "replace": ["origin"],
    }));
    let to_caller = lab.sdp_of(json!({
        "command": "answer", "call-id": name, "from-tag": "ta", "to-tag": "tb",
        "sdp": phone.sdp(""), "replace": ["origin"],
    }));
    assert_eq!(to_caller.contains("a=rtcp-mux\r\n"), caller.mux);
    let rtp = relay_address(&to_caller).port();
    let rtcp = if caller.mux { rtp } else { rtp + 1 };
    assert_eq!(line(&to_caller, "a=rtcp:"), rtcp.to_string());
    [to_phone, to_caller]
}

/// Where both send to, from what was written to them.
fn ways([to_phone, to_caller]: &[String; 2]) -> [SocketAddr; 2] {
    [relay_address(to_caller), relay_address(to_phone)]
}

fn keys_at_the_relay(lab: &Lab, handshakes: u64) {
    until("keys at the relay", || {
        lab.engine.stats().handshakes == handshakes
    });
}

fn sound_both_ways(caller: &mut Browser, phone: &Phone, to: [SocketAddr; 2]) {
    caller.say(to[0], "from the caller");
    assert_eq!(phone.hear().0, "from the caller");
    phone.say(to[1], "from the phone");
    assert_eq!(caller.hear(), "from the phone");
}

/// Reports between a party with DTLS and a plain phone, which has a port for them.
fn reports_both_ways(caller: &mut Browser, phone: &Phone, to: [SocketAddr; 2]) {
    let rtcp = !caller.mux;
    let own = if rtcp { odd(to[0]) } else { to[0] };
    caller.report(rtcp, own, 42);
    let mut buffer = [0; 64];
    let (length, from) = phone.rtcp.recv_from(&mut buffer).expect("a report");
    assert_eq!(
        buffer[..length],
        [0x80, 201, 0, 1, 0, 0, 0, 42],
        "without encryption"
    );
    assert_eq!(from, odd(to[1]));
    phone.rtcp.send_to(&REPORT, odd(to[1])).expect("send");
    assert_eq!(caller.hear_report(rtcp), 7);
}

#[test]
fn rtcp_has_a_handshake_of_its_own_and_only_its_own_keys_open_it() {
    let lab = Lab::start(38_000..=38_019);
    let (mut caller, phone) = (Browser::apart("127.0.0.2", false), Phone::at("127.0.0.3"));
    let written = call(&lab, "apart", &caller, &phone, "actpass");
    assert!(written[1].contains("a=setup:passive\r\n"));
    let to = ways(&written);
    assert!(caller.shake(to[0], true, DEADLINE));
    keys_at_the_relay(&lab, 1);
    sound_both_ways(&mut caller, &phone, to);
    // The port of RTCP has no keys yet: nothing gets out, and those of RTP open nothing.
    phone.rtcp.send_to(&REPORT, odd(to[1])).expect("send");
    until("a report kept back", || lab.engine.stats().unsent == 1);
    caller.keys.swap(0, 1);
    caller.report(true, odd(to[0]), 1);
    caller.keys.swap(0, 1);
    until("a report without keys", || lab.engine.stats().forged == 1);
    // Who was not named cannot make any.
    let stranger = UdpSocket::bind("127.0.0.9:0").expect("bind");
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stranger.send_to(&hello, odd(to[0])).expect("send");
    until("a stranger", || lab.engine.stats().wrong_source == 1);
    assert!(caller.shake_at(true, odd(to[0]), true, DEADLINE));
    keys_at_the_relay(&lab, 2);
    reports_both_ways(&mut caller, &phone, to);
    // The keys of the other port are still not those of this one.
    caller.keys.swap(0, 1);
    caller.report(true, odd(to[0]), 2);
    caller.keys.swap(0, 1);
    until("a wrong tag", || lab.engine.stats().forged == 2);
    sound_both_ways(&mut caller, &phone, to);
    reports_both_ways(&mut caller, &phone, to);
    assert_eq!(lab.engine.stats().encrypted, 1);
}

#[test]
fn with_ice_rtcp_is_a_component_of_its_own() {
    let lab = Lab::start(38_020..=38_039);
    let (mut caller, phone) = (Browser::apart("127.0.0.2", true), Phone::at("127.0.0.3"));
    let written = call(&lab, "component", &caller, &phone, "actpass");
    let to = ways(&written);
    let second = format!(
        "a=candidate:1 2 UDP 2130706430 127.0.0.1 {} typ",
        odd(to[0]).port()
    );
    assert!(written[1].contains(&second), "{}", written[1]);
    let relay = relays_credentials(&written[1]);
    assert!(caller.check(to[0], &relay));
    assert!(caller.shake(to[0], true, DEADLINE));
    keys_at_the_relay(&lab, 1);
    // What a check has proved for RTP says nothing about RTCP.
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let rtcp = &caller.phone.rtcp;
    rtcp.send_to(&hello, odd(to[0])).expect("send");
    until("nothing proved", || lab.engine.stats().wrong_source == 1);
    let guessed = Credentials {
        password: Credentials::random().password,
        ..relay.clone()
    };
    assert!(!caller.check_at(true, odd(to[0]), &guessed));
    assert!(caller.check_at(true, odd(to[0]), &relay));
    assert!(caller.shake_at(true, odd(to[0]), true, DEADLINE));
    keys_at_the_relay(&lab, 2);
    sound_both_ways(&mut caller, &phone, to);
    reports_both_ways(&mut caller, &phone, to);
    let stats = lab.engine.stats();
    assert_eq!((stats.checks, stats.checks_strange), (2, 1));
}

#[test]
fn the_relay_begins_both_handshakes_with_who_waits_for_them() {
    let lab = Lab::start(38_040..=38_059);
    let (mut caller, phone) = (Browser::apart("127.0.0.2", false), Phone::at("127.0.0.3"));
    let written = call(&lab, "waits", &caller, &phone, "passive");
    assert!(written[1].contains("a=setup:active\r\n"));
    let to = ways(&written);
    assert!(caller.shake(to[0], false, DEADLINE));
    assert!(caller.shake_at(true, odd(to[0]), false, DEADLINE));
    keys_at_the_relay(&lab, 2);
    sound_both_ways(&mut caller, &phone, to);
    reports_both_ways(&mut caller, &phone, to);
}

#[test]
fn a_lite_party_is_checked_on_both_ports_and_then_shaken_hands_with() {
    let lab = Lab::start(38_060..=38_079);
    let (mut caller, phone) = (Browser::apart("127.0.0.2", true), Phone::at("127.0.0.3"));
    caller.lite = true;
    let written = call(&lab, "lite", &caller, &phone, "passive");
    let to = ways(&written);
    caller.answer_check(true, odd(to[0]));
    caller.answer_check(false, to[0]);
    assert!(caller.shake_at(true, odd(to[0]), false, DEADLINE));
    assert!(caller.shake(to[0], false, DEADLINE));
    keys_at_the_relay(&lab, 2);
    sound_both_ways(&mut caller, &phone, to);
    reports_both_ways(&mut caller, &phone, to);
}

/// Offer of one party with DTLS to another one, with these flags.
fn offered(lab: &Lab, name: &str, caller: &Browser, flags: Value) -> String {
    lab.sdp_of(json!({
        "command": "offer", "call-id": name, "from-tag": "ta", "sdp": caller.sdp("actpass"),
        "DTLS": "passive", "rtcp-mux": flags, "replace": ["origin"],
    }))
}

fn answered(lab: &Lab, name: &str, callee: &Browser) -> String {
    lab.sdp_of(json!({
        "command": "answer", "call-id": name, "from-tag": "ta", "to-tag": "tb",
        "sdp": callee.sdp("active"), "replace": ["origin"],
    }))
}

#[test]
fn one_party_shares_the_port_and_the_other_does_not() {
    let lab = Lab::start(38_080..=38_099);
    let mut a = Browser::new("127.0.0.2", true);
    let mut b = Browser::apart("127.0.0.3", false);
    let offer = offered(&lab, "demux", &a, json!(["demux"]));
    assert!(!offer.contains("a=rtcp-mux"), "{offer}");
    let answer = answered(&lab, "demux", &b);
    assert!(answer.contains("a=rtcp-mux\r\n"), "{answer}");
    let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
    assert!(a.check(from_a, &relays_credentials(&answer)));
    assert!(a.shake(from_a, true, DEADLINE));
    assert!(b.shake(from_b, true, DEADLINE));
    assert!(b.shake_at(true, odd(from_b), true, DEADLINE));
    keys_at_the_relay(&lab, 3);
    a.say(from_a, "from a");
    assert_eq!(b.hear(), "from a");
    b.say(from_b, "from b");
    assert_eq!(a.hear(), "from b");
    a.report(false, from_a, 1);
    assert_eq!(b.hear_report(true), 1);
    b.report(true, odd(from_b), 2);
    assert_eq!(a.hear_report(false), 2);
    // Who shares the port has nothing to shake hands about beside it.
    assert!(a.check_at(true, odd(from_a), &relays_credentials(&answer)));
    a.shake_at(true, odd(from_a), true, Duration::from_millis(60));
    until("a refusal", || lab.engine.stats().not_rtp > 0);
    let stats = lab.engine.stats();
    assert_eq!((stats.handshakes, stats.forged), (3, 0));
}

#[test]
fn the_flags_say_who_shares_the_port() {
    let lab = Lab::start(38_100..=38_199);
    // Flags; whether both share it as far as they are concerned; whether it is offered, granted.
    let cases = [
        (json!([]), [true, true], [true, true]),
        (json!([]), [true, false], [true, true]),
        (json!([]), [false, true], [true, false]),
        (json!(["offer"]), [false, true], [true, false]),
        (json!(["demux"]), [true, false], [false, true]),
        (json!(["demux"]), [false, false], [false, false]),
        (json!(["demux", "reject"]), [true, false], [false, false]),
        (json!(["accept"]), [true, false], [true, true]),
        (json!(["reject"]), [true, true], [true, false]),
        (json!(["offer", "reject"]), [true, true], [true, false]),
    ];
    for (n, (flags, [a, b], shared)) in cases.into_iter().enumerate() {
        let name = format!("flags-{n}");
        let party = |ip, mux| match mux {
            true => Browser::new(ip, true),
            false => Browser::apart(ip, true),
        };
        let (a, b) = (party("127.0.0.2", a), party("127.0.0.3", b));
        let offer = offered(&lab, &name, &a, flags.clone());
        let answer = answered(&lab, &name, &b);
        let seen = [&offer, &answer].map(|sdp| sdp.contains("a=rtcp-mux\r\n"));
        assert_eq!(seen, shared, "{flags} of {n}");
        // Who is offered to share the port may still not do it, who is told so has one way.
        assert!(offer.contains("a=candidate:1 2 UDP "), "{offer}");
        assert_eq!(answer.contains("a=candidate:1 2 UDP "), !shared[1]);
    }
    let only = offered(
        &lab,
        "only",
        &Browser::apart("127.0.0.2", true),
        json!(["require"]),
    );
    assert!(only.contains("a=rtcp-mux-only\r\n") && !only.contains("a=candidate:1 2 "));
    assert_eq!(
        line(&only, "a=rtcp:"),
        relay_address(&only).port().to_string()
    );
}

#[test]
fn a_wrong_certificate_on_the_port_of_rtcp_costs_the_reports_alone() {
    let lab = Lab::start(38_200..=38_219);
    let (mut caller, phone) = (Browser::apart("127.0.0.2", false), Phone::at("127.0.0.3"));
    let to = ways(&call(&lab, "forged", &caller, &phone, "actpass"));
    assert!(caller.shake(to[0], true, DEADLINE));
    keys_at_the_relay(&lab, 1);
    caller.change_certificate();
    caller.shake_at(true, odd(to[0]), true, Duration::from_millis(300));
    until("the refusal", || lab.engine.stats().fingerprints_wrong == 1);
    phone.rtcp.send_to(&REPORT, odd(to[1])).expect("send");
    until("a report kept back", || lab.engine.stats().unsent == 1);
    sound_both_ways(&mut caller, &phone, to);
    assert_eq!(lab.engine.stats().handshakes, 1);
}

#[test]
fn a_new_offer_may_bring_rtcp_to_the_shared_port_and_away_again() {
    let lab = Lab::start(38_220..=38_239);
    let (mut caller, phone) = (Browser::apart("127.0.0.2", false), Phone::at("127.0.0.3"));
    let to = ways(&call(&lab, "changes", &caller, &phone, "actpass"));
    assert!(caller.shake(to[0], true, DEADLINE));
    assert!(caller.shake_at(true, odd(to[0]), true, DEADLINE));
    keys_at_the_relay(&lab, 2);
    reports_both_ways(&mut caller, &phone, to);
    caller.mux = true;
    assert_eq!(ways(&call(&lab, "changes", &caller, &phone, "actpass")), to);
    reports_both_ways(&mut caller, &phone, to);
    sound_both_ways(&mut caller, &phone, to);
    caller.mux = false;
    assert_eq!(ways(&call(&lab, "changes", &caller, &phone, "actpass")), to);
    sound_both_ways(&mut caller, &phone, to);
    assert!(caller.shake_at(true, odd(to[0]), true, DEADLINE));
    keys_at_the_relay(&lab, 3);
    reports_both_ways(&mut caller, &phone, to);
}

/// An engine whose calls are at 127.0.0.52, when that is here.
fn floating(ports: std::ops::RangeInclusive<u16>, own: bool) -> Lab {
    let address = |text: &str| text.parse().expect("an address");
    let group = ["127.0.0.52", "127.0.0.53"].map(address);
    Lab::with(ports, |config| {
        config.floating = Some(Floating {
            interface: None,
            addresses: vec![group[usize::from(!own)]],
            group: group.to_vec(),
        });
    })
}

#[test]
fn another_engine_goes_on_with_the_keys_of_both_ports() {
    let (old, new) = (
        floating(38_240..=38_259, true),
        floating(38_240..=38_259, false),
    );
    let address = "127.0.0.52".parse().expect("an address");
    old.engine.activate(address).expect("here");
    let (mut caller, phone) = (Browser::apart("127.0.0.2", true), Phone::at("127.0.0.3"));
    let written = call(&old, "moves", &caller, &phone, "actpass");
    let (to, relay) = (ways(&written), relays_credentials(&written[1]));
    assert_eq!(to[0].ip(), address);
    for (rtcp, at) in [(false, to[0]), (true, odd(to[0]))] {
        assert!(caller.check_at(rtcp, at, &relay));
        assert!(caller.shake_at(rtcp, at, true, DEADLINE));
    }
    keys_at_the_relay(&old, 2);
    sound_both_ways(&mut caller, &phone, to);
    reports_both_ways(&mut caller, &phone, to);
    let state = old.engine.snapshot("moves").expect("written");
    old.engine.shutdown();
    new.engine.restore(&state).expect("armed");
    new.engine.activate(address).expect("here");
    for _ in 0..3 {
        sound_both_ways(&mut caller, &phone, to);
        reports_both_ways(&mut caller, &phone, to);
    }
    assert!(caller.check_at(true, odd(to[0]), &relay));
    let stats = new.engine.stats();
    assert_eq!((stats.handshakes, stats.forged), (0, 0));
}
