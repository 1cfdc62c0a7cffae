//! Browsers at the relay: ICE, DTLS and SRTP on real sockets, with plain phones on the other side.

mod phones;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use phones::callers::{Caller, amplitude};
use phones::{DEADLINE, Lab, Phone, line, relay_address, until};
use raftpbx_media::codec::Codec;
use raftpbx_media::srtp::{GROWTH_MAX, Inbound, MasterKey, Outbound, Suite};
use raftpbx_media::webrtc::stun::{self, Check, Class, Message};
use raftpbx_media::webrtc::{Credentials, Fingerprint};
use serde_json::json;

/// A browser as far as the relay sees it.
struct Browser {
    phone: Phone,
    ice: Option<Credentials>,
    lite: bool,
    certificate: DtlsCertificate,
    fingerprint: String,
    keys: Option<(Outbound, Inbound)>,
    sequence: u16,
}

impl Browser {
    fn new(ip: &str, ice: bool) -> Browser {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::default();
        let certificate = params.self_signed(&key).expect("a certificate");
        let certificate = DtlsCertificate {
            certificate: certificate.der().to_vec(),
            private_key: key.serialize_der(),
        };
        let phone = Phone::at(ip);
        let soon = Duration::from_millis(50);
        phone.rtp.set_read_timeout(Some(soon)).expect("a deadline");
        Browser {
            phone,
            ice: ice.then(Credentials::random),
            lite: false,
            fingerprint: Fingerprint::of(&certificate.certificate).to_string(),
            certificate,
            keys: None,
            sequence: 0,
        }
    }

    fn sdp(&self, setup: &str) -> String {
        let mut more = format!(
            "a=rtcp-mux\r\na=mid:0\r\na=setup:{setup}\r\na=fingerprint:{}\r\n",
            self.fingerprint
        );
        if let Some(ice) = &self.ice {
            more += &format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ice.name, ice.password);
            let address = self.phone.address();
            more += &format!(
                "a=candidate:1 1 UDP 1 {} {} typ host\r\n",
                address.ip(),
                address.port()
            );
        }
        let lite = if self.lite { "a=ice-lite\r\n" } else { "" };
        let sdp = self
            .phone
            .sdp(&more)
            .replace("RTP/AVP", "UDP/TLS/RTP/SAVPF");
        sdp.replace("t=0 0\r\n", &format!("t=0 0\r\na=group:BUNDLE 0\r\n{lite}"))
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_048];
        let (length, _) = self.phone.rtp.recv_from(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    /// Checks the relay with its credentials; whether it answered.
    fn check(&self, to: SocketAddr, relay: &Credentials) -> bool {
        let own = self.ice.as_ref().expect("ICE");
        let check = Check {
            username: &format!("{}:{}", relay.name, own.name),
            password: &relay.password,
            priority: 1,
            controlling: true,
            tie_breaker: 1,
            nominates: true,
        };
        let bytes = stun::request([7; 12], &check);
        self.phone.rtp.send_to(&bytes, to).expect("send");
        let Some(answer) = self.receive() else {
            return false;
        };
        let answer = Message::parse(&answer).expect("STUN");
        assert!(answer.is_genuine(&relay.password));
        answer.class == Class::Success
    }

    /// Answers the relay's checks, as a lite party does, until one came.
    fn answer_check(&self, to: SocketAddr) {
        let own = self.ice.as_ref().expect("ICE");
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "no check came");
            let Some(packet) = self.receive() else {
                continue;
            };
            let check = Message::parse(&packet).expect("STUN");
            assert!(check.is_genuine(&own.password) && check.nominates);
            let answer = stun::success(check.transaction, to, &own.password);
            self.phone.rtp.send_to(&answer, to).expect("send");
            return;
        }
    }

    /// Runs the handshake; whether it ended with keys before `patience` was over.
    fn shake(&mut self, to: SocketAddr, active: bool, patience: Duration) -> bool {
        let config = Arc::new(Config::default());
        let mut dtls = Dtls::new_12(config, self.certificate.clone(), Instant::now());
        dtls.set_active(active);
        let deadline = Instant::now() + patience;
        let mut room = vec![0; 4_096];
        while Instant::now() < deadline {
            if dtls.handle_timeout(Instant::now()).is_err() {
                return false;
            }
            loop {
                match dtls.poll_output(&mut room) {
                    Output::Packet(packet) => {
                        self.phone.rtp.send_to(packet, to).expect("send");
                    }
                    Output::KeyingMaterial(material, profile) => {
                        assert_eq!(profile, SrtpProfile::AEAD_AES_256_GCM);
                        self.keys = Some(keys(&material, active));
                    }
                    Output::Timeout(_) => break,
                    _ => {}
                }
            }
            // The last flight of a handshake is answered, or nothing more is to come.
            if self.keys.is_some() {
                return true;
            }
            let packet = self.receive();
            if let Some(packet) = packet.filter(|packet| (20..64).contains(&packet[0]))
                && dtls.handle_packet(&packet).is_err()
            {
                return false;
            }
        }
        false
    }

    fn say(&mut self, to: SocketAddr, payload: &str) {
        self.send(to, payload.as_bytes());
    }

    fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 8]);
        packet.extend_from_slice(payload);
        self.sequence += 1;
        let length = packet.len();
        packet.resize(length + GROWTH_MAX, 0);
        let (out, _) = self.keys.as_mut().expect("keys");
        let length = out.protect_rtp(&mut packet, length).expect("protected");
        self.phone.rtp.send_to(&packet[..length], to).expect("send");
    }

    fn hear(&mut self) -> String {
        String::from_utf8_lossy(&self.payload()).into_owned()
    }

    /// The payload of the next packet of sound.
    fn payload(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "nothing is heard");
            let Some(mut packet) = self.receive().filter(|packet| packet[0] >= 128) else {
                continue;
            };
            let (_, inbound) = self.keys.as_mut().expect("keys");
            let length = inbound.open_rtp(&mut packet).expect("genuine");
            return packet[12..length].to_vec();
        }
    }
}

/// RFC 5764 section 4.2, for AEAD_AES_256_GCM.
fn keys(material: &[u8], active: bool) -> (Outbound, Inbound) {
    let one = |n: usize| {
        let key = &material[n * 32..(n + 1) * 32];
        let salt = &material[64 + n * 12..64 + (n + 1) * 12];
        MasterKey::new(Suite::AeadAes256Gcm, &[key, salt].concat()).expect("a key")
    };
    let (ours, theirs) = (usize::from(!active), usize::from(active));
    (Outbound::new(one(ours), 0), Inbound::new(one(theirs), 0))
}

fn relays_credentials(sdp: &str) -> Credentials {
    Credentials {
        name: line(sdp, "a=ice-ufrag:").into(),
        password: line(sdp, "a=ice-pwd:").into(),
    }
}

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
    browser.answer_check(relay[0]);
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
