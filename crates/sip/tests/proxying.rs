//! The `proxy` command from the caller to the callees and back, also across a takeover.
mod support;

use support::desk::{Desk, request, response};
use support::phone::{header, to_tag};

const A: &str = "192.0.2.10:5060";
const B: &str = "192.0.2.20:5060";
const C: &str = "192.0.2.30:5060";

/// `options` are the tokens between the transaction and the destinations.
fn forward(desk: &mut Desk, method: &str, options: &str, targets: &[&str]) -> String {
    desk.receive(A, &request(A, method, "one", 1, "", ""));
    if method == "INVITE" {
        desk.sent(A, "SIP/2.0 100");
    }
    let told = desk.told_sip(1, method);
    let targets: Vec<String> = targets.iter().map(|to| format!("sip:b@{to}")).collect();
    let txn = told.transaction();
    let line = format!("{method} {} SIP/2.0", targets[0]);
    desk.command(
        1,
        &format!(
            "proxy|{txn}|{options}|{}\r\n{line}\r\nX-App: 1\r\n\r\n",
            targets.join("|")
        ),
    )
}

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.application(1, "", "invite,message");
    desk
}

#[test]
fn a_call_is_forwarded_and_stays_on_our_route() {
    let mut desk = desk();
    let id = forward(
        &mut desk,
        "INVITE",
        "remainInDialog|fullResponse||serial||",
        &[B],
    );
    let invite = desk.sent(B, "INVITE sip:b@192.0.2.20:5060 SIP/2.0");
    assert!(invite.contains("X-App: 1\r\n") && header(&invite, "Max-Forwards") == "69");
    let route = header(&invite, "Record-Route").to_owned();
    desk.receive(B, &response(B, &invite, "180 Ringing", "b"));
    assert_eq!(
        header(&desk.sent(A, "SIP/2.0 180"), "Via")
            .matches("SIP/2.0")
            .count(),
        1
    );
    let ok = response(B, &invite, "200 OK", "b");
    desk.receive(B, &ok);
    let passed = desk.sent(A, "SIP/2.0 200");
    assert_eq!(
        (to_tag(&passed), header(&passed, "Record-Route")),
        ("b", route.as_str())
    );
    let relayed = desk.told(1);
    assert_eq!(relayed.tokens[2..4], [id.as_str(), "OK"]);
    assert_eq!(
        (relayed.tokens[4].as_str(), relayed.tokens[12].as_str()),
        ("network", "continue")
    );
    assert!(relayed.message.starts_with("SIP/2.0 200"));
    assert_eq!(desk.told(1).tokens[3..], ["OK", "done"]);
    assert_eq!(desk.keys("sip:"), 0);
    // The callee repeats its 2xx until the ACK, which follows the route.
    desk.receive(B, &ok);
    desk.sent(A, "SIP/2.0 200");
    let more = format!("Route: {route}\r\n");
    let to_b = |text: String| text.replace("sip:b@pbx.test SIP", &format!("sip:b@{B} SIP"));
    desk.receive(A, &to_b(request(A, "ACK", "one", 1, "b", &more)));
    let ack = desk.sent(B, "ACK sip:b@192.0.2.20:5060");
    assert!(!ack.contains("Route:"));
    desk.receive(A, &to_b(request(A, "BYE", "one", 2, "b", &more)));
    let bye = desk.sent(B, "BYE sip:b@192.0.2.20:5060");
    desk.receive(B, &response(B, &bye, "200 OK", "b"));
    desk.sent(A, "SIP/2.0 200");
    assert!(desk.is_silent(1));
}

#[test]
fn nobody_else_can_use_us_as_a_relay() {
    let mut desk = desk();
    let route = "Route: <sip:deadbeef@192.0.2.1:5060;lr>\r\n";
    desk.receive(A, &request(A, "INFO", "one", 2, "b", route));
    desk.sent(A, "SIP/2.0 481");
    assert!(desk.is_quiet());
}

#[test]
fn one_after_the_other_each_refusal_acknowledged_after_its_commit() {
    let mut desk = desk();
    forward(&mut desk, "INVITE", "|fullResponse||serial||", &[B, C]);
    let invite = desk.sent(B, "INVITE");
    desk.holding = true;
    desk.receive(B, &response(B, &invite, "486 Busy Here", "b"));
    assert!(desk.is_quiet());
    desk.release();
    desk.sent(B, "ACK");
    let invite = desk.sent(C, "INVITE");
    desk.receive(C, &response(C, &invite, "404 Not Found", "c"));
    desk.sent(C, "ACK");
    desk.sent(A, "SIP/2.0 486");
    for status in ["486", "404"] {
        assert!(
            desk.told(1)
                .message
                .starts_with(&format!("SIP/2.0 {status}"))
        );
    }
    assert_eq!(desk.told(1).tokens[3..], ["OK", "done"]);
    assert_eq!(desk.keys("sip:"), 0);
}

#[test]
fn nothing_is_sent_before_the_branches_are_committed() {
    let mut desk = desk();
    desk.receive(A, &request(A, "INVITE", "one", 1, "", ""));
    desk.sent(A, "SIP/2.0 100");
    let txn = desk.told_sip(1, "INVITE").transaction().to_owned();
    desk.holding = true;
    desk.command(
        1,
        &format!("proxy|{txn}||fullResponse||serial|||sip:b@{B}\r\nINVITE sip:b SIP/2.0\r\n"),
    );
    assert!(desk.is_quiet());
    desk.release();
    desk.sent(B, "INVITE");
}

#[test]
fn all_at_once_the_challenges_come_together() {
    let mut desk = desk();
    forward(&mut desk, "INVITE", "|||simultaneous||", &[B, C]);
    assert_eq!(desk.told(1).tokens[3..], ["OK", "done"]);
    let (one, two) = (desk.sent(B, "INVITE"), desk.sent(C, "INVITE"));
    for (from, invite, realm) in [(B, one, "b"), (C, two, "c")] {
        let refusal = response(from, &invite, "407 Who", from);
        let challenge = format!("Proxy-Authenticate: Digest realm={realm}\r\nContact");
        desk.receive(from, &refusal.replace("Contact", &challenge));
        desk.sent(from, "ACK");
    }
    let refused = desk.sent(A, "SIP/2.0 407");
    assert_eq!(refused.matches("Proxy-Authenticate").count(), 2);
}

#[test]
fn the_caller_gives_up_and_the_branches_are_taken_back() {
    let mut desk = desk();
    forward(
        &mut desk,
        "INVITE",
        "|fullResponse||simultaneous||",
        &[B, C],
    );
    let (one, two) = (desk.sent(B, "INVITE"), desk.sent(C, "INVITE"));
    desk.receive(B, &response(B, &one, "180 Ringing", "b"));
    desk.sent(A, "SIP/2.0 180");
    desk.receive(
        A,
        &request(A, "CANCEL", "one", 1, "", "").replace("oneCANCEL", "oneINVITE"),
    );
    assert!(desk.sent(A, "SIP/2.0 200").contains("CSeq: 1 CANCEL"));
    let cancel = desk.sent(B, "CANCEL");
    assert!(desk.is_quiet());
    // The silent one is cancelled when it is heard of.
    desk.receive(C, &response(C, &two, "100 Trying", "c"));
    desk.sent(C, "CANCEL");
    desk.receive(B, &response(B, &cancel, "200 OK", "b"));
    for (from, invite) in [(B, &one), (C, &two)] {
        desk.receive(
            from,
            &response(from, invite, "487 Request Terminated", from),
        );
        desk.sent(from, "ACK");
    }
    desk.sent(A, "SIP/2.0 487");
}

#[test]
fn redirects_are_followed_when_asked() {
    let mut desk = desk();
    forward(
        &mut desk,
        "INVITE",
        "|fullResponse|followRedirects|serial||",
        &[B],
    );
    let invite = desk.sent(B, "INVITE");
    let moved = response(B, &invite, "302 Moved", "b").replace(B, C);
    desk.receive(
        B,
        &moved.replace(
            &format!("Via: SIP/2.0/UDP {C}"),
            &format!("Via: SIP/2.0/UDP {B}"),
        ),
    );
    desk.sent(B, "ACK");
    desk.sent(C, "INVITE sip:b@192.0.2.30:5060");
}

#[test]
fn a_silent_destination_is_left_for_the_next_one() {
    let mut desk = desk();
    forward(&mut desk, "INVITE", "|fullResponse||serial|400ms|", &[B, C]);
    desk.sent(B, "INVITE");
    desk.wait(400);
    let invite = desk.sent(C, "INVITE");
    desk.receive(C, &response(C, &invite, "200 OK", "c"));
    desk.sent(A, "SIP/2.0 200");
}

#[test]
fn other_requests_are_forwarded_without_a_record() {
    let mut desk = desk();
    forward(&mut desk, "MESSAGE", "|fullResponse||serial||", &[B]);
    assert_eq!(desk.keys("sip:"), 0);
    let message = desk.sent(B, "MESSAGE");
    desk.receive(B, &response(B, &message, "202 Accepted", "b"));
    desk.sent(A, "SIP/2.0 202");
    assert!(desk.told(1).message.starts_with("SIP/2.0 202"));
    assert_eq!(desk.told(1).tokens[3..], ["OK", "done"]);
}

#[test]
fn the_last_hop_and_a_loop_end_here() {
    let mut desk = desk();
    desk.receive(
        A,
        &request(A, "MESSAGE", "one", 1, "", "").replace("Forwards: 70", "Forwards: 0"),
    );
    let txn = desk.told_sip(1, "MESSAGE").transaction().to_owned();
    let proxy = |txn: &str| {
        format!("proxy|{txn}||fullResponse||serial|||sip:b@{B}\r\nMESSAGE sip:b SIP/2.0\r\n")
    };
    desk.command(1, &proxy(&txn));
    desk.sent(A, "SIP/2.0 483 Too Many Hops");
    assert_eq!(desk.told(1).tokens[3], "NOK");
    desk.receive(A, &request(A, "MESSAGE", "two", 1, "", ""));
    let txn = desk.told_sip(1, "MESSAGE").transaction().to_owned();
    desk.command(1, &proxy(&txn));
    let sent = desk.sent(B, "MESSAGE");
    // B sends it back as it was: the same Request-URI would make it go round for ever.
    desk.receive(
        B,
        &sent.replace(&format!("sip:b@{B} SIP"), "sip:b@pbx.test SIP"),
    );
    let txn = desk.told_sip(1, "MESSAGE").transaction().to_owned();
    desk.command(1, &proxy(&txn));
    desk.sent(B, "SIP/2.0 482");
}

#[test]
fn after_a_takeover_the_branches_go_on_with_the_same_bytes() {
    let mut desk = desk();
    forward(
        &mut desk,
        "INVITE",
        "remainInDialog|fullResponse||serial||",
        &[B, C],
    );
    let first = desk.sent(B, "INVITE");
    desk.receive(B, &response(B, &first, "180 Ringing", "b"));
    desk.take_over();
    desk.application(1, "", "invite");
    assert!(desk.is_silent(1));
    assert_eq!(desk.sent(B, "INVITE"), first);
    desk.receive(B, &response(B, &first, "486 Busy", "b"));
    desk.sent(B, "ACK");
    let second = desk.sent(C, "INVITE");
    desk.take_over();
    assert_eq!(desk.sent(C, "INVITE"), second);
    assert!(desk.is_quiet());
    desk.receive(C, &response(C, &second, "200 OK", "c"));
    desk.sent(A, "SIP/2.0 200");
    assert_eq!(desk.keys("sip:"), 0);
}

#[test]
fn a_cancel_survives_a_takeover() {
    let mut desk = desk();
    forward(&mut desk, "INVITE", "|fullResponse||serial||", &[B]);
    let invite = desk.sent(B, "INVITE");
    desk.receive(
        A,
        &request(A, "CANCEL", "one", 1, "", "").replace("oneCANCEL", "oneINVITE"),
    );
    desk.take_over();
    assert_eq!(desk.sent(B, "INVITE"), invite);
    desk.receive(B, &response(B, &invite, "180 Ringing", "b"));
    desk.sent(B, "CANCEL");
    desk.sent(A, "SIP/2.0 180");
}

#[test]
fn an_invite_that_replaces_a_forwarded_call_is_the_applications_to_decide() {
    let mut desk = desk();
    let more = "Replaces: one;to-tag=b;from-tag=a\r\n";
    desk.receive(C, &request(C, "INVITE", "before", 1, "", more));
    desk.sent(C, "SIP/2.0 481");
    let options = "|fullResponse||serial||";
    forward(&mut desk, "INVITE", options, &[B]);
    let invite = desk.sent(B, "INVITE sip:b@192.0.2.20:5060 SIP/2.0");
    desk.receive(B, &response(B, &invite, "200 OK", "b"));
    desk.sent(A, "SIP/2.0 200");
    desk.told(1);
    desk.told(1);
    desk.receive(C, &request(C, "INVITE", "after", 1, "", more));
    desk.sent(C, "SIP/2.0 100");
    let told = desk.told_sip(1, "INVITE");
    assert_eq!(header(&told.message, "Replaces"), "one;to-tag=b;from-tag=a");
}
