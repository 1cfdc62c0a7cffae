//! One engine dies, another goes on: nobody has to dial again.
mod support;

use raftpbx_sip::EngineEvent;
use support::phone::{header, to_tag};
use support::{App, Phone, TestJournal, address, any_port, follower, kill, leader};

const LEG: &str = "X-Leg: call/1\r\n";

#[test]
fn a_confirmed_dialog_ends_normally_at_the_new_leader() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let phone = Phone::new(listen);
    phone.send(&phone.request("INVITE", 1, "", ""));
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "200 OK");
    let ok = phone.expect_after("SIP/2.0 200", "SIP/2.0 100");
    assert_eq!(app.next().tokens[3], "OK");
    phone.send(&phone.request("ACK", 1, to_tag(&ok), ""));
    let dialog = app.expect("ACK").dialog().to_owned();
    journal.wait_keys("sip:transaction:", 0);
    kill(first, &journal);

    let second = follower(&journal, listen);
    journal.wait_event(
        |event| matches!(event, EngineEvent::DialogConfirmed(view) if view.id == dialog),
    );
    second.lead(2);
    let mut app = App::for_calls(second.applications());
    phone.send(&phone.request("BYE", 2, to_tag(&ok), ""));
    let bye = app.expect("BYE");
    assert_eq!(bye.dialog(), dialog);
    app.respond(bye.transaction(), "200 OK");
    phone.expect("SIP/2.0 200");
    assert_eq!(app.next().tokens[3], "OK");
    journal.delete(&format!("sip:dialog:{dialog}"));
    journal.wait_event(|event| matches!(event, EngineEvent::DialogRemoved { id } if *id == dialog));
}

#[test]
fn the_new_leader_can_end_a_dialog_with_a_higher_number() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let phone = Phone::new(listen);
    phone.send(&phone.request("INVITE", 1, "", ""));
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "200 OK");
    let ok = phone.expect_after("SIP/2.0 200", "SIP/2.0 100");
    app.next();
    phone.send(&phone.request("ACK", 1, to_tag(&ok), ""));
    let dialog = app.expect("ACK").dialog().to_owned();
    kill(first, &journal);

    let second = leader(&journal, listen);
    let mut app = App::for_calls(second.applications());
    app.command(&format!(
        "sip||{dialog}\r\nBYE sip:placeholder SIP/2.0\r\n\r\n"
    ));
    let bye = phone.expect("BYE sip:1001@");
    assert!(header(&bye, "CSeq").starts_with("1001 "));
    assert_eq!(app.next().tokens[3], "OK");
    phone.send(&phone.response(&bye, "200 OK"));
    app.expect("SIP/2.0 200");
    journal.wait_keys("sip:dialog:", 0);
}

#[test]
fn an_unfinished_invite_is_delivered_again_under_the_same_name() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let phone = Phone::new(listen);
    phone.send(&phone.request("INVITE", 1, "", ""));
    phone.expect("SIP/2.0 100");
    let transaction = app.expect("INVITE").transaction().to_owned();
    kill(first, &journal);

    let second = leader(&journal, listen);
    // The caller's retransmission is absorbed, not taken for a second call.
    phone.send(&phone.request("INVITE", 1, "", ""));
    phone.expect("SIP/2.0 100");
    let mut app = App::for_calls(second.applications());
    let invite = app.expect("INVITE");
    assert_eq!(invite.transaction(), transaction);
    app.respond(&transaction, "486 Busy Here");
    phone.expect("SIP/2.0 486");
    journal.wait_keys("sip:transaction:", 0);
}

#[test]
fn a_cancelled_invite_is_ended_by_the_new_leader() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let phone = Phone::new(listen);
    let invite = phone.request("INVITE", 1, "", "");
    phone.send(&invite);
    phone.expect("SIP/2.0 100");
    app.expect("INVITE");
    let cancel = phone
        .request("CANCEL", 1, "", "")
        .replace("z9hG4bKCANCEL1", "z9hG4bKINVITE1");
    phone.send(&cancel);
    phone.expect("SIP/2.0 200");
    phone.expect("SIP/2.0 487");
    kill(first, &journal);

    let second = leader(&journal, listen);
    let mut app = App::for_calls(second.applications());
    let invite = app.expect("INVITE");
    assert_eq!(app.expect("CANCEL").transaction(), invite.transaction());
    let refusal = phone.expect("SIP/2.0 487");
    let ack = phone.request("ACK", 1, to_tag(&refusal), "");
    phone.send(&ack.replace("z9hG4bKack1", "z9hG4bKINVITE1"));
    journal.wait_keys("sip:transaction:", 0);
}

#[test]
fn a_ringing_leg_is_sent_again_and_attached_to_by_its_name() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let callee = Phone::new(listen);
    let invite = format!(
        "sip||\r\nINVITE sip:b@{} SIP/2.0\r\n{LEG}\r\n",
        callee.address()
    );
    app.command(&invite);
    let sent = callee.expect("INVITE");
    assert!(!sent.contains("X-Leg"), "the name of the leg is ours alone");
    let transaction = app.next().transaction().to_owned();
    callee.send(&callee.response(&sent, "180 Ringing"));
    app.expect("SIP/2.0 180");
    kill(first, &journal);

    let second = leader(&journal, listen);
    assert_eq!(callee.expect("INVITE"), sent, "byte for byte");
    callee.send(&callee.response(&sent, "180 Ringing"));
    let mut app = App::for_calls(second.applications());
    app.command(&invite);
    let echo = app.next();
    assert_eq!(
        (echo.tokens[3].as_str(), echo.transaction()),
        ("OK", transaction.as_str())
    );
    app.expect("SIP/2.0 180");
    callee.send(&callee.response(&sent, "200 OK"));
    let ok = app.expect("SIP/2.0 200");
    assert_eq!(ok.transaction(), transaction);
    app.command(&format!(
        "sip||{}\r\nACK sip:b SIP/2.0\r\n\r\n",
        ok.dialog()
    ));
    callee.expect("ACK");
    journal.wait_keys("sip:transaction:", 0);
    journal.wait_keys("sip:dialog:", 1);
}

#[test]
fn an_answered_leg_gives_its_answer_again_to_who_attaches() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let callee = Phone::new(listen);
    let invite = format!(
        "sip||\r\nINVITE sip:b@{} SIP/2.0\r\n{LEG}\r\n",
        callee.address()
    );
    app.command(&invite);
    let sent = callee.expect("INVITE");
    let transaction = app.next().transaction().to_owned();
    let ok = callee.response(&sent, "200 OK");
    callee.send(&ok);
    app.expect("SIP/2.0 200");
    kill(first, &journal);

    let second = leader(&journal, listen);
    // The callee has had no ACK yet and repeats its answer.
    callee.send(&ok);
    callee.expect("ACK");
    let mut app = App::for_calls(second.applications());
    app.command(&invite);
    assert_eq!(app.next().transaction(), transaction);
    let again = app.expect("SIP/2.0 200");
    assert_eq!(again.transaction(), transaction);
}

#[test]
fn an_answer_without_its_ack_is_repeated_by_the_new_leader() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let phone = Phone::new(listen);
    phone.send(&phone.request("INVITE", 1, "", ""));
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "200 OK");
    let ok = phone.expect_after("SIP/2.0 200", "SIP/2.0 100");
    kill(first, &journal);

    let second = leader(&journal, listen);
    let again = phone.expect("SIP/2.0 200");
    assert_eq!(again, ok);
    let mut app = App::for_calls(second.applications());
    phone.send(&phone.request("ACK", 1, to_tag(&ok), ""));
    app.expect("ACK");
    journal.wait_keys("sip:transaction:", 0);
}

#[test]
fn a_bye_that_was_stored_reaches_the_new_application() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let phone = Phone::new(listen);
    phone.send(&phone.request("INVITE", 1, "", ""));
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "200 OK");
    let ok = phone.expect_after("SIP/2.0 200", "SIP/2.0 100");
    app.next();
    phone.send(&phone.request("ACK", 1, to_tag(&ok), ""));
    app.expect("ACK");
    phone.send(&phone.request("BYE", 2, to_tag(&ok), ""));
    let transaction = app.expect("BYE").transaction().to_owned();
    kill(first, &journal);

    let second = leader(&journal, listen);
    let mut app = App::for_calls(second.applications());
    let bye = app.expect("BYE");
    assert_eq!(bye.transaction(), transaction);
    app.respond(&transaction, "200 OK");
    phone.expect("SIP/2.0 200");
}
