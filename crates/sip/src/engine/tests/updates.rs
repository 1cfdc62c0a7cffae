//! UPDATE (RFC 3311), re-INVITE, glare, and what a takeover knows of them.
use super::*;

#[test]
fn an_update_changes_target_and_session_description_before_its_200_leaves() {
    let mut bench = Bench::new();
    let call = bench.call("");
    let moved = request("UPDATE", 2, &call.tag, "", OTHER_SDP).replace(
        "Contact: <sip:1001@192.0.2.1:5062>",
        "Contact: <sip:1001@192.0.2.1:5099>",
    );
    bench.phone(&moved);
    let update = bench.told("UPDATE");
    assert_eq!(update.dialog(), call.dialog);
    bench.holding = true;
    bench.answer(update.transaction(), "200 OK", "", SDP);
    assert_eq!(bench.count("SIP/2.0 200"), 0);
    bench.release();
    bench.sent("SIP/2.0 200");
    let Some(EngineEvent::DialogConfirmed(view)) = bench.events.last() else {
        panic!("the dialog changed");
    };
    assert!(view.request.ends_with(OTHER_SDP));
    let mut bench = bench.successor();
    bench.ask(&call.dialog, "INFO", "", "");
    assert!(
        bench
            .sent("INFO")
            .starts_with("INFO sip:1001@192.0.2.1:5099 ")
    );
}

#[test]
fn a_reinvite_changes_the_session_description_that_a_takeover_knows() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.phone(&request("INVITE", 2, &call.tag, "", OTHER_SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "200 OK", "", OTHER_SDP);
    bench.sent("SIP/2.0 200");
    let Some(EngineEvent::DialogConfirmed(view)) = bench.events.last() else {
        panic!("the dialog changed");
    };
    assert!(view.request.ends_with(OTHER_SDP) && view.response.ends_with(OTHER_SDP));
}

#[test]
fn an_answer_in_the_ack_is_kept_too() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.phone(&request("INVITE", 2, &call.tag, "", ""));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "200 OK", "", SDP);
    bench.sent("SIP/2.0 200");
    bench.phone(&request("ACK", 2, &call.tag, "", OTHER_SDP));
    let Some(EngineEvent::DialogConfirmed(view)) = bench.events.last() else {
        panic!("the dialog changed");
    };
    assert!(view.request.ends_with(OTHER_SDP));
}

#[test]
fn a_second_update_before_the_answer_gets_500() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.phone(&request("UPDATE", 2, &call.tag, "", ""));
    let update = bench.told("UPDATE").transaction().to_owned();
    bench.phone(&request("UPDATE", 3, &call.tag, "", ""));
    let after = bench.sent("SIP/2.0 500");
    assert!(
        header(&after, "Retry-After")
            .parse::<u32>()
            .expect("seconds")
            < 10
    );
    bench.answer(&update, "200 OK", "", "");
    bench.sent("SIP/2.0 200");
    bench.phone(&request("UPDATE", 4, &call.tag, "", ""));
    bench.told("UPDATE");
}

#[test]
fn offers_that_cross_get_491() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.ask(&call.dialog, "INVITE", "", SDP);
    bench.sent("INVITE");
    bench.phone(&request("INVITE", 2, &call.tag, "", SDP));
    assert_eq!(header(&bench.sent("SIP/2.0 491"), "CSeq"), "2 INVITE");
    bench.phone(&request("UPDATE", 3, &call.tag, "", SDP));
    assert_eq!(header(&bench.sent("SIP/2.0 491"), "CSeq"), "3 UPDATE");
}

#[test]
fn offers_cross_an_update_of_ours_too() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.ask(&call.dialog, "UPDATE", "", SDP);
    let update = bench.sent("UPDATE");
    bench.phone(&request("UPDATE", 2, &call.tag, "", SDP));
    bench.sent("SIP/2.0 491");
    bench.ask(&call.dialog, "UPDATE", "", SDP);
    assert!(bench.echo().tokens[3].starts_with("NOK"));
    bench.phone(&response(&update, "200 OK", "", OTHER_SDP));
    bench.told("SIP/2.0 200");
    bench.phone(&request("UPDATE", 3, &call.tag, "", SDP));
    bench.told("UPDATE");
}

#[test]
fn a_second_invite_during_the_first_gets_500() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.phone(&request("INVITE", 2, &call.tag, "", SDP));
    bench.phone(&request("INVITE", 3, &call.tag, "", SDP));
    let refusal = bench.sent("SIP/2.0 500");
    assert_ne!(header(&refusal, "Retry-After"), "");
    bench.phone(&request("UPDATE", 4, &call.tag, "", SDP));
    bench.sent("SIP/2.0 500");
}

#[test]
fn an_offer_in_an_early_dialog_waits_for_the_answer_to_the_first() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "Supported: 100rel\r\n", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "183 X", "Require: 100rel\r\n", SDP);
    let progress = bench.sent("SIP/2.0 183");
    let tag = tag_of(&progress, "To").to_owned();
    bench.phone(&request("UPDATE", 2, &tag, "", SDP));
    bench.sent("SIP/2.0 500");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&progress, "RSeq"));
    bench.phone(&request("PRACK", 3, &tag, &rack, ""));
    bench.phone(&request("UPDATE", 4, &tag, "", SDP));
    let update = bench.told("UPDATE").transaction().to_owned();
    bench.answer(&update, "200 OK", "", SDP);
    bench.sent("SIP/2.0 200");
}

#[test]
fn an_unfinished_reinvite_gets_500_from_the_next_leader() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.phone(&request("INVITE", 2, &call.tag, "", SDP));
    bench.told("INVITE");
    let mut bench = bench.successor();
    let refusal = bench.sent("SIP/2.0 500");
    assert_eq!(header(&refusal, "Retry-After"), "1");
    bench.phone(&request("ACK", 2, &call.tag, "", ""));
    bench.phone(&request("INVITE", 3, &call.tag, "", SDP));
    bench.told("INVITE");
}

#[test]
fn the_200_to_a_reinvite_of_a_dead_leader_is_acknowledged() {
    let mut bench = Bench::new();
    let call = bench.call("");
    bench.ask(&call.dialog, "INVITE", "", SDP);
    let invite = bench.sent("INVITE");
    let mut bench = bench.successor();
    bench.phone(&response(&invite, "200 OK", "", SDP));
    let ack = bench.sent("ACK");
    assert_eq!(
        header(&ack, "CSeq").split(' ').next(),
        header(&invite, "CSeq").split(' ').next()
    );
}
