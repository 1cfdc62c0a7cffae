//! A redis-server of this test alone, and its protocol.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;

/// A reply as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    Nil,
    NilArray,
    Int(i64),
    Simple(String),
    Error(String),
    Bulk(Vec<u8>),
    /// As text, so that both sides can be brought to the same digits.
    Double(String),
    Array(Vec<Wire>),
    Set(Vec<Wire>),
    Map(Vec<(Wire, Wire)>),
}

/// Reads one reply.
pub fn read(input: &mut impl BufRead) -> Wire {
    let mut line = String::new();
    input.read_line(&mut line).expect("a line");
    let line = line.trim_end();
    let (kind, rest) = line.split_at(1);
    let many = || usize::try_from(rest.parse::<i64>().expect("a length"));
    match kind {
        "_" => Wire::Nil,
        "+" => Wire::Simple(rest.into()),
        "-" => Wire::Error(rest.into()),
        ":" => Wire::Int(rest.parse().expect("a number")),
        "," => Wire::Double(rest.into()),
        "$" => match many() {
            Err(_) => Wire::Nil,
            Ok(length) => {
                let mut text = vec![0; length + 2];
                input.read_exact(&mut text).expect("a bulk string");
                text.truncate(length);
                Wire::Bulk(text)
            }
        },
        "*" => match many() {
            Err(_) => Wire::NilArray,
            Ok(length) => Wire::Array((0..length).map(|_| read(input)).collect()),
        },
        "~" => Wire::Set((0..many().expect("a size")).map(|_| read(input)).collect()),
        "%" => {
            let pairs = 0..many().expect("a size");
            Wire::Map(pairs.map(|_| (read(input), read(input))).collect())
        }
        _ => panic!("an unknown reply: {line:?}"),
    }
}

/// The server; it ends with this value.
pub struct Server {
    child: Child,
    connection: BufReader<TcpStream>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Server {
    /// Starts a server on a free port and waits until it says that it is ready.
    pub fn start() -> Server {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--daemonize", "no", "--dir", "/tmp", "--port"])
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("no redis-server ({error}); install the package redis-server, or run make setup")
        });
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while !line.contains("Ready to accept connections") {
            line.clear();
            let read = output.read_line(&mut line).expect("output of redis-server");
            assert!(read > 0, "redis-server ended before it was ready");
        }
        // Whatever else it says is thrown away, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it accepts");
        stream.set_nodelay(true).expect("a socket");
        Server {
            child,
            connection: BufReader::new(stream),
        }
    }

    /// Sends a command and reads its reply.
    pub fn ask(&mut self, command: &[Bytes]) -> Wire {
        let mut out = format!("*{}\r\n", command.len()).into_bytes();
        for word in command {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        self.connection.get_mut().write_all(&out).expect("sent");
        read(&mut self.connection)
    }

    /// The same for a line of words.
    pub fn say(&mut self, line: &str) -> Wire {
        let words = line.split(' ').map(|word| Bytes::from(word.to_owned()));
        self.ask(&words.collect::<Vec<_>>())
    }

    /// Runs a command that would wait the way it runs in a transaction: without waiting.
    pub fn ask_at_once(&mut self, command: &[Bytes]) -> Wire {
        self.say("MULTI");
        let queued = self.ask(command);
        if matches!(queued, Wire::Error(_)) {
            self.say("DISCARD");
            return queued;
        }
        match self.say("EXEC") {
            Wire::Array(mut replies) => replies.remove(0),
            other => other,
        }
    }
}
