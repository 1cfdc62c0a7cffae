//! The core on a virtual clock: a journal of one, an application, and a peer on UDP.
mod early;
mod reliable;
mod requests;
mod rows;
mod session_timer;
mod standards;
mod subscriptions;
mod timings;
mod updates;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dialog_counts::DialogLimits;
use super::flow::Flow;
use super::metrics::Metrics;
use super::{Core, Input, Now, Output, Setup};
use crate::config::{Listen, Transport};
use crate::dialog::session::SessionTimer;
use crate::digest::directory::Directory;
use crate::journal::{JournalError, JournalOp};
use crate::view::EngineEvent;

const APP: u64 = 1;
const EPOCH_US: u64 = 1_700_000_000_000_000;
pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";
pub const OTHER_SDP: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";

/// A frame for the application.
#[derive(Clone, Debug)]
pub struct Told {
    pub tokens: Vec<String>,
    pub text: String,
}

impl Told {
    pub fn transaction(&self) -> &str {
        &self.tokens[if self.tokens[1] == "sip" { 8 } else { 10 }]
    }

    pub fn dialog(&self) -> &str {
        &self.tokens[if self.tokens[1] == "sip" { 9 } else { 11 }]
    }
}

/// A leading engine with everything it said.
pub struct Bench {
    core: Core,
    now_ms: u64,
    timer: SessionTimer,
    pub sent: Vec<String>,
    pub told: Vec<Told>,
    pub events: Vec<EngineEvent>,
    pub journal: BTreeMap<String, Vec<u8>>,
    /// Commits wait until they are released.
    pub holding: bool,
    held: Vec<(u64, Vec<JournalOp>)>,
    /// How long each commit may wait for others.
    pub patience: Vec<std::time::Duration>,
    messages: u64,
    /// Where the peer's messages come from.
    pub remote: std::net::SocketAddr,
}

fn peer() -> Flow {
    Flow {
        transport: Transport::Udp,
        local: "192.0.2.9:5060".parse().expect("an address"),
        remote: "192.0.2.1:5062".parse().expect("an address"),
    }
}

fn core(timer: SessionTimer, seed: u8) -> Core {
    Core::new(Setup {
        listen: vec![Listen {
            transport: Transport::Udp,
            address: peer().local,
        }],
        secret: "secret".to_owned(),
        registrar: None,
        authenticate_calls: false,
        request_handlers: Vec::new(),
        trusted: vec!["198.51.100.0/24".parse().expect("a network")],
        session_timer: timer,
        dialog_limits: DialogLimits {
            per_source: 4,
            ..DialogLimits::default()
        },
        topology_hiding: crate::TopologyHiding::default(),
        tag_key: [2; 32],
        seed: [seed; 32],
        users: Directory::new(|_| None),
        source_address: |_| None,
        metrics: Arc::new(Metrics::default()),
    })
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with_timer(SessionTimer::default())
    }

    pub fn with_timer(timer: SessionTimer) -> Bench {
        let mut bench = Bench {
            core: core(timer, 3),
            now_ms: 0,
            timer,
            sent: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            journal: BTreeMap::new(),
            holding: false,
            held: Vec::new(),
            patience: Vec::new(),
            messages: 0,
            remote: peer().remote,
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        self.input(Input::Lead);
        self.input(Input::AppConnected { app: APP });
        self.app("authenticate|secret|");
        for verb in [
            "invite",
            "subscribe",
            "refer",
            "message",
            "publish",
            "options",
        ] {
            self.app(&format!("route|{verb}"));
        }
        self.told.retain(|told| told.tokens[1] == "sip");
    }

    /// The leader dies; another node goes on with what the journal has.
    pub fn successor(mut self) -> Bench {
        self.core = core(self.timer, 4);
        self.sent.clear();
        self.told.clear();
        self.held.clear();
        self.holding = false;
        let all = self.journal.iter();
        let changes = all.map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        self.input(Input::Changed(changes));
        self.start();
        self
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_us: EPOCH_US + self.now_ms * 1_000,
        }
    }

    fn input(&mut self, input: Input<'_>) {
        let outputs = self.core.step(self.now(), input);
        for output in outputs {
            if let Output::Commit { patience, .. } = &output {
                self.patience.push(*patience);
            }
            match output {
                Output::Send { bytes, .. } => {
                    self.sent
                        .push(String::from_utf8(bytes.to_vec()).expect("UTF-8"));
                }
                Output::App { frame, .. } => self.hear(frame),
                Output::Commit { token, ops, .. } if self.holding => self.held.push((token, ops)),
                Output::Commit { token, ops, .. } => self.apply(token, ops),
                Output::Event(event) => self.events.push(event),
                _ => {}
            }
        }
    }

    fn hear(&mut self, frame: Vec<u8>) {
        let frame = String::from_utf8(frame).expect("UTF-8");
        let (_, payload) = frame.split_once('#').expect("a frame");
        let (leader, text) = payload.split_once("\r\n").unwrap_or((payload, ""));
        self.told.push(Told {
            tokens: leader.split('|').map(str::to_owned).collect(),
            text: text.to_owned(),
        });
    }

    fn apply(&mut self, token: u64, ops: Vec<JournalOp>) {
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
        self.input(Input::Changed(changes));
        let result = Ok::<(), JournalError>(());
        self.input(Input::Committed { token, result });
    }

    /// Lets commits through again.
    pub fn release(&mut self) {
        self.holding = false;
        for (token, ops) in std::mem::take(&mut self.held) {
            self.apply(token, ops);
        }
    }

    /// Time passes; every alarm on the way rings at its time.
    pub fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while let Some(at_ms) = self.core.next_tick_ms().filter(|at| *at <= end_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.input(Input::Tick);
        }
        self.now_ms = end_ms;
    }

    /// A message of the peer.
    pub fn phone(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let flow = Flow {
            remote: self.remote,
            ..peer()
        };
        self.input(Input::Received { flow, bytes });
    }

    /// A command of the application.
    pub fn app(&mut self, text: &str) {
        self.messages += 1;
        let payload = format!("m{}|{text}", self.messages);
        self.input(Input::AppFrame {
            app: APP,
            payload: &payload,
        });
    }

    /// The application answers a request; `more` ends each line with CRLF.
    pub fn answer(&mut self, transaction: &str, status: &str, more: &str, body: &str) {
        self.app(&format!(
            "sip|{transaction}|\r\nSIP/2.0 {status}\r\n{more}\r\n{body}"
        ));
    }

    /// A request of the application in a dialog.
    pub fn ask(&mut self, dialog: &str, method: &str, more: &str, body: &str) {
        self.app(&format!(
            "sip||{dialog}|\r\n{method} sip:placeholder SIP/2.0\r\n{more}\r\n{body}"
        ));
    }

    /// Takes the oldest message to the peer that starts so.
    pub fn sent(&mut self, start: &str) -> String {
        let at = self.sent.iter().position(|text| text.starts_with(start));
        let at = at.unwrap_or_else(|| panic!("no {start} in {:#?}", self.sent));
        self.sent.remove(at)
    }

    pub fn count(&self, start: &str) -> usize {
        let all = self.sent.iter();
        all.filter(|text| text.starts_with(start)).count()
    }

    /// Takes the oldest frame whose SIP message starts so and came from the network or, as
    /// `unsolicited`, from the engine.
    pub fn told(&mut self, start: &str) -> Told {
        let fits = |told: &Told| told.tokens[1] == "sip" && told.text.starts_with(start);
        let at = self.told.iter().position(fits);
        let at = at.unwrap_or_else(|| panic!("no {start} in {:#?}", self.told));
        self.told.remove(at)
    }

    pub fn was_told(&self, start: &str) -> bool {
        let mut all = self.told.iter();
        all.any(|told| told.tokens[1] == "sip" && told.text.starts_with(start))
    }

    /// Takes the answer to the last command.
    pub fn echo(&mut self) -> Told {
        let id = format!("m{}", self.messages);
        let mine = |told: &Told| told.tokens[1] == "response" && told.tokens[2] == id;
        let at = self.told.iter().position(mine);
        let at = at.unwrap_or_else(|| panic!("no answer to {id} in {:#?}", self.told));
        self.told.remove(at)
    }

    /// A confirmed call of the phone; `more` stands in its INVITE.
    pub fn call(&mut self, more: &str) -> Call {
        self.phone(&request("INVITE", 1, "", more, SDP));
        let invite = self.told("INVITE");
        self.answer(invite.transaction(), "200 OK", "", SDP);
        let ok = self.sent("SIP/2.0 200");
        let tag = tag_of(&ok, "To").to_owned();
        self.phone(&request("ACK", 1, &tag, "", ""));
        let ack = self.told("ACK");
        let dialog = ack.dialog().to_owned();
        self.pass(100);
        self.sent.clear();
        self.told.clear();
        Call { dialog, tag, ok }
    }

    /// A confirmed call of the application; `more` stands in the phone's 200.
    pub fn dial(&mut self, more: &str) -> Call {
        self.invite("");
        let invite = self.sent("INVITE");
        self.phone(&response(&invite, "200 OK", more, SDP));
        let dialog = self.told("SIP/2.0 200").dialog().to_owned();
        self.ask(&dialog, "ACK", "", "");
        let ok = self.sent("ACK");
        let tag = tag_of(&invite, "From").to_owned();
        self.pass(100);
        self.sent.clear();
        self.told.clear();
        Call { dialog, tag, ok }
    }

    /// The application calls the phone.
    pub fn invite(&mut self, more: &str) {
        self.app(&format!(
            "sip|||\r\nINVITE sip:1001@192.0.2.1:5062 SIP/2.0\r\n\
             From: <sip:pbx@192.0.2.9>\r\nCall-ID: ours@pbx\r\n{more}\r\n{SDP}"
        ));
    }
}

/// A call that is up.
pub struct Call {
    pub dialog: String,
    /// Our tag.
    pub tag: String,
    /// Our 200, or our ACK.
    pub ok: String,
}

/// A request of the phone; `more` ends each line with CRLF.
pub fn request(method: &str, cseq: u32, tag: &str, more: &str, body: &str) -> String {
    of_call("theirs@phone", ("phone", tag), (method, cseq), more, body)
}

/// A request of the phone in a call of the application.
pub fn callee(method: &str, cseq: u32, tag: &str, more: &str, body: &str) -> String {
    of_call("ours@pbx", ("callee", tag), (method, cseq), more, body)
}

fn of_call(
    call: &str,
    (from, to): (&str, &str),
    (method, cseq): (&str, u32),
    more: &str,
    body: &str,
) -> String {
    let tag = if to.is_empty() {
        String::new()
    } else {
        format!(";tag={to}")
    };
    // The ACK to a 2xx has a branch of its own.
    format!(
        "{method} sip:pbx@192.0.2.9 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK{method}{cseq}{from}{to};rport\r\n\
         From: <sip:1001@pbx.test>;tag={from}\r\nTo: <sip:pbx@pbx.test>{tag}\r\n\
         Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:1001@192.0.2.1:5062>\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A response of the phone to a request of the engine.
pub fn response(request: &str, status: &str, more: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.split("\r\n") {
        let name = line.split(':').next().unwrap_or_default();
        if ["Via", "From", "Call-ID", "CSeq"].contains(&name) {
            text.push_str(&format!("{line}\r\n"));
        } else if name == "To" {
            let untagged = !line.contains("tag=") && !status.starts_with("100");
            let tag = if untagged { ";tag=callee" } else { "" };
            text.push_str(&format!("{line}{tag}\r\n"));
        }
    }
    format!(
        "{text}Contact: <sip:1001@192.0.2.1:5062>\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The value of a header, empty without it.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let found = lines.find(|(key, _)| *key == name);
    found.map_or("", |(_, value)| value)
}

pub fn tag_of<'a>(message: &'a str, name: &str) -> &'a str {
    header(message, name)
        .split("tag=")
        .nth(1)
        .unwrap_or_default()
}
