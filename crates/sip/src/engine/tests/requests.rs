//! What the engine makes of the requests of applications: the rules for headers (section 8 of the
//! protocol) and what a dialog adds.
use super::*;

/// What an application may not decide.
const IGNORED: &str = "Via: SIP/2.0/UDP evil.test;branch=z9hG4bKx\r\nRoute: <sip:evil.test;lr>\r\n\
                       Record-Route: <sip:evil.test;lr>\r\nContent-Length: 7\r\n";

fn all<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn a_new_request_is_completed_and_its_way_is_ours() {
    let mut bench = Bench::new();
    bench.app(&format!(
        "sip||\r\nOPTIONS sip:1001@192.0.2.1:5062 SIP/2.0\r\n{IGNORED}x-foo-bar: 1\r\n\r\n"
    ));
    let options = bench.sent("OPTIONS sip:1001@192.0.2.1:5062 SIP/2.0");
    let vias = all(&options, "Via");
    assert!(vias.len() == 1 && vias[0].starts_with("SIP/2.0/UDP 192.0.2.9:5060;"));
    assert!(header(&options, "From").contains("192.0.2.9"));
    assert!(!tag_of(&options, "From").is_empty());
    assert_eq!(header(&options, "To"), "<sip:1001@192.0.2.1:5062>");
    assert_eq!(header(&options, "CSeq"), "1 OPTIONS");
    assert_eq!(header(&options, "Max-Forwards"), "70");
    assert_eq!(header(&options, "X-Foo-Bar"), "1");
    assert_eq!(header(&options, "Content-Length"), "0");
    assert!(!header(&options, "Call-ID").is_empty());
    assert!(header(&options, "Contact").contains("192.0.2.9"));
    assert!(!options.contains("evil.test"));
    assert_eq!(bench.echo().tokens[3], "OK");
}

#[test]
fn what_an_application_may_choose_is_kept() {
    let mut bench = Bench::new();
    bench.app(
        "sip||\r\nMESSAGE sip:1001@192.0.2.1:5062 SIP/2.0\r\nFrom: <sip:a@localhost>;tag=mine\r\n\
         To: <sip:b@pbx.test>\r\nCall-ID: chosen\r\nCSeq: 9 MESSAGE\r\nMax-Forwards: 3\r\n\
         P-Asserted-Identity: <sip:a@localhost>\r\nContent-Type: text/plain\r\n\r\nhello",
    );
    let message = bench.sent("MESSAGE");
    assert_eq!(header(&message, "From"), "<sip:a@192.0.2.9:5060>;tag=mine");
    assert_eq!(header(&message, "To"), "<sip:b@pbx.test>");
    assert_eq!(header(&message, "Call-ID"), "chosen");
    assert_eq!(header(&message, "CSeq"), "9 MESSAGE");
    assert_eq!(header(&message, "Max-Forwards"), "3");
    assert_eq!(
        header(&message, "P-Asserted-Identity"),
        "<sip:a@192.0.2.9:5060>"
    );
    assert!(message.ends_with("Content-Length: 5\r\n\r\nhello"));
}

#[test]
fn a_request_in_a_dialog_has_its_target_route_set_and_numbers() {
    let mut bench = Bench::new();
    let routes = "Record-Route: <sip:192.0.2.1:5070;lr>\r\nRecord-Route: <sip:198.51.100.1;lr>\r\n";
    let call = bench.call(routes);
    let mut last = 0;
    for method in ["INFO", "REFER", "INVITE"] {
        let more = format!("{IGNORED}Refer-To: <sip:c@pbx.test>\r\n");
        bench.ask(&call.dialog, method, &more, "");
        let sent = bench.sent(&format!("{method} sip:1001@192.0.2.1:5062 SIP/2.0"));
        assert_eq!(
            all(&sent, "Route").join(", "),
            "<sip:192.0.2.1:5070;lr>, <sip:198.51.100.1;lr>"
        );
        assert!(!sent.contains("evil.test") && !sent.contains("Record-Route"));
        assert_eq!(tag_of(&sent, "From"), call.tag);
        assert_eq!(tag_of(&sent, "To"), "phone");
        let (number, _) = header(&sent, "CSeq").split_once(' ').expect("a number");
        let number: u32 = number.parse().expect("a number");
        assert!(last == 0 || number == last + 1, "{last} then {number}");
        last = number;
        let has_contact = header(&sent, "Contact").contains("192.0.2.9");
        assert_eq!(has_contact, method != "INFO", "{method}");
        bench.phone(&response(&sent, "200 OK", "", ""));
    }
}

#[test]
fn any_2xx_makes_a_dialog() {
    let mut bench = Bench::new();
    bench.invite("");
    let invite = bench.sent("INVITE");
    bench.phone(&response(&invite, "204 No Notification", "", SDP));
    let dialog = bench.told("SIP/2.0 204").dialog().to_owned();
    bench.ask(&dialog, "ACK", "", "");
    assert_eq!(header(&bench.sent("ACK"), "CSeq"), "1 ACK");
    bench.ask(&dialog, "BYE", "", "");
    bench.sent("BYE sip:1001@192.0.2.1:5062");
}
