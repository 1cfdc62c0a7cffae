//! A phone on a connection: TCP, TLS or WebSocket, blocking.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use raftpbx_sip::Transport;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::PATIENCE;

/// A stream that may be encrypted.
pub trait Bytes: Read + Write {}
impl<T: Read + Write> Bytes for T {}

enum Wire {
    Stream(Box<dyn Bytes>),
    Web(Box<WebSocket<Box<dyn Bytes>>>),
}

pub struct Line {
    wire: Wire,
    pub transport: Transport,
    buffer: Vec<u8>,
}

/// Connects in plain text, or trusting `authority` only.
pub fn secure(server: SocketAddr, authority: Option<&CertificateDer<'static>>) -> Box<dyn Bytes> {
    let stream = TcpStream::connect(server).expect("the engine listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a duration that is not zero");
    let Some(authority) = authority else {
        return Box::new(stream);
    };
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::from(server.ip());
    let session = ClientConnection::new(Arc::new(config), name).expect("a name");
    Box::new(StreamOwned::new(session, stream))
}

/// The WebSocket handshake, offering this sub-protocol.
pub fn open_web(
    server: SocketAddr,
    wire: Box<dyn Bytes>,
    protocol: &'static str,
) -> Result<WebSocket<Box<dyn Bytes>>, String> {
    let mut request = format!("ws://{server}/")
        .into_client_request()
        .expect("a URL");
    let value = protocol.parse().expect("a header value");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", value);
    client(request, wire)
        .map(|(socket, _)| socket)
        .map_err(|error| error.to_string())
}

impl Line {
    pub fn open(
        transport: Transport,
        server: SocketAddr,
        authority: &CertificateDer<'static>,
    ) -> Line {
        let wire = secure(server, transport.is_secure().then_some(authority));
        let wire = if transport.is_web() {
            let socket = open_web(server, wire, "sip").expect("the engine speaks sip");
            Wire::Web(Box::new(socket))
        } else {
            Wire::Stream(wire)
        };
        Line {
            wire,
            transport,
            buffer: Vec::new(),
        }
    }

    pub fn send(&mut self, text: &str) {
        match &mut self.wire {
            Wire::Stream(stream) => {
                stream.write_all(text.as_bytes()).expect("an open stream");
                stream.flush().expect("an open stream");
            }
            Wire::Web(socket) => socket.send(Message::text(text)).expect("an open socket"),
        }
    }

    /// Exactly so many bytes, or the next WebSocket message.
    pub fn read_raw(&mut self, count: usize) -> Vec<u8> {
        match &mut self.wire {
            Wire::Stream(stream) => {
                let mut bytes = vec![0; count];
                stream.read_exact(&mut bytes).expect("bytes in time");
                bytes
            }
            Wire::Web(socket) => loop {
                match socket.read().expect("a message in time") {
                    Message::Text(text) => return text.as_bytes().to_vec(),
                    Message::Binary(bytes) => return bytes.to_vec(),
                    _ => {}
                }
            },
        }
    }

    /// The next message, which must have no body.
    pub fn expect(&mut self, start: &str) -> String {
        let text = if self.transport.is_web() {
            String::from_utf8(self.read_raw(0)).expect("UTF-8")
        } else {
            self.read_head()
        };
        assert!(text.starts_with(start), "expected {start}, got {text}");
        text
    }

    fn read_head(&mut self) -> String {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return String::from_utf8(head).expect("UTF-8");
            }
            let byte = self.read_raw(1);
            self.buffer.extend(byte);
        }
    }

    /// Whether the engine closes the connection.
    pub fn ends(&mut self) -> bool {
        match &mut self.wire {
            Wire::Stream(stream) => !matches!(stream.read(&mut [0; 1]), Ok(1)),
            Wire::Web(socket) => matches!(
                socket.read(),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::Protocol(_))
            ),
        }
    }

    /// A request with the mandatory headers; `more` ends each line with CRLF.
    pub fn request(&self, method: &str, cseq: u32, to_tag: &str, more: &str) -> String {
        request_over(self.transport, method, cseq, to_tag, more)
    }
}

/// The same of a phone on any transport.
pub fn request_over(
    transport: Transport,
    method: &str,
    cseq: u32,
    to_tag: &str,
    more: &str,
) -> String {
    let via = transport.via_name();
    let tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    let seq = if method == "ACK" { "ack" } else { method };
    format!(
        "{method} sip:1001@pbx.test SIP/2.0\r\n\
         Via: SIP/2.0/{via} x8f.invalid;branch=z9hG4bK{via}{seq}{cseq};rport\r\n\
         From: <sip:1001@pbx.test>;tag=phone\r\nTo: <sip:1001@pbx.test>{tag}\r\n\
         Call-ID: call@{via}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:1001@x8f.invalid{}>\r\n{more}Content-Length: 0\r\n\r\n",
        transport.uri_parameter()
    )
}
