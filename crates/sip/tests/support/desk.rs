//! The core alone, on a clock the test turns: applications, phones and a journal in memory.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use raftpbx_sip::digest::directory::Directory;
use raftpbx_sip::engine::flow::Flow;
use raftpbx_sip::engine::location::Target;
use raftpbx_sip::engine::metrics::Metrics;
use raftpbx_sip::engine::{AppId, Core, Input, Now, Output, Setup};
use raftpbx_sip::{JournalOp, Listen, TopologyHiding, Transport};

use super::SECRET;
use super::app::Told;

const SERVER: &str = "192.0.2.1:5060";

/// A core with everything around it.
pub struct Desk {
    core: Core,
    /// What the next leader is configured with.
    pub topology: TopologyHiding,
    now_ms: u64,
    apps: HashMap<AppId, VecDeque<Told>>,
    closed: Vec<AppId>,
    sent: VecDeque<(SocketAddr, String)>,
    journal: BTreeMap<String, Vec<u8>>,
    count: u64,
    /// Commits wait until `release`.
    pub holding: bool,
    held: Vec<(u64, Vec<JournalOp>)>,
    /// Names that are to be looked up.
    lookups: Vec<u64>,
}

fn core(seed: u8, topology_hiding: TopologyHiding) -> Core {
    Core::new(Setup {
        listen: vec![Listen {
            transport: Transport::Udp,
            address: SERVER.parse().expect("an address"),
        }],
        secret: SECRET.to_owned(),
        request_handlers: Vec::new(),
        registrar: None,
        authenticate_calls: false,
        trusted: Vec::new(),
        session_timer: raftpbx_sip::SessionTimer::default(),
        dialog_limits: raftpbx_sip::DialogLimits::default(),
        topology_hiding,
        tag_key: [2; 32],
        seed: [seed; 32],
        users: Directory::new(|_| None),
        source_address: |_| None,
        metrics: Arc::new(Metrics::default()),
    })
}

impl Desk {
    /// A core that leads.
    pub fn new() -> Desk {
        Desk::hiding(TopologyHiding::default())
    }

    /// The same with topology hiding.
    pub fn hiding(topology: TopologyHiding) -> Desk {
        let mut desk = Desk {
            core: core(1, topology),
            topology,
            now_ms: 0,
            apps: HashMap::new(),
            closed: Vec::new(),
            sent: VecDeque::new(),
            journal: BTreeMap::new(),
            count: 0,
            holding: false,
            held: Vec::new(),
            lookups: Vec::new(),
        };
        desk.step(Input::Lead);
        desk
    }

    /// The leader dies; another one takes over with what was committed.
    pub fn take_over(&mut self) {
        self.core = core(2, self.topology);
        self.apps.clear();
        self.sent.clear();
        self.held.clear();
        self.holding = false;
        let all = self.journal.iter();
        let all = all.map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        self.step(Input::Changed(all));
        self.step(Input::Lead);
    }

    pub fn step(&mut self, input: Input<'_>) {
        let now = Now {
            mono_ms: self.now_ms,
            wall_us: self.now_ms * 1_000,
        };
        for output in self.core.step(now, input) {
            match output {
                Output::Send { flow, bytes } => {
                    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
                    self.sent.push_back((flow.remote, text));
                }
                Output::App { app, frame } => {
                    let told = Told::parse(&frame);
                    if told.tokens.get(2).map(String::as_str) != Some("none") {
                        self.apps.entry(app).or_default().push_back(told);
                    }
                }
                Output::CloseApp { app } => self.closed.push(app),
                Output::Commit { token, ops, .. } if self.holding => self.held.push((token, ops)),
                Output::Commit { token, ops, .. } => self.commit(token, ops),
                Output::Resolve { token, .. } => self.lookups.push(token),
                _ => {}
            }
        }
    }

    fn commit(&mut self, token: u64, ops: Vec<JournalOp>) {
        let mut changes = Vec::new();
        for op in ops {
            match op {
                JournalOp::Set { key, value, .. } => {
                    self.journal.insert(key.clone(), value.clone());
                    changes.push((key, Some(value)));
                }
                JournalOp::Delete { key } => {
                    self.journal.remove(&key);
                    changes.push((key, None));
                }
            }
        }
        self.step(Input::Changed(changes));
        let result = Ok(());
        self.step(Input::Committed { token, result });
    }

    /// Lets held commits through.
    pub fn release(&mut self) {
        self.holding = false;
        for (token, ops) in std::mem::take(&mut self.held) {
            self.commit(token, ops);
        }
    }

    /// Keys with a prefix.
    pub fn keys(&self, prefix: &str) -> usize {
        self.journal
            .keys()
            .filter(|k| k.starts_with(prefix))
            .count()
    }

    /// Lets time pass, timer by timer.
    pub fn wait(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while let Some(next_ms) = self.core.next_tick_ms().filter(|next| *next <= until_ms) {
            self.now_ms = self.now_ms.max(next_ms);
            self.step(Input::Tick);
        }
        self.now_ms = until_ms;
    }

    /// An application with tags (`a,b`) and verbs (`invite,bye`).
    pub fn application(&mut self, app: AppId, tags: &str, verbs: &str) {
        self.step(Input::AppConnected { app });
        self.command(app, &format!("authenticate|{SECRET}|{tags}"));
        for verb in verbs.split(',').filter(|verb| !verb.is_empty()) {
            self.command(app, &format!("route|{verb}"));
        }
        let answers = self.apps.remove(&app).unwrap_or_default();
        for told in answers {
            if told.tokens[1] == "response" {
                assert_eq!(told.tokens[3], "OK");
            } else {
                self.apps.entry(app).or_default().push_back(told);
            }
        }
    }

    pub fn disconnect(&mut self, app: AppId) {
        self.apps.remove(&app);
        self.step(Input::AppClosed { app });
    }

    /// Says something for an application; gives the message id.
    pub fn command(&mut self, app: AppId, text: &str) -> String {
        self.count += 1;
        let id = format!("m{}", self.count);
        let payload = format!("{id}|{text}");
        self.step(Input::AppFrame {
            app,
            payload: &payload,
        });
        id
    }

    /// Answers a request of the network.
    pub fn respond(&mut self, app: AppId, transaction: &str, text: &str) {
        self.command(
            app,
            &format!("sip|{transaction}|\r\nSIP/2.0 {text}\r\n\r\n"),
        );
    }

    /// The next thing an application was told.
    pub fn told(&mut self, app: AppId) -> Told {
        let queue = self.apps.get_mut(&app);
        queue
            .and_then(VecDeque::pop_front)
            .unwrap_or_else(|| panic!("application {app} was told nothing"))
    }

    /// The next request or response an application was told, past the echoes.
    pub fn told_sip(&mut self, app: AppId, start: &str) -> Told {
        loop {
            let told = self.told(app);
            if told.tokens[1] == "sip" {
                assert!(told.message.starts_with(start), "{start}? {told:?}");
                return told;
            }
        }
    }

    pub fn is_silent(&self, app: AppId) -> bool {
        self.apps.get(&app).is_none_or(VecDeque::is_empty)
    }

    pub fn is_closed(&self, app: AppId) -> bool {
        self.closed.contains(&app)
    }

    /// A datagram from a phone.
    pub fn receive(&mut self, from: &str, text: &str) {
        let flow = Flow {
            transport: Transport::Udp,
            local: SERVER.parse().expect("an address"),
            remote: from.parse().expect("an address"),
        };
        let bytes = text.as_bytes();
        self.step(Input::Received { flow, bytes });
    }

    /// The name that was asked for has these servers, over UDP.
    pub fn resolve(&mut self, servers: &[&str]) {
        let token = self.lookups.pop().expect("a name is asked for");
        let targets = servers.iter().map(|address| Target {
            transport: Transport::Udp,
            address: address.parse().expect("an address"),
        });
        let targets = targets.collect();
        self.step(Input::Resolved { token, targets });
    }

    /// The next message to a peer; it must start so.
    pub fn sent(&mut self, to: &str, start: &str) -> String {
        let (address, text) = self
            .sent
            .pop_front()
            .unwrap_or_else(|| panic!("nothing was sent, expected {start}"));
        assert!(
            text.starts_with(start) && address.to_string() == to,
            "expected {start} to {to}, {address} got {text}"
        );
        text
    }

    /// Whether nothing more was sent.
    pub fn is_quiet(&self) -> bool {
        self.sent.is_empty()
    }

    /// Forgets what was sent.
    pub fn skip(&mut self) {
        self.sent.clear();
    }
}

/// A request of a phone at `from`; `more` ends each line with CRLF.
pub fn request(
    from: &str,
    method: &str,
    call: &str,
    cseq: u32,
    to_tag: &str,
    more: &str,
) -> String {
    let tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    let branch = if method == "ACK" { "INVITE" } else { method };
    format!(
        "{method} sip:b@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call}{branch}{cseq}{to_tag}\r\n\
         From: <sip:a@pbx.test>;tag=a\r\nTo: <sip:b@pbx.test>{tag}\r\nCall-ID: {call}\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:a@{from}>\r\n{more}\
         Content-Length: 0\r\n\r\n"
    )
}

/// The answer of a phone at `from` to a request.
pub fn response(from: &str, request: &str, status: &str, tag: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.split("\r\n").take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        if ["Via", "From", "Call-ID", "CSeq", "Record-Route"].contains(&name) {
            text.push_str(&format!("{line}\r\n"));
        } else if name == "To" {
            let tag = if line.contains("tag=") {
                String::new()
            } else {
                format!(";tag={tag}")
            };
            text.push_str(&format!("{line}{tag}\r\n"));
        }
    }
    format!("{text}Contact: <sip:b@{from}>\r\nContent-Length: 0\r\n\r\n")
}
