use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::hep::{Agent, encode};
use super::mask::masked;
use super::*;
use crate::limits::{TRACE_CALL_MESSAGES_MAX, TRACE_MESSAGE_BYTES_MAX};

fn flow(transport: Transport) -> Flow {
    Flow {
        transport,
        local: "192.0.2.9:5060".parse().expect("an address"),
        remote: "192.0.2.1:5062".parse().expect("an address"),
    }
}

fn message(start: &str, call_id: &str, headers: &str, body: &str) -> String {
    format!("{start}\r\nCall-ID: {call_id}\r\n{headers}\r\n{body}")
}

fn invite(call_id: &str) -> String {
    message("INVITE sip:b SIP/2.0", call_id, "CSeq: 1 INVITE\r\n", "")
}

fn add(trace: &mut Trace, at_us: u64, text: &str) -> Kept {
    let (seen, of_call) = copy(at_us, false, flow(Transport::Udp), text.as_bytes()).expect("SIP");
    trace.add(seen, of_call)
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn shown(text: &str) -> String {
    let masked = masked(text.as_bytes()).expect("has a Call-ID");
    assert_eq!(masked.copy.len(), text.len());
    String::from_utf8(masked.copy).expect("text")
}

#[test]
fn credentials_cannot_be_read() {
    for (given, kept) in [
        (
            "Authorization: Digest username=\"1001\", response=\"0123abcd\", nonce=\"n\"\r\n",
            "Authorization: Digest username=\"1001\", response=\"********\", nonce=\"n\"\r\n",
        ),
        (
            "proxy-authorization : digest realm=\"a, response=x\",\r\n Response = 0123abcd,qop=auth\r\n",
            "proxy-authorization : digest realm=\"a, response=x\",\r\n Response = ********,qop=auth\r\n",
        ),
        (
            "Authorization: Digest response=\"0123\\\"ab\"\r\n",
            "Authorization: Digest response=\"********\"\r\n",
        ),
        (
            "Authorization: Digest response=\"never closed\r\n",
            "Authorization: Digest response=\"************\r\n",
        ),
        (
            "Authorization: Bearer eyJh\r\n bGci\r\n",
            "Authorization: Bearer*****\r\n*****\r\n",
        ),
        (
            "Authentication-Info: qop=auth, rspauth=\"12ab\"\r\n",
            "Authentication-Info: qop=auth, rspauth=\"****\"\r\n",
        ),
    ] {
        let text = message("INVITE sip:b SIP/2.0", "one", given, "");
        let expected = message("INVITE sip:b SIP/2.0", "one", kept, "");
        assert_eq!(shown(&text), expected);
    }
}

#[test]
fn keys_texts_and_digits_cannot_be_read() {
    let plain = "Content-Type: text/plain\r\n";
    let sdp = "Content-Type: application/sdp\r\n";
    let digits = "c: application/DTMF-relay\r\n";
    for (start, headers, given, kept) in [
        ("MESSAGE sip:b SIP/2.0", plain, "see you\r\n", "*******\r\n"),
        ("INFO sip:b SIP/2.0", digits, "Signal=5\r\n", "********\r\n"),
        ("INFO sip:b SIP/2.0", plain, "see you\r\n", "see you\r\n"),
        (
            "INVITE sip:b SIP/2.0",
            sdp,
            "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNf|2^20 inline:x\r\nk=clear:y\r\n",
            "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:****|2^20 inline:*\r\nk=*******\r\n",
        ),
    ] {
        let text = message(start, "one", headers, given);
        assert_eq!(shown(&text), message(start, "one", headers, kept));
    }
}

#[test]
fn no_cut_uncovers_a_secret() {
    let headers = "CSeq: 1 INVITE\r\nAuthorization: Digest response=\"5ec2e7\"\r\n";
    let body = "a=crypto:1 A inline:5ec2e7|1\r\n";
    let text = message("INVITE sip:b SIP/2.0", "one", headers, body);
    for end in 0..text.len() {
        if let Some(masked) = masked(&text.as_bytes()[..end]) {
            let copy = String::from_utf8(masked.copy).expect("text");
            assert!(!copy.contains("5e"), "{copy}");
        }
    }
}

#[test]
fn call_ids_are_found_in_every_form() {
    for (header, of_call) in [
        ("Call-ID: a@b\r\nCSeq: 1 INVITE\r\n", true),
        ("i:a@b\r\nCSEQ: 1 BYE\r\n", true),
        ("call-id :\r\n  a@b \r\nCSeq:\t7\r\n REGISTER\r\n", false),
        ("CSeq: 1 OPTIONS\r\nI : a@b\r\ni: another\r\n", false),
    ] {
        let text = format!("SIP/2.0 200 OK\r\n{header}\r\nbody");
        let masked = masked(text.as_bytes()).expect("has a Call-ID");
        assert_eq!(&masked.copy[masked.call_id.clone()], b"a@b", "{header}");
        assert_eq!(masked.of_call, of_call, "{header}");
    }
    for nothing in [
        "",
        "\r\n\r\n",
        "INVITE",
        "INVITE x\r\n\r\nCall-ID: in the body",
    ] {
        assert_eq!(masked(nothing.as_bytes()), None);
    }
}

#[test]
fn every_leg_of_a_call_is_shown_whatever_it_is_asked_by() {
    let mut trace = Trace::new(100_000);
    trace.link("call", "leg a");
    trace.link("call", "leg b");
    for (at_us, id) in [(3, "leg b"), (1, "leg a"), (2, "stranger"), (4, "leg a")] {
        add(&mut trace, at_us, &invite(id));
    }
    for asked in ["call", "leg a", "leg b"] {
        let found = trace.of(&ids(&[asked]));
        let times: Vec<u64> = found.messages.iter().map(|one| one.at_us).collect();
        assert_eq!(times, [1, 3, 4], "{asked}");
        assert_eq!(found.call_ids, ["leg a", "leg b"]);
    }
    assert_eq!(trace.of(&ids(&["stranger", "call"])).messages.len(), 4);
    assert_eq!(trace.of(&ids(&["nobody"])), CallTrace::default());
}

#[test]
fn memory_stays_below_its_bound_and_the_oldest_goes_first() {
    let mut trace = Trace::new(40_000);
    for number in 0..10_000 {
        add(&mut trace, number, &invite(&format!("call {number}")));
        assert!(trace.size().1 <= 40_000);
    }
    assert!(trace.of(&ids(&["call 0"])).messages.is_empty());
    assert_eq!(trace.of(&ids(&["call 9999"])).messages.len(), 1);
    let mut tiny = Trace::new(0);
    add(&mut tiny, 1, &invite("one"));
    assert_eq!(tiny.size(), (0, 0));
}

#[test]
fn registrations_do_not_push_calls_out() {
    let mut trace = Trace::new(40_000);
    add(&mut trace, 1, &invite("call"));
    for number in 0..1_000 {
        let register = "CSeq: 1 REGISTER\r\n";
        let id = format!("phone {number}");
        add(
            &mut trace,
            2,
            &message("REGISTER sip:p SIP/2.0", &id, register, ""),
        );
    }
    assert_eq!(trace.of(&ids(&["call"])).messages.len(), 1);
    assert_eq!(trace.of(&ids(&["phone 999"])).messages.len(), 1);
    assert!(trace.of(&ids(&["phone 0"])).messages.is_empty());
}

#[test]
fn a_call_that_repeats_itself_keeps_its_beginning() {
    let mut trace = Trace::new(10_000_000);
    let max = TRACE_CALL_MESSAGES_MAX as u64;
    for at_us in 0..max {
        assert_eq!(add(&mut trace, at_us, &invite("one")), Kept::Yes);
    }
    assert_eq!(add(&mut trace, max, &invite("one")), Kept::Skipped);
    assert_eq!(add(&mut trace, max, &invite("two")), Kept::Yes);
    let found = trace.of(&ids(&["one"]));
    assert_eq!((found.messages.len() as u64, found.skipped), (max, 1));
    assert_eq!(found.messages.first().map(|one| one.at_us), Some(0));
}

#[test]
fn links_are_bounded_in_calls_and_legs() {
    let mut trace = Trace::new(1_000);
    for number in 0..=TRACED_CALLS_MAX {
        trace.link(&format!("call {number}"), &format!("leg {number}"));
    }
    assert_eq!(
        (trace.legs.len(), trace.call_of.len()),
        (TRACED_CALLS_MAX, TRACED_CALLS_MAX)
    );
    assert!(!trace.legs.contains_key("call 0") && !trace.call_of.contains_key("leg 0"));
    for number in 0..100 {
        trace.link("call 7", &format!("another {number}"));
    }
    assert_eq!(trace.legs["call 7"].len(), TRACE_LEGS_MAX);
}

#[test]
fn long_messages_are_cut_and_say_so() {
    let mut trace = Trace::new(1_000_000);
    let body = "x".repeat(TRACE_MESSAGE_BYTES_MAX);
    let text = message("INVITE sip:b SIP/2.0", "one", "CSeq: 1 INVITE\r\n", &body);
    add(&mut trace, 1, &text);
    let found = trace.of(&ids(&["one"])).messages.remove(0);
    assert_eq!(
        (found.length, found.text.len()),
        (text.len(), TRACE_MESSAGE_BYTES_MAX)
    );
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let mut trace = Trace::new(100_000);
    let mut bytes = invite("one").into_bytes();
    bytes.push(0xff);
    let (seen, of_call) = copy(1, true, flow(Transport::Tls), &bytes).expect("SIP");
    trace.add(seen, of_call);
    let found = trace.of(&ids(&["one"])).messages.remove(0);
    assert_eq!(found.encoding, Encoding::Latin1);
    let back: Vec<u8> = found.text.chars().map(|letter| letter as u8).collect();
    assert_eq!(back, bytes);
}

/// The chunks of a packet by type; panics on what is no HEP3.
fn chunks(packet: &[u8]) -> HashMap<u16, Vec<u8>> {
    let short = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!(&packet[..4], b"HEP3");
    assert_eq!(usize::from(short(4)), packet.len());
    let (mut found, mut at) = (HashMap::new(), 6);
    while at < packet.len() {
        let (vendor, kind, length) = (short(at), short(at + 2), usize::from(short(at + 4)));
        assert_eq!(vendor, 0);
        found.insert(kind, packet[at + 6..at + length].to_vec());
        at += length;
    }
    found
}

#[test]
fn hep_packets_say_who_told_whom_what_and_when() {
    let agent = Agent {
        id: 2001,
        password: Some("myhep".to_owned()),
    };
    let text = invite("one@host");
    for (sent, transport, protocol) in [
        (false, Transport::Udp, 17),
        (true, Transport::Tcp, 6),
        (true, Transport::Tls, 6),
    ] {
        let at_us = 1_700_000_000_000_042;
        let (seen, _) = copy(at_us, sent, flow(transport), text.as_bytes()).expect("SIP");
        let found = chunks(&encode(&seen, &agent));
        let (ours, theirs) = (vec![192, 0, 2, 9], vec![192, 0, 2, 1]);
        let (source, target) = if sent { (ours, theirs) } else { (theirs, ours) };
        assert_eq!((&found[&1], &found[&2]), (&vec![2], &vec![protocol]));
        assert_eq!((&found[&3], &found[&4]), (&source, &target));
        let port = if sent { 5060u16 } else { 5062 };
        assert_eq!(found[&7], port.to_be_bytes());
        assert_eq!(found[&9], 1_700_000_000u32.to_be_bytes());
        assert_eq!(found[&10], 42u32.to_be_bytes());
        assert_eq!(
            (&found[&11], &found[&12]),
            (&vec![1], &2001u32.to_be_bytes().to_vec())
        );
        assert_eq!(
            (found[&14].as_slice(), found[&17].as_slice()),
            (&b"myhep"[..], &b"one@host"[..])
        );
        assert_eq!(found[&15], text.as_bytes());
    }
}

#[test]
fn hep_packets_have_one_address_family() {
    let agent = Agent {
        id: 1,
        password: None,
    };
    let mixed = Flow {
        local: "[2001:db8::9]:5060".parse().expect("an address"),
        ..flow(Transport::Udp)
    };
    let (seen, _) = copy(1, false, mixed, invite("one").as_bytes()).expect("SIP");
    let found = chunks(&encode(&seen, &agent));
    assert_eq!(found[&1], [10]);
    assert_eq!((found[&5].len(), found[&6].len()), (16, 16));
    assert!(!found.contains_key(&14));
    let (seen, _) = copy(
        1,
        false,
        Flow {
            local: "[::ffff:192.0.2.9]:5060".parse().expect("an address"),
            ..flow(Transport::Udp)
        },
        invite("one").as_bytes(),
    )
    .expect("SIP");
    assert_eq!(chunks(&encode(&seen, &agent))[&4], [192, 0, 2, 9]);
}

proptest! {
    /// Whatever the network sends, made of the pieces that mean something here.
    #[test]
    fn no_message_is_too_strange_to_be_copied(pieces in vec(select(PIECES), 0..40)) {
        let message = pieces.concat();
        if let Some(masked) = masked(&message) {
            prop_assert_eq!(masked.copy.len(), message.len());
            prop_assert!(!masked.copy[masked.call_id].is_empty());
            let changed = masked.copy.iter().zip(&message).filter(|(one, other)| one != other);
            prop_assert!(changed.into_iter().all(|(one, _)| *one == b'*'));
        }
    }
}

const PIECES: &[&[u8]] = &[
    b"Call-ID:",
    b"i: x",
    b"CSeq: 1 REGISTER",
    b"Authorization:",
    b"Digest ",
    b"response=",
    b"rspauth",
    b"Authentication-Info: ",
    b"Content-Type: dtmf",
    b"MESSAGE ",
    b"a=crypto:",
    b"inline:",
    b"k=",
    b"\"",
    b"\\",
    b",",
    b"=",
    b" ",
    b":",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\xff",
];
