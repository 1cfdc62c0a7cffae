//! The other servers of a name, for requests that are forwarded and for our own, also across
//! a takeover; and how long a forwarded call may ring.
mod support;

use support::desk::{Desk, request, response};
use support::phone::header;

const A: &str = "192.0.2.10:5060";
const B: &str = "192.0.2.20:5060";
const C: &str = "192.0.2.30:5060";
const RINGS_MS: u64 = 185_000;

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.application(1, "", "invite,message");
    desk
}

/// Has a request forwarded to a name with two servers.
fn forward(desk: &mut Desk, method: &str) -> String {
    desk.receive(A, &request(A, method, "one", 1, "", ""));
    if method == "INVITE" {
        desk.sent(A, "SIP/2.0 100");
    }
    let told = desk.told_sip(1, method);
    let (txn, line) = (
        told.transaction(),
        format!("{method} sip:b@b.example SIP/2.0"),
    );
    let command =
        format!("proxy|{txn}|remainInDialog|||serial|||sip:b@b.example\r\n{line}\r\n\r\n");
    desk.command(1, &command);
    desk.resolve(&[B, C]);
    desk.sent(B, method)
}

fn branch(message: &str) -> &str {
    let via = header(message, "Via");
    let branch = via.split("branch=").nth(1).expect("every request has one");
    branch.split(';').next().expect("split gives one")
}

#[test]
fn a_busy_server_leaves_a_forwarded_call_to_the_next() {
    let mut desk = desk();
    let first = forward(&mut desk, "INVITE");
    desk.holding = true;
    desk.receive(B, &response(B, &first, "503 Later", "b"));
    assert!(desk.is_quiet(), "the move is committed first");
    desk.release();
    let ack = desk.sent(B, "ACK");
    assert_eq!(branch(&ack), branch(&first));
    let second = desk.sent(C, "INVITE sip:b@b.example");
    assert_ne!(branch(&second), branch(&first));
    let mark = |message: &str| branch(message).split('.').nth(1).map(str::to_owned);
    assert_eq!(mark(&second), mark(&first), "the loop is still found");
    assert_eq!(
        header(&second, "Record-Route"),
        header(&first, "Record-Route")
    );
    desk.receive(C, &response(C, &second, "200 OK", "c"));
    desk.sent(A, "SIP/2.0 200");
    assert_eq!(desk.keys("sip:"), 0);
}

#[test]
fn the_refusal_of_the_last_server_is_the_callers() {
    let mut desk = desk();
    let first = forward(&mut desk, "INVITE");
    desk.receive(B, &response(B, &first, "503 Later", "b"));
    desk.sent(B, "ACK");
    let second = desk.sent(C, "INVITE");
    desk.receive(C, &response(C, &second, "503 Later", "c"));
    desk.sent(C, "ACK");
    // A 503 would keep the caller from everything else behind us (RFC 3261 section 16.7).
    desk.sent(A, "SIP/2.0 500");
}

#[test]
fn a_silent_server_leaves_a_forwarded_call_to_the_next() {
    let mut desk = desk();
    forward(&mut desk, "INVITE");
    desk.wait(3_900);
    desk.skip();
    desk.wait(200);
    desk.sent(C, "INVITE");
    // Its caller gives up: nobody else is tried.
    desk.receive(
        A,
        &request(A, "CANCEL", "one", 1, "", "").replace("oneCANCEL", "oneINVITE"),
    );
    desk.skip();
    desk.wait(40_000);
    desk.receive(A, &request(A, "ACK", "one", 1, "", ""));
}

#[test]
fn another_forwarded_request_goes_to_the_next_server_after_its_time() {
    let mut desk = desk();
    forward(&mut desk, "MESSAGE");
    desk.wait(31_900);
    desk.skip();
    desk.wait(200);
    let second = desk.sent(C, "MESSAGE");
    desk.receive(C, &response(C, &second, "200 OK", "c"));
    desk.sent(A, "SIP/2.0 200");
}

#[test]
fn a_forwarded_call_finds_its_other_servers_after_a_takeover() {
    let mut desk = desk();
    let first = forward(&mut desk, "INVITE");
    desk.take_over();
    assert_eq!(desk.sent(B, "INVITE"), first);
    desk.receive(B, &response(B, &first, "503 Later", "b"));
    desk.sent(B, "ACK");
    let second = desk.sent(C, "INVITE");
    desk.take_over();
    assert_eq!(desk.sent(C, "INVITE"), second);
    desk.receive(C, &response(C, &second, "503 Later", "c"));
    desk.sent(C, "ACK");
    desk.sent(A, "SIP/2.0 500");
}

#[test]
fn a_call_of_ours_finds_its_other_servers_after_a_takeover() {
    let mut desk = desk();
    desk.command(
        1,
        "sip||\r\nINVITE sip:b@b.example SIP/2.0\r\nX-Leg: call/1\r\n\r\n",
    );
    desk.resolve(&[B, C]);
    let first = desk.sent(B, "INVITE");
    desk.take_over();
    assert_eq!(desk.sent(B, "INVITE"), first);
    desk.wait(3_900);
    desk.skip();
    desk.wait(200);
    let second = desk.sent(C, "INVITE");
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    desk.take_over();
    assert_eq!(desk.sent(C, "INVITE"), second);
    desk.wait(3_900);
    desk.skip();
    desk.wait(200);
    assert!(desk.is_quiet() || desk.sent(C, "INVITE") == second);
}

/// One server, which rings.
fn ringing(desk: &mut Desk) -> String {
    let first = forward(desk, "INVITE");
    desk.receive(B, &response(B, &first, "180 Ringing", "b"));
    desk.sent(A, "SIP/2.0 180");
    first
}

#[test]
fn a_call_that_rings_without_news_is_taken_back() {
    let mut desk = desk();
    ringing(&mut desk);
    desk.wait(RINGS_MS - 1_000);
    assert!(desk.is_quiet());
    desk.wait(1_000);
    desk.sent(B, "CANCEL");
}

#[test]
fn news_lets_it_ring_on() {
    let mut desk = desk();
    let first = ringing(&mut desk);
    for _ in 0..4 {
        desk.wait(60_000);
        desk.receive(B, &response(B, &first, "180 Ringing", "b"));
        desk.sent(A, "SIP/2.0 180");
        assert!(desk.is_quiet());
    }
    desk.wait(RINGS_MS);
    desk.sent(B, "CANCEL");
}

#[test]
fn a_takeover_does_not_begin_the_ringing_anew() {
    let mut desk = desk();
    let first = ringing(&mut desk);
    desk.wait(60_000);
    desk.receive(B, &response(B, &first, "180 Ringing", "b"));
    desk.sent(A, "SIP/2.0 180");
    desk.wait(100_000);
    desk.take_over();
    assert_eq!(desk.sent(B, "INVITE"), first);
    // What the old leader heard after 60 s counts: 85 s are left.
    desk.receive(B, &response(B, &first, "100 Trying", "b"));
    desk.wait(84_000);
    assert!(desk.is_quiet());
    desk.wait(2_000);
    desk.sent(B, "CANCEL");
}
