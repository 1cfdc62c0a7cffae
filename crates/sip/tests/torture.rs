//! The messages of RFC 4475 and RFC 5118 through the whole engine. Each file of
//! `tests/torture` is one message, written after the RFC's text; `v6-` are those of RFC 5118.
//! RFC sections stand beside the answers.
mod support;

use raftpbx_sip::RegistrarPolicy;
use raftpbx_sip::engine::Input;
use raftpbx_sip::message::{Essentials, Message, ParseError};
use support::bench::{Bench, udp};

/// What the engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Answers so by itself.
    Answers(u16),
    /// Gives it to call control.
    Delivers,
    /// Says nothing.
    Drops,
}

use Outcome::{Answers, Delivers, Drops};

const CASES: &[(&str, Outcome)] = &[
    // 3.1.1: valid. A To tag of a dialog nobody knows is answered 481, an unknown method
    // 501; a REGISTER is challenged before anything else is looked at.
    ("wsinv", Answers(481)),
    ("intmeth", Answers(501)),
    ("esc01", Delivers),
    ("escnull", Answers(401)),
    ("esc02", Answers(501)),
    ("lwsdisp", Answers(200)),
    ("longreq", Delivers),
    ("dblreq", Answers(401)),
    ("semiuri", Answers(200)),
    ("transports", Answers(200)),
    ("mpart01", Delivers),
    ("unreason", Drops),
    ("noreason", Drops),
    // 3.1.2: invalid.
    ("badinv01", Answers(400)),
    ("clerr", Answers(400)),
    ("ncl", Answers(400)),
    ("scalar02", Answers(400)),
    ("scalarlg", Drops),
    ("quotbal", Answers(400)),
    ("ltgtruri", Answers(400)),
    ("lwsruri", Answers(400)),
    ("lwsstart", Answers(400)),
    ("trws", Answers(400)),
    ("escruri", Answers(400)),
    // 3.1.2.12: may be taken by an element that has no use for the date.
    ("baddate", Delivers),
    // 3.1.2.13: refused once its sender is known; see below.
    ("regbadct", Answers(401)),
    ("badaspec", Answers(400)),
    ("baddn", Answers(400)),
    ("badvers", Answers(505)),
    ("mismatch01", Answers(400)),
    ("mismatch02", Answers(400)),
    ("bigcode", Drops),
    // 3.2: the branch counts as none.
    ("badbranch", Answers(200)),
    // 3.3: well-formed, but not to be served.
    ("insuf", Answers(400)),
    ("unkscm", Answers(416)),
    ("novelsc", Answers(416)),
    ("unksm2", Answers(401)),
    ("bext01", Answers(420)),
    // 3.3.6 and 3.3.15: call control judges bodies.
    ("invut", Delivers),
    ("sdp01", Delivers),
    ("regaut01", Answers(401)),
    ("multi01", Answers(400)),
    ("mcl01", Answers(400)),
    ("bcast", Drops),
    // 3.3.11: nothing is forwarded here, so it is answered as if it came from next door.
    ("zeromf", Answers(200)),
    ("cparam01", Answers(401)),
    ("cparam02", Answers(401)),
    ("regescrt", Answers(401)),
    // 3.4.
    ("inv2543", Delivers),
    // RFC 5118.
    ("v6-good", Answers(401)),
    ("v6-bad", Answers(400)),
    ("v6-port-ambiguous", Answers(401)),
    ("v6-port-unambiguous", Answers(401)),
    ("v6-received-with-brackets", Answers(200)),
    ("v6-received-without-brackets", Answers(200)),
    ("v6-sdp", Delivers),
    ("v6-several-in-headers", Answers(481)),
    ("v6-several-in-sdp", Delivers),
    ("v6-mapped", Delivers),
    ("v6-three-colons", Answers(400)),
];

fn read(name: &str) -> Vec<u8> {
    let file = format!("{}/tests/torture/{name}.dat", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(file).expect("the message is there")
}

fn bench() -> Bench {
    Bench::new(RegistrarPolicy::default(), |_| ()).with_app(&["invite", "message"])
}

#[test]
fn every_message_is_treated_as_the_rfc_says() {
    let mut wrong = Vec::new();
    for (name, expected) in CASES {
        let mut bench = bench();
        let bytes = read(name);
        bench.feed(Input::Received {
            flow: udp("192.0.2.5:5060"),
            bytes: &bytes,
        });
        let status = bench.sent.first().and_then(|(_, text)| {
            let code = text.strip_prefix("SIP/2.0 ")?.get(..3)?;
            code.parse::<u16>().ok()
        });
        let outcome = match status {
            _ if !bench.told.is_empty() => Delivers,
            Some(status) => Answers(status),
            None => Drops,
        };
        if outcome != *expected {
            wrong.push(format!("{name}: {outcome:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_left_out() {
    let folder = format!("{}/tests/torture", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).expect("it is there");
    let mut names: Vec<String> = files
        .map(|file| {
            file.expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut cases: Vec<String> = CASES
        .iter()
        .map(|(name, _)| format!("{name}.dat"))
        .collect();
    names.sort();
    cases.sort();
    assert_eq!(names, cases);
}

#[test]
fn contacts_are_refused_once_the_sender_is_known() {
    let bytes = read("regbadct");
    let message = Message::parse(&bytes).expect("well-formed");
    let refused = raftpbx_sip::registrar::contacts_of(&message).map_err(|one| one.status);
    assert_eq!(refused, Err(400));
    for name in ["cparam01", "cparam02", "regescrt", "escnull"] {
        let bytes = read(name);
        let message = Message::parse(&bytes).expect("well-formed");
        assert!(
            raftpbx_sip::registrar::contacts_of(&message).is_ok(),
            "{name}"
        );
    }
}

#[test]
fn responses_are_read_or_dropped() {
    for name in ["unreason", "noreason", "bcast"] {
        let bytes = read(name);
        let message = Message::parse(&bytes).expect(name);
        assert!(Essentials::of(&message).is_ok(), "{name}");
    }
    let big = read("bigcode");
    assert_eq!(Message::parse(&big).err(), Some(ParseError::StartLine));
    let scalar = read("scalarlg");
    let message = Message::parse(&scalar).expect("its headers are");
    assert!(Essentials::of(&message).is_err());
}

/// Every message cut short at every byte, and with every byte changed: nothing may panic, and
/// the engine must still serve an ordinary request afterwards.
#[test]
fn damaged_messages_leave_the_engine_at_work() {
    let mut bench = bench();
    for (name, _) in CASES {
        let whole = read(name);
        let flow = udp("192.0.2.5:5060");
        for at in (0..whole.len()).step_by(7) {
            let bytes = &whole[..at];
            bench.feed(Input::Received { flow, bytes });
            let mut changed = whole.clone();
            changed[at] = changed[at].wrapping_add(1 + u8::try_from(at % 200).unwrap_or(0));
            let bytes = &changed;
            bench.feed(Input::Received { flow, bytes });
        }
        bench.sent.clear();
        bench.told.clear();
    }
    bench.pass_ms(120_000);
    let bytes = &read("semiuri");
    bench.sent.clear();
    let flow = udp("192.0.2.5:5060");
    bench.feed(Input::Received { flow, bytes });
    assert!(bench.sent[0].1.starts_with("SIP/2.0 200"));
    bench.core.publish();
    let open = bench
        .metrics
        .transactions
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(open, 0, "every transaction comes to its end");
}
