//! The thread that writes to the consumer: takes batches of the taps, never waits for a socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::outlet::{News, Outlet};
use super::{ForwardTo, Shared};
use crate::epoll::monotonic_ns;
use crate::limits::{FORWARD_BATCHES_MAX, TAP_EVERY_MS};
use crate::tap::batch::chunks;

/// How long connections wait to be looked at when no batch comes.
const PULSE: Duration = Duration::from_millis(TAP_EVERY_MS);

/// All streams.
struct Outlets<'a> {
    all: BTreeMap<u32, Outlet>,
    to: &'a ForwardTo,
    shared: &'a Shared,
    /// Whether the consumer was there the last time: the log has changes alone.
    reached: Option<bool>,
}

/// Serves until the taps have ended.
pub(super) fn run(batches: &Receiver<Vec<u8>>, to: &ForwardTo, shared: &Shared) {
    let mut outlets = Outlets {
        all: BTreeMap::new(),
        to,
        shared,
        reached: None,
    };
    loop {
        let batch = if outlets.all.is_empty() {
            batches.recv().map_err(RecvTimeoutError::from)
        } else {
            batches.recv_timeout(PULSE)
        };
        match batch {
            Ok(batch) => {
                outlets.take(&batch);
                let more = batches.try_iter().take(FORWARD_BATCHES_MAX);
                more.for_each(|batch| outlets.take(&batch));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        outlets.serve();
    }
    outlets.serve();
    let counts = &shared.counts;
    outlets.all.values_mut().for_each(|one| one.give_up(counts));
}

impl Outlets<'_> {
    fn take(&mut self, batch: &[u8]) {
        for chunk in chunks(batch) {
            if chunk.samples.is_empty() {
                match self.all.get_mut(&chunk.tap) {
                    Some(outlet) => outlet.end(monotonic_ns()),
                    // It was never heard.
                    None => drop(self.shared.metadata.lock().remove(&chunk.tap)),
                }
                continue;
            }
            let rate_hz = self.to.rate_hz;
            let fresh = || Outlet::new(rate_hz);
            let outlet = self.all.entry(chunk.tap).or_insert_with(fresh);
            outlet.put(chunk.position, chunk.samples, &self.shared.counts);
        }
    }

    fn serve(&mut self) {
        let now_ns = monotonic_ns();
        let Shared { metadata, counts } = self.shared;
        for (tap, outlet) in &mut self.all {
            let head = metadata.lock().get(tap).map(Arc::clone);
            let head = head.unwrap_or_else(|| "".into());
            match outlet.serve(&self.to.consumer, &head, now_ns, counts) {
                News::None => {}
                News::Connected => {
                    if self.reached == Some(false) {
                        tracing::info!(consumer = %self.to.consumer, "forwards sound again");
                    }
                    self.reached = Some(true);
                }
                News::Failed(error) => {
                    if self.reached.replace(false) != Some(false) {
                        let consumer = &self.to.consumer;
                        tracing::warn!(%consumer, error, "cannot forward sound; tries again");
                    }
                }
            }
        }
        self.all.retain(|tap, outlet| {
            let over = outlet.is_over(now_ns);
            if over {
                outlet.give_up(counts);
                metadata.lock().remove(tap);
            }
            !over
        });
    }
}
