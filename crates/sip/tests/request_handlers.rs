//! Request handlers over real sockets: web servers that decide, applications that are called.
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use raftpbx_sip::{Engine, HandlerMethod, MemoryJournal, RequestHandler};
use support::phone::header;
use support::{App, Phone, any_port, config};

/// Answers one HTTP request; gives what was asked.
fn web_server(answer: &str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let url = format!("http://{}/route", listener.local_addr().expect("bound"));
    let answer = answer.to_owned();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the engine asks");
        let mut asked = vec![0; 16_384];
        let count = stream.read(&mut asked).expect("a request");
        let length = answer.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}"
        )
        .expect("the engine reads");
        String::from_utf8_lossy(&asked[..count]).into_owned()
    });
    (url, thread)
}

fn engine(http_method: HandlerMethod, url: String) -> (Engine, Phone) {
    let mut config = config(any_port());
    config.request_handlers = vec![RequestHandler {
        sip_method: "*".to_owned(),
        http_method,
        url,
    }];
    let engine = Engine::start_alone(config, Arc::new(MemoryJournal::new()), Box::new(|_| {}));
    let engine = engine.expect("the engine starts");
    let phone = Phone::new(engine.addresses()[0].address);
    (engine, phone)
}

#[test]
fn a_web_server_decides() {
    for (answer, expected) in [
        (
            r#"{"action":"reject","data":{"status":503,"reason":"Later"}}"#,
            "SIP/2.0 503 Later",
        ),
        (
            r#"{"action":"redirect","data":{"contacts":["sip:x@192.0.2.1"]}}"#,
            "SIP/2.0 302 Moved Temporarily",
        ),
        (r#"{"action":"dance"}"#, "SIP/2.0 480"),
        (r#"{"action":"route","data":{"tag":"red"}}"#, "SIP/2.0 480"),
        (
            r#"{"action":"route","data":{"uri":"127.0.0.1:1"}}"#,
            "SIP/2.0 480",
        ),
    ] {
        let (url, server) = web_server(answer);
        let (_engine, phone) = engine(HandlerMethod::Get, url);
        phone.send(&phone.request("INVITE", 1, "", ""));
        phone.expect("SIP/2.0 100");
        phone.expect(expected);
        let asked = server.join().expect("the server was asked");
        assert!(asked.starts_with("GET /route?method=INVITE&"), "{asked}");
        assert!(asked.contains("source_address=127.0.0.1") && asked.contains("fromUser=1001"));
    }
}

#[test]
fn a_web_server_has_the_request_forwarded() {
    let callee = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    let address = callee.local_addr().expect("bound");
    let destination = format!("sip:b@{address}");
    let answer = format!(r#"{{"action":"proxy","data":{{"destination":"{destination}"}}}}"#);
    let (url, server) = web_server(&answer);
    let (_engine, phone) = engine(HandlerMethod::Post, url);
    phone.send(&phone.request("INVITE", 1, "", ""));
    let mut bytes = [0; 4_096];
    callee
        .set_read_timeout(Some(support::PATIENCE))
        .expect("a duration");
    let (count, _) = callee.recv_from(&mut bytes).expect("the INVITE");
    let invite = String::from_utf8_lossy(&bytes[..count]).into_owned();
    assert!(invite.starts_with(&format!("INVITE {destination}")));
    assert_eq!(header(&invite, "Call-ID"), "call@phone");
    let asked = server.join().expect("the server was asked");
    assert!(asked.starts_with("POST /route?method=INVITE&"), "{asked}");
}

#[test]
fn the_engine_connects_to_an_application_which_authenticates() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let url = format!("tcp://{}", listener.local_addr().expect("bound"));
    let (_engine, phone) = engine(HandlerMethod::Get, url);
    phone.send(&phone.request("INVITE", 1, "", ""));
    phone.expect("SIP/2.0 100");
    let (stream, _) = listener.accept().expect("the engine connects");
    let mut app = App::accepted(stream);
    let invite = app.expect("INVITE");
    app.respond(invite.transaction(), "486 Busy Here");
    phone.expect("SIP/2.0 486");
}

#[test]
fn a_web_server_names_the_tag_of_an_application() {
    let (url, server) = web_server(r#"{"action":"route","data":{"tag":"red"}}"#);
    let (engine, phone) = engine(HandlerMethod::Get, url);
    let connect = || std::net::TcpStream::connect(engine.applications()).expect("it listens");
    let mut apps = [
        App::tagged(connect(), "blue"),
        App::tagged(connect(), "green,red"),
    ];
    for app in &mut apps {
        app.command("route|invite");
        assert_eq!(app.next().tokens[3], "OK");
    }
    phone.send(&phone.request("INVITE", 1, "", ""));
    let invite = apps[1].expect("INVITE");
    apps[1].respond(invite.transaction(), "486 Busy Here");
    phone.expect("SIP/2.0 100");
    phone.expect("SIP/2.0 486");
    assert!(apps[0].is_quiet());
    server.join().expect("the server was asked");
}
