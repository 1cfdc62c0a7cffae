//! NG over TCP and WebSocket.

mod phones;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use phones::{DEADLINE, Lab, until};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, client};

fn lab(first: u16) -> (Lab, SocketAddr) {
    let lab = Lab::with(first..=first + 19, |config| {
        config.ng_tcp_listen = Some(([127, 0, 0, 1], 0).into());
    });
    let address = lab.engine.ng_tcp_address().expect("listening");
    (lab, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
}

fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut room = vec![0; length];
    stream.read_exact(&mut room).expect("an answer in time");
    String::from_utf8(room).expect("text")
}

const PONG: &str = "d6:result4:ponge";

#[test]
fn over_tcp_messages_come_in_pieces_and_several_at_once() {
    let (lab, address) = lab(33_400);
    let mut client = connect(address);
    client.write_all(b"c1 d7:command4:pi").expect("send");
    client
        .write_all(b"ngec2 {\"command\": \"ping\"}c3 d7:command4:pinge")
        .expect("send");
    let all = format!("c1 {PONG}c2 {{\"result\":\"pong\"}}c3 {PONG}");
    assert_eq!(read(&mut client, all.len()), all);
    // The same cookie of the same connection.
    client.write_all(b"c3 d7:command4:pinge").expect("send");
    assert_eq!(read(&mut client, 19), format!("c3 {PONG}"));
    assert_eq!(lab.engine.stats().ng_repeats, 1);
}

#[test]
fn a_connection_that_sends_nonsense_is_closed_and_counted() {
    let (lab, address) = lab(33_420);
    for nonsense in [&b"c1 nonsense"[..], &[b'x'; 500]] {
        let mut client = connect(address);
        client.write_all(nonsense).expect("send");
        // A reset, when something was not read, is an end too.
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    }
    assert_eq!(lab.engine.stats().ng_nonsense, 2);
}

#[test]
fn a_websocket_has_a_message_for_each_command() {
    let (lab, address) = lab(33_440);
    let mut request = format!("ws://{address}/")
        .into_client_request()
        .expect("a request");
    let name = "Sec-WebSocket-Protocol";
    let wanted = "ng.rtpengine.com".parse().expect("a value");
    request.headers_mut().insert(name, wanted);
    let (mut socket, response) = client(request, connect(address)).expect("connect");
    assert_eq!(response.headers()[name], "ng.rtpengine.com");
    let mut ask = |message: Message| {
        socket.send(message).expect("send");
        socket.read().expect("an answer in time")
    };
    let text = ask(Message::text("c1 {\"command\": \"ping\"}"));
    assert_eq!(text, Message::text("c1 {\"result\":\"pong\"}"));
    let binary = ask(Message::binary(&b"c2 d7:command4:pinge"[..]));
    assert_eq!(binary, Message::binary(format!("c2 {PONG}").into_bytes()));
    assert_eq!(lab.engine.stats().ng_requests, 2);
}

#[test]
fn connections_have_a_limit_and_end_with_the_engine() {
    let (lab, address) = lab(33_460);
    let mut clients: Vec<TcpStream> = (0..64).map(|_| connect(address)).collect();
    for client in &mut clients {
        client.write_all(b"c d7:command4:pinge").expect("send");
        read(client, 18);
    }
    assert_eq!(connect(address).read(&mut [0; 1]).unwrap_or(0), 0);
    until("refused", || lab.engine.stats().refused == 1);
    drop(clients.pop());
    until("room again", || {
        let mut client = connect(address);
        client.write_all(b"c d7:command4:pinge").expect("send");
        client.read(&mut [0; 1]).unwrap_or(0) == 1
    });
    lab.engine.shutdown();
    assert_eq!(clients[0].read(&mut [0; 1]).unwrap_or(0), 0);
}
