use super::command::Kind;
use super::*;
use crate::message::{Message, Name, Writer};

#[test]
fn frames_come_out_whole_however_the_bytes_arrive() {
    let mut reader = FrameReader::default();
    let mut seen = Vec::new();
    let mut stream = write_frame("a|ping", b"");
    stream.extend(write_frame("b|sip||\r\n", "INVITE ü".as_bytes()));
    for byte in stream {
        reader.push(&[byte]);
        while let Some(payload) = reader.next_frame().expect("valid") {
            seen.push(payload.to_owned());
        }
    }
    assert_eq!(seen, ["a|ping", "b|sip||\r\nINVITE ü"]);
}

#[test]
fn wrong_lengths_close_the_connection() {
    for (bytes, error) in [
        (&b"x#"[..], FrameError::Length),
        (b"0#", FrameError::Length),
        (b"#", FrameError::Length),
        (b"12345678", FrameError::Length),
        (b"9999999#", FrameError::TooLong),
        (b"1#\xff", FrameError::NotUtf8),
    ] {
        let mut reader = FrameReader::default();
        reader.push(bytes);
        assert_eq!(reader.next_frame(), Err(error));
    }
}

#[test]
fn commands_are_split_in_the_leader_only() {
    let command = Command::parse("7|sip|t|d|sip:p\r\nSIP/2.0 200 a|b\r\n").expect("a command");
    let Kind::Sip(sip) = command.kind else {
        panic!("not sip: {command:?}")
    };
    assert_eq!(
        (sip.transaction_id, sip.dialog_id, sip.route_url),
        ("t", "d", "sip:p")
    );
    assert_eq!(sip.message, "SIP/2.0 200 a|b\r\n");
    assert_eq!(Command::parse("nothing"), None);
    for (text, answer) in [
        ("7|dance", "Unknown message type"),
        ("7|sip", "Invalid message format"),
        ("7|sip|t", "Invalid message format"),
        (
            "7|proxy|t|||",
            "Invalid proxy request: not enough information provided",
        ),
    ] {
        let kind = Command::parse(text).map(|command| command.kind);
        assert_eq!(kind, Some(Kind::Invalid(answer)), "{text}");
    }
}

#[test]
fn a_proxy_command_carries_its_options_and_all_destinations() {
    let text = "7|proxy|t||fullResponse||serial|2s||sip:a|sip:b;x=1\r\nINVITE sip:a SIP/2.0\r\n";
    let Some(Kind::Proxy(proxy)) = Command::parse(text).map(|command| command.kind) else {
        panic!("not a proxy command")
    };
    assert_eq!(proxy.transaction_id, "t");
    assert_eq!(
        (
            proxy.remain_in_dialog,
            proxy.full_response,
            proxy.simultaneous
        ),
        (false, true, false)
    );
    assert_eq!((proxy.provisional_timeout, proxy.final_timeout), ("2s", ""));
    assert_eq!(proxy.destinations, "sip:a|sip:b;x=1");
}

#[test]
fn headers_of_the_application_follow_the_rules() {
    let text = "INVITE sip:b SIP/2.0\r\nvia: x\r\nfrom: <sip:a@localhost>;tag=1\r\nx-foo-bar: 1\r\n\
                contact: <sip:a@localhost:7>\r\nX-Leg: c/1\r\n\r\nv=0";
    let message = headers::parse(text).expect("valid");
    let local = "192.0.2.9:5070".parse().expect("an address");
    let mut writer = Writer::request("INVITE", "sip:b");
    headers::copy_headers(&mut writer, &message, &[], local).expect("valid");
    let sent = writer.finish(message.body);
    let sent = Message::parse(&sent).expect("valid");
    assert_eq!(sent.get(Name::From), Some("<sip:a@192.0.2.9:5070>;tag=1"));
    assert_eq!(sent.get(Name::Contact), Some("<sip:a@192.0.2.9:7>"));
    assert_eq!(sent.get(Name::ContentType), Some("application/sdp"));
    assert_eq!((sent.get(Name::Via), sent.get(Name::XLeg)), (None, None));
    assert!(sent.headers.iter().any(|header| header.text == "X-Foo-Bar"));
}

#[test]
fn a_body_of_unknown_kind_is_refused() {
    let message = headers::parse("INFO sip:b SIP/2.0\r\n\r\nhello").expect("valid");
    let local = "192.0.2.9:5070".parse().expect("an address");
    let result = headers::copy_headers(&mut Writer::request("INFO", "sip:b"), &message, &[], local);
    assert_eq!(result, Err(headers::AppMessageError::ContentType));
}

#[test]
fn times_are_of_the_day() {
    assert_eq!(
        format::time_of_day((86_400 * 3 + 3_661) * 1_000_000 + 42),
        "01:01:01.000042"
    );
}
