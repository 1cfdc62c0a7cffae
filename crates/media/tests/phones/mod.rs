//! Fake phones and an NG client for the tests, over real UDP sockets on the loopback.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod browser;
pub mod callers;
pub mod floating;
pub mod recorded;
pub mod secret;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use raftpbx_media::{Interface, MediaConfig, MediaEngine, MediaEvent, PacketIo};
use serde_json::{Value, json};

pub const DEADLINE: Duration = Duration::from_secs(5);

/// How the engines of all tests receive and send: `RAFTPBX_PACKET_IO`, else what works best.
pub fn packet_io() -> PacketIo {
    match std::env::var("RAFTPBX_PACKET_IO").as_deref() {
        Ok("epoll") => PacketIo::Epoll,
        Ok("io_uring") => PacketIo::IoUring,
        Ok("sk_lookup") => PacketIo::SkLookup,
        Ok("auto") | Err(_) => PacketIo::Auto,
        Ok(other) => panic!("RAFTPBX_PACKET_IO is {other}"),
    }
}

/// An engine on the loopback and what it reports.
pub struct Lab {
    pub engine: MediaEngine,
    pub events: Receiver<Vec<MediaEvent>>,
    cookie: std::cell::Cell<u32>,
}

impl Lab {
    pub fn start(ports: RangeInclusive<u16>) -> Lab {
        Lab::with(ports, |_| {})
    }

    pub fn with(ports: RangeInclusive<u16>, change: impl FnOnce(&mut MediaConfig)) -> Lab {
        let local = |text: &str| Interface {
            local: text.parse().expect("an address"),
            advertised: None,
        };
        let mut config = MediaConfig {
            interfaces: vec![local("127.0.0.1"), local("::1")],
            floating: None,
            ports,
            workers: 2,
            ng_listen: None,
            ng_tcp_listen: None,
            media_timeout_s: 0,
            recordings: None,
            prompts: Some(std::env::temp_dir()),
            fast_path: false,
            packet_io: packet_io(),
            recording_format: raftpbx_media::RecordingFormat::default(),
            codecs: Vec::new(),
            forward: None,
        };
        change(&mut config);
        let (sender, events) = channel();
        // A test that is over no longer listens.
        let report = Box::new(move |batch| drop(sender.send(batch)));
        let engine = MediaEngine::start(config, report).expect("start the engine");
        Lab {
            engine,
            events,
            cookie: 0.into(),
        }
    }

    /// Sends a command in the JSON notation and returns the answer.
    pub fn ng(&self, command: Value) -> Value {
        self.cookie.set(self.cookie.get() + 1);
        let datagram = format!("{} {command}", self.cookie.get());
        let client = SocketAddr::from(([127, 0, 0, 1], 9));
        let answer = self.engine.ng(datagram.as_bytes(), client);
        let text = String::from_utf8(answer).expect("text");
        let (_, body) = text.split_once(' ').expect("a cookie");
        serde_json::from_str(body).expect("JSON")
    }

    /// A command about an SDP that must succeed; returns the SDP of the answer.
    pub fn sdp(&self, command: &str, call: &str, tags: [&str; 2], sdp: &str) -> String {
        let mut message = json!({
            "command": command, "call-id": call, "from-tag": tags[0], "sdp": sdp,
            "replace": ["origin", "session-connection"], "ICE": "remove",
        });
        if !tags[1].is_empty() {
            message["to-tag"] = tags[1].into();
        }
        self.sdp_of(message)
    }

    pub fn sdp_of(&self, message: Value) -> String {
        let answer = self.ng(message);
        assert_eq!(answer["result"], "ok", "{answer}");
        answer["sdp"].as_str().expect("an SDP").to_owned()
    }

    pub fn next_event(&self) -> MediaEvent {
        let mut batch = self.events.recv_timeout(DEADLINE).expect("an event");
        assert_eq!(batch.len(), 1, "{batch:?}");
        batch.remove(0)
    }
}

/// Waits until `reached` holds.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < deadline, "never reached: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A phone: a socket for RTP and one for RTCP.
pub struct Phone {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    sequence: std::cell::Cell<u16>,
}

impl Phone {
    pub fn at(ip: &str) -> Phone {
        let open = || {
            let socket = UdpSocket::bind((ip, 0)).expect("bind a phone");
            socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
            socket
        };
        Phone {
            rtp: open(),
            rtcp: open(),
            sequence: 0.into(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.rtp.local_addr().expect("bound")
    }

    /// A plain audio SDP; `more` are further lines.
    pub fn sdp(&self, more: &str) -> String {
        self.sdp_for(self.address(), more)
    }

    /// The same with another address (a phone behind NAT).
    pub fn sdp_for(&self, rtp: SocketAddr, more: &str) -> String {
        let (ip, port) = (rtp.ip(), rtp.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let rtcp = self.rtcp.local_addr().expect("bound").port();
        format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=rtcp:{rtcp}\r\n{more}"
        )
    }

    /// Number of the next packet.
    pub fn sequence(&self) -> u16 {
        self.sequence.get()
    }

    /// Other packets have taken these numbers.
    pub fn skip(&self, count: u16) {
        self.sequence.set(self.sequence.get() + count);
    }

    /// Sends one RTP packet with this payload.
    pub fn say(&self, to: SocketAddr, payload: &str) {
        self.say_from(&self.rtp, to, payload);
    }

    pub fn say_from(&self, socket: &UdpSocket, to: SocketAddr, payload: &str) {
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 7]);
        packet.extend_from_slice(payload.as_bytes());
        socket.send_to(&packet, to).expect("send");
    }

    /// The payload of the next RTP packet and where it came from.
    pub fn hear(&self) -> (String, SocketAddr) {
        let mut buffer = [0; 2_048];
        let (length, from) = self.rtp.recv_from(&mut buffer).expect("a packet in time");
        assert_eq!(buffer[0] & 0xc0, 0x80, "an RTP packet");
        (
            String::from_utf8_lossy(&buffer[12..length]).into_owned(),
            from,
        )
    }
}

/// Two phones in a call that is set up.
pub struct Talk {
    pub a: Phone,
    pub b: Phone,
    /// Where A and B send to.
    pub from_a: SocketAddr,
    pub from_b: SocketAddr,
}

impl Talk {
    /// Call `name` between two phones at these addresses.
    pub fn set_up(lab: &Lab, name: &str, ips: [&str; 2]) -> Talk {
        let (a, b) = (Phone::at(ips[0]), Phone::at(ips[1]));
        let from_b = relay_address(&lab.sdp("offer", name, ["ta", ""], &a.sdp("")));
        let from_a = relay_address(&lab.sdp("answer", name, ["ta", "tb"], &b.sdp("")));
        Talk {
            a,
            b,
            from_a,
            from_b,
        }
    }

    /// Both hear each other.
    pub fn assert_both_ways(&self) {
        self.a.say(self.from_a, "from a");
        assert_eq!(self.b.hear(), ("from a".into(), self.from_b));
        self.b.say(self.from_b, "from b");
        assert_eq!(self.a.hear(), ("from b".into(), self.from_a));
    }
}

/// RTP address of the first media line.
pub fn relay_address(sdp: &str) -> SocketAddr {
    let ip: IpAddr = line(sdp, "c=IN IP")
        .split(' ')
        .nth(1)
        .expect("an address")
        .parse()
        .expect(sdp);
    SocketAddr::new(ip, port(sdp, "audio"))
}

/// Port of the first media line of this kind.
pub fn port(sdp: &str, kind: &str) -> u16 {
    let rest = line(sdp, &format!("m={kind} "));
    rest.split(' ')
        .next()
        .expect("a port")
        .parse()
        .expect("a port")
}

/// Rest of the first line with this beginning.
pub fn line<'a>(sdp: &'a str, prefix: &str) -> &'a str {
    sdp.lines()
        .find_map(|line| line.strip_prefix(prefix))
        .expect(prefix)
}
