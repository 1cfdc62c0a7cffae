//! The core without sockets: a journal that commits at once, and a clock that is set by hand.
use std::net::SocketAddr;
use std::sync::Arc;

use md5::{Digest, Md5};
use raftpbx_sip::digest::directory::Directory;
use raftpbx_sip::engine::flow::Flow;
use raftpbx_sip::engine::metrics::Metrics;
use raftpbx_sip::engine::{AppId, Core, Input, Now, Output, Setup};
use raftpbx_sip::journal::JournalOp;
use raftpbx_sip::view::EngineEvent;
use raftpbx_sip::{EngineConfig, Listen, RegistrarPolicy, Transport, digest_ha1};

use super::{SECRET, config};

pub const REALM: &str = "pbx.test";
pub const SERVER: &str = "192.0.2.9:5060";
pub const APP: AppId = 1;

pub struct Bench {
    pub core: Core,
    pub metrics: Arc<Metrics>,
    pub now: Now,
    /// What was sent and not looked at.
    pub sent: Vec<(Flow, String)>,
    /// What applications were told.
    pub told: Vec<String>,
    pub events: Vec<EngineEvent>,
    /// What the journal holds.
    pub keys: std::collections::BTreeMap<String, Vec<u8>>,
    /// Commits wait here instead of coming back at once.
    pub held: Option<Vec<u64>>,
    /// What a test looked at last.
    pub last: String,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub fn flow(transport: Transport, remote: &str) -> Flow {
    Flow {
        transport,
        local: address(SERVER),
        remote: address(remote),
    }
}

pub fn udp(remote: &str) -> Flow {
    flow(Transport::Udp, remote)
}

impl Bench {
    pub fn new(policy: RegistrarPolicy, change: impl FnOnce(&mut EngineConfig)) -> Bench {
        let mut config = config(address(SERVER));
        config.listen.push(Listen {
            transport: Transport::Tcp,
            address: address(SERVER),
        });
        if let Some(registrar) = &mut config.registrar {
            registrar.policy = policy;
        }
        change(&mut config);
        let metrics = Arc::new(Metrics::default());
        let core = Core::new(Setup {
            listen: config.listen,
            secret: SECRET.to_owned(),
            request_handlers: Vec::new(),
            trusted: Vec::new(),
            session_timer: raftpbx_sip::SessionTimer::default(),
            registrar: config.registrar,
            authenticate_calls: config.authenticate_calls,
            dialog_limits: config.dialog_limits,
            topology_hiding: config.topology_hiding,
            tag_key: config.tag_key,
            seed: [3; 32],
            users: Directory::new(|user| {
                let known = ["1001", "1002"].contains(&user);
                known.then(|| digest_ha1(user, REALM, "secret"))
            }),
            source_address: |_| None,
            metrics: metrics.clone(),
        });
        let mut bench = Bench {
            core,
            metrics,
            now: Now {
                mono_ms: 1_000,
                wall_us: 1_800_000_000_000_000,
            },
            sent: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            keys: std::collections::BTreeMap::new(),
            held: None,
            last: String::new(),
        };
        bench.feed(Input::Lead);
        bench
    }

    /// A bench with an application that takes these verbs.
    pub fn with_app(mut self, verbs: &[&str]) -> Bench {
        self.feed(Input::AppConnected { app: APP });
        self.command(&format!("m|authenticate|{SECRET}"));
        for verb in verbs {
            self.command(&format!("m|route|{verb}"));
        }
        self.told.clear();
        self
    }

    pub fn command(&mut self, payload: &str) {
        self.feed(Input::AppFrame { app: APP, payload });
    }

    /// One step with everything that follows from it.
    pub fn feed(&mut self, input: Input<'_>) {
        let mut outputs = std::collections::VecDeque::from(self.core.step(self.now, input));
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Send { flow, bytes } => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    self.sent.push((flow, text));
                }
                Output::App { frame, .. } => {
                    self.told.push(String::from_utf8_lossy(&frame).into_owned());
                }
                Output::Commit { token, ops, .. } => {
                    let changes = ops.into_iter().map(|op| self.apply(op)).collect();
                    if let Some(held) = &mut self.held {
                        held.push(token);
                        continue;
                    }
                    outputs.extend(self.core.step(self.now, Input::Changed(changes)));
                    let result = Ok(());
                    let input = Input::Committed { token, result };
                    outputs.extend(self.core.step(self.now, input));
                }
                Output::Event(event) => self.events.push(event),
                _ => {}
            }
        }
    }

    fn apply(&mut self, op: JournalOp) -> (String, Option<Vec<u8>>) {
        match op {
            JournalOp::Set { key, value, .. } => {
                self.keys.insert(key.clone(), value.clone());
                (key, Some(value))
            }
            JournalOp::Delete { key } => {
                self.keys.remove(&key);
                (key, None)
            }
        }
    }

    /// Moves the clocks, firing each timer when it is due.
    pub fn pass_ms(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while let Some(at_ms) = self.core.next_tick_ms().filter(|at_ms| *at_ms <= end_ms) {
            self.set_ms(at_ms.max(self.now.mono_ms));
            self.feed(Input::Tick);
        }
        self.set_ms(end_ms);
    }

    pub fn set_ms(&mut self, mono_ms: u64) {
        self.now.wall_us += (mono_ms - self.now.mono_ms) * 1_000;
        self.now.mono_ms = mono_ms;
    }

    pub fn receive(&mut self, flow: Flow, text: &str) {
        let bytes = text.as_bytes();
        self.feed(Input::Received { flow, bytes });
    }

    /// Sends a request; what comes back at once, empty when nothing does.
    pub fn ask(&mut self, flow: Flow, text: &str) -> String {
        self.sent.clear();
        self.receive(flow, text);
        let first = (!self.sent.is_empty()).then(|| self.sent.remove(0).1);
        first.unwrap_or_default()
    }

    /// Sends a request that will be challenged, and again with an answer to the challenge.
    pub fn log_in(&mut self, flow: Flow, request: &Request<'_>) -> String {
        let challenge = self.ask(flow, &request.text(""));
        let answer = request.answer(&challenge, 1);
        self.ask(flow, &request.text(&answer))
    }
}

/// A request outside any dialog.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub user: &'a str,
    pub password: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    /// More headers, each ending with CRLF.
    pub more: &'a str,
    pub via: &'a str,
}

pub fn register(more: &str) -> Request<'_> {
    Request {
        method: "REGISTER",
        uri: "sip:pbx.test",
        user: "1001",
        password: "secret",
        call_id: "call",
        cseq: 1,
        more,
        via: "SIP/2.0/UDP 10.0.0.5:5060;rport",
    }
}

pub fn md5(text: &str) -> String {
    let digest = Md5::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Request<'_> {
    pub fn text(&self, authorization: &str) -> String {
        let Request {
            method,
            uri,
            user,
            call_id,
            cseq,
            more,
            via,
            ..
        } = self;
        let branch = md5(authorization);
        format!(
            "{method} {uri} SIP/2.0\r\nVia: {via};branch=z9hG4bK{method}{cseq}{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag=phone{call_id}\r\n\
             To: <sip:{user}@{REALM}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             {more}{authorization}Content-Length: 0\r\n\r\n"
        )
    }

    /// The header that answers a challenge.
    pub fn answer(&self, challenge: &str, count: u32) -> String {
        let proxy = challenge.contains("Proxy-Authenticate");
        let name = if proxy {
            "Proxy-Authorization"
        } else {
            "Authorization"
        };
        let nonce = challenge.split("nonce=\"").nth(1).unwrap_or_default();
        let nonce = nonce.split('"').next().unwrap_or_default();
        let (user, password) = (self.user, self.password);
        let ha1 = md5(&format!("{user}:{REALM}:{password}"));
        let ha2 = md5(&format!("{}:{}", self.method, self.uri));
        let response = md5(&format!("{ha1}:{nonce}:{count:08x}:c:auth:{ha2}"));
        format!(
            "{name}: Digest username=\"{user}\",realm=\"{REALM}\",nonce=\"{nonce}\",uri=\"{}\",\
             response=\"{response}\",algorithm=MD5,cnonce=\"c\",qop=auth,nc={count:08x}\r\n",
            self.uri
        )
    }
}

/// All values of a header.
pub fn values<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let lines = message
        .split("\r\n")
        .filter_map(|line| line.split_once(": "));
    lines
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}
