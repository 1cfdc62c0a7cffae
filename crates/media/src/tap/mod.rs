//! What parties say, as samples for who recognises speech: one batch for all taps, 25 times a
//! second.
//!
//! Owner of its taps: one thread. Invariant: a worker never waits for it and it never waits for
//! its consumer; what does not fit is lost and counted. A tap ends with the call.
//!
//! ```text
//!   worker --packets, bounded--> thread: an ear for each tap --each tick--> batch --> consumer
//! ```
//!
//! # Layout
//! - `batch`: the bytes of a batch (pure). `thread`: the ears and the clock.

pub mod batch;
mod thread;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::limits::{TAP_QUEUE_MAX, TAPS_MAX};
use crate::metrics::Count;
use crate::packet::RtpHeader;
use crate::sdp::Coding;

/// Takes a batch (see `batch`), on a thread of the engine; false when it cannot take it now. Must
/// not block.
pub type TapSink = Box<dyn Fn(Vec<u8>) -> bool + Send>;

/// Why a party is not listened to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TapError {
    /// Nobody takes batches.
    #[error("PBX_TAP_UNHEARD: nobody takes what taps hear; set a listener first")]
    Unheard,
    /// A rate that nothing is changed to.
    #[error("PBX_TAP_RATE: taps give 8000, 16000 or 48000 samples a second, not {0}")]
    Rate(u32),
    /// Unknown calls and parties; the words are those of NG commands.
    #[error("PBX_TAP_PARTY: {0}; tap a party of a call that has been offered")]
    Party(String),
    /// A limit was reached.
    #[error("PBX_TAP_FULL: {TAPS_MAX} parties are listened to; end other taps first")]
    Full,
    /// There is no thread to be had.
    #[error("PBX_TAP_THREAD: cannot start the thread of taps: {0}")]
    Thread(String),
}

/// Counters of all taps.
#[derive(Default)]
pub struct TapCounts {
    /// Packets that the queue did not hold.
    pub lost: Count,
    /// Batches that the consumer could not take.
    pub refused: Count,
}

/// A packet that a party sent.
struct Said {
    tap: u32,
    header: RtpHeader,
    coding: Option<Coding>,
    payload: Box<[u8]>,
}

/// What is to be done with a tap.
enum Order {
    /// Number and samples a second.
    Begin(u32, u32),
    End(u32),
    Stop,
}

/// Call and party of each tap.
type Book = Mutex<HashMap<u32, (Arc<str>, Arc<str>)>>;

/// Takes the packets of one party; belongs to a flow. Its tap ends when it is dropped.
pub struct Feed {
    id: u32,
    queue: SyncSender<Said>,
    orders: Sender<Order>,
    counts: Arc<TapCounts>,
    book: Arc<Book>,
}

impl Feed {
    /// Number of the tap.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Hands a packet over, or counts it as lost.
    pub fn take(&self, header: &RtpHeader, coding: Option<Coding>, payload: &[u8]) {
        let said = Said {
            tap: self.id,
            header: *header,
            coding,
            payload: payload.into(),
        };
        if self.queue.try_send(said).is_err() {
            self.counts.lost.add(1);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.book.lock().remove(&self.id);
        // The thread may have ended with the engine.
        drop(self.orders.send(Order::End(self.id)));
    }
}

/// The thread and the ways to it.
struct Running {
    queue: SyncSender<Said>,
    orders: Sender<Order>,
    thread: JoinHandle<()>,
    next: u32,
}

/// The taps of an engine.
#[derive(Default)]
pub struct Taps {
    running: Mutex<Option<Running>>,
    book: Arc<Book>,
    counts: Arc<TapCounts>,
}

impl Taps {
    /// From now on batches go to `sink`. Taps there were before end.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn listen(&self, sink: TapSink) -> Result<(), TapError> {
        self.stop();
        let (queue, packets) = sync_channel(TAP_QUEUE_MAX);
        let (orders, incoming) = channel();
        let counts = Arc::clone(&self.counts);
        let run = move || thread::run(&packets, &incoming, &sink, &counts);
        let thread = std::thread::Builder::new().name("media-tap".into());
        let failed = |error: io::Error| TapError::Thread(error.to_string());
        *self.running.lock() = Some(Running {
            queue,
            orders,
            thread: thread.spawn(run).map_err(failed)?,
            next: 1,
        });
        Ok(())
    }

    /// Whether somebody takes what taps hear.
    ///
    /// # Errors
    /// When nobody does.
    pub fn check(&self) -> Result<(), TapError> {
        let running = self.running.lock();
        running.as_ref().map(|_| ()).ok_or(TapError::Unheard)
    }

    /// Begins a tap for whoever gets its feed.
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn begin(&self, call: &Arc<str>, tag: &str, rate_hz: u32) -> Result<Feed, TapError> {
        let mut running = self.running.lock();
        let running = running.as_mut().ok_or(TapError::Unheard)?;
        if !matches!(rate_hz, 8_000 | 16_000 | 48_000) {
            return Err(TapError::Rate(rate_hz));
        }
        let mut book = self.book.lock();
        if book.len() >= TAPS_MAX {
            return Err(TapError::Full);
        }
        let id = running.next;
        running.next = running.next.wrapping_add(1);
        book.insert(id, (Arc::clone(call), tag.into()));
        // A thread that has ended gives out nothing, which its counters show.
        drop(running.orders.send(Order::Begin(id, rate_hz)));
        Ok(Feed {
            id,
            queue: running.queue.clone(),
            orders: running.orders.clone(),
            counts: Arc::clone(&self.counts),
            book: Arc::clone(&self.book),
        })
    }

    /// Call and party of a tap.
    pub fn place(&self, id: u32) -> Option<(Arc<str>, Arc<str>)> {
        self.book.lock().get(&id).cloned()
    }

    /// Taps now.
    pub fn count(&self) -> usize {
        self.book.lock().len()
    }

    /// The counters.
    pub fn counts(&self) -> &TapCounts {
        &self.counts
    }

    /// Ends the thread.
    pub fn stop(&self) {
        let Some(running) = self.running.lock().take() else {
            return;
        };
        drop(running.orders.send(Order::Stop));
        if running.thread.join().is_err() {
            tracing::error!("the thread of taps had failed");
        }
    }
}
