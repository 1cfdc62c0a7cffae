//! The engine over TCP, TLS and WebSocket: real sockets, a real authority.
mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use raftpbx_sip::{Engine, EngineConfig, Listen, Transport};
use support::certificates::Certificates;
use support::line::{Line, open_web, secure};
use support::phone::{header, to_tag};
use support::{App, PATIENCE, TestJournal, any_port, config, leading};

const ALL: [Transport; 4] = [
    Transport::Tcp,
    Transport::Tls,
    Transport::Ws,
    Transport::Wss,
];

struct Server {
    engine: Arc<Engine>,
    journal: Arc<TestJournal>,
    certificates: Certificates,
}

impl Server {
    fn start() -> Server {
        Server::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EngineConfig)) -> Server {
        let certificates = Certificates::new();
        let mut config = config(any_port());
        change(&mut config);
        config.connections_per_source = 6;
        config.tls = Some(certificates.files());
        config.listen.extend(ALL.map(|transport| Listen {
            transport,
            address: any_port(),
        }));
        let (engine, journal) = leading(config);
        Server {
            engine,
            journal,
            certificates,
        }
    }

    fn address(&self, transport: Transport) -> SocketAddr {
        let all = self.engine.addresses();
        let found = all.iter().find(|listen| listen.transport == transport);
        found.expect("it listens").address
    }

    fn line(&self, transport: Transport) -> Line {
        let authority = &self.certificates.authority;
        Line::open(transport, self.address(transport), authority)
    }

    /// Binds a Contact to the connection of `line`, as a REGISTER over it would.
    fn register(&self, contact: &str, line: &Line, received: &str) {
        let (name, server) = (line.transport, self.address(line.transport));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let expires_at = now.expect("after 1970").as_millis() + 60_000;
        let json = format!(
            r#"{{"user":"1001","bindings":[{{"contact":"{contact}","received":"{received}",
            "local":"{name}/{server}","callId":"r","cseq":1,"expiresAt":{expires_at},"q":1.0,
            "instance":null,"userAgent":null,"registeredAt":0}}]}}"#
        );
        let key = "registration:1001".to_owned();
        self.journal.set(&key, json.into_bytes());
    }
}

/// Where the engine sees a line: in the Via of an answer to it.
fn seen(line: &mut Line) -> String {
    let request = line.request("OPTIONS", 900, "", "");
    line.send(&request);
    let via = header(&line.expect("SIP/2.0 200"), "Via").to_owned();
    let port = via.split("rport=").nth(1).expect("it was asked for");
    let port = port.split(';').next().expect("a port");
    format!("{}/127.0.0.1:{port}", line.transport)
}

#[test]
fn calls_work_over_every_transport_and_stay_on_their_connection() {
    let server = Server::start();
    let mut app = App::for_calls(server.engine.applications());
    for transport in ALL {
        let mut phone = server.line(transport);
        phone.send(&phone.request("INVITE", 1, "", ""));
        let invite = app.expect("INVITE");
        assert_eq!(invite.tokens[4], transport.name());
        phone.expect("SIP/2.0 100");
        app.respond(invite.transaction(), "200 OK");
        let ok = phone.expect("SIP/2.0 200");
        let at = server.address(transport);
        let contact = format!("<sip:{at}{}>", transport.uri_parameter());
        assert_eq!(header(&ok, "Contact"), contact);
        assert!(header(&ok, "Via").contains("received=127.0.0.1"));
        assert_eq!(app.next().tokens[3], "OK");
        phone.send(&phone.request("ACK", 1, to_tag(&ok), ""));
        let dialog = app.expect("ACK").dialog().to_owned();
        app.command(&format!(
            "sip||{dialog}\r\nBYE sip:placeholder SIP/2.0\r\n\r\n"
        ));
        let bye = phone.expect("BYE sip:1001@x8f.invalid");
        let via = format!("SIP/2.0/{} {at}", transport.via_name());
        assert!(header(&bye, "Via").starts_with(&via));
        phone.send(&answer(&bye));
        assert_eq!(app.next().tokens[3], "OK");
        app.expect("SIP/2.0 200");
    }
}

fn answer(request: &str) -> String {
    let repeated: String = request
        .split("\r\n")
        .filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            ["Via", "From", "To", "Call-ID", "CSeq"].contains(&name)
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!("SIP/2.0 200 OK\r\n{repeated}Content-Length: 0\r\n\r\n")
}

#[test]
fn a_double_line_break_is_answered_by_a_single_one() {
    let server = Server::start();
    for transport in ALL {
        let mut phone = server.line(transport);
        phone.send("\r\n\r\n");
        assert_eq!(phone.read_raw(2), b"\r\n");
    }
}

#[test]
fn a_phone_on_udp_learns_its_address() {
    let server = Server::start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a duration that is not zero");
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    request.extend([7; 12]);
    socket
        .send_to(&request, server.address(Transport::Udp))
        .expect("loopback takes it");
    let mut reply = [0; 100];
    let (count, _) = socket.recv_from(&mut reply).expect("an answer in time");
    let port = socket.local_addr().expect("bound").port() ^ 0x2112;
    assert_eq!((count, &reply[..2]), (32, &[1, 1][..]));
    assert_eq!(reply[26..28], port.to_be_bytes());
}

#[test]
fn a_web_socket_that_does_not_offer_sip_is_refused() {
    let server = Server::start();
    let address = server.address(Transport::Ws);
    let refused = open_web(address, secure(address, None), "chat").err();
    let refused = refused.expect("no chat here");
    assert!(refused.contains("400"), "{refused}");
}

#[test]
fn an_address_with_too_many_connections_gets_no_more() {
    let server = Server::start();
    let mut open: Vec<Line> = Vec::new();
    let mut refused = None;
    for _ in 0..7 {
        let mut line = server.line(Transport::Tcp);
        line.send("\r\n\r\n");
        if open.len() < 6 {
            assert_eq!(line.read_raw(2), b"\r\n");
            open.push(line);
        } else {
            refused = Some(line.ends());
        }
    }
    assert_eq!(refused, Some(true));
    let metrics = server.engine.metrics();
    assert!(!metrics.contains("raftpbx_sip_refused_connections_total 0\n"));
    open[0].send("\r\n\r\n");
    assert_eq!(open[0].read_raw(2), b"\r\n");
}

#[test]
fn a_new_certificate_is_used_without_closing_a_connection() {
    let mut server = Server::start();
    let mut old = server.line(Transport::Tls);
    let before = server.certificates.renew();
    let address = server.address(Transport::Tls);
    let deadline = std::time::Instant::now() + PATIENCE;
    let renewed = || {
        let mut wire = secure(address, Some(&server.certificates.authority));
        wire.write_all(b"\r\n\r\n").is_ok()
    };
    while !renewed() {
        assert!(std::time::Instant::now() < deadline, "no new certificate");
        // An engine that has only just begun to look must see a change as well.
        let file = std::fs::File::options()
            .write(true)
            .open(server.certificates.path("key.pem"));
        let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
        touched.expect("the file is ours");
        std::thread::yield_now();
    }
    let mut wire = secure(address, Some(&before));
    assert!(wire.write_all(b"\r\n\r\n").is_err());
    old.send("\r\n\r\n");
    assert_eq!(old.read_raw(2), b"\r\n");
}

#[test]
fn requests_for_a_phone_that_lost_its_connection_wait_until_it_is_back() {
    let server = Server::start();
    let mut app = App::connect(server.engine.applications());
    let contact = "sip:1001@x8f.invalid;transport=ws";
    let message = format!("sip||\r\nMESSAGE {contact} SIP/2.0\r\n\r\n");
    let mut phone = server.line(Transport::Wss);
    let received = seen(&mut phone);
    server.register(contact, &phone, &received);
    app.command(&message);
    let request = phone.expect("MESSAGE");
    phone.send(&answer(&request));
    assert_eq!(app.next().tokens[3], "OK");
    app.expect("SIP/2.0 200");

    drop(phone);
    app.command(&message);
    assert_eq!(app.next().tokens[3], "OK");
    assert!(app.is_quiet());
    let mut phone = server.line(Transport::Wss);
    let received = seen(&mut phone);
    server.register(contact, &phone, &received);
    let request = phone.expect("MESSAGE");
    phone.send(&answer(&request));
    app.expect("SIP/2.0 200");
}

#[test]
fn an_application_hears_at_once_that_nobody_listens() {
    let server = Server::start();
    let mut app = App::connect(server.engine.applications());
    let closed = std::net::TcpListener::bind(any_port()).expect("loopback is there");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    for transport in ["tcp", "tls"] {
        app.command(&format!(
            "sip||\r\nOPTIONS sip:{address};transport={transport} SIP/2.0\r\n\r\n"
        ));
        assert_eq!(app.next().tokens[3], "OK");
        app.expect("SIP/2.0 503");
    }
}

#[test]
fn a_phone_that_an_application_registered_is_called_over_its_connection() {
    let server = Server::with(|config| config.registrar = None);
    let mut app = App::connect(server.engine.applications());
    app.command("route|register");
    assert_eq!(app.next().tokens[3], "OK");
    let call = "sip||\r\nMESSAGE sip:1001@X8F.invalid;transport=ws SIP/2.0\r\n\r\n";
    for transport in ALL {
        let mut phone = server.line(transport);
        phone.send(&phone.request("REGISTER", 1, "", ""));
        let register = app.expect("REGISTER");
        app.respond(register.transaction(), "200 OK\r\nExpires: 600");
        phone.expect("SIP/2.0 200");
        assert_eq!(app.next().tokens[3], "OK");

        app.command(call);
        let request = phone.expect("MESSAGE");
        phone.send(&answer(&request));
        assert_eq!(app.next().tokens[3], "OK");
        app.expect("SIP/2.0 200");

        phone.send(&phone.request("REGISTER", 2, "", "Expires: 0\r\n"));
        let register = app.expect("REGISTER");
        app.respond(register.transaction(), "200 OK");
        phone.expect("SIP/2.0 200");
        assert_eq!(app.next().tokens[3], "OK");
        app.command(call);
        assert_eq!(
            app.next().tokens[3],
            "NOK",
            "{transport}: nobody is there any more"
        );
    }
}
