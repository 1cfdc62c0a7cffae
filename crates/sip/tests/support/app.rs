//! An application speaking the drachtio protocol.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{PATIENCE, QUIET, SECRET};

pub struct App {
    stream: TcpStream,
    buffer: Vec<u8>,
    sent: usize,
}

/// A frame: its tokens and the SIP message after them.
#[derive(Debug)]
pub struct Told {
    pub tokens: Vec<String>,
    pub message: String,
}

impl Told {
    /// Reads a whole frame.
    pub fn parse(frame: &[u8]) -> Told {
        let text = std::str::from_utf8(frame).expect("UTF-8");
        let (_, payload) = text.split_once('#').expect("a length");
        let (leader, message) = payload.split_once("\r\n").unwrap_or((payload, ""));
        Told {
            tokens: leader.split('|').map(str::to_owned).collect(),
            message: message.to_owned(),
        }
    }

    /// A frame that only separates two reads.
    pub fn is_separator(&self) -> bool {
        self.tokens[1] == "response" && self.tokens[2] == "none"
    }

    pub fn transaction(&self) -> &str {
        let at = if self.tokens[1] == "sip" { 8 } else { 10 };
        &self.tokens[at]
    }

    pub fn dialog(&self) -> &str {
        let at = if self.tokens[1] == "sip" { 9 } else { 11 };
        &self.tokens[at]
    }

    pub fn starts_with(&self, start: &str) -> bool {
        self.message.starts_with(start)
    }
}

impl App {
    /// Connects and presents the secret.
    pub fn connect(address: SocketAddr) -> App {
        App::accepted(TcpStream::connect(address).expect("the engine listens"))
    }

    /// Presents the secret on a connection that the engine made.
    pub fn accepted(stream: TcpStream) -> App {
        App::tagged(stream, "")
    }

    /// Presents the secret and says what it is, `red,blue`.
    pub fn tagged(stream: TcpStream, tags: &str) -> App {
        let mut app = App {
            stream,
            buffer: Vec::new(),
            sent: 0,
        };
        app.command(&format!("authenticate|{SECRET}|{tags}"));
        assert_eq!(app.next().tokens[3], "OK");
        app
    }

    /// Connects and asks for calls.
    pub fn for_calls(address: SocketAddr) -> App {
        let mut app = App::connect(address);
        app.command("route|invite");
        // What waited for an application may come at once, after the answer.
        assert_eq!(app.next().tokens[3], "OK");
        app
    }

    pub fn command(&mut self, text: &str) {
        self.sent += 1;
        let payload = format!("m{}|{text}", self.sent);
        let frame = format!("{}#{payload}", payload.len());
        self.stream
            .write_all(frame.as_bytes())
            .expect("the engine reads");
    }

    /// Answers a request with a status line and headers.
    pub fn respond(&mut self, transaction: &str, text: &str) {
        self.command(&format!("sip|{transaction}|\r\nSIP/2.0 {text}\r\n\r\n"));
    }

    fn read(&mut self, patience: std::time::Duration) -> Option<Told> {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("a duration that is not zero");
        loop {
            if let Some(hash) = self.buffer.iter().position(|byte| *byte == b'#') {
                let digits = String::from_utf8_lossy(&self.buffer[..hash]).into_owned();
                let length: usize = digits.parse().expect("a frame length");
                if self.buffer.len() > hash + length {
                    let rest = self.buffer.split_off(hash + 1 + length);
                    let frame = std::mem::replace(&mut self.buffer, rest);
                    let text = String::from_utf8(frame[hash + 1..].to_vec()).expect("UTF-8");
                    let (leader, message) = text.split_once("\r\n").unwrap_or((&text, ""));
                    let tokens = leader.split('|').map(str::to_owned).collect();
                    let message = message.to_owned();
                    let told = Told { tokens, message };
                    if told.is_separator() {
                        continue;
                    }
                    return Some(told);
                }
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the engine closed the connection"),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(_) => return None,
            }
        }
    }

    pub fn next(&mut self) -> Told {
        self.read(PATIENCE)
            .expect("the engine says something in time")
    }

    /// The next SIP message whose start matches; others are an error.
    pub fn expect(&mut self, start: &str) -> Told {
        let told = self.next();
        assert!(
            told.starts_with(start),
            "expected {start}, was told {told:?}"
        );
        told
    }

    pub fn is_quiet(&mut self) -> bool {
        self.read(QUIET).is_none()
    }

    /// Whether the engine closes the connection.
    pub fn ends(&mut self) -> bool {
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a duration that is not zero");
        let mut chunk = [0; 4_096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}
