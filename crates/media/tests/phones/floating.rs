//! Engines whose addresses move, and what they write down of their calls.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use raftpbx_media::{Floating, MediaConfig};
use serde_json::json;

use super::{Lab, Phone, Talk, relay_address};

/// An engine whose calls are at `floating`, an address of the loopback.
pub fn lab(
    ports: RangeInclusive<u16>,
    floating: &str,
    change: impl FnOnce(&mut MediaConfig),
) -> Lab {
    let group = ["127.0.0.50", "127.0.0.51"].map(at);
    let own = at(floating);
    Lab::with(ports, |config| {
        config.floating = Some(Floating {
            interface: None,
            addresses: vec![own],
            group: group.to_vec(),
        });
        change(config);
    })
}

pub fn at(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The answer's description and the state that came with it.
pub fn answered(lab: &Lab, call: &str, sdp: &str) -> (String, String) {
    let answer = lab.ng(json!({
        "command": "answer", "call-id": call, "from-tag": "ta", "to-tag": "tb", "sdp": sdp,
        "replace": ["origin", "session-connection"], "snapshot": "yes",
    }));
    let text = |field: &str| answer[field].as_str().expect("text").to_owned();
    (text("sdp"), text("state"))
}

/// Two phones in a call that may move, and the state of its answer.
pub fn talk(lab: &Lab, call: &str) -> (Talk, String) {
    let (a, b) = (Phone::at("127.0.0.2"), Phone::at("127.0.0.3"));
    let offer = lab.sdp("offer", call, ["ta", ""], &a.sdp(""));
    let (answer, state) = answered(lab, call, &b.sdp(""));
    let (from_a, from_b) = (relay_address(&answer), relay_address(&offer));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    (talk, state)
}

/// The old engine ends and the new one goes on with these calls.
pub fn take_over(old: &Lab, new: &Lab, states: &[&str]) {
    old.engine.shutdown();
    for state in states {
        new.engine.restore(state).expect("armed");
    }
    new.engine.activate(at("127.0.0.50")).expect("here");
}
