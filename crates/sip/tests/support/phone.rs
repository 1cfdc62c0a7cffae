//! A phone on UDP that sends what it is told to.
use std::net::{SocketAddr, UdpSocket};

use super::{PATIENCE, QUIET};

pub struct Phone {
    socket: UdpSocket,
    pub server: SocketAddr,
}

impl Phone {
    pub fn new(server: SocketAddr) -> Phone {
        Phone {
            socket: UdpSocket::bind("127.0.0.1:0").expect("loopback is there"),
            server,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    pub fn send(&self, text: &str) {
        self.socket
            .send_to(text.as_bytes(), self.server)
            .expect("loopback takes it");
    }

    /// A request with the mandatory headers; `more` ends each line with CRLF.
    pub fn request(&self, method: &str, cseq: u32, to_tag: &str, more: &str) -> String {
        let (me, server) = (self.address(), self.server);
        let tag = if to_tag.is_empty() {
            String::new()
        } else {
            format!(";tag={to_tag}")
        };
        let seq = if method == "ACK" { "ack" } else { method };
        format!(
            "{method} sip:1001@{server} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {me};branch=z9hG4bK{seq}{cseq};rport\r\n\
             From: <sip:1001@pbx.test>;tag=phone\r\nTo: <sip:1001@pbx.test>{tag}\r\n\
             Call-ID: call@phone\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:1001@{me}>\r\n{more}Content-Length: 0\r\n\r\n"
        )
    }

    /// The response to a request of the engine.
    pub fn response(&self, request: &str, status: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in request.split("\r\n") {
            let name = line.split(':').next().unwrap_or_default();
            if ["Via", "From", "Call-ID", "CSeq"].contains(&name) {
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
        let me = self.address();
        text.push_str(&format!(
            "Contact: <sip:1001@{me}>\r\nContent-Length: 0\r\n\r\n"
        ));
        text
    }

    fn read(&self, patience: std::time::Duration) -> Option<String> {
        self.socket
            .set_read_timeout(Some(patience))
            .expect("a duration that is not zero");
        let mut buffer = [0; 65_536];
        let (count, _) = self.socket.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..count].to_vec()).expect("UTF-8"))
    }

    /// The next message, which must start so; retransmissions of `skip` are passed over.
    pub fn expect_after(&self, start: &str, skip: &str) -> String {
        loop {
            let text = self
                .read(PATIENCE)
                .unwrap_or_else(|| panic!("no {start} in time"));
            if text.starts_with(start) {
                return text;
            }
            assert!(
                !skip.is_empty() && text.starts_with(skip),
                "expected {start}, got {text}"
            );
        }
    }

    pub fn expect(&self, start: &str) -> String {
        self.expect_after(start, "")
    }

    pub fn is_quiet(&self) -> bool {
        self.read(QUIET).is_none()
    }
}

/// The value of a header.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let mut lines = message
        .split("\r\n")
        .filter_map(|line| line.split_once(": "));
    lines
        .find(|(key, _)| *key == name)
        .map_or("", |(_, value)| value)
}

/// The tag in To.
pub fn to_tag(message: &str) -> &str {
    header(message, "To")
        .split("tag=")
        .nth(1)
        .unwrap_or_default()
}
