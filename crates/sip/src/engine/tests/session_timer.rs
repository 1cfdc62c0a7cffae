//! Session timers (RFC 4028) on a virtual clock.
use super::*;

const TIMER: SessionTimer = SessionTimer {
    expires_s: 1_800,
    min_se_s: 90,
};
const SUPPORTED: &str = "Supported: timer\r\n";
const HALF_MS: u64 = 900_000;

#[test]
fn a_caller_that_knows_timers_refreshes_or_its_call_ends() {
    let mut bench = Bench::with_timer(TIMER);
    let call = bench.call(SUPPORTED);
    assert_eq!(header(&call.ok, "Session-Expires"), "1800;refresher=uac");
    assert_eq!(header(&call.ok, "Require"), "timer");
    bench.pass(1_700_000);
    assert!(bench.sent.is_empty());
    bench.phone(&request("UPDATE", 2, &call.tag, SUPPORTED, ""));
    let update = bench.told("UPDATE").transaction().to_owned();
    bench.answer(&update, "200 OK", "", "");
    let ok = bench.sent("SIP/2.0 200");
    assert_eq!(header(&ok, "Session-Expires"), "1800;refresher=uac");
    bench.pass(1_700_000);
    assert_eq!(bench.count("BYE"), 0);
    bench.pass(100_000);
    let bye = bench.sent("BYE");
    assert!(header(&bye, "Reason").contains("Session timer expired"));
    let told = bench.told("BYE");
    assert_eq!(told.tokens[2], "application");
    assert_eq!(told.transaction(), "unsolicited");
    assert_eq!(told.dialog(), call.dialog);
    bench.pass(40_000);
    assert!(bench.journal.is_empty(), "nothing is left of the call");
}

#[test]
fn a_caller_without_timers_gets_none_of_them() {
    let mut bench = Bench::with_timer(TIMER);
    let call = bench.call("");
    assert_eq!(header(&call.ok, "Session-Expires"), "");
    bench.pass(10_000_000);
    assert!(bench.sent.is_empty());
}

#[test]
fn an_interval_that_is_too_short_gets_422() {
    let mut bench = Bench::with_timer(TIMER);
    let short = "Supported: timer\r\nSession-Expires: 60\r\n";
    bench.phone(&request("INVITE", 1, "", short, SDP));
    assert_eq!(header(&bench.sent("SIP/2.0 422"), "Min-SE"), "90");
    assert!(!bench.was_told("INVITE"));
    let call = bench.call("Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n");
    assert_eq!(header(&call.ok, "Session-Expires"), "120;refresher=uac");
    bench.phone(&request("UPDATE", 2, &call.tag, short, ""));
    bench.sent("SIP/2.0 422");
}

#[test]
fn we_refresh_with_update_when_the_peer_knows_it() {
    let mut bench = Bench::with_timer(TIMER);
    bench.invite("");
    let invite = bench.sent("INVITE");
    assert_eq!(header(&invite, "Session-Expires"), "1800");
    assert_eq!(header(&invite, "Min-SE"), "90");
    assert_eq!(header(&invite, "Supported"), "timer");
    let agreed = "Session-Expires: 1800;refresher=uac\r\nAllow: INVITE, UPDATE\r\n";
    bench.phone(&response(&invite, "200 OK", agreed, SDP));
    let dialog = bench.told("SIP/2.0 200").dialog().to_owned();
    bench.ask(&dialog, "ACK", "", "");
    bench.sent.clear();
    for _ in 0..3 {
        bench.pass(HALF_MS);
        let update = bench.sent("UPDATE");
        assert_eq!(header(&update, "Session-Expires"), "1800;refresher=uac");
        bench.phone(&response(&update, "200 OK", agreed, ""));
    }
    assert!(
        !bench.was_told("SIP/2.0"),
        "the application sees nothing of it"
    );
    assert_eq!(bench.count("BYE"), 0);
}

#[test]
fn we_refresh_with_a_reinvite_that_repeats_our_session_description() {
    let mut bench = Bench::with_timer(TIMER);
    let agreed = "Session-Expires: 1800;refresher=uac\r\n";
    let call = bench.dial(agreed);
    bench.pass(HALF_MS);
    let invite = bench.sent("INVITE");
    assert!(invite.ends_with(SDP));
    bench.phone(&response(&invite, "200 OK", agreed, OTHER_SDP));
    let ack = bench.sent("ACK");
    assert_eq!(
        header(&ack, "CSeq").split(' ').next(),
        header(&invite, "CSeq").split(' ').next()
    );
    let Some(EngineEvent::DialogConfirmed(view)) = bench.events.last() else {
        panic!("the dialog changed");
    };
    assert_eq!(view.id, call.dialog);
    assert!(view.response.ends_with(OTHER_SDP));
    bench.pass(HALF_MS);
    bench.sent("INVITE");
}

#[test]
fn a_phone_that_vanished_ends_its_call_at_the_refresh() {
    let mut bench = Bench::with_timer(TIMER);
    bench.dial("Session-Expires: 1800;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.pass(HALF_MS + 33_000);
    bench.sent("BYE");
    assert_eq!(bench.told("BYE").transaction(), "unsolicited");
}

#[test]
fn a_refresh_that_meets_another_transaction_is_tried_again() {
    let mut bench = Bench::with_timer(TIMER);
    bench.dial("Session-Expires: 1800;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.pass(HALF_MS);
    let update = bench.sent("UPDATE");
    bench.phone(&response(&update, "491 Request Pending", "", ""));
    bench.pass(4_300);
    let again = bench.sent("UPDATE");
    assert_ne!(header(&again, "CSeq"), header(&update, "CSeq"));
    bench.sent.clear();
    bench.phone(&response(&again, "422 X", "Min-SE: 3600\r\n", ""));
    let longer = bench.sent("UPDATE");
    assert_eq!(header(&longer, "Session-Expires"), "3600;refresher=uac");
}

#[test]
fn a_refresh_that_is_too_short_is_repeated_with_the_min_se_of_its_422() {
    let mut bench = Bench::with_timer(TIMER);
    bench.dial("Session-Expires: 1800;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.pass(HALF_MS);
    let update = bench.sent("UPDATE");
    bench.phone(&response(&update, "422 X", "Min-SE: 3600\r\n", ""));
    let longer = bench.sent("UPDATE");
    assert_eq!(header(&longer, "Session-Expires"), "3600;refresher=uac");
    // RFC 4028 section 7.4: what is asked for is what must be granted at least.
    assert_eq!(header(&longer, "Min-SE"), "3600");
    let agreed = "Session-Expires: 3600;refresher=uac\r\n";
    bench.phone(&response(&longer, "200 OK", agreed, ""));
    bench.pass(1_700_000);
    assert_eq!(bench.count("UPDATE"), 0);
    bench.pass(200_000);
    bench.sent("UPDATE");
}

#[test]
fn a_proxy_that_wants_a_timer_makes_us_the_refresher() {
    let mut bench = Bench::with_timer(TIMER);
    let call = bench.call("Session-Expires: 600\r\nAllow: UPDATE\r\n");
    assert_eq!(header(&call.ok, "Session-Expires"), "600;refresher=uas");
    bench.pass(300_000);
    let update = bench.sent("UPDATE");
    assert_eq!(header(&update, "Session-Expires"), "600;refresher=uac");
}

#[test]
fn a_new_leader_keeps_the_deadline_with_a_grace() {
    let mut bench = Bench::with_timer(TIMER);
    bench.call(SUPPORTED);
    bench.pass(1_760_000);
    let mut bench = bench.successor();
    bench.pass(29_000);
    assert_eq!(bench.count("BYE"), 0);
    bench.pass(2_000);
    bench.sent("BYE");
    assert_eq!(bench.told("BYE").transaction(), "unsolicited");
}

#[test]
fn a_new_leader_spreads_the_refreshes_that_are_due() {
    let mut bench = Bench::with_timer(TIMER);
    bench.dial("Session-Expires: 1800;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.pass(899_000);
    let mut bench = bench.successor();
    bench.pass(1_000);
    assert_eq!(bench.count("UPDATE"), 1, "not overdue: at its time");
    let mut late = bench.successor();
    late.pass(61_000);
    assert!(late.count("UPDATE") >= 1);
}

#[test]
fn requests_of_the_application_keep_the_timer() {
    let mut bench = Bench::with_timer(TIMER);
    let agreed = "Session-Expires: 1800;refresher=uas\r\nRequire: timer\r\n";
    let call = bench.dial(agreed);
    bench.pass(1_000_000);
    bench.ask(&call.dialog, "INVITE", "", OTHER_SDP);
    let invite = bench.sent("INVITE");
    assert_eq!(header(&invite, "Session-Expires"), "1800;refresher=uas");
    bench.phone(&response(&invite, "200 OK", agreed, SDP));
    bench.ask(&call.dialog, "ACK", "", "");
    bench.pass(1_700_000);
    assert_eq!(bench.count("BYE"), 0);
    bench.pass(70_000);
    bench.sent("BYE");
}
