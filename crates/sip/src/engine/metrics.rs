//! Figures about the engine, readable from any thread.
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::guard::{GuardMetrics, TraceMetrics};
use super::timings::Timings;

const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "INFO",
    "MESSAGE",
    "UPDATE",
    "PRACK",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "PUBLISH",
    "OTHER",
];
const CODES: usize = 700;

/// Counters and gauges.
pub struct Metrics {
    received_requests: [AtomicU64; METHODS.len()],
    sent_requests: [AtomicU64; METHODS.len()],
    received_responses: [AtomicU64; CODES],
    sent_responses: [AtomicU64; CODES],
    /// Messages sent again.
    pub retransmissions: AtomicU64,
    /// Messages that were no SIP.
    pub malformed: AtomicU64,
    /// Messages that came while this node does not lead.
    pub ignored: AtomicU64,
    /// Journal entries asked for.
    pub commits: AtomicU64,
    /// Journal entries that failed.
    pub commits_failed: AtomicU64,
    /// Work refused because a limit was reached.
    pub refused: AtomicU64,
    /// In-dialog requests sent behind a separating frame.
    pub turns_forced: AtomicU64,
    /// STUN binding requests answered.
    pub stun: AtomicU64,
    /// Connections closed at once because there were too many.
    pub refused_connections: AtomicU64,
    /// Connections closed because a handshake or a message did not come in time.
    pub slow_connections: AtomicU64,
    /// Wrong passwords and unknown users.
    pub rejected_credentials: AtomicU64,
    /// Live transactions.
    pub transactions: AtomicU64,
    /// Dialogs in this node's copy.
    pub dialogs: AtomicU64,
    /// Bindings in this node's copy.
    pub bindings: AtomicU64,
    /// SIP connections.
    pub connections: AtomicU64,
    /// Authenticated applications.
    pub applications: AtomicU64,
    /// 1 while this node leads.
    pub leading: AtomicU64,
    /// Defence and overload.
    pub guard: GuardMetrics,
    /// How long things take.
    pub timings: Timings,
    /// Trace and collector.
    pub trace: TraceMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        let codes = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            received_requests: zeros(),
            sent_requests: zeros(),
            received_responses: codes(),
            sent_responses: codes(),
            retransmissions: AtomicU64::default(),
            malformed: AtomicU64::default(),
            ignored: AtomicU64::default(),
            commits: AtomicU64::default(),
            commits_failed: AtomicU64::default(),
            refused: AtomicU64::default(),
            turns_forced: AtomicU64::default(),
            stun: AtomicU64::default(),
            refused_connections: AtomicU64::default(),
            slow_connections: AtomicU64::default(),
            rejected_credentials: AtomicU64::default(),
            transactions: AtomicU64::default(),
            dialogs: AtomicU64::default(),
            bindings: AtomicU64::default(),
            connections: AtomicU64::default(),
            applications: AtomicU64::default(),
            leading: AtomicU64::default(),
            guard: GuardMetrics::default(),
            timings: Timings::default(),
            trace: TraceMetrics::default(),
        }
    }
}

fn method_index(method: &str) -> usize {
    METHODS
        .iter()
        .position(|known| *known == method)
        .unwrap_or(METHODS.len() - 1)
}

/// Whether a method is one of those that are counted by name.
pub fn is_known_method(method: &str) -> bool {
    method_index(method) + 1 < METHODS.len()
}

fn add(counters: &[AtomicU64], index: usize) {
    if let Some(counter) = counters.get(index) {
        counter.fetch_add(1, Relaxed);
    }
}

impl Metrics {
    /// Counts a request that came.
    pub fn received_request(&self, method: &str) {
        add(&self.received_requests, method_index(method));
    }

    /// Counts a request sent for the first time.
    pub fn sent_request(&self, method: &str) {
        add(&self.sent_requests, method_index(method));
    }

    /// Counts a response that came.
    pub fn received_response(&self, status: u16) {
        add(&self.received_responses, usize::from(status));
    }

    /// Counts a response sent for the first time.
    pub fn sent_response(&self, status: u16) {
        add(&self.sent_responses, usize::from(status));
    }

    /// Adds one to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Sets a gauge.
    pub fn set(gauge: &AtomicU64, value: usize) {
        gauge.store(value as u64, Relaxed);
    }

    /// Everything in Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(4096);
        text.push_str("# TYPE raftpbx_sip_requests_total counter\n");
        let sides = [
            ("received", &self.received_requests),
            ("sent", &self.sent_requests),
        ];
        for (side, counters) in sides {
            for (method, counter) in METHODS.iter().zip(counters) {
                let labels = format!("direction=\"{side}\",method=\"{method}\"");
                line(&mut text, "raftpbx_sip_requests_total", &labels, counter);
            }
        }
        text.push_str("# TYPE raftpbx_sip_responses_total counter\n");
        let sides = [
            ("received", &self.received_responses),
            ("sent", &self.sent_responses),
        ];
        for (side, counters) in sides {
            for (code, counter) in counters.iter().enumerate() {
                if counter.load(Relaxed) > 0 {
                    let labels = format!("direction=\"{side}\",code=\"{code}\"");
                    line(&mut text, "raftpbx_sip_responses_total", &labels, counter);
                }
            }
        }
        for (name, kind, value) in self.plain() {
            let _ = writeln!(text, "# TYPE raftpbx_sip_{name} {kind}");
            line(&mut text, &format!("raftpbx_sip_{name}"), "", value);
        }
        self.guard.render(&mut text);
        self.timings.render(&mut text);
        self.trace.render(&mut text);
        text
    }

    fn plain(&self) -> [(&'static str, &'static str, &AtomicU64); 17] {
        [
            ("retransmissions_total", "counter", &self.retransmissions),
            ("malformed_total", "counter", &self.malformed),
            ("ignored_total", "counter", &self.ignored),
            ("commits_total", "counter", &self.commits),
            ("commits_failed_total", "counter", &self.commits_failed),
            ("refused_total", "counter", &self.refused),
            ("turns_forced_total", "counter", &self.turns_forced),
            ("stun_total", "counter", &self.stun),
            (
                "refused_connections_total",
                "counter",
                &self.refused_connections,
            ),
            ("slow_connections_total", "counter", &self.slow_connections),
            (
                "rejected_credentials_total",
                "counter",
                &self.rejected_credentials,
            ),
            ("transactions", "gauge", &self.transactions),
            ("dialogs", "gauge", &self.dialogs),
            ("bindings", "gauge", &self.bindings),
            ("connections", "gauge", &self.connections),
            ("applications", "gauge", &self.applications),
            ("leading", "gauge", &self.leading),
        ]
    }
}

fn line(text: &mut String, name: &str, labels: &str, value: &AtomicU64) {
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    };
    let _ = writeln!(text, "{name}{labels} {}", value.load(Relaxed));
}
