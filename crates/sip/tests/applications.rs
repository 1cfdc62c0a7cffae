//! Applications: what they may say, who gets what, and what is left when one goes away.
mod support;

use support::SECRET;
use support::desk::{Desk, request, response};

const A: &str = "192.0.2.10:5060";
const B: &str = "192.0.2.20:5060";

/// A call of A that `app` answers; gives the dialog id and our tag.
fn answered(desk: &mut Desk, app: u64, call: &str) -> (String, String) {
    desk.receive(A, &request(A, "INVITE", call, 1, "", ""));
    desk.sent(A, "SIP/2.0 100");
    let invite = desk.told_sip(app, "INVITE");
    desk.respond(
        app,
        invite.transaction(),
        "200 OK\r\nContact: <sip:app@localhost>",
    );
    let ok = desk.sent(A, "SIP/2.0 200");
    let tag = support::phone::to_tag(&ok).to_owned();
    let echo = desk.told(app);
    assert_eq!(echo.tokens[3], "OK");
    desk.receive(A, &request(A, "ACK", call, 1, &tag, ""));
    desk.told_sip(app, "ACK");
    desk.wait(50);
    (echo.dialog().to_owned(), tag)
}

#[test]
fn nothing_is_heard_before_the_secret() {
    for command in [
        "route|invite",
        "ping",
        "sip||\r\nOPTIONS sip:b SIP/2.0\r\n",
        "dance",
    ] {
        let mut desk = Desk::new();
        desk.step(raftpbx_sip::engine::Input::AppConnected { app: 1 });
        desk.command(1, command);
        assert_eq!(desk.told(1).tokens[3..], ["NO", "not authenticated"]);
        assert!(desk.is_closed(1) && desk.is_quiet());
    }
}

#[test]
fn a_connection_that_never_authenticates_is_closed() {
    let mut desk = Desk::new();
    desk.step(raftpbx_sip::engine::Input::AppConnected { app: 1 });
    desk.wait(9_999);
    assert!(!desk.is_closed(1));
    desk.wait(1);
    assert!(desk.is_closed(1));
}

#[test]
fn mistakes_of_protocol_are_answered_no_and_close_the_connection() {
    let long = "x".repeat(33);
    let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    let many = many.join(",");
    for (command, answer) in [
        ("authenticate|wrong|".to_owned(), "incorrect secret"),
        (
            format!("authenticate|{SECRET}|{long}"),
            "at most 20 tags of 32 characters",
        ),
        (
            format!("authenticate|{SECRET}|{many}"),
            "at most 20 tags of 32 characters",
        ),
        ("dance".to_owned(), "Unknown message type"),
        ("sip|t".to_owned(), "Invalid message format"),
        (
            "route|IN VITE".to_owned(),
            "Route request includes unsupported verb",
        ),
        (
            "route|cdr:all".to_owned(),
            "Route request includes unsupported verb",
        ),
        ("remove_route|invite".to_owned(), "no such route"),
        (
            "sip||d\r\nSIP/2.0 200 OK\r\n\r\n".to_owned(),
            "transaction id missing",
        ),
        (
            "proxy|t||".to_owned(),
            "Invalid proxy request: not enough information provided",
        ),
    ] {
        let mut desk = Desk::new();
        desk.application(1, "", "");
        let id = desk.command(1, &command);
        let told = desk.told(1);
        assert_eq!(
            told.tokens[1..],
            ["response", &id, "NO", answer],
            "{command}"
        );
        assert!(desk.is_closed(1), "{command}");
    }
}

#[test]
fn failures_of_sip_are_answered_nok_and_leave_the_connection_open() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    for (command, answer) in [
        (
            "sip||d;from-tag=x\r\nBYE sip:placeholder SIP/2.0\r\n\r\n",
            "unable to find dialog",
        ),
        (
            "sip|t|\r\nCANCEL sip:b SIP/2.0\r\n\r\n",
            "unknown transaction",
        ),
        (
            "sip|t|\r\nSIP/2.0 200 OK\r\n\r\n",
            "Response not sent due to unknown transaction",
        ),
        (
            "sip||\r\nOPTIONS sip:192.0.2.1 SIP/2.0\r\n\r\n",
            "can not send request to myself",
        ),
        (
            "sip||\r\nMESSAGE sip:192.0.2.9 SIP/2.0\r\n\r\nhello",
            "missing content-type",
        ),
        (
            "proxy|t||||serial|||sip:b\r\nINVITE sip:b SIP/2.0\r\n",
            "unknown transaction",
        ),
    ] {
        desk.command(1, command);
        assert_eq!(desk.told(1).tokens[3..], ["NOK", answer], "{command}");
    }
    desk.command(1, "ping");
    assert_eq!(desk.told(1).tokens[3..], ["OK", "pong"]);
    assert!(!desk.is_closed(1) && desk.is_quiet());
}

#[test]
fn a_removed_route_gets_no_more_requests() {
    let mut desk = Desk::new();
    desk.application(1, "", "message");
    desk.receive(A, &request(A, "MESSAGE", "one", 1, "", ""));
    desk.told_sip(1, "MESSAGE");
    desk.command(1, "remove_route|message");
    assert_eq!(desk.told(1).tokens[3..], ["OK"]);
    desk.receive(A, &request(A, "MESSAGE", "two", 1, "", ""));
    desk.sent(A, "SIP/2.0 503");
    assert!(desk.is_silent(1));
}

#[test]
fn applications_take_turns_per_verb_and_keep_their_dialogs() {
    let mut desk = Desk::new();
    for app in 1..=3 {
        desk.application(app, "", "invite,message");
    }
    let mut calls = Vec::new();
    for (app, call) in [(1, "one"), (2, "two"), (3, "three"), (1, "four")] {
        // Another verb in between does not take anybody's turn.
        desk.receive(A, &request(A, "MESSAGE", &format!("m{call}"), 1, "", ""));
        for other in 1..=3 {
            while !desk.is_silent(other) {
                desk.told(other);
            }
        }
        calls.push((app, call, answered(&mut desk, app, call).1));
        desk.skip();
    }
    for (app, call, tag) in calls {
        for other in 1..=3 {
            while !desk.is_silent(other) {
                desk.told(other);
            }
        }
        desk.receive(A, &request(A, "INFO", call, 2, &tag, ""));
        desk.told_sip(app, "INFO");
        assert!((1..=3).all(|other| desk.is_silent(other)));
    }
}

#[test]
fn a_request_with_the_call_id_of_a_dialog_belongs_to_it() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    answered(&mut desk, 1, "one");
    desk.command(
        1,
        "sip||\r\nINFO sip:placeholder SIP/2.0\r\nCall-ID: one\r\n\r\n",
    );
    let info = desk.sent(A, "INFO sip:a@192.0.2.10:5060");
    assert!(info.contains("Call-ID: one\r\n"));
}

#[test]
fn a_bar_in_a_call_id_is_escaped_in_the_dialog_id() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    // Not a legal Call-ID for every stack, but no stack may break our frames with it.
    desk.receive(
        A,
        &request(A, "INVITE", "one", 1, "", "").replace("tag=a", "tag=a|b"),
    );
    desk.sent(A, "SIP/2.0 100");
    let invite = desk.told_sip(1, "INVITE");
    desk.respond(
        1,
        invite.transaction(),
        "200 OK\r\nContact: <sip:app@localhost>",
    );
    assert_eq!(desk.told(1).dialog(), "one;from-tag=a%7Cb");
    desk.sent(A, "SIP/2.0 200");
    desk.command(
        1,
        "sip||one;from-tag=a%7Cb\r\nBYE sip:placeholder SIP/2.0\r\n\r\n",
    );
    assert!(desk.sent(A, "BYE").contains(";tag=a|b\r\n"));
}

#[test]
fn dialogs_of_a_dead_application_pass_to_one_with_its_tag() {
    let mut desk = Desk::new();
    desk.application(1, "red,blue", "invite");
    desk.application(2, "green", "invite");
    let (dialog, tag) = answered(&mut desk, 1, "one");
    desk.disconnect(1);
    desk.receive(A, &request(A, "INFO", "one", 2, &tag, ""));
    assert!(desk.is_silent(2));
    desk.application(3, "blue", "");
    let info = desk.told_sip(3, "INFO");
    assert_eq!(info.dialog(), dialog);
    desk.respond(3, info.transaction(), "200 OK");
    desk.sent(A, "SIP/2.0 200");
    desk.receive(A, &request(A, "BYE", "one", 3, &tag, ""));
    desk.told_sip(3, "BYE");
}

#[test]
fn without_tags_they_pass_to_one_that_routes_the_same_verbs() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite,message");
    let (_, tag) = answered(&mut desk, 1, "one");
    desk.application(2, "", "message");
    desk.disconnect(1);
    desk.receive(A, &request(A, "INVITE", "one", 2, &tag, ""));
    // The caller hears that somebody is on it.
    desk.sent(A, "SIP/2.0 100");
    assert!(desk.is_silent(2));
    desk.wait(5_000);
    desk.application(3, "", "message,invite");
    desk.told_sip(3, "INVITE");
    assert!(desk.is_silent(2) && desk.is_quiet());
}

#[test]
fn what_waited_for_an_application_comes_in_order() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    let (_, tag) = answered(&mut desk, 1, "one");
    desk.receive(A, &request(A, "INFO", "one", 2, &tag, ""));
    desk.told_sip(1, "INFO");
    desk.disconnect(1);
    for (cseq, method) in [(3, "MESSAGE"), (4, "UPDATE"), (5, "BYE")] {
        desk.receive(A, &request(A, method, "one", cseq, &tag, ""));
    }
    desk.application(2, "", "invite");
    for method in ["INFO", "MESSAGE", "UPDATE", "BYE"] {
        desk.told_sip(2, method);
    }
}

#[test]
fn nobody_comes_back_in_time() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    let (_, one) = answered(&mut desk, 1, "one");
    let (_, two) = answered(&mut desk, 1, "two");
    desk.disconnect(1);
    desk.wait(10_000);
    desk.receive(A, &request(A, "INVITE", "one", 2, &one, ""));
    desk.sent(A, "SIP/2.0 100");
    desk.receive(A, &request(A, "INFO", "two", 2, &two, ""));
    desk.wait(21_999);
    assert!(desk.is_quiet());
    desk.wait(1);
    let mut last = [desk.sent(A, "SIP/2.0 481"), desk.sent(A, "SIP/2.0 481")];
    last.sort_unstable_by_key(|text| text.contains("INFO"));
    assert!(last[0].contains("CSeq: 2 INVITE") && last[1].contains("CSeq: 2 INFO"));
    desk.skip();
    desk.receive(A, &request(A, "INFO", "one", 3, &one, ""));
    desk.wait(0);
    desk.sent(A, "SIP/2.0 481");
    desk.receive(A, &request(A, "BYE", "one", 4, &one, ""));
    desk.wait(0);
    desk.sent(A, "SIP/2.0 200");
    // The one that comes late still hears that the call is over.
    desk.application(2, "", "invite");
    assert!(desk.told_sip(2, "BYE").message.contains("CSeq: 4 BYE"));
}

#[test]
fn too_many_waiting_requests_are_refused() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    let (_, tag) = answered(&mut desk, 1, "one");
    desk.disconnect(1);
    for cseq in 2..34 {
        desk.receive(A, &request(A, "INFO", "one", cseq, &tag, ""));
    }
    assert!(desk.is_quiet());
    desk.receive(A, &request(A, "INFO", "one", 34, &tag, ""));
    desk.sent(A, "SIP/2.0 503");
}

#[test]
fn a_call_nobody_answered_goes_to_another_application_or_is_refused_after_32_s() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    desk.application(2, "", "invite");
    desk.receive(A, &request(A, "INVITE", "one", 1, "", ""));
    let first = desk.told_sip(1, "INVITE").transaction().to_owned();
    desk.respond(1, &first, "180 Ringing");
    desk.disconnect(1);
    assert_eq!(desk.told_sip(2, "INVITE").transaction(), first);
    desk.disconnect(2);
    desk.skip();
    desk.wait(31_999);
    assert!(desk.is_quiet());
    desk.wait(1);
    assert!(desk.sent(A, "SIP/2.0 503").contains("Retry-After: "));
}

#[test]
fn after_a_takeover_dialogs_wait_for_an_application_too() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    let (dialog, tag) = answered(&mut desk, 1, "one");
    desk.take_over();
    desk.receive(A, &request(A, "BYE", "one", 2, &tag, ""));
    assert!(desk.is_quiet());
    desk.wait(3_000);
    desk.application(1, "", "invite");
    assert_eq!(desk.told_sip(1, "BYE").dialog(), dialog);
}

#[test]
fn after_a_takeover_a_dialog_goes_to_the_tag_it_belonged_to() {
    let mut desk = Desk::new();
    desk.application(1, "red,blue", "invite");
    let (dialog, tag) = answered(&mut desk, 1, "one");
    desk.take_over();
    desk.application(2, "green", "invite,info,bye");
    desk.receive(A, &request(A, "INFO", "one", 2, &tag, ""));
    assert!(desk.is_silent(2));
    desk.wait(3_000);
    desk.application(3, "blue", "");
    let info = desk.told_sip(3, "INFO");
    assert_eq!(info.dialog(), dialog);
    desk.respond(3, info.transaction(), "200 OK");
    desk.sent(A, "SIP/2.0 200");
    // The one that took it over may be gone at the next takeover, its tag is not.
    desk.receive(A, &request(A, "INVITE", "one", 3, &tag, ""));
    desk.sent(A, "SIP/2.0 100");
    let invite = desk.told_sip(3, "INVITE");
    desk.respond(3, invite.transaction(), "200 OK");
    desk.sent(A, "SIP/2.0 200");
    desk.receive(A, &request(A, "ACK", "one", 3, &tag, ""));
    desk.wait(100);
    desk.take_over();
    desk.application(4, "red", "info");
    desk.application(5, "blue", "");
    desk.receive(A, &request(A, "INFO", "one", 4, &tag, ""));
    assert_eq!(desk.told_sip(5, "INFO").dialog(), dialog);
    assert!(desk.is_silent(4));
}

#[test]
fn after_a_takeover_nobody_with_the_tag_comes() {
    let mut desk = Desk::new();
    desk.application(1, "red", "invite");
    let (_, tag) = answered(&mut desk, 1, "one");
    desk.take_over();
    desk.application(2, "green", "invite");
    desk.receive(A, &request(A, "INVITE", "one", 2, &tag, ""));
    desk.sent(A, "SIP/2.0 100");
    desk.wait(31_900);
    assert!(desk.is_silent(2) && desk.is_quiet());
    desk.wait(200);
    desk.sent(A, "SIP/2.0 481");
}

#[test]
fn a_request_waits_until_the_application_handled_the_answer() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite,message");
    desk.receive(A, &request(A, "INVITE", "one", 1, "", ""));
    desk.sent(A, "SIP/2.0 100");
    let invite = desk.told_sip(1, "INVITE");
    desk.respond(
        1,
        invite.transaction(),
        "200 OK\r\nContact: <sip:app@localhost>",
    );
    let ok = desk.sent(A, "SIP/2.0 200");
    let tag = support::phone::to_tag(&ok).to_owned();
    desk.told(1);
    desk.receive(A, &request(A, "ACK", "one", 1, &tag, ""));
    desk.told_sip(1, "ACK");
    desk.receive(A, &request(A, "BYE", "one", 2, &tag, ""));
    assert!(desk.is_silent(1));
    // Its answer to something later proves that it had its turn.
    desk.receive(A, &request(A, "MESSAGE", "two", 1, "", ""));
    let message = desk.told_sip(1, "MESSAGE");
    desk.respond(1, message.transaction(), "200 OK");
    desk.told_sip(1, "BYE");
}

#[test]
fn call_records_go_to_those_who_route_them() {
    let mut desk = Desk::new();
    desk.application(1, "", "invite");
    desk.application(2, "", "cdr:attempt,cdr:start,cdr:stop");
    let (_, tag) = answered(&mut desk, 1, "one");
    desk.receive(A, &request(A, "BYE", "one", 2, &tag, ""));
    for (kind, source, detail, start) in [
        ("cdr:attempt", "network", None, "INVITE"),
        ("cdr:start", "application", Some("uas"), "SIP/2.0 200"),
        ("cdr:stop", "network", Some("normal-release"), "BYE"),
    ] {
        let told = desk.told(2);
        assert_eq!(
            (told.tokens[1].as_str(), told.tokens[2].as_str()),
            (kind, source)
        );
        assert_eq!(told.tokens.get(4).map(String::as_str), detail);
        assert!(told.message.starts_with(start));
    }
    desk.command(
        1,
        &format!("sip||\r\nINVITE sip:b@{B} SIP/2.0\r\nContent-Type: application/sdp\r\n\r\nv=0"),
    );
    assert_eq!(desk.told(2).tokens[1..3], ["cdr:attempt", "application"]);
    desk.skip();
    let invite = request(B, "INVITE", "three", 1, "", "");
    desk.receive(B, &invite);
    desk.told(2);
    desk.receive(
        B,
        &request(B, "CANCEL", "three", 1, "", "").replace("CANCEL1", "INVITE1"),
    );
    assert_eq!(desk.told(2).tokens[4], "call-canceled");
    assert!(response(B, &invite, "200 OK", "x").contains("tag=x"));
}
