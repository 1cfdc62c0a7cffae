//! Several threads that read UDP: every source stays in order, everything is answered from the
//! address that was asked, and what is no SIP is thrown away before the engine.
mod support;

use std::net::UdpSocket;
use std::sync::Arc;

use raftpbx_sip::Engine;
use support::desk::request;
use support::phone::header;
use support::{PATIENCE, TestJournal, address, any_port, config};

const PHONES: usize = 16;
const REQUESTS: u32 = 100;

fn engine(workers: usize) -> Engine {
    let journal = TestJournal::new();
    let mut config = config(any_port());
    config.udp_workers = workers;
    let events = journal.events();
    let engine = Engine::start(config, journal.clone(), Box::new(events)).expect("it starts");
    engine.lead(1);
    engine
}

fn phone(engine: &Engine) -> UdpSocket {
    let socket = UdpSocket::bind(any_port()).expect("loopback is there");
    socket.connect(address(engine)).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

fn heard(phone: &UdpSocket) -> String {
    let mut buffer = [0; 4_096];
    let count = phone.recv(&mut buffer).expect("an answer in time");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

fn options(phone: &UdpSocket, cseq: u32) -> String {
    let from = phone.local_addr().expect("it is bound").to_string();
    request(&from, "OPTIONS", "one", cseq, "", "")
}

#[test]
fn what_one_source_sends_is_answered_in_its_order() {
    for workers in [1, 3] {
        let engine = Arc::new(engine(workers));
        let talks = (0..PHONES).map(|_| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                let phone = phone(&engine);
                for cseq in 1..=REQUESTS {
                    let text = options(&phone, cseq);
                    phone.send(text.as_bytes()).expect("loopback takes it");
                    // So many wait that order would show, so few that no buffer overflows.
                    if let Some(oldest) = cseq.checked_sub(10).filter(|oldest| *oldest > 0) {
                        assert_eq!(header(&heard(&phone), "CSeq"), format!("{oldest} OPTIONS"));
                    }
                }
            })
        });
        for talk in talks.collect::<Vec<_>>() {
            talk.join().expect("every answer came in order");
        }
    }
}

#[test]
fn workers_answer_stun_and_drop_what_is_no_message() {
    let engine = engine(2);
    for _ in 0..PHONES {
        let phone = phone(&engine);
        phone.send(b"\r\n\r\n").expect("loopback takes it");
        phone.send(b"nonsense").expect("loopback takes it");
        let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        binding.extend_from_slice(&[7; 12]);
        phone.send(&binding).expect("loopback takes it");
        let mut buffer = [0; 256];
        let count = phone.recv(&mut buffer).expect("an answer in time");
        assert_eq!((&buffer[..2], &buffer[8..20]), (&[1, 1][..], &[7; 12][..]));
        assert!(count > 20);
        // What the engine refuses with an answer still gets there.
        let odd = options(&phone, 1).replacen("SIP/2.0\r\n", "SIP/7.0\r\n", 1);
        phone.send(odd.as_bytes()).expect("loopback takes it");
        assert!(heard(&phone).starts_with("SIP/2.0 505"));
    }
    // The nonsense, and what was refused.
    let malformed = format!("raftpbx_sip_malformed_total {}\n", 2 * PHONES);
    assert!(
        engine.metrics().contains(&malformed),
        "{}",
        engine.metrics()
    );
}

#[test]
fn the_address_is_free_when_the_engine_has_ended() {
    let engine = engine(4);
    let address = address(&engine);
    engine.shutdown();
    UdpSocket::bind(address).expect("nobody else has it");
}

#[test]
fn without_workers_a_second_engine_on_the_address_fails() {
    let first = engine(1);
    let journal = TestJournal::new();
    let events = journal.events();
    let second = Engine::start(config(address(&first)), journal.clone(), Box::new(events));
    assert!(second.is_err());
}
