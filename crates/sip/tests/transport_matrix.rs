//! A registration, a call each way and requests inside it, over each transport and both families.
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use raftpbx_sip::{Engine, Listen, Transport};
use support::certificates::Certificates;
use support::line::{Line, request_over};
use support::phone::{header, to_tag};
use support::{App, PATIENCE, any_port, bench, config, leading};

const ALL: [Transport; 5] = [
    Transport::Udp,
    Transport::Tcp,
    Transport::Tls,
    Transport::Ws,
    Transport::Wss,
];

enum Wire {
    Datagrams(UdpSocket, SocketAddr),
    Line(Box<Line>),
}

struct Phone {
    transport: Transport,
    wire: Wire,
}

impl Phone {
    fn open(transport: Transport, server: SocketAddr, certificates: &Certificates) -> Phone {
        let wire = if transport == Transport::Udp {
            let own = SocketAddr::new(server.ip(), 0);
            let socket = UdpSocket::bind(own).expect("loopback is there");
            let patience = socket.set_read_timeout(Some(PATIENCE));
            patience.expect("a duration that is not zero");
            Wire::Datagrams(socket, server)
        } else {
            let authority = &certificates.authority;
            Wire::Line(Box::new(Line::open(transport, server, authority)))
        };
        Phone { transport, wire }
    }

    fn send(&mut self, text: &str) {
        match &mut self.wire {
            Wire::Datagrams(socket, server) => {
                let sent = socket.send_to(text.as_bytes(), *server);
                sent.expect("loopback takes it");
            }
            Wire::Line(line) => line.send(text),
        }
    }

    /// The next message that begins so; of datagrams, repetitions are passed over.
    fn expect(&mut self, start: &str) -> String {
        let socket = match &mut self.wire {
            Wire::Datagrams(socket, _) => socket,
            Wire::Line(line) => return line.expect(start),
        };
        let begun = Instant::now();
        let mut buffer = [0; 65_536];
        while begun.elapsed() < PATIENCE {
            let count = socket.recv(&mut buffer).expect("a message in time");
            let text = String::from_utf8(buffer[..count].to_vec()).expect("UTF-8");
            if text.starts_with(start) {
                return text;
            }
        }
        panic!("no {start} in time");
    }

    fn ask(&mut self, method: &str, cseq: u32, tag: &str, more: &str) {
        let text = request_over(self.transport, method, cseq, tag, more);
        self.send(&text);
    }

    fn answer(&mut self, request: &str, more: &str) {
        let kept = ["Via", "From", "Call-ID", "CSeq", "Record-Route"];
        let mut text = "SIP/2.0 200 OK\r\n".to_owned();
        for line in request.split("\r\n") {
            let name = line.split(':').next().unwrap_or_default();
            if kept.contains(&name) {
                text.push_str(&format!("{line}\r\n"));
            } else if name == "To" {
                let tag = if line.contains("tag=") {
                    ""
                } else {
                    ";tag=callee"
                };
                text.push_str(&format!("{line}{tag}\r\n"));
            }
        }
        self.send(&format!("{text}{more}Content-Length: 0\r\n\r\n"));
    }
}

struct Server {
    engine: Arc<Engine>,
    certificates: Certificates,
}

fn server(family: IpAddr) -> Server {
    let certificates = Certificates::new();
    let mut config = config(any_port());
    config.tls = Some(certificates.files());
    if let Some(registrar) = &mut config.registrar {
        registrar.max_bindings = ALL.len();
    }
    let address = SocketAddr::new(family, 0);
    let listen = ALL.map(|transport| Listen { transport, address });
    config.listen = listen.to_vec();
    Server {
        engine: leading(config).0,
        certificates,
    }
}

/// REGISTER with a password.
fn register(phone: &mut Phone) {
    phone.ask("REGISTER", 1, "", "");
    let challenge = phone.expect("SIP/2.0 401");
    let proof = bench::Request {
        uri: "sip:1001@pbx.test",
        ..bench::register("")
    };
    phone.ask("REGISTER", 2, "", &proof.answer(&challenge, 1));
    let ok = phone.expect("SIP/2.0 200");
    assert!(header(&ok, "Contact").contains("x8f.invalid"));
}

/// The phone calls, asks and is asked inside the call, and the application hangs up.
fn call_in(phone: &mut Phone, app: &mut App, at: SocketAddr) {
    phone.ask("INVITE", 3, "", "");
    let invite = app.expect("INVITE");
    assert_eq!(invite.tokens[4], phone.transport.name());
    phone.expect("SIP/2.0 100");
    app.respond(invite.transaction(), "200 OK");
    let ok = phone.expect("SIP/2.0 200");
    let contact = format!("<sip:{at}{}>", phone.transport.uri_parameter());
    assert_eq!(header(&ok, "Contact"), contact);
    assert_eq!(app.next().tokens[3], "OK");
    let tag = to_tag(&ok).to_owned();
    phone.ask("ACK", 3, &tag, "");
    let dialog = app.expect("ACK").dialog().to_owned();
    phone.ask("INFO", 4, &tag, "");
    let info = app.expect("INFO");
    assert_eq!(info.dialog(), dialog);
    app.respond(info.transaction(), "200 OK");
    assert_eq!(header(&phone.expect("SIP/2.0 200"), "CSeq"), "4 INFO");
    assert_eq!(app.next().tokens[3], "OK");
    app.command(&format!(
        "sip||{dialog}\r\nBYE sip:placeholder SIP/2.0\r\n\r\n"
    ));
    let bye = phone.expect("BYE sip:1001@x8f.invalid");
    let via = format!("SIP/2.0/{} {at}", phone.transport.via_name());
    assert!(header(&bye, "Via").starts_with(&via), "{bye}");
    phone.answer(&bye, "");
    assert_eq!(app.next().tokens[3], "OK");
    app.expect("SIP/2.0 200");
}

/// The application calls the registered Contact, and the phone hangs up.
fn call_out(phone: &mut Phone, app: &mut App) {
    let contact = format!("sip:1001@x8f.invalid{}", phone.transport.uri_parameter());
    app.command(&format!(
        "sip||\r\nINVITE {contact} SIP/2.0\r\nFrom: <sip:pbx@pbx.test>\r\n\r\n"
    ));
    let invite = phone.expect("INVITE");
    phone.answer(&invite, &format!("Contact: <{contact}>\r\n"));
    assert_eq!(app.next().tokens[3], "OK");
    let dialog = app.expect("SIP/2.0 200").dialog().to_owned();
    app.command(&format!(
        "sip||{dialog}\r\nACK sip:placeholder SIP/2.0\r\n\r\n"
    ));
    phone.expect("ACK");
    assert_eq!(app.next().tokens[3], "OK");
    let (from, to) = (header(&invite, "From"), header(&invite, "To"));
    let via = phone.transport.via_name();
    phone.send(&format!(
        "BYE sip:pbx@pbx.test SIP/2.0\r\n\
         Via: SIP/2.0/{via} x8f.invalid;branch=z9hG4bKbye{via};rport\r\nMax-Forwards: 70\r\n\
         From: {to};tag=callee\r\nTo: {from}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\n\
         Content-Length: 0\r\n\r\n",
        header(&invite, "Call-ID")
    ));
    let bye = app.expect("BYE");
    assert_eq!(bye.dialog(), dialog);
    app.respond(bye.transaction(), "200 OK");
    assert_eq!(header(&phone.expect("SIP/2.0 200"), "CSeq"), "1 BYE");
    assert_eq!(app.next().tokens[3], "OK");
}

fn everything(family: IpAddr) {
    let server = server(family);
    let mut app = App::for_calls(server.engine.applications());
    for transport in ALL {
        let all = server.engine.addresses();
        let found = all.iter().find(|listen| listen.transport == transport);
        let at = found.expect("it listens").address;
        let mut phone = Phone::open(transport, at, &server.certificates);
        register(&mut phone);
        call_in(&mut phone, &mut app, at);
        call_out(&mut phone, &mut app);
    }
}

#[test]
fn phones_on_ipv4_register_call_and_are_called_over_every_transport() {
    everything(IpAddr::from(Ipv4Addr::LOCALHOST));
}

#[test]
fn phones_on_ipv6_register_call_and_are_called_over_every_transport() {
    everything(IpAddr::from(Ipv6Addr::LOCALHOST));
}
