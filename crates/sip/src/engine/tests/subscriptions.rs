//! SUBSCRIBE, NOTIFY and REFER (RFC 6665, 3515, 4488), both roles.
use super::*;

const PRESENCE: &str = "Event: presence\r\nExpires: 600\r\n";
const ACTIVE: &str = "Event: presence\r\nSubscription-State: active;expires=600\r\n";
const TERMINATED: &str = "Event: presence\r\nSubscription-State: terminated\r\n";

/// A phone subscribed; its dialog and our tag.
fn subscribed(bench: &mut Bench) -> (String, String) {
    bench.phone(&request("SUBSCRIBE", 1, "", PRESENCE, ""));
    let subscribe = bench.told("SUBSCRIBE").transaction().to_owned();
    bench.answer(&subscribe, "202 Accepted", "Expires: 600\r\n", "");
    let ok = bench.sent("SIP/2.0 202");
    assert_ne!(header(&ok, "Contact"), "");
    let echo = bench.echo();
    (echo.dialog().to_owned(), tag_of(&ok, "To").to_owned())
}

/// The application subscribed; its SUBSCRIBE as sent.
fn subscribing(bench: &mut Bench) -> String {
    bench.app(&format!(
        "sip|||\r\nSUBSCRIBE sip:1001@192.0.2.1:5062 SIP/2.0\r\n\
         From: <sip:pbx@192.0.2.9>\r\nCall-ID: ours@pbx\r\n{PRESENCE}\r\n"
    ));
    bench.sent("SUBSCRIBE")
}

#[test]
fn a_subscription_of_a_phone_is_committed_and_survives_the_leader() {
    let mut bench = Bench::new();
    bench.phone(&request("SUBSCRIBE", 1, "", PRESENCE, ""));
    let subscribe = bench.told("SUBSCRIBE").transaction().to_owned();
    bench.holding = true;
    bench.answer(&subscribe, "202 Accepted", "Expires: 600\r\n", "");
    assert_eq!(bench.count("SIP/2.0 202"), 0);
    bench.release();
    bench.sent("SIP/2.0 202");
    let dialog = bench.echo().dialog().to_owned();
    assert_eq!(dialog, "theirs@phone;from-tag=phone");
    assert!(bench.events.is_empty(), "call control hears of calls only");
    let mut bench = bench.successor();
    bench.ask(&dialog, "NOTIFY", ACTIVE, "");
    let notify = bench.sent("NOTIFY");
    assert_eq!(tag_of(&notify, "To"), "phone");
    assert_ne!(header(&notify, "Contact"), "");
}

#[test]
fn a_subscription_that_is_not_refreshed_goes() {
    let mut bench = Bench::new();
    let (dialog, tag) = subscribed(&mut bench);
    bench.pass(500_000);
    bench.phone(&request("SUBSCRIBE", 2, &tag, PRESENCE, ""));
    let again = bench.told("SUBSCRIBE");
    assert_eq!(again.dialog(), dialog);
    let again = again.transaction().to_owned();
    bench.answer(&again, "200 OK", "Expires: 600\r\n", "");
    bench.sent("SIP/2.0 200");
    bench.pass(600_000);
    bench.ask(&dialog, "NOTIFY", ACTIVE, "");
    bench.sent("NOTIFY");
    bench.pass(40_000);
    bench.ask(&dialog, "NOTIFY", ACTIVE, "");
    assert_eq!(bench.echo().tokens[3], "NOK");
    assert!(bench.journal.is_empty());
}

#[test]
fn the_last_notify_ends_the_dialog() {
    let mut bench = Bench::new();
    let (dialog, tag) = subscribed(&mut bench);
    bench.ask(&dialog, "NOTIFY", TERMINATED, "");
    let notify = bench.sent("NOTIFY");
    bench.phone(&response(&notify, "200 OK", "", ""));
    bench.told("SIP/2.0 200");
    assert!(bench.journal.is_empty());
    bench.phone(&request("SUBSCRIBE", 2, &tag, PRESENCE, ""));
    bench.sent("SIP/2.0 481");
}

#[test]
fn a_subscriber_that_is_gone_ends_the_dialog() {
    let mut bench = Bench::new();
    let (dialog, _) = subscribed(&mut bench);
    bench.ask(&dialog, "NOTIFY", ACTIVE, "");
    let notify = bench.sent("NOTIFY");
    bench.phone(&response(&notify, "481 Gone", "", ""));
    assert!(bench.journal.is_empty());
}

#[test]
fn a_notify_may_come_before_the_answer_to_our_subscribe() {
    let mut bench = Bench::new();
    let subscribe = subscribing(&mut bench);
    let tag = tag_of(&subscribe, "From").to_owned();
    bench.phone(&callee("NOTIFY", 1, &tag, ACTIVE, ""));
    let notify = bench.told("NOTIFY");
    let id = format!("ours@pbx;from-tag={tag}");
    assert_eq!(notify.dialog(), id);
    bench.answer(notify.transaction(), "200 OK", "", "");
    bench.phone(&response(&subscribe, "200 OK", "Expires: 600\r\n", ""));
    assert_eq!(bench.told("SIP/2.0 200").dialog(), id);
    bench.pass(100);
    bench.ask(&id, "SUBSCRIBE", PRESENCE, "");
    assert_eq!(header(&bench.sent("SUBSCRIBE"), "CSeq"), "2 SUBSCRIBE");
    bench.phone(&callee("NOTIFY", 2, &tag, TERMINATED, ""));
    let last = bench.told("NOTIFY").transaction().to_owned();
    bench.answer(&last, "200 OK", "", "");
    assert!(bench.journal.is_empty());
}

#[test]
fn a_notify_nobody_asked_for_gets_481() {
    let mut bench = Bench::new();
    let subscribe = subscribing(&mut bench);
    let tag = tag_of(&subscribe, "From").to_owned();
    bench.phone(&callee("NOTIFY", 1, "other", ACTIVE, ""));
    bench.sent("SIP/2.0 481");
    let dialog = "Event: dialog\r\nSubscription-State: active\r\n";
    bench.phone(&callee("NOTIFY", 2, &tag, dialog, ""));
    bench.sent("SIP/2.0 481");
    bench.phone(&response(&subscribe, "489 Bad Event", "", ""));
    bench.phone(&callee("NOTIFY", 3, &tag, ACTIVE, ""));
    bench.sent("SIP/2.0 481");
}

#[test]
fn the_notify_of_a_transfer_goes_on_after_the_bye() {
    let mut bench = Bench::new();
    let call = bench.call("");
    let refer = "Refer-To: <sip:1002@pbx.test>\r\nReferred-By: <sip:1001@pbx.test>\r\n";
    bench.phone(&request("REFER", 2, &call.tag, refer, ""));
    let told = bench.told("REFER");
    assert!(told.text.contains("Referred-By: <sip:1001@pbx.test>"));
    let told = told.transaction().to_owned();
    bench.answer(&told, "202 Accepted", "", "");
    bench.sent("SIP/2.0 202");
    bench.phone(&request("BYE", 3, &call.tag, "", ""));
    bench.pass(20);
    let bye = bench.told("BYE").transaction().to_owned();
    bench.answer(&bye, "200 OK", "", "");
    bench.sent("SIP/2.0 200");
    bench.pass(65_000);
    bench.ask(&call.dialog, "INFO", "", "");
    assert_eq!(bench.echo().tokens[3], "NOK");
    let done = "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n\
                Content-Type: message/sipfrag\r\n";
    bench.ask(&call.dialog, "NOTIFY", done, "SIP/2.0 200 OK");
    let notify = bench.sent("NOTIFY");
    assert_ne!(header(&notify, "Content-Type"), "");
    bench.phone(&response(&notify, "200 OK", "", ""));
    assert!(bench.journal.is_empty());
}

#[test]
fn a_refer_without_subscription_leaves_none() {
    let mut bench = Bench::new();
    let refer = "Refer-To: <sip:1002@pbx.test>\r\nRefer-Sub: false\r\n";
    bench.phone(&request("REFER", 1, "", refer, ""));
    let told = bench.told("REFER").transaction().to_owned();
    bench.answer(&told, "202 Accepted", "Refer-Sub: false\r\n", "");
    bench.sent("SIP/2.0 202");
    assert!(bench.journal.is_empty());
}
