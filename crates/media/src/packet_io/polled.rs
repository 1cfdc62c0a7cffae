//! epoll: works on every kernel and in every container.
//!
//! One datagram an event: with a socket for each port, more than one hardly ever waits, so reading
//! many at once would only cost a further call that finds nothing.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use crate::address::RawAddress;
use crate::epoll::{Bell, Events, Poller, Received, receive, send};
use crate::limits::DATAGRAM_BYTES_MAX;
use crate::srtp::GROWTH_MAX;

/// Tag of the bell; no flow has it, because generations are 24 bits wide.
const BELL: u64 = u64::MAX;

/// A worker's epoll instance and its buffer.
pub struct Polled {
    poller: Arc<Poller>,
    events: Events,
    rung: bool,
    buffer: Vec<u8>,
}

impl Polled {
    /// Waits with `poller`, and for `bell`.
    pub fn new(poller: &Arc<Poller>, bell: &Bell) -> io::Result<Polled> {
        // A thread that began anew has it in there already.
        poller.forget(bell.as_raw_fd());
        poller.watch(bell.as_raw_fd(), BELL)?;
        Ok(Polled {
            poller: Arc::clone(poller),
            events: Events::new(),
            rung: false,
            buffer: vec![0; DATAGRAM_BYTES_MAX + GROWTH_MAX],
        })
    }

    pub fn wait(&mut self, most_ms: i32) -> io::Result<()> {
        self.poller.wait(&mut self.events, most_ms)?;
        self.rung = self.events.take(BELL);
        Ok(())
    }

    pub fn rung(&self) -> bool {
        self.rung
    }

    pub fn count(&self) -> usize {
        self.events.count()
    }

    pub fn tag(&self, n: usize) -> u64 {
        self.events.tag(n)
    }

    pub fn open(&mut self, socket: RawFd, source: &mut RawAddress) -> Received {
        receive(socket, &mut self.buffer[..DATAGRAM_BYTES_MAX], source)
    }

    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    pub fn forward(&mut self, from: RawFd, length: usize, to: &RawAddress) -> bool {
        send(from, &self.buffer[..length], to)
    }
}
