//! What the registrar answers, and where requests to its devices go; on a virtual clock.
mod support;

use raftpbx_sip::engine::Input;
use raftpbx_sip::view::EngineEvent;
use raftpbx_sip::{RegistrarPolicy, Transport};
use support::bench::{Bench, Request, flow, register, udp, values};

const PHONE: &str = "203.0.113.7:40000";
const INSTANCE: &str = "+sip.instance=\"<urn:uuid:0001>\"";

fn bench() -> Bench {
    Bench::new(RegistrarPolicy::default(), |_| ())
}

fn accepted(bench: &mut Bench, request: &Request<'_>) -> String {
    let answer = bench.log_in(udp(PHONE), request);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    answer
}

fn refused(bench: &mut Bench, more: &str, status: &str) -> String {
    let answer = bench.log_in(udp(PHONE), &register(more));
    assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{answer}");
    assert!(bench.keys.is_empty(), "nothing may be stored");
    answer
}

#[test]
fn a_registration_that_is_too_short_is_told_the_least() {
    let mut bench = bench();
    let answer = refused(&mut bench, "Contact: <sip:a@h>;expires=10\r\n", "423");
    assert_eq!(values(&answer, "Min-Expires"), ["60"]);
    let one_of_two = "Contact: <sip:a@h>, <sip:b@h>;expires=10\r\n";
    refused(&mut bench, one_of_two, "423");
}

#[test]
fn a_path_is_kept_and_answered_when_the_device_knows_of_it() {
    let mut bench = bench();
    let path = "Path: <sip:edge.test;lr>\r\n";
    let more = format!("Contact: <sip:a@h>\r\n{path}");
    let answer = refused(&mut bench, &more, "420");
    assert_eq!(values(&answer, "Unsupported"), ["path"]);
    let more = format!("{more}Supported: path\r\n");
    let answer = accepted(&mut bench, &register(&more));
    assert_eq!(values(&answer, "Path"), ["<sip:edge.test;lr>"]);
}

#[test]
fn an_extension_nobody_knows_is_named_before_anybody_is_challenged() {
    let mut bench = bench();
    let request = register("Require: path, telepathy\r\nContact: <sip:a@h>\r\n");
    let answer = bench.ask(udp(PHONE), &request.text(""));
    assert!(answer.starts_with("SIP/2.0 420"), "{answer}");
    assert_eq!(values(&answer, "Unsupported"), ["telepathy"]);
}

#[test]
fn the_service_route_and_the_push_services_are_told() {
    let policy = RegistrarPolicy {
        service_routes: vec!["sip:out.test;lr".to_owned()],
        push_providers: vec!["webpush".to_owned()],
        ..RegistrarPolicy::default()
    };
    let mut bench = Bench::new(policy, |_| ());
    let unknown = "Contact: <sip:a@h;pn-provider=fcm;pn-prid=x>\r\n";
    refused(&mut bench, unknown, "555");
    let known = register("Contact: <sip:a@h;pn-provider=webpush;pn-prid=x>\r\n");
    let answer = accepted(&mut bench, &known);
    assert_eq!(values(&answer, "Service-Route"), ["<sip:out.test;lr>"]);
    assert_eq!(values(&answer, "Feature-Caps"), ["*;+sip.pns=\"webpush\""]);
    let stored = String::from_utf8_lossy(&bench.keys["registration:1001"]).into_owned();
    assert!(stored.contains("\"push\":{\"provider\":\"webpush\",\"prid\":\"x\""));
}

#[test]
fn a_flow_is_confirmed_and_one_through_a_deaf_proxy_is_not() {
    let policy = RegistrarPolicy {
        flow_timer_s: 90,
        ..RegistrarPolicy::default()
    };
    let mut bench = Bench::new(policy, |_| ());
    let more = format!("Contact: <sip:a@h>;{INSTANCE};reg-id=1\r\nSupported: path, outbound\r\n");
    let proxied = format!("Via: SIP/2.0/UDP 10.0.0.6;branch=z9hG4bKx\r\n{more}");
    refused(&mut bench, &proxied, "439");
    let answer = accepted(&mut bench, &register(&more));
    assert_eq!(values(&answer, "Require"), ["outbound"]);
    assert_eq!(values(&answer, "Flow-Timer"), ["90"]);
    assert!(values(&answer, "Contact")[0].contains("reg-id=1"));
    let mut plain = register("Contact: <sip:b@h>\r\n");
    (plain.user, plain.call_id) = ("1002", "other");
    let answer = accepted(&mut bench, &plain);
    assert!(values(&answer, "Require").is_empty());
}

/// The value of a quoted Contact parameter.
fn parameter(answer: &str, name: &str) -> String {
    let contact = values(answer, "Contact").join(",");
    let rest = contact.split(&format!("{name}=\"")).nth(1);
    let value = rest.and_then(|rest| rest.split('"').next());
    value
        .unwrap_or_else(|| panic!("no {name} in {contact}"))
        .to_owned()
}

fn invite_to(bench: &mut Bench, uri: &str) -> (String, String) {
    bench.sent.clear();
    let text = format!("INVITE {uri} SIP/2.0\r\nFrom: <sip:pbx@pbx.test>\r\n\r\n");
    bench.command(&format!("m|sip|||\r\n{text}"));
    let (flow, text) = bench.sent.remove(0);
    bench.last.clone_from(&text);
    (
        flow.remote.to_string(),
        text.lines().next().unwrap_or_default().to_owned(),
    )
}

#[test]
fn both_kinds_of_gruu_reach_their_device_only() {
    let mut bench = bench().with_app(&["invite"]);
    let more = format!("Contact: <sip:a@10.0.0.5>;{INSTANCE}\r\nSupported: gruu\r\n");
    let answer = accepted(&mut bench, &register(&more));
    let (public, temporary) = (
        parameter(&answer, "pub-gruu"),
        parameter(&answer, "temp-gruu"),
    );
    assert_eq!(public, "sip:1001@pbx.test;gr=urn:uuid:0001");
    let mut other = register("Contact: <sip:b@10.0.0.6>\r\n");
    other.call_id = "other";
    bench.log_in(udp("203.0.113.8:50000"), &other);
    for gruu in [&public, &temporary] {
        let (to, line) = invite_to(&mut bench, gruu);
        assert_eq!(to, PHONE, "{gruu}");
        assert_eq!(line, "INVITE sip:a@10.0.0.5 SIP/2.0");
    }
    let refreshed = Request {
        cseq: 5,
        ..register(&more)
    };
    let answer = accepted(&mut bench, &refreshed);
    assert_ne!(parameter(&answer, "temp-gruu"), temporary);
    assert_eq!(invite_to(&mut bench, &temporary).0, PHONE);
}

#[test]
fn call_control_is_told_the_public_form_of_a_temporary_gruu() {
    let mut bench = bench().with_app(&["invite"]);
    let more = format!("Contact: <sip:a@10.0.0.5>;{INSTANCE}\r\nSupported: gruu\r\n");
    let answer = accepted(&mut bench, &register(&more));
    let temporary = parameter(&answer, "temp-gruu");
    let mut invite = register("Contact: <sip:x@198.51.100.4>\r\n");
    (invite.method, invite.uri, invite.call_id) = ("INVITE", &temporary, "invite");
    bench.receive(udp("198.51.100.4:5060"), &invite.text(""));
    let told = bench.told.join("");
    assert!(
        told.contains("INVITE sip:1001@pbx.test;gr=urn:uuid:0001 SIP/2.0"),
        "{told}"
    );
}

#[test]
fn a_request_follows_the_path_of_its_device() {
    let mut bench = bench().with_app(&["invite"]);
    let more = "Contact: <sip:a@10.0.0.5>\r\nSupported: path\r\n\
                Path: <sip:198.51.100.1;lr>, <sip:198.51.100.2;lr>\r\n";
    accepted(&mut bench, &register(more));
    let (to, line) = invite_to(&mut bench, "sip:a@10.0.0.5");
    assert_eq!(to, "198.51.100.1:5060");
    assert_eq!(line, "INVITE sip:a@10.0.0.5 SIP/2.0");
    assert_eq!(
        values(&bench.last, "Route"),
        ["<sip:198.51.100.1;lr>", "<sip:198.51.100.2;lr>"]
    );
}

#[test]
fn a_device_is_reached_over_its_second_flow_when_the_first_is_closed() {
    let mut bench = bench().with_app(&["invite"]);
    let flows = ["203.0.113.7:40001", "203.0.113.7:40002"].map(|at| flow(Transport::Tcp, at));
    for (at, flow) in flows.iter().enumerate() {
        let id = at + 1;
        let more = format!(
            "Contact: <sip:a{id}@10.0.0.5;transport=tcp>;{INSTANCE};reg-id={id}\r\n\
             Supported: path, outbound\r\n"
        );
        let mut request = register(&more);
        request.call_id = if at == 0 { "first" } else { "second" };
        let answer = bench.log_in(*flow, &request);
        assert_eq!(values(&answer, "Contact").len(), id, "{answer}");
        bench.pass_ms(1_000);
    }
    let first = "sip:a1@10.0.0.5;transport=tcp";
    assert_eq!(invite_to(&mut bench, first).0, "203.0.113.7:40001");
    bench.feed(Input::Disconnected { flow: flows[0] });
    let (to, line) = invite_to(&mut bench, first);
    assert_eq!(to, "203.0.113.7:40002");
    assert!(line.contains("sip:a2@10.0.0.5"), "{line}");
    bench.receive(flows[0], "\r\n\r\n");
    assert_eq!(invite_to(&mut bench, first).0, "203.0.113.7:40001");
}

/// A device with two flows through edge proxies, the second registered last.
fn behind_two_edges(bench: &mut Bench) {
    for id in 1..=2 {
        let more = format!(
            "Contact: <sip:a{id}@10.0.0.5>;{INSTANCE};reg-id={id}\r\n\
             Supported: path, outbound\r\nPath: <sip:token{id}@198.51.100.{id};lr;ob>\r\n"
        );
        let mut request = register(&more);
        request.call_id = if id == 1 { "first" } else { "second" };
        accepted(bench, &request);
        bench.pass_ms(1_000);
    }
}

/// The same request answered by whoever got it.
fn answer_of(request: &str, status: &str) -> String {
    let kept = ["Via", "From", "To", "Call-ID", "CSeq"];
    let lines = request.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        kept.contains(&name)
    });
    let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
    format!("SIP/2.0 {status}\r\n{lines}Content-Length: 0\r\n\r\n")
}

#[test]
fn a_flow_that_failed_at_its_edge_leaves_the_call_to_the_next() {
    let mut bench = bench().with_app(&["invite"]);
    behind_two_edges(&mut bench);
    let (to, _) = invite_to(&mut bench, "sip:a2@10.0.0.5");
    assert_eq!(to, "198.51.100.2:5060");
    let first = bench.last.clone();
    bench.told.clear();
    bench.receive(
        udp("198.51.100.2:5060"),
        &answer_of(&first, "430 Flow Failed"),
    );
    let (flow, ack) = bench.sent.remove(0);
    assert!(ack.starts_with("ACK sip:a2@10.0.0.5"), "{ack}");
    assert_eq!(flow.remote.to_string(), "198.51.100.2:5060");
    let (flow, second) = bench.sent.remove(0);
    assert_eq!(flow.remote.to_string(), "198.51.100.1:5060");
    assert!(second.starts_with("INVITE sip:a1@10.0.0.5 "), "{second}");
    assert_eq!(
        values(&second, "Route"),
        ["<sip:token1@198.51.100.1;lr;ob>"]
    );
    for name in ["Call-ID", "From", "CSeq"] {
        assert_eq!(values(&second, name), values(&first, name));
    }
    assert_ne!(values(&second, "Via"), values(&first, "Via"));
    assert!(bench.told.is_empty(), "the application notices nothing");
    // No flow is left: now it is the application's.
    bench.receive(
        udp("198.51.100.1:5060"),
        &answer_of(&second, "430 Flow Failed"),
    );
    let told = bench.told.iter().any(|told| told.contains("SIP/2.0 430"));
    assert!(told, "{:?}", bench.told);
}

#[test]
fn another_request_goes_to_the_next_flow_too() {
    let mut bench = bench().with_app(&["invite"]);
    behind_two_edges(&mut bench);
    bench.sent.clear();
    bench
        .command("m|sip|||\r\nMESSAGE sip:a2@10.0.0.5 SIP/2.0\r\nFrom: <sip:pbx@pbx.test>\r\n\r\n");
    let (_, first) = bench.sent.remove(0);
    bench.receive(
        udp("198.51.100.2:5060"),
        &answer_of(&first, "430 Flow Failed"),
    );
    let (flow, second) = bench.sent.remove(0);
    assert_eq!(flow.remote.to_string(), "198.51.100.1:5060");
    assert!(second.starts_with("MESSAGE sip:a1@10.0.0.5 "), "{second}");
}

#[test]
fn a_call_whose_connection_breaks_goes_over_the_other_flow_at_once() {
    let mut bench = bench().with_app(&["invite"]);
    let flows = ["203.0.113.7:40001", "203.0.113.7:40002"].map(|at| flow(Transport::Tcp, at));
    for (at, flow) in flows.iter().enumerate() {
        let id = at + 1;
        let more = format!(
            "Contact: <sip:a{id}@10.0.0.5;transport=tcp>;{INSTANCE};reg-id={id}\r\n\
             Supported: path, outbound\r\n"
        );
        let mut request = register(&more);
        request.call_id = if at == 0 { "first" } else { "second" };
        bench.log_in(*flow, &request);
        bench.pass_ms(1_000);
    }
    invite_to(&mut bench, "sip:a2@10.0.0.5;transport=tcp");
    bench.sent.clear();
    bench.feed(Input::Disconnected { flow: flows[1] });
    let (to, invite) = bench.sent.remove(0);
    assert_eq!(to.remote, flows[0].remote);
    assert!(invite.starts_with("INVITE sip:a1@10.0.0.5"), "{invite}");
}

fn reachable(bench: &mut Bench) -> Vec<bool> {
    let events = std::mem::take(&mut bench.events);
    let told = events.into_iter().filter_map(|event| match event {
        EngineEvent::ContactReachable { reachable, .. } => Some(reachable),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_device_that_is_silent_twice_is_unreachable_until_it_answers() {
    let policy = RegistrarPolicy {
        qualify_s: 60,
        ..RegistrarPolicy::default()
    };
    let mut bench = Bench::new(policy, |_| ());
    accepted(&mut bench, &register("Contact: <sip:a@10.0.0.5>\r\n"));
    bench.pass_ms(60_000);
    assert!(reachable(&mut bench).is_empty());
    bench.pass_ms(80_000);
    assert_eq!(reachable(&mut bench), [false]);
    bench.sent.clear();
    bench.pass_ms(60_000);
    let (flow, options) = bench.sent.last().expect("it is asked again").clone();
    assert_eq!(flow.remote.to_string(), PHONE);
    let headers = ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| {
        let value = values(&options, name)[0];
        format!("{name}: {value}\r\n")
    });
    let answer = format!("SIP/2.0 486 Busy Here\r\n{}\r\n", headers.concat());
    bench.receive(udp(PHONE), &answer);
    assert_eq!(reachable(&mut bench), [true]);
}

#[test]
fn a_device_that_registers_again_is_reachable() {
    let policy = RegistrarPolicy {
        qualify_s: 60,
        ..RegistrarPolicy::default()
    };
    let mut bench = Bench::new(policy, |_| ());
    accepted(&mut bench, &register("Contact: <sip:a@10.0.0.5>\r\n"));
    bench.pass_ms(140_000);
    assert_eq!(reachable(&mut bench), [false]);
    let refreshed = Request {
        cseq: 9,
        ..register("Contact: <sip:a@10.0.0.5>\r\n")
    };
    accepted(&mut bench, &refreshed);
    assert_eq!(reachable(&mut bench), [true]);
}

#[test]
fn those_that_are_asked_are_spread_over_the_period() {
    let policy = RegistrarPolicy {
        qualify_s: 10,
        ..RegistrarPolicy::default()
    };
    let mut bench = Bench::new(policy, |_| ());
    let template = {
        accepted(&mut bench, &register("Contact: <sip:a@10.0.0.5>\r\n"));
        String::from_utf8_lossy(&bench.keys["registration:1001"]).into_owned()
    };
    let many = (0..100).map(|no| {
        let json = template.replace("sip:a@", &format!("sip:a{no}@"));
        (format!("registration:u{no}"), Some(json.into_bytes()))
    });
    bench.feed(Input::Changed(many.collect()));
    bench.sent.clear();
    let mut most = 0;
    for _ in 0..50 {
        bench.pass_ms(200);
        let sent = std::mem::take(&mut bench.sent);
        let asked = sent.iter().filter(|(_, text)| text.starts_with("OPTIONS"));
        most = most.max(asked.count());
    }
    // Two are begun in each step; earlier ones are repeated meanwhile.
    assert!(most < 40, "{most} at once");
}

#[test]
fn a_registration_is_measured_until_its_200_and_a_challenge_is_not() {
    let mut bench = bench();
    let count = "raftpbx_sip_server_transaction_seconds_count{method=\"REGISTER\"}";
    bench.ask(udp(PHONE), &register("").text(""));
    assert!(bench.metrics.render().contains(&format!("{count} 0\n")));
    accepted(
        &mut bench,
        &register("Contact: <sip:1001@192.0.2.10:5060>\r\n"),
    );
    assert!(bench.metrics.render().contains(&format!("{count} 1\n")));
    assert!(
        bench
            .metrics
            .render()
            .contains("raftpbx_sip_commit_seconds_count 1\n")
    );
}

/// A call from this Contact outlives its connection: the BYE goes to where the device is now.
fn bye_follows(contact_of: fn(&str) -> String) {
    let mut bench = bench().with_app(&["invite"]);
    let flows = ["203.0.113.7:40001", "203.0.113.7:40002"].map(|at| flow(Transport::Tcp, at));
    let contact = "sip:a@x8f.invalid;transport=tcp";
    let more = format!("Contact: <{contact}>;{INSTANCE};reg-id=1\r\nSupported: outbound, gruu\r\n");
    let answer = bench.log_in(flows[0], &register(&more));
    let own = contact_of(&parameter(&answer, "pub-gruu"));

    let mut invite = register("");
    let more = format!("Contact: <{own}>\r\n");
    (invite.method, invite.uri, invite.more) = ("INVITE", "sip:1002@pbx.test", &more);
    invite.call_id = "talk";
    bench.told.clear();
    bench.receive(flows[0], &invite.text(""));
    let mut told = bench.told.iter();
    let told = told.find(|frame| frame.contains("|sip|network|"));
    let transaction = told
        .and_then(|frame| frame.split('|').nth(8))
        .expect("told");
    let transaction = transaction.to_owned();
    let body = "\r\nSIP/2.0 200 OK\r\n\r\n";
    bench.command(&format!("m|sip|{transaction}|{body}"));

    bench.feed(Input::Disconnected { flow: flows[0] });
    let again = Request {
        cseq: 5,
        more: &format!("Contact: <{contact}>;{INSTANCE};reg-id=1\r\nSupported: outbound\r\n"),
        ..register("")
    };
    bench.log_in(flows[1], &again);
    let dialog = "talk;from-tag=phonetalk";
    bench.command(&format!(
        "m|sip||{dialog}\r\nBYE sip:placeholder SIP/2.0\r\n\r\n"
    ));
    bench.sent.clear();
    bench.feed(Input::Disconnected { flow: flows[0] });
    assert_eq!(bench.sent.len(), 1, "{:?}", bench.told);
    let (flow, bye) = bench.sent.remove(0);
    assert_eq!(flow, flows[1]);
    assert!(bye.starts_with(&format!("BYE {own} SIP/2.0")), "{bye}");
}

#[test]
fn a_dialog_follows_its_device_to_a_new_connection_whatever_its_contact_is_called() {
    bye_follows(|_| "sip:a@x8f.invalid;transport=tcp".to_owned());
    bye_follows(|_| "sip:a@x8f.invalid;transport=tcp;ob".to_owned());
    bye_follows(str::to_owned);
}
