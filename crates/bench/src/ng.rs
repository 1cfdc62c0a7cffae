//! Sets calls up and takes them down at any NG server, in the JSON notation.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raftpbx_media::srtp::MasterKey;
use serde_json::{Value, json};

use crate::BenchError;
use crate::options::check_target;
use crate::profile::{Offered, Profile, sdp};
use crate::speech::Agreed;

/// How long one command may take, and how often it is sent.
const TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 3;

/// Clients of this process so far: the cookies of two must differ.
static CLIENTS: AtomicU64 = AtomicU64::new(0);

/// An NG client over UDP.
pub struct Client {
    socket: UdpSocket,
    prefix: String,
    next: u64,
}

/// Where both phones of a call send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayPorts {
    /// The calling phone's.
    pub from_a: SocketAddr,
    /// The called phone's.
    pub from_b: SocketAddr,
}

impl Client {
    /// A client of the server at `address`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn connect(address: SocketAddr) -> Result<Client, BenchError> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let open = || {
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(address)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            Ok(socket)
        };
        let socket = open().map_err(BenchError::system("reach the NG server"))?;
        Ok(Client {
            socket,
            prefix: format!(
                "load{}-{}",
                std::process::id(),
                CLIENTS.fetch_add(1, Ordering::Relaxed)
            ),
            next: 0,
        })
    }

    /// Sets up call `number` between phones that receive at `a` and `b`.
    ///
    /// # Errors
    /// The server refuses, offers something else, or names an address that must not be loaded.
    pub fn set_up(
        &mut self,
        profile: Profile,
        number: usize,
        a: SocketAddr,
        b: SocketAddr,
    ) -> Result<(RelayPorts, Agreed), BenchError> {
        let codec = profile.codec(0);
        let caller = sdp(a, codec, Offered::plain().payload_type, None);
        let offer = self.offer(number, &caller, profile.flags())?;
        let text = offer["sdp"].as_str().unwrap_or_default();
        let offered = Offered::read(profile, text)
            .ok_or_else(|| BenchError::Server(format!("offers something else: {text:?}")))?;
        let own = offered.crypto.as_ref();
        let own = own.map(|crypto| (crypto.tag, MasterKey::random(crypto.key.suite())));
        let crypto = own.as_ref().map(|(tag, key)| (*tag, key));
        let called = sdp(b, profile.codec(1), offered.payload_type, crypto);
        let ports = RelayPorts {
            from_b: relay_address(&offer)?,
            from_a: relay_address(&self.answer(number, &called)?)?,
        };
        let own = own.map(|(_, key)| key);
        Ok((ports, Agreed { offered, own }))
    }

    /// The same with these descriptions, and nothing besides.
    ///
    /// # Errors
    /// See [`Client::set_up`].
    pub fn set_up_with(
        &mut self,
        number: usize,
        a: &str,
        b: &str,
    ) -> Result<RelayPorts, BenchError> {
        let from_b = relay_address(&self.offer(number, a, json!({}))?)?;
        let from_a = relay_address(&self.answer(number, b)?)?;
        Ok(RelayPorts { from_a, from_b })
    }

    fn offer(&mut self, number: usize, sdp: &str, flags: Value) -> Result<Value, BenchError> {
        let mut command = json!({
            "command": "offer", "call-id": self.call_id(number), "from-tag": "a",
            "ICE": "remove", "replace": ["origin", "session-connection"], "sdp": sdp,
        });
        if let (Value::Object(command), Value::Object(flags)) = (&mut command, flags) {
            command.extend(flags);
        }
        self.request(&command)
    }

    fn answer(&mut self, number: usize, sdp: &str) -> Result<Value, BenchError> {
        self.request(&json!({
            "command": "answer", "call-id": self.call_id(number), "from-tag": "a", "to-tag": "b",
            "ICE": "remove", "replace": ["origin", "session-connection"], "sdp": sdp,
        }))
    }

    /// Takes call `number` down.
    ///
    /// # Errors
    /// The server refuses.
    pub fn take_down(&mut self, number: usize) -> Result<(), BenchError> {
        let call_id = self.call_id(number);
        let command = json!({"command": "delete", "call-id": call_id, "from-tag": "a"});
        self.request(&command).map(|_| ())
    }

    /// The `call-id` of a call.
    #[must_use]
    pub fn call_id(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    /// Sends a command that must succeed.
    ///
    /// # Errors
    /// The server refuses or is silent.
    pub fn ask(&mut self, command: &Value) -> Result<Value, BenchError> {
        self.request(command)
    }

    fn request(&mut self, command: &Value) -> Result<Value, BenchError> {
        self.next += 1;
        let cookie = format!("{}_{}", self.prefix, self.next);
        let datagram = format!("{cookie} {command}");
        let mut buffer = vec![0; 65_536];
        for _ in 0..ATTEMPTS {
            self.socket
                .send(datagram.as_bytes())
                .map_err(BenchError::system("send an NG command"))?;
            // A late answer to an earlier attempt may come first.
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let Some(body) = text.strip_prefix(&format!("{cookie} ")) else {
                    continue;
                };
                let answer: Value = serde_json::from_str(body)
                    .map_err(|error| BenchError::Server(error.to_string()))?;
                if answer["result"] == "ok" {
                    return Ok(answer);
                }
                return Err(BenchError::Server(answer.to_string()));
            }
        }
        Err(BenchError::Server(format!(
            "no answer to {}",
            command["command"]
        )))
    }
}

fn relay_address(answer: &Value) -> Result<SocketAddr, BenchError> {
    let text = answer["sdp"].as_str().unwrap_or_default();
    let rest = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix));
    let ip = rest("c=IN IP").and_then(|rest| rest.split(' ').nth(1)?.parse::<IpAddr>().ok());
    let port = rest("m=audio ").and_then(|rest| rest.split(' ').next()?.parse::<u16>().ok());
    match (ip, port) {
        (Some(ip), Some(port)) if port != 0 => {
            check_target(ip)?;
            Ok(SocketAddr::new(ip, port))
        }
        _ => Err(BenchError::Server(format!(
            "no address in the SDP {text:?}"
        ))),
    }
}
