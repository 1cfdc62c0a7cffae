//! The narrow place where a worker receives and sends: a batch of datagrams in, a batch out.
//!
//! Owner of what a worker waits with. The rest of the engine does not know which way it is: all
//! answer the same to the same datagrams. Invariant: what is handed in under the lock of the table
//! has left, or has failed, before that lock is given up, so a descriptor is never used after its
//! flow is gone.
//!
//! ```text
//!   wait -> n datagrams -> open(n), judge, forward(n) -> flush before the lock is given up
//!                          send: packets of our own  -^
//! ```
//!
//! # Layout
//! - `polled`: epoll, `recvfrom` and `sendto`; works everywhere.
//! - `ring`: io_uring; `buffers`: memory the kernel receives into; `orders`: what is to be watched.
//! - `steered`: ports without sockets; `steering`: the kernel's part; `headers`: those of packets.
//! - `probe`: which of them this server can.

mod buffers;
mod headers;
mod orders;
mod polled;
mod probe;
mod ring;
mod steered;
mod steering;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use crate::address::RawAddress;
use crate::epoll::{Bell, Poller, Received};
use crate::ports::Door;
use orders::Orders;
use polled::Polled;
pub(crate) use probe::choose;
use ring::Ring;
use steered::Steered;
pub use steering::Steering;

/// How workers receive and send packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PacketIo {
    /// The best that a probe at the start finds to work.
    #[default]
    Auto,
    /// A system call for each datagram received and each one sent.
    Epoll,
    /// Rings shared with the kernel, a system call for many datagrams; epoll when that is refused.
    IoUring,
    /// One socket of a worker for all ports, raw sockets to send; epoll when that is refused.
    SkLookup,
}

/// What a probe has found to work.
#[derive(Clone)]
pub enum Way {
    /// See [`PacketIo::Epoll`].
    Epoll,
    /// See [`PacketIo::IoUring`].
    IoUring,
    /// See [`PacketIo::SkLookup`].
    Steered(Arc<Steering>),
}

/// What was sent, for the count of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// A party's packet.
    Relayed,
    /// A packet of our own.
    Spoken,
    /// A packet of a room.
    Mixed,
}

/// What was taken for sent and then refused by the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Packets of parties.
    pub relayed: u64,
    /// Their bytes.
    pub relayed_bytes: u64,
    /// Packets of our own.
    pub spoken: u64,
    /// Packets of rooms.
    pub mixed: u64,
}

impl Unsent {
    fn add(&mut self, what: Sent, bytes: usize) {
        match what {
            Sent::Relayed => {
                self.relayed += 1;
                self.relayed_bytes += bytes as u64;
            }
            Sent::Spoken => self.spoken += 1,
            Sent::Mixed => self.mixed += 1,
        }
    }

    /// All packets.
    pub fn packets(&self) -> u64 {
        self.relayed + self.spoken + self.mixed
    }
}

/// The part of a worker's way that other threads use: which sockets it receives from. A flow has
/// four, whose tags differ in the two low bits.
pub enum Watch {
    /// Watched by the kernel at once.
    Polled(Arc<Poller>),
    /// Told to the worker, whose ring nobody else may use.
    Ring(Arc<Orders>),
    /// Led to the worker with this number.
    Steered(Arc<Steering>, usize),
}

impl Watch {
    /// Nothing is watched yet.
    pub fn new(way: &Way, worker: usize) -> io::Result<Watch> {
        Ok(match way {
            Way::Epoll => Watch::Polled(Arc::new(Poller::new()?)),
            Way::IoUring => Watch::Ring(Arc::default()),
            Way::Steered(steering) => Watch::Steered(Arc::clone(steering), worker),
        })
    }

    /// Which way it is.
    pub fn way(&self) -> Way {
        match self {
            Watch::Polled(_) => Way::Epoll,
            Watch::Ring(_) => Way::IoUring,
            Watch::Steered(steering, _) => Way::Steered(Arc::clone(steering)),
        }
    }

    /// Receives at the doors of a flow from now on. The table is locked.
    pub fn add(&self, tag: u64, doors: [&Door; 4], bell: &Bell) -> io::Result<()> {
        let tagged = (0..).map(|bits| tag | bits).zip(doors);
        match self {
            Watch::Polled(poller) => {
                for (tag, door) in tagged {
                    poller.watch(door.socket(), tag)?;
                }
            }
            Watch::Steered(..) if doors.iter().any(|door| door.socket() >= 0) => {
                return Err(io::Error::other("ports of sockets are not received from"));
            }
            Watch::Steered(steering, worker) => {
                tagged.for_each(|(tag, door)| steering.lead(door.local(), *worker, tag));
            }
            Watch::Ring(orders) => {
                orders.watch(tag)?;
                bell.ring();
            }
        }
        Ok(())
    }

    /// A flow is gone; its doors may be open a little longer.
    pub fn gone(&self, tag: u64, bell: &Bell) {
        // The others end with the doors; what comes in until then finds no flow any more.
        if let Watch::Ring(orders) = self {
            orders.forget(tag);
            bell.ring();
        }
    }

    /// Receives from the sockets of a flow no longer; the worker has thrown away what it
    /// receives by.
    pub fn abandon(&self, sockets: [RawFd; 4]) {
        if let Watch::Polled(poller) = self {
            sockets.iter().for_each(|&socket| poller.forget(socket));
        }
    }

    /// Receives at the doors of a flow no longer, because another worker will. What has come
    /// until then is relayed first: the table must not be locked.
    pub fn part(&self, tag: u64, sockets: [RawFd; 4], bell: &Bell) {
        match self {
            Watch::Polled(poller) => sockets.iter().for_each(|&socket| poller.forget(socket)),
            // They are led to the next one when he has the flow.
            Watch::Steered(..) => {}
            Watch::Ring(orders) => {
                let parted = orders.part(tag);
                bell.ring();
                Orders::wait(&parted);
            }
        }
    }
}

/// What a worker receives by and sends through.
pub enum Exchange {
    /// epoll.
    Polled(Box<Polled>),
    /// io_uring.
    Ring(Box<Ring>),
    /// Ports without sockets.
    Steered(Box<Steered>),
}

impl Exchange {
    /// The worker's part of `watch`; to be called on its thread. `tags` are those of the flows
    /// that are there already, which `socket` leads to. The table is locked.
    pub fn open(
        watch: &Watch,
        bell: &Bell,
        tags: impl Iterator<Item = u64>,
        socket: impl Fn(u64) -> Option<RawFd>,
    ) -> io::Result<Exchange> {
        Ok(match watch {
            Watch::Polled(poller) => Exchange::Polled(Box::new(Polled::new(poller, bell)?)),
            Watch::Ring(orders) => {
                let mut ring = Ring::new(bell.as_raw_fd(), Arc::clone(orders))?;
                ring.begin(tags, socket)?;
                Exchange::Ring(Box::new(ring))
            }
            Watch::Steered(steering, worker) => {
                Exchange::Steered(Box::new(Steered::new(steering, *worker, bell)?))
            }
        })
    }

    /// Waits until there is something, for `most_ms` at most; -1 for as long as it takes.
    pub fn wait(&mut self, most_ms: i32) -> io::Result<()> {
        match self {
            Exchange::Polled(polled) => polled.wait(most_ms),
            Exchange::Ring(ring) => ring.wait(most_ms),
            Exchange::Steered(steered) => steered.wait(most_ms),
        }
    }

    /// Whether the bell was among it.
    pub fn rung(&self) -> bool {
        match self {
            Exchange::Polled(polled) => polled.rung(),
            Exchange::Ring(ring) => ring.rung(),
            Exchange::Steered(steered) => steered.rung(),
        }
    }

    /// Datagrams to be opened.
    pub fn count(&self) -> usize {
        match self {
            Exchange::Polled(polled) => polled.count(),
            Exchange::Ring(ring) => ring.count(),
            Exchange::Steered(steered) => steered.count(),
        }
    }

    /// Tag of the socket that a datagram came in on.
    pub fn tag(&self, n: usize) -> u64 {
        match self {
            Exchange::Polled(polled) => polled.tag(n),
            Exchange::Ring(ring) => ring.tag(n),
            Exchange::Steered(steered) => steered.tag(n),
        }
    }

    /// Looks at a datagram that came in at a door; `source` becomes where it is from.
    pub fn open_datagram(&mut self, n: usize, at: &Door, source: &mut RawAddress) -> Received {
        match self {
            Exchange::Polled(polled) => polled.open(at.socket(), source),
            Exchange::Ring(ring) => ring.open(n, source),
            Exchange::Steered(steered) => steered.open(n, source),
        }
    }

    /// The datagram that was opened, with room behind it to grow.
    pub fn room(&mut self, n: usize) -> &mut [u8] {
        match self {
            Exchange::Polled(polled) => polled.room(),
            Exchange::Ring(ring) => ring.room(n),
            Exchange::Steered(steered) => steered.room(n),
        }
    }

    /// Sends `length` bytes of a datagram's room; false when the kernel refuses at once.
    pub fn forward(&mut self, n: usize, from: &Door, length: usize, to: &RawAddress) -> bool {
        match self {
            Exchange::Polled(polled) => polled.forward(from.socket(), length, to),
            Exchange::Ring(ring) => ring.forward(n, from.socket(), length, to),
            Exchange::Steered(steered) => steered.forward(n, from, length, to),
        }
    }

    /// Sends a packet of our own; false when the kernel refuses at once.
    pub fn send(&mut self, from: &Door, packet: &[u8], to: &RawAddress, what: Sent) -> bool {
        match self {
            Exchange::Polled(_) => from.send(packet, to),
            Exchange::Ring(ring) => ring.send(from.socket(), packet, to, what),
            Exchange::Steered(steered) => steered.send(from, packet, to, what),
        }
    }

    /// Everything leaves, because the lock of the table is given up; what did not.
    pub fn flush(&mut self) -> Unsent {
        match self {
            Exchange::Polled(_) => Unsent::default(),
            Exchange::Ring(ring) => ring.flush(),
            Exchange::Steered(steered) => steered.flush(),
        }
    }

    /// [`Self::flush`] at the end of a round: all datagrams were looked at. `socket` leads from
    /// tags to the sockets of flows that are there.
    pub fn finish(&mut self, socket: impl Fn(u64) -> Option<RawFd>) -> io::Result<Unsent> {
        match self {
            Exchange::Polled(_) => Ok(Unsent::default()),
            Exchange::Ring(ring) => ring.finish(socket),
            Exchange::Steered(steered) => Ok(steered.flush()),
        }
    }
}
