//! Tracing events of every crate, as batches of lines for the one log stream in TypeScript.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use napi_derive::napi;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::{Sink, deliver, failure};

/// Lines waiting for JavaScript; a line more is counted and dropped, the log never blocks a call.
const LINES_WAITING_MAX: usize = 8192;
/// Lines that cross in one batch.
const BATCH_LINES_MAX: usize = 256;
/// How long lines wait for others: each batch wakes two threads, and a call writes several lines. A
/// warning or an error goes at once when nothing waits.
const GATHER: Duration = Duration::from_millis(20);

/// The filter of lines, once the log was started.
static FILTER: OnceLock<Handle<Targets, Registry>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

#[derive(Serialize)]
struct Line {
    level: &'static str,
    target: String,
    message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Line {
    fn is_urgent(&self) -> bool {
        matches!(self.level, "warn" | "error")
    }
}

struct ToJavaScript {
    lines: SyncSender<Line>,
}

impl<S: Subscriber> Layer<S> for ToJavaScript {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line {
            level: level_name(metadata.level()),
            target: metadata.target().to_owned(),
            message: String::new(),
            fields: BTreeMap::new(),
        };
        event.record(&mut line);
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.fields.insert(field.name(), value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn forward(lines: &Receiver<Line>, sink: &Sink) {
    while let Ok(first) = lines.recv() {
        if !first.is_urgent() {
            std::thread::sleep(GATHER);
        }
        let mut batch = vec![first];
        batch.extend(lines.try_iter().take(BATCH_LINES_MAX - 1));
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            batch.push(Line {
                level: "warn",
                target: "raftpbx_bridge".to_owned(),
                message: format!(
                    "{dropped} log lines were dropped: more came than could be written"
                ),
                fields: BTreeMap::new(),
            });
        }
        deliver(sink, &batch);
    }
}

/// openraft warns at every try while a peer is away; the store tells that once, itself.
fn filter_of(level: &str) -> napi::Result<Targets> {
    let level: LevelFilter = level
        .parse()
        .map_err(|_| failure(format!("PBX_OPTIONS: no log level {level}")))?;
    Ok(Targets::new()
        .with_default(level)
        .with_target("openraft", level.min(LevelFilter::ERROR)))
}

/// Sends every line at `level` or above to `sink`. A second call is an error.
#[napi]
pub fn start_log(level: String, sink: Sink) -> napi::Result<()> {
    let (filter, handle) = reload::Layer::new(filter_of(&level)?);
    FILTER
        .set(handle)
        .map_err(|_| failure("PBX_OPTIONS: the log was started before"))?;
    let (lines, receiver) = sync_channel(LINES_WAITING_MAX);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || forward(&receiver, &sink))
        .map_err(failure)?;
    tracing_subscriber::registry()
        .with(ToJavaScript { lines }.with_filter(filter))
        .try_init()
        .map_err(failure)
}

/// From now on lines at `level` or above are sent.
#[napi]
pub fn set_log_level(level: String) -> napi::Result<()> {
    let filter = FILTER
        .get()
        .ok_or_else(|| failure("PBX_OPTIONS: the log was not started"))?;
    filter.reload(filter_of(&level)?).map_err(failure)
}
