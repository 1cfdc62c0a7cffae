//! Encrypted phones at the relay: keys in the description, packets on real sockets.

mod phones;

use phones::secret::{Secret, offered};
use phones::{Lab, Phone, line, relay_address};
use raftpbx_media::srtp::Suite;
use serde_json::json;

#[test]
fn a_secret_and_a_plain_phone_hear_each_other_with_every_suite() {
    let lab = Lab::start(34_000..=34_099);
    for (n, suite) in Suite::ALL.into_iter().enumerate() {
        let name = format!("mixed-{n}");
        let mut a = Secret::at("127.0.0.2", suite);
        a.crypto.tag = 3;
        let b = Phone::at("127.0.0.3");
        let offer = lab.sdp_of(json!({
            "command": "offer", "call-id": name, "from-tag": "ta", "sdp": a.sdp(),
            "transport-protocol": "RTP/AVP", "replace": ["origin"],
        }));
        assert!(!offer.contains("crypto"), "{offer}");
        let answer = lab.sdp("answer", &name, ["ta", "tb"], &b.sdp(""));
        assert!(line(&answer, "m=audio ").contains(" RTP/SAVP "), "{answer}");
        assert!(line(&answer, "a=crypto:").starts_with(&format!("3 {suite} ")));
        a.agree(&answer);
        let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
        // Over the roll-over of the sequence number.
        for number in 0..10 {
            let said = format!("secret {number}");
            a.say(from_a, &said);
            assert_eq!(b.hear().0, said, "{suite}");
            b.say(from_b, &said);
            assert_eq!(a.hear(), said, "{suite}");
        }
    }
}

#[test]
fn two_secret_phones_have_different_keys_and_forgeries_go_nowhere() {
    let lab = Lab::start(34_100..=34_119);
    let mut a = Secret::at("127.0.0.2", Suite::Aes128CmSha1_80);
    let mut b = Secret::at("127.0.0.3", Suite::AeadAes128Gcm);
    let offer = lab.sdp("offer", "both", ["ta", ""], &a.sdp());
    b.agree(&offer);
    let answer = lab.sdp("answer", "both", ["ta", "tb"], &b.sdp());
    a.agree(&answer);
    let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
    // From the right place, but without the key; and it must not teach the relay an address.
    let thief = Phone::at("127.0.0.2");
    thief.say(from_a, "let me in, I am a");
    let again = a.packet("from a");
    a.phone.rtp.send_to(&again, from_a).expect("send");
    assert_eq!(b.hear(), "from a");
    a.phone.rtp.send_to(&again, from_a).expect("send");
    a.say(from_a, "more from a");
    assert_eq!(b.hear(), "more from a");
    b.say(from_b, "from b");
    assert_eq!(a.hear(), "from b");
    let stats = lab.engine.stats();
    assert_eq!((stats.forged, stats.replayed), (1, 1));
    // Holding keeps the keys, so nothing has to begin again.
    let held = lab.sdp("offer", "both", ["tb", "ta"], &b.sdp());
    let suite = a.crypto.key.suite();
    let resumed = a.sdp().replace(
        &format!("crypto:1 {suite}"),
        &format!("crypto:{} {suite}", offered(&held, suite).tag),
    );
    lab.sdp("answer", "both", ["tb", "ta"], &resumed);
    a.say(from_a, "still from a");
    assert_eq!(b.hear(), "still from a");
    b.say(from_b, "still from b");
    assert_eq!(a.hear(), "still from b");
}

#[test]
fn a_phone_that_does_not_know_opportunistic_encryption_talks_plainly() {
    let lab = Lab::start(34_120..=34_139);
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = lab.sdp_of(json!({
        "command": "offer", "call-id": "maybe", "from-tag": "ta", "sdp": a.sdp(""),
        "OSRTP": ["offer", "accept"], "SDES": ["only-AES_CM_128_HMAC_SHA1_80"],
        "replace": ["origin"],
    }));
    assert_eq!(offer.matches("a=crypto:").count(), 1, "{offer}");
    let answer = lab.sdp("answer", "maybe", ["ta", "tb"], &b.sdp(""));
    assert!(!answer.contains("crypto"), "{answer}");
    b.say(relay_address(&offer), "plain");
    assert_eq!(a.hear().0, "plain");
}

#[test]
fn another_engine_goes_on_with_the_keys_the_phones_know() {
    let (mut a, mut b) = (
        Secret::at("127.0.0.2", Suite::Aes128CmSha1_80),
        Secret::at("127.0.0.3", Suite::AeadAes256Gcm),
    );
    let mut place = None;
    for ports in [34_140..=34_159, 34_160..=34_179] {
        let lab = Lab::start(ports);
        let offer = lab.sdp_of(json!({
            "command": "offer", "call-id": "moves", "from-tag": "ta", "sdp": a.sdp(),
            "key-seed": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "replace": ["origin"],
        }));
        if place.is_none() {
            b.agree(&offer);
        }
        let answer = lab.sdp("answer", "moves", ["ta", "tb"], &b.sdp());
        if place.is_none() {
            a.agree(&answer);
        }
        let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
        a.say(from_a, "from a");
        assert_eq!(b.hear(), "from a");
        b.say(from_b, "from b");
        assert_eq!(a.hear(), "from b");
        assert_ne!(place.replace(from_a), Some(from_a));
    }
}
