//! Nothing that stops a peer's retransmissions leaves before its state is committed.
mod support;

use md5::{Digest, Md5};
use raftpbx_sip::JournalError;
use support::phone::{header, to_tag};
use support::{App, Phone, TestJournal, address, any_port, leader};

fn md5(text: &str) -> String {
    Md5::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// An Authorization header for a challenge.
fn authorization(challenge: &str, name: &str, method: &str, password: &str) -> String {
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let nonce = nonce.expect("a challenge has a nonce");
    let ha1 = md5(&format!("1001:pbx.test:{password}"));
    let ha2 = md5(&format!("{method}:sip:pbx.test"));
    let response = md5(&format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
    format!(
        "{name}: Digest username=\"1001\", realm=\"pbx.test\", nonce=\"{nonce}\", \
         uri=\"sip:pbx.test\", response=\"{response}\", qop=auth, nc=00000001, cnonce=\"c\"\r\n"
    )
}

fn register(phone: &Phone, cseq: u32, password: &str) -> String {
    phone.send(&phone.request("REGISTER", cseq, "", ""));
    let challenge = phone.expect("SIP/2.0 401");
    let value = header(&challenge, "WWW-Authenticate");
    phone.request(
        "REGISTER",
        cseq + 1,
        "",
        &authorization(value, "Authorization", "REGISTER", password),
    )
}

#[test]
fn a_registration_is_acknowledged_after_its_commit() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let phone = Phone::new(address(&engine));
    let request = register(&phone, 1, "secret");
    journal.hold();
    phone.send(&request);
    journal.wait_held();
    // A retransmission must not be answered from the value that waits.
    phone.send(&request);
    assert!(phone.is_quiet());
    journal.release();
    let ok = phone.expect("SIP/2.0 200");
    assert!(header(&ok, "Contact").ends_with(";expires=3600"));
    let stored = journal.value("registration:1001").expect("it is stored");
    let stored: serde_json::Value = serde_json::from_slice(&stored).expect("JSON");
    assert_eq!(
        stored["bindings"][0]["received"],
        format!("udp/{}", phone.address())
    );
}

#[test]
fn a_registration_that_cannot_be_stored_is_not_answered_or_refused_when_overloaded() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let phone = Phone::new(address(&engine));
    for (error, answer) in [
        (JournalError::NotLeader, ""),
        (JournalError::Overloaded, "SIP/2.0 503"),
    ] {
        let request = register(&phone, 1, "secret");
        journal.hold();
        phone.send(&request);
        journal.wait_held();
        journal.refuse(error);
        if answer.is_empty() {
            assert!(phone.is_quiet());
        } else {
            assert!(phone.expect(answer).contains("Retry-After"));
        }
        assert_eq!(journal.value("registration:1001"), None);
    }
    // The failure left nothing behind: the same request succeeds.
    phone.send(&register(&phone, 1, "secret"));
    phone.expect("SIP/2.0 200");
}

#[test]
fn a_wrong_password_is_refused_and_nothing_is_stored() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let phone = Phone::new(address(&engine));
    phone.send(&register(&phone, 1, "guess"));
    phone.expect("SIP/2.0 403");
    assert_eq!(journal.value("registration:1001"), None);
}

#[test]
fn an_invite_is_acknowledged_after_its_commit_and_its_application_speaks_after_that() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let mut app = App::for_calls(engine.applications());
    let phone = Phone::new(address(&engine));
    journal.hold();
    phone.send(&phone.request("INVITE", 1, "", ""));
    journal.wait_held();
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "180 Ringing");
    assert!(phone.is_quiet() && app.is_quiet());
    journal.release();
    phone.expect("SIP/2.0 100");
    phone.expect("SIP/2.0 180");
    assert_eq!(app.next().tokens[3], "OK");
}

#[test]
fn an_application_hears_that_its_call_could_not_be_stored() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let mut app = App::for_calls(engine.applications());
    let phone = Phone::new(address(&engine));
    journal.hold();
    phone.send(&phone.request("INVITE", 1, "", ""));
    journal.wait_held();
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "180 Ringing");
    assert!(phone.is_quiet());
    journal.refuse(JournalError::Overloaded);
    assert_eq!(app.next().tokens[3], "NOK");
    assert_eq!(app.expect("CANCEL").transaction(), invite.transaction());
    phone.expect("SIP/2.0 503");
}

#[test]
fn an_answer_is_sent_after_its_commit() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let mut app = App::for_calls(engine.applications());
    let phone = Phone::new(address(&engine));
    phone.send(&phone.request("INVITE", 1, "", ""));
    phone.expect("SIP/2.0 100");
    let invite = app.expect("INVITE");
    journal.hold();
    app.respond(invite.transaction(), "200 OK");
    journal.wait_held();
    assert!(phone.is_quiet() && app.is_quiet());
    journal.release();
    phone.expect("SIP/2.0 200");
    assert_eq!(app.next().tokens[3], "OK");
}

#[test]
fn an_invite_of_the_application_and_its_answer_wait_for_their_commits() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let mut app = App::for_calls(engine.applications());
    let callee = Phone::new(address(&engine));
    journal.hold();
    app.command(&format!(
        "sip||\r\nINVITE sip:b@{} SIP/2.0\r\n\r\n",
        callee.address()
    ));
    journal.wait_held();
    assert!(callee.is_quiet() && app.is_quiet());
    journal.release();
    let sent = callee.expect("INVITE");
    assert_eq!(app.next().tokens[3], "OK");
    journal.hold();
    callee.send(&callee.response(&sent, "486 Busy Here"));
    journal.wait_held();
    assert!(callee.is_quiet() && app.is_quiet());
    journal.release();
    callee.expect("ACK");
    app.expect("SIP/2.0 486");
}

#[test]
fn the_answer_to_a_call_of_the_application_is_acknowledged_after_its_commit() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let mut app = App::for_calls(engine.applications());
    let callee = Phone::new(address(&engine));
    app.command(&format!(
        "sip||\r\nINVITE sip:b@{} SIP/2.0\r\n\r\n",
        callee.address()
    ));
    let sent = callee.expect("INVITE");
    assert_eq!(app.next().tokens[3], "OK");
    let ok = callee.response(&sent, "200 OK");
    journal.hold();
    callee.send(&ok);
    journal.wait_held();
    let dialog = app.expect("SIP/2.0 200").dialog().to_owned();
    app.command(&format!(
        "sip||{dialog}\r\nACK sip:placeholder SIP/2.0\r\n\r\n"
    ));
    callee.send(&ok);
    assert!(callee.is_quiet() && app.is_quiet());
    // Refused once: the callee repeats its answer, and that is stored again.
    journal.refuse(JournalError::Overloaded);
    assert!(callee.is_quiet() && app.is_quiet());
    callee.send(&ok);
    callee.expect("ACK");
    assert_eq!(app.next().tokens[3], "OK");
    assert!(journal.value(&format!("sip:dialog:{dialog}")).is_some());
    journal.wait_keys("sip:transaction:", 0);
}

#[test]
fn a_bye_is_answered_after_its_commit() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let mut app = App::for_calls(engine.applications());
    let phone = Phone::new(address(&engine));
    phone.send(&phone.request("INVITE", 1, "", ""));
    phone.expect("SIP/2.0 100");
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "200 OK");
    let ok = phone.expect("SIP/2.0 200");
    app.next();
    phone.send(&phone.request("ACK", 1, to_tag(&ok), ""));
    app.expect("ACK");
    journal.hold();
    phone.send(&phone.request("BYE", 2, to_tag(&ok), ""));
    journal.wait_held();
    let bye = app.expect("BYE");
    app.respond(bye.transaction(), "200 OK");
    assert!(app.is_quiet() && phone.is_quiet());
    journal.release();
    phone.expect("SIP/2.0 200");
    assert_eq!(app.next().tokens[3], "OK");
}

#[test]
fn a_cancel_is_acknowledged_after_its_commit() {
    let journal = TestJournal::new();
    let engine = leader(&journal, any_port());
    let mut app = App::for_calls(engine.applications());
    let phone = Phone::new(address(&engine));
    phone.send(&phone.request("INVITE", 1, "", ""));
    phone.expect("SIP/2.0 100");
    app.expect("INVITE");
    journal.hold();
    let cancel = phone
        .request("CANCEL", 1, "", "")
        .replace("z9hG4bKCANCEL1", "z9hG4bKINVITE1");
    phone.send(&cancel);
    journal.wait_held();
    assert!(app.is_quiet() && phone.is_quiet());
    journal.release();
    phone.expect("SIP/2.0 200");
    phone.expect("SIP/2.0 487");
    app.expect("CANCEL");
}
