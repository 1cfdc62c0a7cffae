//! A connection to the consumer, made anew as often as it breaks.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::{Domain, Socket, Type};

use super::waiting::Waiting;
use super::{Consumer, ForwardCounts};
use crate::limits::{FORWARD_LINGER_MS, FORWARD_RETRY_MS, FORWARD_SEND_BYTES};

const NS_PER_MS: u64 = 1_000_000;

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing new.
    None,
    /// The consumer has taken it.
    Connected,
    /// It could not be made, or broke.
    Failed(String),
}

/// One stream to the consumer.
pub struct Outlet {
    waiting: Waiting,
    /// The connection; before its first byte is taken it may be under way.
    socket: Option<Socket>,
    taken: bool,
    /// When it may be tried again.
    retry_ns: u64,
    /// When it is given up; none before its party has ended.
    ends_ns: Option<u64>,
}

impl Outlet {
    /// Not connected yet.
    pub fn new(rate_hz: u32) -> Outlet {
        Outlet {
            waiting: Waiting::new(rate_hz),
            socket: None,
            taken: false,
            retry_ns: 0,
            ends_ns: None,
        }
    }

    /// Takes what its party said.
    pub fn put(&mut self, position: u64, samples: &[u8], counts: &ForwardCounts) {
        if !self.waiting.put(position, samples, self.taken) {
            counts.dropped.add(1);
        }
    }

    /// Its party has ended: what waits may be written for a while yet.
    pub fn end(&mut self, now_ns: u64) {
        self.ends_ns = Some(now_ns + FORWARD_LINGER_MS * NS_PER_MS);
    }

    /// Whether nothing is to be written any more.
    pub fn is_over(&self, now_ns: u64) -> bool {
        let late = |ends_ns| now_ns >= ends_ns || self.waiting.is_empty();
        self.ends_ns.is_some_and(late)
    }

    /// Connects if need be, and writes what the consumer takes now.
    pub fn serve(
        &mut self,
        to: &Consumer,
        metadata: &Arc<str>,
        now_ns: u64,
        counts: &ForwardCounts,
    ) -> News {
        if self.socket.is_none() {
            if now_ns < self.retry_ns {
                return News::None;
            }
            self.waiting.begin(metadata);
            match connect(to) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => return self.fail(&error, now_ns, counts),
            }
        }
        let was_taken = self.taken;
        match self.write(counts) {
            Err(error) => self.fail(&error, now_ns, counts),
            Ok(()) if self.taken && !was_taken => News::Connected,
            Ok(()) => News::None,
        }
    }

    fn write(&mut self, counts: &ForwardCounts) -> io::Result<()> {
        while let Some(socket) = &mut self.socket {
            let front = self.waiting.front();
            if front.is_empty() {
                break;
            }
            let wrote = match socket.write(front) {
                Ok(wrote) => wrote,
                // It reads too slowly, or the connection is still under way.
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if !self.taken {
                self.taken = true;
                counts.connected.fetch_add(1, Ordering::Relaxed);
            }
            self.waiting.wrote(wrote);
        }
        Ok(())
    }

    fn fail(&mut self, error: &io::Error, now_ns: u64, counts: &ForwardCounts) -> News {
        self.close(counts);
        self.retry_ns = now_ns + FORWARD_RETRY_MS * NS_PER_MS;
        counts.failed.add(1);
        News::Failed(error.to_string())
    }

    /// Ends it, and counts what nobody has taken.
    pub fn give_up(&mut self, counts: &ForwardCounts) {
        if !self.waiting.is_empty() {
            counts.dropped.add(1);
        }
        self.close(counts);
    }

    /// Ends the connection; what was written arrives.
    fn close(&mut self, counts: &ForwardCounts) {
        self.socket = None;
        if std::mem::take(&mut self.taken) {
            counts.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    // ENOTCONN: some kernels say so of a connection that is under way.
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}

/// Begins a connection; a socket of TCP is under way then.
fn connect(to: &Consumer) -> io::Result<Socket> {
    let address = to.socket_address()?;
    let socket = Socket::new(address.domain(), Type::STREAM.nonblocking(), None)?;
    // What waits in the kernel is bounded, too.
    socket.set_send_buffer_size(FORWARD_SEND_BYTES)?;
    if address.domain() != Domain::UNIX {
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
    }
    match socket.connect(&address) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}
