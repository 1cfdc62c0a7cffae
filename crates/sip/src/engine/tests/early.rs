//! What an application hears before it is committed, and what waits for the commit.
use std::time::Duration;

use super::*;
use crate::limits::{EARLY_COMMANDS_MAX, EARLY_PATIENCE};

fn patience(bench: &mut Bench) -> Duration {
    let all = std::mem::take(&mut bench.patience);
    assert_eq!(all.len(), 1, "one commit");
    all[0]
}

#[test]
fn commits_that_an_application_does_not_wait_for_wait_for_company() {
    let mut bench = Bench::new();
    bench.phone(&request("INVITE", 1, "", "", SDP));
    assert_eq!(patience(&mut bench), EARLY_PATIENCE);
    let invite = bench.told("INVITE");
    bench.answer(invite.transaction(), "200 OK", "", SDP);
    assert_eq!(patience(&mut bench), Duration::ZERO, "the caller waits");
    let tag = tag_of(&bench.sent("SIP/2.0 200"), "To").to_owned();
    bench.phone(&request("ACK", 1, &tag, "", ""));
    bench.pass(100);
    bench.patience.clear();
    bench.phone(&request("BYE", 2, &tag, "", ""));
    assert_eq!(patience(&mut bench), EARLY_PATIENCE);
}

#[test]
fn an_invite_for_nobody_is_stored_at_once() {
    let mut bench = Bench::new();
    bench.input(Input::AppClosed { app: APP });
    bench.phone(&request("INVITE", 1, "", "", SDP));
    assert!(bench.patience.iter().all(Duration::is_zero));
    assert!(bench.told.is_empty());
}

#[test]
fn an_invite_whose_application_went_away_meanwhile_is_delivered_again() {
    let mut bench = Bench::new();
    bench.holding = true;
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "180 Ringing", "", "");
    bench.input(Input::AppClosed { app: APP });
    bench.release();
    bench.sent("SIP/2.0 100");
    assert_eq!(bench.count("SIP/2.0 180"), 0, "who said so is gone");
    bench.start();
    assert_eq!(bench.told("INVITE").transaction(), invite);
}

#[test]
fn a_cancel_that_comes_before_the_commit_is_answered_after_it() {
    let mut bench = Bench::new();
    bench.holding = true;
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "180 Ringing", "", "");
    bench.phone(&request("CANCEL", 1, "", "", "").replace("CANCEL1", "INVITE1"));
    assert!(bench.sent.is_empty());
    bench.release();
    bench.sent("SIP/2.0 100");
    bench.sent("SIP/2.0 200");
    bench.sent("SIP/2.0 487");
    assert_eq!(bench.told("CANCEL").transaction(), invite);
}

#[test]
fn too_many_commands_before_the_commit_are_refused() {
    let mut bench = Bench::new();
    bench.holding = true;
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    for _ in 0..EARLY_COMMANDS_MAX {
        bench.answer(&invite, "180 Ringing", "", "");
    }
    assert!(bench.told.is_empty());
    bench.answer(&invite, "180 Ringing", "", "");
    assert_eq!(bench.echo().tokens[3], "NOK");
    bench.release();
    assert_eq!(bench.count("SIP/2.0 180"), EARLY_COMMANDS_MAX);
}

#[test]
fn a_node_that_leads_no_more_answers_the_commands_that_waited() {
    let mut bench = Bench::new();
    bench.holding = true;
    bench.phone(&request("INVITE", 1, "", "", SDP));
    let invite = bench.told("INVITE").transaction().to_owned();
    bench.answer(&invite, "180 Ringing", "", "");
    bench.input(Input::Follow);
    assert_eq!(bench.echo().tokens[3], "NOK");
    assert!(bench.sent.is_empty());
}

#[test]
fn a_bye_before_the_answer_is_stored_ends_the_call_in_order() {
    let mut bench = Bench::new();
    bench.invite("");
    let invite = bench.sent("INVITE");
    bench.holding = true;
    bench.phone(&response(&invite, "200 OK", "", SDP));
    let dialog = bench.told("SIP/2.0 200").dialog().to_owned();
    bench.ask(&dialog, "ACK", "", "");
    let tag = tag_of(&invite, "From").to_owned();
    bench.phone(&callee("BYE", 1, &tag, "", ""));
    assert!(bench.sent.is_empty());
    bench.release();
    bench.sent("ACK");
    bench.pass(100);
    let bye = bench.told("BYE");
    bench.answer(bye.transaction(), "200 OK", "", "");
    bench.sent("SIP/2.0 200");
}
