//! Requests to names (RFC 3263): where they go, and where to when that fails.
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use raftpbx_sip::{Engine, Listen, Transport};
use support::names::{loopback, naptr, serve, srv};
use support::phone::header;
use support::{App, PATIENCE, Phone, address, any_port, config, leading};

const INVITE: &str = "sip||\r\nINVITE sip:1@example.com SIP/2.0\r\n\r\n";
const OPTIONS: &str = "sip||\r\nOPTIONS sip:1@example.com SIP/2.0\r\n\r\n";

fn engine(names: SocketAddr) -> Arc<Engine> {
    let mut config = config(any_port());
    config.name_servers = vec![names];
    config.listen.push(Listen {
        transport: Transport::Tcp,
        address: any_port(),
    });
    leading(config).0
}

/// Two servers of a domain, the first preferred, and an engine that asks for them.
fn two_servers() -> (Arc<Engine>, Phone, Phone) {
    // Whoever is a server here does not know the engine yet.
    let mut servers = [any_port(), any_port()].map(Phone::new);
    let names = serve(vec![
        (
            "example.com.",
            naptr(10, "SIP+D2U", "_sip._udp.example.com."),
        ),
        (
            "_sip._udp.example.com.",
            srv(10, servers[0].address().port(), "a.example.com."),
        ),
        (
            "_sip._udp.example.com.",
            srv(20, servers[1].address().port(), "a.example.com."),
        ),
        ("a.example.com.", loopback()),
    ]);
    let engine = engine(names);
    for server in &mut servers {
        server.server = address(&engine);
    }
    let [first, second] = servers;
    (engine, first, second)
}

fn branch(message: &str) -> &str {
    let via = header(message, "Via");
    let branch = via.split("branch=").nth(1).expect("every request has one");
    branch.split(';').next().expect("split gives one")
}

#[test]
fn a_server_that_is_busy_leaves_the_call_to_the_next() {
    let (engine, first, second) = two_servers();
    let mut app = App::connect(engine.applications());
    app.command(INVITE);
    let one = first.expect("INVITE");
    assert_eq!(app.next().tokens[3], "OK");
    first.send(&first.response(&one, "503 Service Unavailable"));
    let two = second.expect("INVITE");
    let ack = first.expect("ACK");
    assert_eq!(branch(&ack), branch(&one));
    assert_ne!(branch(&one), branch(&two));
    for name in ["Call-ID", "From", "CSeq"] {
        assert_eq!(header(&one, name), header(&two, name));
    }
    second.send(&second.response(&two, "200 OK"));
    app.expect("SIP/2.0 200");
}

#[test]
fn a_server_that_says_nothing_leaves_the_call_to_the_next() {
    let (engine, first, second) = two_servers();
    let mut app = App::connect(engine.applications());
    app.command(INVITE);
    first.expect("INVITE");
    let invite = second.expect("INVITE");
    second.send(&second.response(&invite, "486 Busy Here"));
    assert_eq!(app.next().tokens[3], "OK");
    app.expect("SIP/2.0 486");
}

#[test]
fn the_refusal_of_the_last_server_is_for_the_application() {
    let (engine, first, second) = two_servers();
    let mut app = App::connect(engine.applications());
    app.command(OPTIONS);
    for server in [&first, &second] {
        let request = server.expect("OPTIONS");
        server.send(&server.response(&request, "503 Service Unavailable"));
    }
    assert_eq!(app.next().tokens[3], "OK");
    app.expect("SIP/2.0 503");
}

#[test]
fn a_name_that_nobody_knows_is_an_error() {
    let engine = engine(serve(Vec::new()));
    let mut app = App::connect(engine.applications());
    app.command(OPTIONS);
    assert_eq!(app.next().tokens[3], "NOK");
}

#[test]
fn a_port_in_the_uri_needs_an_address_only() {
    let mut server = Phone::new(any_port());
    let engine = engine(serve(vec![("example.com.", loopback())]));
    server.server = address(&engine);
    let mut app = App::connect(engine.applications());
    let port = server.address().port();
    app.command(&OPTIONS.replace("example.com", &format!("example.com:{port}")));
    let request = server.expect("OPTIONS");
    server.send(&server.response(&request, "200 OK"));
    assert_eq!(app.next().tokens[3], "OK");
    app.expect("SIP/2.0 200");
}

/// An INVITE that is too long for a datagram.
fn long(server: SocketAddr) -> String {
    let filling = "x".repeat(1_300);
    format!("sip||\r\nMESSAGE sip:{server} SIP/2.0\r\nContent-Type: text/plain\r\n\r\n{filling}")
}

#[test]
fn a_long_request_goes_over_tcp() {
    let server = TcpListener::bind(any_port()).expect("loopback is there");
    let engine = engine(any_port());
    let mut app = App::connect(engine.applications());
    app.command(&long(server.local_addr().expect("bound")));
    let (mut stream, _) = server.accept().expect("a connection");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a duration that is not zero");
    let mut request = Vec::new();
    while !request.ends_with(&[b'x'; 1_300]) {
        let mut part = [0; 4_096];
        let count = stream.read(&mut part).expect("bytes in time");
        request.extend_from_slice(&part[..count]);
    }
    let request = String::from_utf8(request).expect("UTF-8");
    assert!(header(&request, "Via").starts_with("SIP/2.0/TCP "));
    let reply = Phone::new(any_port()).response(&request, "200 OK");
    stream.write_all(reply.as_bytes()).expect("an open stream");
    assert_eq!(app.next().tokens[3], "OK");
    app.expect("SIP/2.0 200");
}

#[test]
fn a_long_request_is_a_datagram_where_there_is_no_tcp() {
    let mut server = Phone::new(any_port());
    let engine = engine(any_port());
    server.server = address(&engine);
    let mut app = App::connect(engine.applications());
    app.command(&long(server.address()));
    let request = server.expect("MESSAGE");
    assert!(header(&request, "Via").starts_with("SIP/2.0/UDP "));
    server.send(&server.response(&request, "200 OK"));
    assert_eq!(app.next().tokens[3], "OK");
    app.expect("SIP/2.0 200");
}
