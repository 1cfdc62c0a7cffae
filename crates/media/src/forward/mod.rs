//! Sound of calls for a consumer outside, as rtpengine's recording daemon sends it
//! (`tcp-send-to`): a connection for each party that is heard.
//!
//! ```text
//!   metadata | 0 | samples of 16 bits, one channel, little-endian ...
//! ```
//!
//! Owner of the connections: one thread. Invariant: neither workers nor the taps that decode wait
//! for it, and it never waits for the consumer; what does not fit is left out and counted. Time
//! goes on: what is missing inside a connection is silence there.
//!
//! ```text
//!   worker --packets--> taps: ears --batches, bounded--> thread: outlets --TCP, Unix--> consumer
//! ```
//!
//! # Layout
//! - `wanted`: what of a call is forwarded (pure). `waiting`: what a connection has still to get
//!   (pure).
//! - `outlet`: a connection. `thread`: all of them.

mod outlet;
mod thread;
mod waiting;
pub mod wanted;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use socket2::SockAddr;

use crate::MediaStats;
use crate::limits::{FORWARD_BATCHES_MAX, TAPS_MAX};
use crate::metrics::Count;
use crate::tap::{Feed, TapError, Taps};

/// Where a consumer listens for streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumer {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket for streams.
    Unix(PathBuf),
}

impl FromStr for Consumer {
    type Err = String;

    /// `address:port`, or the whole path of a Unix socket.
    fn from_str(text: &str) -> Result<Consumer, String> {
        let consumer = if text.starts_with('/') {
            Consumer::Unix(text.into())
        } else {
            let bad = |_| format!("'{text}' is neither address:port nor a path that begins with /");
            Consumer::Tcp(text.parse().map_err(bad)?)
        };
        let bad = |error: io::Error| format!("'{text}' is no address of a socket: {error}");
        consumer.socket_address().map(|_| consumer).map_err(bad)
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Consumer::Tcp(address) => write!(out, "{address}"),
            Consumer::Unix(path) => write!(out, "{}", path.display()),
        }
    }
}

impl Consumer {
    fn socket_address(&self) -> io::Result<SockAddr> {
        match self {
            Consumer::Tcp(address) => Ok((*address).into()),
            Consumer::Unix(path) => SockAddr::unix(path),
        }
    }
}

/// Where forwarded sound goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardTo {
    /// Who takes it.
    pub consumer: Consumer,
    /// Samples a second: 8,000, 16,000 or 48,000.
    pub rate_hz: u32,
}

/// Counters of all forwarding.
#[derive(Default)]
pub struct ForwardCounts {
    /// Connections that the consumer has taken and that are up.
    pub connected: AtomicUsize,
    /// Connections that could not be made, or broke.
    pub failed: Count,
    /// Chunks of sound that were left out because the consumer was away or slow.
    pub dropped: Count,
}

/// What the thread and those who begin streams share.
#[derive(Default)]
struct Shared {
    /// What the connection of each tap begins with.
    metadata: Mutex<HashMap<u32, Arc<str>>>,
    counts: ForwardCounts,
}

/// The forwarding of an engine.
pub struct Forwarder {
    rate_hz: Option<u32>,
    taps: Taps,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Starts the threads; without a consumer there is nothing to do for them and none.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(to: Option<ForwardTo>) -> io::Result<Forwarder> {
        let mut forwarder = Forwarder {
            rate_hz: to.as_ref().map(|to| to.rate_hz),
            taps: Taps::default(),
            shared: Arc::default(),
            thread: None,
        };
        let Some(to) = to else {
            return Ok(forwarder);
        };
        let (batches, incoming) = sync_channel(FORWARD_BATCHES_MAX);
        let sink = Box::new(move |batch| batches.try_send(batch).is_ok());
        forwarder.taps.listen(sink).map_err(io::Error::other)?;
        let shared = Arc::clone(&forwarder.shared);
        let run = move || thread::run(&incoming, &to, &shared);
        let builder = std::thread::Builder::new().name("media-forward".into());
        forwarder.thread = Some(builder.spawn(run)?);
        Ok(forwarder)
    }

    /// Whether there is a consumer.
    pub fn is_configured(&self) -> bool {
        self.rate_hz.is_some()
    }

    /// Forwards what its owner gives to the feed, until that is dropped. The connection is made
    /// once there is something to be heard, and begins with `metadata`.
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn begin(&self, call: &Arc<str>, tag: &str, metadata: Arc<str>) -> Result<Feed, TapError> {
        let rate_hz = self.rate_hz.ok_or(TapError::Unheard)?;
        // Locked until it is noted: no batch of the tap is looked at before.
        let mut known = self.shared.metadata.lock();
        let feed = self.taps.begin(call, tag, rate_hz)?;
        known.insert(feed.id(), metadata);
        Ok(feed)
    }

    /// Another connection of a stream begins with this from now on.
    pub fn rename(&self, feed: u32, metadata: Arc<str>) {
        if let Some(known) = self.shared.metadata.lock().get_mut(&feed) {
            *known = metadata;
        }
    }

    /// Streams under way, connected or not.
    pub fn count(&self) -> usize {
        self.taps.count()
    }

    /// Streams that may begin yet.
    pub fn free(&self) -> usize {
        TAPS_MAX.saturating_sub(self.taps.count())
    }

    /// Puts its figures among all.
    pub fn tell(&self, stats: &mut MediaStats) {
        let (counts, taps) = (&self.shared.counts, self.taps.counts());
        stats.forwarded = self.count() as u64;
        stats.forward_connected = counts.connected.load(Ordering::Relaxed) as u64;
        stats.forward_failed = counts.failed.get();
        stats.forward_lost = taps.lost.get();
        // Also what did not get as far as the connections.
        stats.forward_dropped = counts.dropped.get() + taps.refused.get();
    }

    /// Ends all streams and the threads.
    pub fn stop(&mut self) {
        self.taps.stop();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // With the taps the way to it has ended.
        if thread.join().is_err() {
            tracing::error!("the thread of forwarding had failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_a_port_or_a_whole_path() {
        let read = |text: &str| text.parse::<Consumer>();
        let port = SocketAddr::from(([10, 0, 0, 1], 9_000));
        assert_eq!(read("10.0.0.1:9000"), Ok(Consumer::Tcp(port)));
        assert_eq!(
            read("/run/asr.sock"),
            Ok(Consumer::Unix("/run/asr.sock".into()))
        );
        let bad = read("asr.sock").expect_err("refused");
        assert!(bad.contains("neither address:port nor a path"), "{bad}");
        let long = format!("/{}", "x".repeat(200));
        assert!(read(&long).is_err(), "longer than a socket's name can be");
        assert_eq!(
            read("[fd00::1]:9000").map(|one| one.to_string()),
            Ok("[fd00::1]:9000".into())
        );
    }

    #[test]
    fn there_are_as_many_streams_as_taps_and_none_without_a_consumer() {
        let call: Arc<str> = "c".into();
        let mut none = Forwarder::start(None).expect("nothing to start");
        assert!(!none.is_configured());
        let refused = none.begin(&call, "a", "".into()).map(|feed| feed.id());
        assert_eq!(refused, Err(TapError::Unheard));
        none.stop();
        let mut forwarder = Forwarder::start(Some(ForwardTo {
            consumer: Consumer::Unix("/nobody/is/there".into()),
            rate_hz: 8_000,
        }))
        .expect("threads");
        let mut feeds: Vec<Feed> = Vec::new();
        while forwarder.free() > 0 {
            feeds.push(forwarder.begin(&call, "a", "".into()).expect("a stream"));
        }
        assert_eq!((feeds.len(), forwarder.count()), (TAPS_MAX, TAPS_MAX));
        let refused = forwarder.begin(&call, "a", "".into()).map(|feed| feed.id());
        assert_eq!(refused, Err(TapError::Full));
        feeds.clear();
        assert_eq!(forwarder.count(), 0);
        forwarder.stop();
    }
}
