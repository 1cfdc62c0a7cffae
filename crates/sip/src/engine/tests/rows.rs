//! Rows of the drachtio protocol's table of automatic actions that no other file has.
use super::*;

#[test]
fn a_2xx_without_ack_is_repeated_and_then_ended_by_an_unsolicited_bye() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "200 OK", "", SDP);
    bench.pass(31_900);
    assert_eq!(
        bench.count("SIP/2.0 200"),
        11,
        "T1 doubling to T2 until 64*T1"
    );
    bench.pass(200);
    let bye = bench.sent("BYE");
    assert!(header(&bye, "Reason").contains("ACK timeout"));
    let told = bench.told("BYE");
    assert_eq!(told.tokens[2], "application");
    assert_eq!(told.transaction(), "unsolicited");
    bench.answer("unsolicited", "200 OK", "", "");
    assert_eq!(bench.echo().tokens[3], "NOK");
    assert_eq!(
        bench.count("SIP/2.0 200"),
        11,
        "the application's answer goes nowhere"
    );
}

#[test]
fn a_cancel_ends_the_invite_and_the_application_is_told() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.sent("SIP/2.0 100");
    let cancel = request("CANCEL", 1, "", "", "").replace("CANCEL1", "INVITE1");
    bench.phone(&cancel);
    assert_eq!(header(&bench.sent("SIP/2.0 200"), "CSeq"), "1 CANCEL");
    assert_eq!(header(&bench.sent("SIP/2.0 487"), "CSeq"), "1 INVITE");
    let told = bench.told("CANCEL");
    assert_eq!(
        (told.transaction(), told.tokens[2].as_str()),
        (&*invite, "network")
    );
    bench.answer(&invite, "200 OK", "", SDP);
    let echo = bench.echo();
    assert_eq!(echo.tokens[3], "NOK");
    assert_eq!(
        echo.tokens[4],
        "Response not sent due to unknown transaction"
    );
}

#[test]
fn a_cancel_after_the_answer_gets_481_and_ends_the_call() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "200 OK", "", SDP);
    bench.phone(&request("CANCEL", 1, "", "", "").replace("CANCEL1", "INVITE1"));
    assert_eq!(header(&bench.sent("SIP/2.0 481"), "CSeq"), "1 CANCEL");
    bench.sent("BYE");
    assert_eq!(bench.told("BYE").transaction(), "unsolicited");
}

#[test]
fn a_cancel_of_the_application_that_comes_too_late_ends_the_call_after_its_ack() {
    let mut bench = Bench::new();
    bench.invite("");
    let transaction = bench.echo().transaction().to_owned();
    let invite = bench.sent("INVITE");
    bench.phone(&response(&invite, "180 Ringing", "", ""));
    bench.app(&format!(
        "sip|{transaction}|\r\nCANCEL sip:placeholder SIP/2.0\r\n\r\n"
    ));
    bench.sent("CANCEL");
    bench.phone(&response(&invite, "200 OK", "", SDP));
    assert_eq!(bench.count("BYE"), 0);
    let dialog = bench.told("SIP/2.0 200").dialog().to_owned();
    bench.ask(&dialog, "ACK", "", "");
    let bye = bench.sent("BYE");
    assert!(header(&bye, "Reason").contains("ACK-BYE due to cancel race condition"));
    assert_eq!(bench.told("BYE").transaction(), "unsolicited");
}

#[test]
fn requests_without_a_dialog_get_481_and_their_ack_nothing() {
    let mut bench = Bench::new();
    for method in [
        "INVITE", "BYE", "UPDATE", "INFO", "PRACK", "NOTIFY", "CANCEL",
    ] {
        bench.phone(&request(method, 1, "nobody", "", ""));
        bench.sent("SIP/2.0 481");
    }
    bench.phone(&request("ACK", 9, "nobody", "", ""));
    assert!(bench.sent.is_empty() && bench.told.is_empty());
}

#[test]
fn a_second_invite_of_the_same_call_gets_491_while_the_ack_is_missing() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "200 OK", "", SDP);
    bench.phone(&request("INVITE", 2, "", "", SDP));
    bench.sent("SIP/2.0 491");
}

#[test]
fn the_ack_is_repeated_for_a_repeated_2xx() {
    let mut bench = Bench::new();
    bench.invite("");
    let invite = bench.sent("INVITE");
    let ok = response(&invite, "200 OK", "", SDP);
    bench.phone(&ok);
    let dialog = bench.told("SIP/2.0 200").dialog().to_owned();
    bench.phone(&ok);
    assert_eq!(
        bench.count("ACK"),
        0,
        "the application has not acknowledged"
    );
    bench.ask(&dialog, "ACK", "", "");
    let ack = bench.sent("ACK");
    bench.pass(20_000);
    bench.phone(&ok);
    assert_eq!(bench.sent("ACK"), ack);
    assert!(!bench.was_told("SIP/2.0 200"), "delivered once");
}

#[test]
fn a_refused_invite_is_acknowledged_without_the_application() {
    let mut bench = Bench::new();
    bench.invite("");
    let invite = bench.sent("INVITE");
    bench.phone(&response(&invite, "486 Busy Here", "", ""));
    bench.sent("ACK");
    let dialog = bench.told("SIP/2.0 486").dialog().to_owned();
    bench.ask(&dialog, "ACK", "", "");
    let echo = bench.echo();
    assert_eq!(
        (echo.tokens[3].as_str(), echo.tokens[4].as_str()),
        ("NOK", "unable to find dialog")
    );
}

#[test]
fn a_challenged_bye_of_ours_keeps_the_dialog() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.ask(&call.dialog, "BYE", "", "");
    let bye = bench.sent("BYE");
    bench.phone(&response(&bye, "407 X", "", ""));
    bench.told("SIP/2.0 407");
    bench.ask(&call.dialog, "BYE", "Proxy-Authorization: x\r\n", "");
    let again = bench.sent("BYE");
    bench.phone(&response(&again, "200 OK", "", ""));
    assert!(bench.journal.is_empty());
}

#[test]
fn a_silent_application_loses_its_invite_after_64_seconds() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    bench.told("INVITE");
    bench.sent("SIP/2.0 100");
    bench.phone(&request("INVITE", 1, "", "", SDP));
    bench.sent("SIP/2.0 100");
    assert!(!bench.was_told("INVITE"), "repetitions are absorbed");
    bench.pass(65_000);
    bench.sent("SIP/2.0 408");
}

#[test]
fn of_several_changes_of_a_dialog_at_once_the_last_is_told() {
    let mut bench = Bench::new();
    let call = bench.call("");
    let key = format!("sip:dialog:{}", call.dialog);
    let set = (key.clone(), Some(bench.journal[&key].clone()));
    bench.events.clear();
    bench.input(Input::Changed(vec![set.clone(), set.clone()]));
    assert_eq!(bench.events.len(), 1);
    bench.events.clear();
    bench.input(Input::Changed(vec![set.clone(), (key.clone(), None)]));
    assert!(matches!(&bench.events[..], [EngineEvent::DialogRemoved { id }] if *id == call.dialog));
    bench.events.clear();
    // Nobody knows it any more: it comes and goes.
    bench.input(Input::Changed(vec![set, (key, None)]));
    assert_eq!(bench.events.len(), 2);
}
