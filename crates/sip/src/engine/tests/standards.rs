//! Smaller standards: Replaces (RFC 3891), requests that are answered late (RFC 4320), and
//! methods that only pass through.
use super::*;

fn replacing(call: &Call, more: &str) -> String {
    let replaces = format!(
        "Replaces: theirs@phone;to-tag={};from-tag=phone{more}\r\n",
        call.tag
    );
    of_call("new@phone", ("new", ""), ("INVITE", 1), &replaces, SDP)
}

#[test]
fn an_invite_that_replaces_a_call_of_ours_reaches_the_application() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.phone(&replacing(&call, ""));
    let told = bench.told("INVITE");
    assert!(told.text.contains("Replaces: theirs@phone;to-tag="));
}

#[test]
fn replacing_is_refused_as_the_rfc_says() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.phone(&replacing(&call, ";early-only"));
    bench.sent("SIP/2.0 486");
    let strange = Call {
        tag: "other".to_owned(),
        ..call
    };
    bench.phone(&replacing(&strange, "").replace("INVITE1", "INVITEx"));
    bench.sent("SIP/2.0 481");
    assert!(!bench.was_told("INVITE"));
}

#[test]
fn a_call_that_is_ending_is_not_replaced() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.ask(&call.dialog, "BYE", "", "");
    bench.sent("BYE");
    bench.phone(&replacing(&call, ""));
    bench.sent("SIP/2.0 603");
    assert!(!bench.was_told("INVITE"));
}

#[test]
fn replaces_that_cannot_be_read_is_refused() {
    let mut bench = Bench::new();
    let call = bench.call("");
    let twice = format!(
        "\r\nReplaces: theirs@phone;to-tag={};from-tag=phone\r\n",
        call.tag
    );
    bench.phone(&replacing(&call, twice.trim_end()));
    bench.sent("SIP/2.0 400");
    let tagless = "Replaces: theirs@phone;from-tag=phone\r\n";
    let from = ("other", "");
    bench.phone(&of_call("new2@phone", from, ("INVITE", 1), tagless, SDP));
    bench.sent("SIP/2.0 400");
    assert!(!bench.was_told("INVITE"));
}

#[test]
fn an_early_dialog_of_the_caller_is_not_replaced() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "180 Ringing", "", "");
    let ringing = bench.sent("SIP/2.0 180");
    let call = Call {
        dialog: String::new(),
        tag: tag_of(&ringing, "To").to_owned(),
        ok: String::new(),
    };
    bench.phone(&replacing(&call, ""));
    bench.sent("SIP/2.0 481");
}

#[test]
fn a_request_that_waits_gets_one_late_100_and_never_408() {
    let mut bench = Bench::new();
    bench.phone(&request("MESSAGE", 1, "", "", ""));
    let message = bench.told("MESSAGE").transaction().to_owned();
    bench.answer(&message, "180 Ringing", "", "");
    assert_eq!(bench.echo().tokens[3].split('|').next(), Some("NOK"));
    bench.pass(3_900);
    assert!(bench.sent.is_empty());
    bench.pass(200);
    bench.sent("SIP/2.0 100");
    bench.answer(&message, "408 Request Timeout", "", "");
    bench.pass(70_000);
    assert!(bench.sent.is_empty());
}

#[test]
fn a_request_nobody_answers_gets_no_408_and_nothing_after_its_end() {
    let mut bench = Bench::new();
    bench.phone(&request("MESSAGE", 1, "", "", ""));
    let message = bench.told("MESSAGE").transaction().to_owned();
    bench.pass(70_000);
    assert_eq!(bench.count("SIP/2.0 408"), 0);
    bench.sent.clear();
    bench.answer(&message, "183 Session Progress", "", "");
    assert!(bench.sent.is_empty(), "{:?}", bench.sent);
    assert_eq!(bench.echo().tokens[3].split('|').next(), Some("NOK"));
}

#[test]
fn publish_and_message_pass_to_the_application_and_back() {
    let mut bench = Bench::new();
    let publish = "Event: presence\r\nSIP-If-Match: tag1\r\nExpires: 60\r\n";
    bench.phone(&request("PUBLISH", 1, "", publish, ""));
    let told = bench.told("PUBLISH");
    assert!(told.text.contains("SIP-If-Match: tag1"));
    let told = told.transaction().to_owned();
    bench.answer(&told, "200 OK", "sip-etag: tag2\r\nExpires: 60\r\n", "");
    assert_eq!(header(&bench.sent("SIP/2.0 200"), "SIP-ETag"), "tag2");
    let more = "Content-Type: text/plain\r\n";
    bench.app(&format!(
        "sip|||\r\nMESSAGE sip:1001@192.0.2.1:5062 SIP/2.0\r\n{more}\r\nhello"
    ));
    let sent = bench.sent("MESSAGE");
    assert!(sent.ends_with("hello"));
    bench.phone(&response(&sent, "200 OK", "", ""));
    bench.told("SIP/2.0 200");
}

#[test]
fn only_trusted_peers_assert_identities_and_see_hidden_ones() {
    let mut bench = Bench::new();
    let asserted = "P-Asserted-Identity: <sip:boss@pbx.test>\r\n";
    bench.phone(&request("MESSAGE", 1, "", asserted, ""));
    assert!(!bench.told("MESSAGE").text.contains("P-Asserted-Identity"));
    bench.invite(&format!("{asserted}Privacy: id;critical\r\n"));
    let hidden = bench.sent("INVITE");
    assert_eq!(header(&hidden, "P-Asserted-Identity"), "");
    assert_eq!(header(&hidden, "Privacy"), "id;critical");
    bench.remote = "198.51.100.7:5060".parse().expect("an address");
    bench.phone(&request("MESSAGE", 2, "", asserted, ""));
    assert!(
        bench
            .told("MESSAGE")
            .text
            .contains("P-Asserted-Identity: <sip:boss@pbx.test>")
    );
    bench.app(&format!(
        "sip|||\r\nMESSAGE sip:x@198.51.100.7 SIP/2.0\r\n{asserted}Privacy: id\r\n\r\n"
    ));
    assert_ne!(header(&bench.sent("MESSAGE"), "P-Asserted-Identity"), "");
}

#[test]
fn reasons_pass_both_ways() {
    let mut bench = Bench::new();
    let call = bench.call("");
    let reason = "Reason: Q.850;cause=16;text=\"Normal\"\r\n";
    bench.ask(&call.dialog, "INFO", reason, "");
    assert_eq!(
        header(&bench.sent("INFO"), "Reason"),
        "Q.850;cause=16;text=\"Normal\""
    );
    bench.phone(&request("BYE", 2, &call.tag, reason, ""));
    assert!(bench.told("BYE").text.contains("Q.850;cause=16"));
}

/// The phone subscribes in a dialog of its own.
fn subscription(bench: &mut Bench, call: &str) -> bool {
    let event = "Event: dialog\r\nExpires: 600\r\n";
    bench.phone(&of_call(call, (call, ""), ("SUBSCRIBE", 1), event, ""));
    if !bench.was_told("SUBSCRIBE") {
        assert_ne!(header(&bench.sent("SIP/2.0 503"), "Retry-After"), "");
        return false;
    }
    let subscribe = bench.told("SUBSCRIBE").transaction().to_owned();
    bench.answer(&subscribe, "200 OK", "Expires: 600\r\n", "");
    bench.sent("SIP/2.0 200");
    true
}

#[test]
fn an_address_with_too_many_dialogs_waits_until_one_ends_also_after_a_takeover() {
    let mut bench = Bench::new();
    let call = bench.call("");
    for name in ["one", "two", "three"] {
        assert!(subscription(&mut bench, name));
    }
    assert!(!subscription(&mut bench, "four"));
    let mut bench = bench.successor();
    assert!(!subscription(&mut bench, "five"));
    // Elsewhere there is room, and what there is goes on.
    bench.remote = "198.51.100.7:5060".parse().expect("an address");
    assert!(subscription(&mut bench, "six"));
    bench.remote = peer().remote;
    bench.phone(&request("BYE", 2, &call.tag, "", ""));
    let bye = bench.told("BYE").transaction().to_owned();
    bench.answer(&bye, "200 OK", "", "");
    bench.pass(70_000);
    bench.sent.clear();
    assert!(subscription(&mut bench, "seven"));
}
