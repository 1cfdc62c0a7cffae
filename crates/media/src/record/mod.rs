//! Recording of calls: a file for each party and one of all together, as WAV or as Opus in Ogg.
//!
//! Owner of the files: one thread for all recordings. Invariant: a worker never waits for it; what
//! the bounded queue does not hold is lost and counted. Each file is whole once a second, so that a
//! crash leaves files that can be played up to their last second.
//!
//! ```text
//!   worker --packets, bounded--> thread: track (one a party) --each second--> files
//! ```
//!
//! # Layout
//! - `track`: packets of a party on a line of time (pure).
//! - `session`: the tracks and files of a recording. `file`: one of them in either format;
//!   `wav`, `ogg`: files that are always whole.
//! - `thread`: the queue and the clock. `state`: a recording that goes on at another engine.

mod file;
mod ogg;
mod session;
mod state;
mod thread;
mod track;
pub mod wav;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::codec::Codec;
use crate::limits::{RECORD_QUEUE_MAX, RECORDINGS_MAX};
use crate::metrics::Count;
use crate::packet::RtpHeader;
pub use file::RecordingFormat;
use session::{Plan, Session};
pub use state::RecordingState;

/// Counters of all recordings.
#[derive(Default)]
pub struct RecordCounts {
    /// Recordings under way.
    pub running: std::sync::atomic::AtomicUsize,
    /// Packets that the queue did not hold.
    pub lost: Count,
    /// Files that could not be written on.
    pub failed: Count,
}

/// A packet to be recorded.
struct Heard {
    session: u64,
    party: u8,
    codec: Codec,
    ssrc: u32,
    timestamp: u32,
    at_ns: u64,
    payload: Box<[u8]>,
}

/// What is to be done with a recording.
enum Order {
    Start(Box<Session>),
    Pause(u64, u64),
    Resume(u64, u64),
    Stop(u64),
    StopAll,
}

/// Takes the packets of one party; belongs to a flow.
#[derive(Clone)]
pub struct Tap {
    session: u64,
    party: u8,
    queue: SyncSender<Heard>,
    counts: Arc<RecordCounts>,
}

impl Tap {
    /// Hands a packet over, or counts it as lost.
    pub fn take(&self, codec: Codec, header: &RtpHeader, payload: &[u8], at_ns: u64) {
        let heard = Heard {
            session: self.session,
            party: self.party,
            codec,
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            at_ns,
            payload: payload.into(),
        };
        if self.queue.try_send(heard).is_err() {
            self.counts.lost.add(1);
        }
    }
}

/// One recording; ends when it is dropped.
pub struct Recording {
    session: u64,
    /// Beginning of the names of its files.
    pub base: PathBuf,
    state: RecordingState,
    tap: Tap,
    orders: Sender<Order>,
}

impl Recording {
    /// For the packets of a party, numbered from 0 within the recording.
    pub fn tap(&self, party: u8) -> Tap {
        Tap {
            party,
            ..self.tap.clone()
        }
    }

    /// Leaves out what comes from now on.
    pub fn pause(&mut self, now_ns: u64) {
        self.state.paused = true;
        self.order(Order::Pause(self.session, now_ns));
    }

    /// Goes on where it was paused.
    pub fn resume(&mut self, now_ns: u64) {
        self.state.paused = false;
        self.order(Order::Resume(self.session, now_ns));
    }

    /// What another engine needs to go on.
    pub fn state(&self) -> &RecordingState {
        &self.state
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the recording thread has ended before its recordings");
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.order(Order::Stop(self.session));
    }
}

/// Why nothing is recorded; the words of the answer.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No folder is configured.
    #[error("Recording is not configured")]
    Off,
    /// A limit was reached.
    #[error("Too many recordings")]
    Full,
    /// The file cannot be made.
    #[error("Failed to create recording file: {0}")]
    File(#[from] std::io::Error),
}

/// The recordings of an engine.
pub struct Recorder {
    folder: Option<PathBuf>,
    format: RecordingFormat,
    queue: SyncSender<Heard>,
    orders: Sender<Order>,
    counts: Arc<RecordCounts>,
    thread: Option<JoinHandle<()>>,
    next: u64,
}

impl Recorder {
    /// Starts the thread; without a folder there is nothing to do for it and none.
    pub fn start(folder: Option<PathBuf>, format: RecordingFormat) -> std::io::Result<Recorder> {
        let (queue, packets) = sync_channel(RECORD_QUEUE_MAX);
        let (orders, incoming) = std::sync::mpsc::channel();
        let counts = Arc::new(RecordCounts::default());
        let thread = if folder.is_some() {
            let counts = Arc::clone(&counts);
            let run = move || thread::run(&packets, &incoming, &counts);
            let builder = std::thread::Builder::new().name("media-record".into());
            Some(builder.spawn(run)?)
        } else {
            None
        };
        Ok(Recorder {
            folder,
            format,
            queue,
            orders,
            counts,
            thread,
            next: 0,
        })
    }

    /// The counters.
    pub fn counts(&self) -> &RecordCounts {
        &self.counts
    }

    /// Begins a recording. `wide`: keep sound above 4 kHz. `name` begins the names of the files.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn record(
        &mut self,
        name: &str,
        wide: bool,
        now_ns: u64,
    ) -> Result<Recording, RecordError> {
        let state = RecordingState::new(name, self.format, wide);
        self.begin(state, true, now_ns)
    }

    /// Begins a recording of what is mixed already: one file alone.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn record_mix(
        &mut self,
        name: &str,
        wide: bool,
        now_ns: u64,
    ) -> Result<Recording, RecordError> {
        let state = RecordingState::new(name, self.format, wide);
        self.begin(state, false, now_ns)
    }

    fn begin(
        &mut self,
        state: RecordingState,
        apart: bool,
        now_ns: u64,
    ) -> Result<Recording, RecordError> {
        use std::sync::atomic::Ordering::Relaxed;
        let folder = self.folder.as_deref().ok_or(RecordError::Off)?;
        if self.counts.running.load(Relaxed) >= RECORDINGS_MAX {
            return Err(RecordError::Full);
        }
        let base = folder.join(state.part_name());
        let plan = Plan {
            base: base.clone(),
            format: state.format,
            rate_hz: state.rate_hz(),
            apart,
        };
        let session = Session::create(self.next, plan, now_ns)?;
        let recording = Recording {
            session: self.next,
            base,
            state,
            tap: Tap {
                session: self.next,
                party: 0,
                queue: self.queue.clone(),
                counts: Arc::clone(&self.counts),
            },
            orders: self.orders.clone(),
        };
        self.next += 1;
        self.counts.running.fetch_add(1, Relaxed);
        recording.order(Order::Start(Box::new(session)));
        Ok(recording)
    }

    /// Ends all recordings and the thread.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.orders.send(Order::StopAll).is_err() || thread.join().is_err() {
            tracing::error!("the recording thread had failed");
        }
    }
}

/// A name as part of a file name: foreign bytes must not lead out of the folder.
fn plain(name: &str, bytes_max: usize) -> String {
    let safe = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => letter,
        _ => '_',
    };
    let plain: String = name.chars().take(bytes_max).map(safe).collect();
    if plain.is_empty() {
        "call".into()
    } else {
        plain
    }
}
