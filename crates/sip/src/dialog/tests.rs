use super::*;

fn parse(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

const INVITE: &str = "INVITE sip:b@pbx SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\n\
    Record-Route: <sip:p2;lr>, <sip:p1;lr>\nFrom: \"A\" <sip:a@pbx>;tag=at;x=1\nTo: sip:b@pbx\n\
    Call-ID: c1\nCSeq: 7 INVITE\nContact: <sip:a@192.0.2.1:5062>\n\n";
const OK: &str = "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\n\
    Record-Route: <sip:p2;lr>\nRecord-Route: <sip:p1;lr>\nFrom: \"A\" <sip:a@pbx>;tag=at;x=1\n\
    To: sip:b@pbx;tag=bt\nCall-ID: c1\nCSeq: 7 INVITE\nContact: <sip:b@192.0.2.2>\n\n";

#[test]
fn both_sides_of_a_dialog_agree() {
    let (invite, ok) = (parse(INVITE), parse(OK));
    let (invite, ok) = (
        Message::parse(&invite).expect("ok"),
        Message::parse(&ok).expect("ok"),
    );
    let (sent, received) = (
        Essentials::of(&invite).expect("ok"),
        Essentials::of(&ok).expect("ok"),
    );
    let uas = Dialog::uas(&invite, &sent, "bt", "<sip:b@192.0.2.2>").expect("complete");
    let uac = Dialog::uac(&invite, &sent, &ok, &received).expect("complete");
    assert_eq!(
        (uas.local.as_str(), uas.remote.as_str()),
        ("<sip:b@pbx>", "\"A\" <sip:a@pbx>;x=1")
    );
    assert_eq!((&uas.local, &uas.remote), (&uac.remote, &uac.local));
    assert_eq!(
        (&uas.local_tag, &uas.remote_tag),
        (&uac.remote_tag, &uac.local_tag)
    );
    assert_eq!(uas.routes, ["<sip:p2;lr>", "<sip:p1;lr>"]);
    assert_eq!(uac.routes, ["<sip:p1;lr>", "<sip:p2;lr>"]);
    assert_eq!(
        (uas.target.as_str(), uac.target.as_str()),
        ("sip:a@192.0.2.1:5062", "sip:b@192.0.2.2")
    );
    assert_eq!((uac.local_seq, uas.remote_seq), (7, Some(7)));
}

#[test]
fn old_requests_are_recognised() {
    let invite = parse(INVITE);
    let invite = Message::parse(&invite).expect("ok");
    let sent = Essentials::of(&invite).expect("ok");
    let mut dialog = Dialog::uas(&invite, &sent, "bt", "<sip:b>").expect("complete");
    assert_eq!(dialog.receive(9), Sequence::Next);
    assert_eq!(dialog.receive(8), Sequence::Old);
    assert_eq!(dialog.remote_seq, Some(9));
}

#[test]
fn ids_never_hold_the_separator_of_the_protocol() {
    assert_eq!(dialog_id("a|b@c", "t|g"), "a%7Cb@c;from-tag=t%7Cg");
}
