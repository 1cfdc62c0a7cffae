//! The trace and the collector with a real engine, real phones, and a takeover.
mod support;

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use raftpbx_sip::{CallTrace, Engine, HepConfig, Listen, TracedMessage, Transport};
use rustls::pki_types::CertificateDer;
use support::line::Line;
use support::phone::{header, to_tag};
use support::{App, PATIENCE, Phone, TestJournal, address, any_port, config, kill, leader};

/// What the engine traced of an id; copies are made before anything is sent.
fn traced(engine: &Engine, id: &str) -> CallTrace {
    engine.trace(&[id.to_owned()])
}

/// `>` what came, `<` what was sent, with the first word that tells them apart.
fn lines(messages: &[TracedMessage]) -> Vec<String> {
    let line = |one: &TracedMessage| {
        let first = one.text.split("\r\n").next().unwrap_or_default();
        let mut words = first.split(' ');
        let word = match words.next() {
            Some("SIP/2.0") => words.next(),
            word => word,
        };
        let arrow = if one.sent { '<' } else { '>' };
        format!("{arrow}{}", word.unwrap_or_default())
    };
    messages.iter().map(line).collect()
}

/// A call of `caller` that the application sends on to `callee`; gives the id of the call.
fn call(app: &mut App, caller: &Phone, callee: &Phone) -> String {
    caller.send(&caller.request("INVITE", 1, "", ""));
    let invite = app.expect("INVITE");
    let id = invite.transaction().to_owned();
    app.command(&format!(
        "sip||\r\nINVITE sip:b@{} SIP/2.0\r\nX-Leg: {id}/1\r\n\r\n",
        callee.address()
    ));
    let sent = callee.expect("INVITE");
    app.next();
    callee.send(&callee.response(&sent, "200 OK"));
    app.expect("SIP/2.0 200");
    app.command(&format!(
        "sip||{};from-tag={}\r\nACK sip:placeholder SIP/2.0\r\n\r\n",
        header(&sent, "Call-ID"),
        header(&sent, "From")
            .split("tag=")
            .nth(1)
            .unwrap_or_default()
    ));
    callee.expect("ACK");
    app.next();
    app.respond(&id, "200 OK");
    let ok = caller.expect_after("SIP/2.0 200", "SIP/2.0 100");
    assert_eq!(app.next().tokens[3], "OK");
    caller.send(&caller.request("ACK", 1, to_tag(&ok), ""));
    app.expect("ACK");
    id
}

#[test]
fn both_legs_of_a_call_are_traced_and_found_again_after_a_takeover() {
    let journal = TestJournal::new();
    let first = leader(&journal, any_port());
    let (listen, mut app) = (address(&first), App::for_calls(first.applications()));
    let (caller, callee) = (Phone::new(listen), Phone::new(listen));
    let id = call(&mut app, &caller, &callee);

    let before = traced(&first, &id);
    assert_eq!(
        lines(&before.messages),
        [">INVITE", "<100", "<INVITE", ">200", "<ACK", "<200", ">ACK"]
    );
    assert_eq!((before.call_ids.len(), before.skipped), (2, 0));
    assert_eq!(before.call_ids[0], "call@phone");
    for one in &before.messages {
        let of_caller = one.text.contains("call@phone");
        let peer = if of_caller { &caller } else { &callee };
        assert_eq!((one.local, one.remote), (listen, peer.address()));
        assert_eq!(
            (one.transport, one.length),
            (Transport::Udp, one.text.len())
        );
    }
    assert!(before.messages.is_sorted_by_key(|one| one.at_us));
    assert_eq!(traced(&first, &before.call_ids[1]), before);
    drop(app);
    kill(first, &journal);

    let second = leader(&journal, listen);
    let mut app = App::for_calls(second.applications());
    caller.send(&caller.request("OPTIONS", 2, "", ""));
    caller.expect("SIP/2.0 200");
    let after = traced(&second, &id);
    assert_eq!(after.call_ids.len(), 2, "{:?}", after.call_ids);
    assert_eq!(lines(&after.messages), [">OPTIONS", "<200"]);
    app.command("ping");
    assert_eq!(app.next().tokens[3], "OK");
}

#[test]
fn nothing_is_kept_where_the_trace_is_off() {
    let mut config = config(any_port());
    config.trace_bytes = 0;
    let journal = TestJournal::new();
    let engine = Engine::start(config, journal.clone(), Box::new(journal.events()));
    let engine = engine.expect("the engine starts");
    engine.lead(1);
    let phone = Phone::new(address(&engine));
    phone.send(&phone.request("OPTIONS", 1, "", ""));
    phone.expect("SIP/2.0 200");
    assert_eq!(traced(&engine, "call@phone"), CallTrace::default());
    assert!(engine.metrics().contains("raftpbx_sip_trace_bytes 0\n"));
}

/// Chunks by type, read as the specification of HEP3 says.
fn chunks(packet: &[u8]) -> HashMap<u16, Vec<u8>> {
    let short = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!(
        (&packet[..4], usize::from(short(4))),
        (&b"HEP3"[..], packet.len())
    );
    let (mut found, mut at) = (HashMap::new(), 6);
    while at < packet.len() {
        let length = usize::from(short(at + 4));
        found.insert(short(at + 2), packet[at + 6..at + length].to_vec());
        at += length;
    }
    found
}

fn collected(collector: &UdpSocket) -> HashMap<u16, Vec<u8>> {
    let mut buffer = [0; 65_536];
    let (count, _) = collector.recv_from(&mut buffer).expect("a packet in time");
    chunks(&buffer[..count])
}

#[test]
fn a_collector_gets_a_copy_of_every_message_without_credentials() {
    let collector = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    collector
        .set_read_timeout(Some(PATIENCE))
        .expect("not zero");
    let mut config = config(any_port());
    config.trace_bytes = 0;
    let transport = Transport::Tcp;
    config.listen.push(Listen {
        transport,
        address: any_port(),
    });
    let port = collector.local_addr().expect("bound").port();
    config.hep = Some(HepConfig {
        address: format!("127.0.0.1:{port}"),
        id: 2001,
        password: Some("myhep".to_owned()),
    });
    let journal = TestJournal::new();
    let engine = Engine::start(config, journal.clone(), Box::new(journal.events()));
    let engine = Arc::new(engine.expect("the engine starts"));
    engine.lead(1);

    let phone = Phone::new(address(&engine));
    let secret = "Authorization: Digest username=\"1001\", response=\"5ec2e7\"\r\n";
    let request = phone.request("OPTIONS", 1, "", secret);
    phone.send(&request);
    let answer = phone.expect("SIP/2.0 200");
    let (one, two) = (collected(&collector), collected(&collector));
    let masked = request.replace("5ec2e7", "******");
    assert_eq!(one[&15], masked.as_bytes());
    assert_eq!(two[&15], answer.as_bytes());
    let (ours, theirs) = (address(&engine).port(), phone.address().port());
    assert_eq!(one[&7], theirs.to_be_bytes());
    assert_eq!(one[&8], ours.to_be_bytes());
    assert_eq!(two[&7], ours.to_be_bytes());
    assert_eq!(
        (&one[&1], &one[&2], &one[&3]),
        (&vec![2], &vec![17], &vec![127, 0, 0, 1])
    );
    assert_eq!(
        (&one[&11], &one[&12]),
        (&vec![1], &2001u32.to_be_bytes().to_vec())
    );
    assert_eq!(
        (one[&14].as_slice(), one[&17].as_slice()),
        (&b"myhep"[..], &b"call@phone"[..])
    );

    let nobody = CertificateDer::from(Vec::new());
    let mut line = Line::open(transport, engine.addresses()[1].address, &nobody);
    line.send(&line.request("OPTIONS", 1, "", ""));
    line.expect("SIP/2.0 200");
    assert_eq!(collected(&collector)[&2], [6]);
    assert_eq!(collected(&collector)[&2], [6]);
    let deadline = Instant::now() + PATIENCE;
    while !engine.metrics().contains("raftpbx_sip_hep_sent_total 4\n") {
        assert!(Instant::now() < deadline, "{}", engine.metrics());
        std::thread::yield_now();
    }
}

#[test]
fn a_collector_that_is_nowhere_holds_nobody_up() {
    let mut config = config(any_port());
    config.hep = Some(HepConfig {
        address: "nowhere.invalid:9060".to_owned(),
        id: 1,
        password: None,
    });
    let journal = TestJournal::new();
    let engine = Engine::start(config, journal.clone(), Box::new(journal.events()));
    let engine = engine.expect("the engine starts");
    engine.lead(1);
    let phone = Phone::new(address(&engine));
    for cseq in 1..=3_000 {
        phone.send(&phone.request("OPTIONS", cseq, "", ""));
        phone.expect("SIP/2.0 200");
    }
    let deadline = Instant::now() + PATIENCE * 4;
    while !engine
        .metrics()
        .contains("raftpbx_sip_hep_dropped_total 6000\n")
    {
        assert!(Instant::now() < deadline, "{}", engine.metrics());
        std::thread::yield_now();
    }
}
