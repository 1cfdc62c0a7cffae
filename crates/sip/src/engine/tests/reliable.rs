//! Reliable provisional responses (RFC 3262) on a virtual clock.
use super::*;

const SUPPORTED: &str = "Supported: 100rel\r\n";
const REQUIRE: &str = "Require: 100rel\r\n";

/// A reliable 183 of the application, and its transaction.
fn ringing(bench: &mut Bench, body: &str) -> (String, String) {
    bench.phone(&request("INVITE", 1, "", SUPPORTED, SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "183 Session Progress", REQUIRE, body);
    (invite, bench.sent("SIP/2.0 183"))
}

fn prack(progress: &str, cseq: u32) -> String {
    let rack = format!("RAck: {} 1 INVITE\r\n", header(progress, "RSeq"));
    request("PRACK", cseq, tag_of(progress, "To"), &rack, "")
}

#[test]
fn a_reliable_response_is_repeated_until_its_prack() {
    let mut bench = Bench::new();
    let (invite, progress) = ringing(&mut bench, SDP);
    let echo = bench.echo();
    assert_eq!(echo.tokens[3], "OK");
    assert_eq!(header(&echo.text, "RSeq"), header(&progress, "RSeq"));
    assert_eq!(header(&progress, "Require"), "100rel");
    bench.pass(500 + 1_000);
    assert_eq!(bench.count("SIP/2.0 183"), 2);
    bench.phone(&prack(&progress, 2));
    let told = bench.told("PRACK");
    assert_eq!(told.dialog(), "theirs@phone;from-tag=phone");
    bench.answer(told.transaction(), "200 OK", "", "");
    assert_eq!(header(&bench.sent("SIP/2.0 200"), "CSeq"), "2 PRACK");
    bench.sent.clear();
    bench.pass(20_000);
    assert_eq!(bench.count("SIP/2.0 183"), 0);
    bench.answer(&invite, "200 OK", "", SDP);
    bench.sent("SIP/2.0 200");
}

#[test]
fn rseq_and_tag_are_committed_before_the_response_leaves() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", SUPPORTED, SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.holding = true;
    bench.answer(&invite, "183 Session Progress", REQUIRE, SDP);
    assert_eq!(bench.count("SIP/2.0 183"), 0);
    bench.release();
    bench.sent("SIP/2.0 183");
}

#[test]
fn a_prack_is_committed_before_the_application_hears_of_it() {
    let mut bench = Bench::new();
    let (_, progress) = ringing(&mut bench, SDP);
    bench.holding = true;
    bench.phone(&prack(&progress, 2));
    assert!(!bench.was_told("PRACK"));
    bench.release();
    bench.told("PRACK");
}

#[test]
fn the_2xx_waits_for_the_prack_of_a_session_description() {
    let mut bench = Bench::new();
    let (invite, progress) = ringing(&mut bench, SDP);
    bench.answer(&invite, "200 OK", "", SDP);
    assert_eq!(bench.count("SIP/2.0 200"), 0);
    bench.phone(&prack(&progress, 2));
    let ok = bench.sent("SIP/2.0 200");
    assert_eq!(header(&ok, "CSeq"), "1 INVITE");
}

#[test]
fn the_2xx_does_not_wait_when_there_was_no_session_description() {
    let mut bench = Bench::new();
    let (invite, _) = ringing(&mut bench, "");
    bench.answer(&invite, "200 OK", "", SDP);
    bench.sent("SIP/2.0 200");
    bench.pass(10_000);
    assert_eq!(bench.count("SIP/2.0 183"), 0);
}

#[test]
fn a_second_reliable_response_waits_for_the_first_prack() {
    let mut bench = Bench::new();
    let (invite, progress) = ringing(&mut bench, "");
    bench.answer(&invite, "180 Ringing", REQUIRE, "");
    assert_eq!(bench.count("SIP/2.0 180"), 0);
    bench.phone(&prack(&progress, 2));
    let second = bench.sent("SIP/2.0 180");
    let number = |text: &str| header(text, "RSeq").parse::<u32>().expect("a number");
    assert_eq!(number(&second), number(&progress) + 1);
}

#[test]
fn a_prack_for_something_else_gets_481() {
    let mut bench = Bench::new();
    let (_, progress) = ringing(&mut bench, "");
    let tag = tag_of(&progress, "To");
    bench.phone(&request("PRACK", 2, tag, "RAck: 1 1 INVITE\r\n", ""));
    bench.sent("SIP/2.0 481");
    bench.phone(&request("PRACK", 3, tag, "RAck: 1\r\n", ""));
    bench.sent("SIP/2.0 400");
    assert!(!bench.was_told("PRACK"));
}

#[test]
fn without_prack_the_call_is_refused_and_the_application_told() {
    let mut bench = Bench::new();
    ringing(&mut bench, "");
    bench.pass(33_000);
    bench.sent("SIP/2.0 504");
    bench.told("CANCEL");
}

#[test]
fn a_caller_that_does_not_know_100rel_gets_a_plain_response() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "183 Session Progress", REQUIRE, SDP);
    let progress = bench.sent("SIP/2.0 183");
    assert_eq!(header(&progress, "RSeq"), "");
    assert_eq!(header(&progress, "Require"), "");
}

#[test]
fn a_new_leader_goes_on_where_the_old_one_was() {
    let mut bench = Bench::new();
    let (_, progress) = ringing(&mut bench, SDP);
    let mut bench = bench.successor();
    bench.pass(10);
    assert_eq!(bench.sent("SIP/2.0 183"), progress);
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.phone(&prack(&progress, 2));
    bench.told("PRACK");
    bench.answer(&invite, "200 OK", "", SDP);
    let ok = bench.sent("SIP/2.0 200");
    assert_eq!(tag_of(&ok, "To"), tag_of(&progress, "To"));
}

#[test]
fn a_new_leader_knows_of_a_prack() {
    let mut bench = Bench::new();
    let (_, progress) = ringing(&mut bench, SDP);
    bench.phone(&prack(&progress, 2));
    let mut bench = bench.successor();
    bench.pass(40_000);
    assert_eq!(bench.count("SIP/2.0 183"), 0);
    assert_eq!(bench.count("SIP/2.0 504"), 0);
}

#[test]
fn a_reliable_response_to_us_is_delivered_once_and_acknowledged_in_its_dialog() {
    let mut bench = Bench::new();
    bench.invite(SUPPORTED);
    let invite = bench.sent("INVITE");
    let progress = response(&invite, "183 X", "Require: 100rel\r\nRSeq: 9\r\n", SDP);
    bench.phone(&progress);
    let told = bench.told("SIP/2.0 183");
    bench.phone(&progress);
    assert!(!bench.was_told("SIP/2.0 183"));
    bench.ask(told.dialog(), "PRACK", "RAck: 9 1 INVITE\r\n", "");
    let prack = bench.sent("PRACK");
    assert!(prack.starts_with("PRACK sip:1001@192.0.2.1:5062 "));
    assert_eq!(header(&prack, "CSeq"), "2 PRACK");
    assert_eq!(tag_of(&prack, "To"), "callee");
    // One that overtook another is left to come again.
    bench.phone(&response(
        &invite,
        "180 X",
        "Require: 100rel\r\nRSeq: 11\r\n",
        "",
    ));
    assert!(!bench.was_told("SIP/2.0 180"));
    bench.phone(&response(
        &invite,
        "180 X",
        "Require: 100rel\r\nRSeq: 10\r\n",
        "",
    ));
    bench.told("SIP/2.0 180");
    bench.phone(&response(&prack, "200 OK", "", ""));
    bench.told("SIP/2.0 200");
    // The 200 to the INVITE may leave the session description out.
    bench.phone(&response(&invite, "200 OK", "", ""));
    let EngineEvent::DialogConfirmed(view) = bench.events.pop().expect("an event") else {
        panic!("the dialog is confirmed");
    };
    assert!(view.response.ends_with(SDP));
    bench.ask(&view.id, "ACK", "", "");
    assert_eq!(header(&bench.sent("ACK"), "CSeq"), "1 ACK");
}
