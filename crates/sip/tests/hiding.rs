//! `sip.topologyHiding` for forwarded calls: neither side sees an address of the other, and
//! every later request finds its way, also after the leader was killed.
mod support;

use raftpbx_sip::TopologyHiding;
use support::desk::{Desk, response};
use support::phone::{header, to_tag};

const US: &str = "192.0.2.1";
/// The caller, behind a proxy of its own.
const A: &str = "10.1.0.10:5060";
const EDGE_A: &str = "10.1.0.1:5060";
const MOVED_A: &str = "10.1.0.99:5060";
/// The callee, behind another.
const B: &str = "10.2.0.20:5060";
const EDGE_B: &str = "10.2.0.1:5060";
const CALL: &str = "call@10.1.0.10";

const SHOWN: TopologyHiding = TopologyHiding {
    enabled: true,
    call_ids: false,
};
const SEALED: TopologyHiding = TopologyHiding {
    enabled: true,
    call_ids: true,
};

fn desk(topology: TopologyHiding) -> Desk {
    let mut desk = Desk::hiding(topology);
    desk.application(1, "", "invite,message,subscribe");
    desk
}

/// A request of A, as its edge proxy sends it on. `more` ends each line with CRLF.
fn of_a(method: &str, uri: &str, cseq: u32, tag: &str, more: &str) -> String {
    let tag = if tag.is_empty() {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    let branch = if matches!(method, "ACK" | "CANCEL") {
        "INVITE"
    } else {
        method
    };
    let unique = if method == "ACK" { "a" } else { "" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {EDGE_A};branch=z9hG4bKe{branch}{cseq}{unique}\r\n\
         Via: SIP/2.0/UDP {A};branch=z9hG4bKa{branch}{cseq}{unique}\r\nFrom: <sip:a@pbx.test>;tag=a\r\n\
         To: <sip:b@pbx.test>{tag}\r\nCall-ID: {CALL}\r\nCSeq: {cseq} {method}\r\n\
         Max-Forwards: 70\r\nContact: <sip:a@{A}>\r\nUser-Agent: Phone/{A}\r\n{more}\
         Content-Length: 0\r\n\r\n"
    )
}

/// A request of B in the call that `invite` began, straight to its Contact or over its Routes.
fn of_b(method: &str, invite: &str, cseq: u32) -> String {
    let target = header(invite, "Contact").trim_matches(['<', '>']);
    let routes = header(invite, "Record-Route")
        .split(", ")
        .collect::<Vec<_>>();
    // B's edge proxy has taken itself off.
    let route = routes.last().filter(|route| route.contains(US));
    let route = route.map_or(String::new(), |route| format!("Route: {route}\r\n"));
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {EDGE_B};branch=z9hG4bKb{method}{cseq}\r\n\
         Via: SIP/2.0/UDP {B};branch=z9hG4bKc{method}{cseq}\r\n{route}\
         From: <sip:b@pbx.test>;tag=b\r\nTo: <sip:a@pbx.test>;tag=a\r\n\
         Call-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:b@{B}>\r\nContent-Length: 0\r\n\r\n",
        header(invite, "Call-ID")
    )
}

fn uri(message: &str) -> String {
    header(message, "Contact")
        .trim_matches(['<', '>'])
        .to_owned()
}

/// What one side sees says nothing of the other, but for a Call-ID that may be shown.
fn assert_hides(message: &str, other: &str) {
    let message = message.replace(&format!("Call-ID: {CALL}"), "");
    assert!(!message.contains(other), "{other} is in {message}");
}

/// A's INVITE to B, forwarded as the application says: what B's side gets.
fn begin(desk: &mut Desk, routed: bool) -> String {
    let record = format!("Record-Route: <sip:{EDGE_A};lr>\r\n");
    let more = if routed { record.as_str() } else { "" };
    desk.receive(EDGE_A, &of_a("INVITE", "sip:b@pbx.test", 1, "", more));
    desk.sent(EDGE_A, "SIP/2.0 100");
    let told = desk.told_sip(1, "INVITE");
    assert!(told.message.contains(A), "the application sees all");
    let txn = told.transaction().to_owned();
    desk.command(
        1,
        &format!(
            "proxy|{txn}|remainInDialog|||serial|||sip:b@{EDGE_B}\r\nINVITE sip:b SIP/2.0\r\n"
        ),
    );
    let invite = desk.sent(EDGE_B, "INVITE");
    assert_hides(&invite, "10.1.0.");
    assert!(!invite.contains("User-Agent"));
    invite
}

/// B's answer, over its edge proxy that stays in the path.
fn answer(invite: &str, status: &str, routed: bool) -> String {
    let record = format!("Record-Route: <sip:{EDGE_B};lr>\r\nCSeq");
    let text = response(B, invite, status, "b");
    let text = text.replace("Content-Length", "Server: B/10.2.0.20\r\nContent-Length");
    if routed {
        text.replace("CSeq", &record)
    } else {
        text
    }
}

/// B's re-INVITE, answered by A from a new Contact: the call as B knows it by then, and
/// where A is reached.
fn refreshed_by_b(
    desk: &mut Desk,
    invite: &str,
    routed: bool,
    killed: bool,
) -> (String, &'static str) {
    let to_a = if routed { EDGE_A } else { A };
    desk.receive(EDGE_B, &of_b("INVITE", invite, 7));
    desk.sent(EDGE_B, "SIP/2.0 100");
    let again = desk.sent(to_a, &format!("INVITE sip:a@{A} SIP/2.0"));
    assert_hides(&again, "10.2.0.");
    assert_eq!(header(&again, "Call-ID"), CALL);
    if killed {
        desk.take_over();
        assert_eq!(desk.sent(to_a, "INVITE"), again);
    }
    let moved = response(MOVED_A, &again, "200 OK", "a").replace("sip:b@10.1", "sip:a@10.1");
    let to_a = if routed { EDGE_A } else { MOVED_A };
    desk.receive(EDGE_A, &moved);
    let ok_b = desk.sent(EDGE_B, "SIP/2.0 200");
    assert_hides(&ok_b, "10.1.0.");
    assert_eq!(header(&ok_b, "Call-ID"), header(invite, "Call-ID"));
    let refreshed = invite.replace(header(invite, "Contact"), header(&ok_b, "Contact"));
    desk.receive(EDGE_B, &of_b("ACK", &refreshed, 7));
    desk.sent(to_a, &format!("ACK sip:a@{MOVED_A}"));
    (refreshed, to_a)
}

/// The whole of a call, with the leader killed at every step if `killed`.
fn whole_call(topology: TopologyHiding, routed: bool, killed: bool) {
    let mut desk = desk(topology);
    let die = |desk: &mut Desk| {
        if killed {
            desk.take_over();
        }
    };
    let invite = begin(&mut desk, routed);
    if killed {
        desk.take_over();
        assert_eq!(desk.sent(EDGE_B, "INVITE"), invite);
    }
    assert_eq!(header(&invite, "Call-ID") == CALL, !topology.call_ids);
    desk.receive(EDGE_B, &answer(&invite, "180 Ringing", routed));
    assert_hides(&desk.sent(EDGE_A, "SIP/2.0 180"), "10.2.0.");
    desk.receive(EDGE_B, &answer(&invite, "200 OK", routed));
    let ok = desk.sent(EDGE_A, "SIP/2.0 200");
    assert_hides(&ok, "10.2.0.");
    assert_eq!(
        (ok.matches("Via:").count(), header(&ok, "Call-ID")),
        (2, CALL)
    );
    assert_eq!(
        ok.matches(&format!("<sip:{EDGE_A};lr>")).count(),
        usize::from(routed)
    );
    let to_b = if routed { EDGE_B } else { B };
    let way = if routed {
        format!("Route: {}\r\n", header(&ok, "Record-Route"))
    } else {
        String::new()
    };
    die(&mut desk);

    desk.receive(EDGE_A, &of_a("ACK", &uri(&ok), 1, to_tag(&ok), &way));
    let ack = desk.sent(to_b, &format!("ACK sip:b@{B} SIP/2.0"));
    assert_hides(&ack, "10.1.0.");
    assert_eq!(header(&ack, "Call-ID"), header(&invite, "Call-ID"));
    assert_eq!(ack.contains(&format!("Route: <sip:{EDGE_B};lr>")), routed);
    die(&mut desk);

    let (refreshed, to_a) = refreshed_by_b(&mut desk, &invite, routed, killed);
    die(&mut desk);

    desk.receive(EDGE_B, &of_b("BYE", &refreshed, 8));
    let bye = desk.sent(to_a, &format!("BYE sip:a@{MOVED_A}"));
    assert_hides(&bye, "10.2.0.");
    desk.receive(EDGE_A, &response(A, &bye, "200 OK", "a"));
    assert_hides(&desk.sent(EDGE_B, "SIP/2.0 200"), "10.1.0.");
    assert!(desk.is_quiet());
    assert_eq!(desk.keys("sip:"), 0);
}

#[test]
fn neither_side_learns_an_address_of_the_other() {
    for topology in [SHOWN, SEALED] {
        for routed in [false, true] {
            whole_call(topology, routed, false);
        }
    }
}

#[test]
fn a_call_whose_leader_is_killed_at_every_step_stays_hidden_and_finds_its_way() {
    for topology in [SHOWN, SEALED] {
        for routed in [false, true] {
            whole_call(topology, routed, true);
        }
    }
}

#[test]
fn a_call_goes_on_hidden_when_the_option_is_taken_away() {
    let mut desk = desk(SEALED);
    let invite = begin(&mut desk, true);
    desk.topology = TopologyHiding::default();
    desk.take_over();
    desk.sent(EDGE_B, "INVITE");
    desk.receive(EDGE_B, &answer(&invite, "200 OK", true));
    let ok = desk.sent(EDGE_A, "SIP/2.0 200");
    assert_hides(&ok, "10.2.0.");
    let way = format!("Route: {}\r\n", header(&ok, "Record-Route"));
    desk.receive(EDGE_A, &of_a("BYE", &uri(&ok), 2, "b", &way));
    let bye = desk.sent(EDGE_B, &format!("BYE sip:b@{B}"));
    assert_hides(&bye, "10.1.0.");
    assert_eq!(header(&bye, "Call-ID"), header(&invite, "Call-ID"));
}

#[test]
fn a_cancel_and_a_refusal_are_hidden_also_after_a_takeover() {
    for killed in [false, true] {
        let mut desk = desk(SEALED);
        let invite = begin(&mut desk, true);
        desk.receive(EDGE_B, &answer(&invite, "180 Ringing", false));
        desk.sent(EDGE_A, "SIP/2.0 180");
        if killed {
            desk.take_over();
            desk.sent(EDGE_B, "INVITE");
            desk.receive(EDGE_B, &answer(&invite, "180 Ringing", false));
            desk.sent(EDGE_A, "SIP/2.0 180");
        }
        desk.receive(EDGE_A, &of_a("CANCEL", "sip:b@pbx.test", 1, "", ""));
        desk.sent(EDGE_A, "SIP/2.0 200");
        let cancel = desk.sent(EDGE_B, "CANCEL");
        assert_hides(&cancel, "10.1.0.");
        assert_eq!(header(&cancel, "Call-ID"), header(&invite, "Call-ID"));
        let refusal = answer(&invite, "487 Request Terminated", false);
        let warning = "Warning: 399 10.2.0.20 \"no\"\r\nContent-Length";
        desk.receive(EDGE_B, &refusal.replace("Content-Length", warning));
        assert_hides(&desk.sent(EDGE_B, "ACK"), "10.1.0.");
        let refused = desk.sent(EDGE_A, "SIP/2.0 487");
        assert_hides(&refused, "10.2.0.");
        assert_eq!(header(&refused, "Call-ID"), CALL);
    }
}

#[test]
fn a_token_of_one_call_opens_nothing_in_another() {
    let mut desk = desk(SHOWN);
    let invite = begin(&mut desk, false);
    let stolen = of_b("INFO", &invite, 1).replace(CALL, "another");
    desk.receive(EDGE_B, &stolen);
    desk.sent(EDGE_B, "SIP/2.0 481");
    let damaged = of_b("INFO", &invite, 2).replacen("sip:th.", "sip:th.A", 1);
    desk.receive(EDGE_B, &damaged);
    desk.sent(EDGE_B, "SIP/2.0 481");
    assert!(desk.is_quiet());
}

#[test]
fn a_redirect_names_a_place_that_we_can_be_asked_for() {
    let mut desk = desk(SHOWN);
    let invite = begin(&mut desk, false);
    desk.receive(EDGE_B, &answer(&invite, "302 Moved", false));
    desk.sent(EDGE_B, "ACK");
    let moved = desk.sent(EDGE_A, "SIP/2.0 302");
    assert_hides(&moved, "10.2.0.");
    desk.receive(
        EDGE_A,
        &of_a("ACK", "sip:b@pbx.test", 1, "b", "").replace("1a\r\n", "1\r\n"),
    );
    desk.receive(EDGE_A, &of_a("INVITE", &uri(&moved), 2, "", ""));
    desk.sent(EDGE_A, "SIP/2.0 100");
    let told = loop {
        let told = desk.told(1);
        if told.message.starts_with("INVITE") {
            break told;
        }
    };
    assert!(
        told.message
            .starts_with(&format!("INVITE sip:b@{B} SIP/2.0"))
    );
}

#[test]
fn a_request_that_comes_back_is_a_loop_under_any_name() {
    let mut desk = desk(SEALED);
    desk.receive(EDGE_A, &of_a("MESSAGE", "sip:b@pbx.test", 1, "", ""));
    let txn = desk.told_sip(1, "MESSAGE").transaction().to_owned();
    let proxy =
        |txn: &str| format!("proxy|{txn}||||serial|||sip:b@{EDGE_B}\r\nMESSAGE sip:b SIP/2.0\r\n");
    desk.command(1, &proxy(&txn));
    let sent = desk.sent(EDGE_B, "MESSAGE");
    assert_hides(&sent, "10.1.0.");
    let via = format!("Via: SIP/2.0/UDP {EDGE_B};branch=z9hG4bKback\r\nVia: ");
    let back = sent.replace(&format!("sip:b@{EDGE_B} SIP"), "sip:b@pbx.test SIP");
    desk.receive(EDGE_B, &back.replacen("Via: ", &via, 1));
    let txn = desk.told_sip(1, "MESSAGE").transaction().to_owned();
    desk.command(1, &proxy(&txn));
    desk.sent(EDGE_B, "SIP/2.0 482");
}

#[test]
fn a_registration_that_is_forwarded_keeps_its_contact() {
    let mut desk = desk(SHOWN);
    desk.application(2, "", "register");
    desk.receive(EDGE_A, &of_a("REGISTER", "sip:pbx.test", 1, "", ""));
    let txn = desk.told_sip(2, "REGISTER").transaction().to_owned();
    let line = format!("proxy|{txn}|remainInDialog|||serial|||sip:{EDGE_B}");
    desk.command(2, &format!("{line}\r\nREGISTER sip:x SIP/2.0\r\n"));
    let sent = desk.sent(EDGE_B, "REGISTER");
    assert!(sent.contains(&format!("Contact: <sip:a@{A}>")) && sent.contains("Path: "));
}

#[test]
fn what_an_application_sends_shows_no_origin_either() {
    let mut desk = desk(SHOWN);
    desk.command(
        1,
        &format!(
            "sip|||\r\nINVITE sip:b@{B} SIP/2.0\r\nUser-Agent: Ours\r\n\r\n\
             v=0\r\no=a 1 1 IN IP4 10.1.0.10\r\ns=10.1.0.10\r\nt=0 0\r\n"
        ),
    );
    let invite = desk.sent(B, "INVITE");
    assert_hides(&invite, "10.1.0.");
    assert!(invite.contains("o=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"));
    assert!(invite.contains("User-Agent: Ours\r\n"));
}

/// An INVITE of somebody else that is to take the place of one end of a call, forwarded to the
/// other one: the Replaces that is read there.
fn replaced(desk: &mut Desk, named: &str, there: &str) -> String {
    let more = format!("Replaces: {named};to-tag=b;from-tag=a\r\n");
    let invite = of_a("INVITE", "sip:b@pbx.test", 1, "", &more)
        .replace(&format!("Call-ID: {CALL}"), "Call-ID: transfer@10.1.0.10")
        .replace("z9hG4bK", &format!("z9hG4bK{}", there.len() + named.len()));
    desk.receive(EDGE_A, &invite);
    desk.sent(EDGE_A, "SIP/2.0 100");
    let told = desk.told_sip(1, "INVITE");
    assert!(told.message.contains(named), "the application sees all");
    let txn = told.transaction().to_owned();
    desk.command(
        1,
        &format!("proxy|{txn}||||serial|||sip:b@{there}\r\nINVITE sip:b SIP/2.0\r\n"),
    );
    header(&desk.sent(there, "INVITE"), "Replaces").to_owned()
}

#[test]
fn a_transfer_names_the_replaced_call_as_its_other_end_knows_it() {
    let mut desk = desk(SEALED);
    let invite = begin(&mut desk, false);
    let sealed = header(&invite, "Call-ID").to_owned();
    assert_ne!(sealed, CALL);
    // A refers to the call by its own name: B has to find it.
    let read = replaced(&mut desk, CALL, EDGE_B);
    assert_eq!(read, format!("{sealed};to-tag=b;from-tag=a"));
    // B refers to it by the name that it was given: A has to find it.
    let read = replaced(&mut desk, &sealed, MOVED_A);
    assert_eq!(read, format!("{CALL};to-tag=b;from-tag=a"));
}
