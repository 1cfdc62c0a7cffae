//! What happened: a running checksum of everything, and the story for people who ask for it.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

thread_local! {
    /// Simulated milliseconds and the node that runs on this thread, for log lines.
    static RUNNING: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Says which node runs on this thread from now on.
pub fn set_running(now_ms: u64, node: u64) {
    RUNNING.set((now_ms, node));
}

/// Simulated time and node before each log line.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        let (now_ms, node) = RUNNING.get();
        write!(
            out,
            "{:>4}.{:03} node {node}   ",
            now_ms / 1_000,
            now_ms % 1_000
        )
    }
}

/// Writes the log lines of the nodes to standard output too.
pub fn show_log(level: tracing::Level) {
    let own = ["raftpbx_store", "raftpbx_simulator"];
    let mut shown = Targets::new().with_targets(own.map(|target| (target, level)));
    if level > tracing::Level::INFO {
        shown = shown.with_default(level);
    }
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(SimulatedTime)
        .with_target(false)
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(shown)
        .init();
}

/// The trace of one run. Two runs of one seed must end with the same checksum.
#[derive(Debug, Default)]
pub struct Trace {
    checksum: u64,
    events: u64,
    now_ms: u64,
    told: bool,
}

/// The trace in the hands of all parts of a run.
pub type SharedTrace = Arc<Mutex<Trace>>;

impl Trace {
    /// A trace; a told one is written to standard output while it happens.
    pub fn start(told: bool) -> SharedTrace {
        Arc::new(Mutex::new(Self {
            told,
            ..Self::default()
        }))
    }

    /// Sets the simulated time, milliseconds.
    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Mixes numbers into the checksum.
    pub fn mark(&mut self, numbers: &[u64]) {
        self.events += 1;
        for number in numbers.iter().chain([&self.now_ms]) {
            let mixed = (self.checksum ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.checksum = mixed ^ (mixed >> 29);
        }
        tracing::trace!(now_ms = self.now_ms, ?numbers, "an event of the world");
    }

    /// Something worth a line.
    pub fn tell(&mut self, who: &str, what: &str) {
        let sum = |text: &str| u64::from(crc32c::crc32c(text.as_bytes()));
        self.mark(&[sum(who), sum(what)]);
        if self.told {
            let (seconds, rest) = (self.now_ms / 1_000, self.now_ms % 1_000);
            // A closed pipe ends the story, not the run.
            let _ = writeln!(std::io::stdout(), "{seconds:>4}.{rest:03} {who:<9} {what}");
        }
    }

    /// Whether lines are written.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// The checksum and the number of events so far.
    pub fn sum(&self) -> (u64, u64) {
        (self.checksum, self.events)
    }
}
