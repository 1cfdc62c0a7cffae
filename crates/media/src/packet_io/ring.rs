//! io_uring: rings shared with the kernel, so that one system call moves many datagrams.
//!
//! Each socket has one receive under way for as long as it is watched (multishot); the kernel puts
//! datagrams into lent buffers, and they are sent from where they lie. Sends do not wait: they are
//! over when the call that hands them in returns. Owner of the ring, which the worker's thread
//! alone may use; others leave [`Orders`]. Invariant: nothing is under way when it is dropped, so
//! no port stays taken and the kernel writes into no memory that is gone.

use std::io;
use std::mem::{take, zeroed};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::buffers::{Buffers, GROUP, NAME_BYTES, SLOTS};
use super::orders::{Order, Orders};
use super::{Sent, Unsent};
use crate::address::RawAddress;
use crate::epoll::Received;
use crate::limits::{DATAGRAM_BYTES_MAX, RING_BUFFERS, RING_COMPLETIONS, RING_ENTRIES};

/// `IORING_ENTER_GETEVENTS`: take what has come in the same call.
const GET_EVENTS: u32 = 1;
/// Calls for one submission: interrupted ones, and those before which the ring had to be emptied.
const SUBMIT_TRIES: usize = 8;
/// How long the end waits for what is under way.
const END_WAIT: Duration = Duration::from_millis(50);

/// What a completion is of: two bits that no tag of a socket has.
const KINDS: u64 = 3 << 26;
const SENDING: u64 = 1 << 26;
const STOPPING: u64 = 2 << 26;
const BELL: u64 = 3 << 26;

/// A datagram in a slot.
struct Arrived {
    tag: u64,
    slot: u16,
    /// The kernel has the slot again once it is sent.
    sent: bool,
}

/// A flow that another worker will have.
struct Parting {
    tag: u64,
    /// Sockets whose last datagram has not come, a bit each.
    left: u8,
    over: SyncSender<()>,
}

/// A worker's ring.
pub struct Ring {
    ring: IoUring,
    buffers: Buffers,
    /// Where each slot goes.
    targets: Box<[RawAddress]>,
    /// How much of what comes with a datagram is wanted.
    shape: Box<libc::msghdr>,
    orders: Arc<Orders>,
    bell: RawFd,
    bell_watched: bool,
    /// Receives under way.
    receiving: usize,
    arrived: Vec<Arrived>,
    /// Sockets whose receive has ended.
    ended: Vec<u64>,
    has_rung: bool,
    /// What of this is to be looked at in this round: what comes during it is the next one's.
    round: usize,
    over: Vec<u64>,
    rung: bool,
    /// Slots for packets of our own.
    outbox: Vec<u16>,
    parting: Vec<Parting>,
    unsent: Unsent,
}

impl Ring {
    /// A ring of this thread, rung by `bell`.
    pub fn new(bell: RawFd, orders: Arc<Orders>) -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_cqsize(RING_COMPLETIONS)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(RING_ENTRIES)?;
        let mut buffers = Buffers::new()?;
        buffers.lend_to(&ring)?;
        // SAFETY: all-zero is a valid header.
        let mut shape: Box<libc::msghdr> = Box::new(unsafe { zeroed() });
        shape.msg_namelen = NAME_BYTES as libc::socklen_t;
        Ok(Ring {
            ring,
            buffers,
            targets: vec![RawAddress::none(); SLOTS].into(),
            shape,
            orders,
            bell,
            bell_watched: false,
            receiving: 0,
            arrived: Vec::with_capacity(usize::from(RING_BUFFERS)),
            ended: Vec::new(),
            has_rung: false,
            round: 0,
            over: Vec::new(),
            rung: false,
            outbox: (RING_BUFFERS..SLOTS as u16).collect(),
            parting: Vec::new(),
            unsent: Unsent::default(),
        })
    }

    /// Receives from the sockets of flows that are there already; orders about them are done.
    pub fn begin(
        &mut self,
        tags: impl Iterator<Item = u64>,
        socket: impl Fn(u64) -> Option<RawFd>,
    ) -> io::Result<()> {
        drop(self.orders.take());
        for tag in tags {
            self.watch(tag, &socket);
        }
        self.submit(0)
    }

    pub fn wait(&mut self, most_ms: i32) -> io::Result<()> {
        if !self.bell_watched {
            let poll = opcode::PollAdd::new(Fd(self.bell), libc::POLLIN as u32);
            self.bell_watched = self.push(&poll.build().user_data(BELL));
        }
        if self.arrived.is_empty() && self.ended.is_empty() && !self.has_rung {
            self.pause(most_ms)?;
            self.reap();
        }
        self.round = self.arrived.len();
        self.over.append(&mut self.ended);
        self.rung = take(&mut self.has_rung);
        Ok(())
    }

    fn pause(&mut self, most_ms: i32) -> io::Result<()> {
        let submitter = self.ring.submitter();
        let waited = match u64::try_from(most_ms) {
            Err(_) => submitter.submit_and_wait(1),
            Ok(ms) => {
                let time = Timespec::from(Duration::from_millis(ms));
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        match waited.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) | Err((Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN), _)) => {
                Ok(())
            }
            Err((_, error)) => Err(error),
        }
    }

    pub fn rung(&self) -> bool {
        self.rung
    }

    pub fn count(&self) -> usize {
        self.round
    }

    pub fn tag(&self, n: usize) -> u64 {
        self.arrived[n].tag
    }

    pub fn open(&mut self, n: usize, source: &mut RawAddress) -> Received {
        let (head, name) = self.buffers.head(self.arrived[n].slot);
        if head.flags & libc::MSG_TRUNC != 0 || head.bytes > DATAGRAM_BYTES_MAX {
            return Received::TooLarge;
        }
        *source = RawAddress::read(name);
        Received::Datagram(head.bytes)
    }

    pub fn room(&mut self, n: usize) -> &mut [u8] {
        self.buffers.room(self.arrived[n].slot)
    }

    pub fn forward(&mut self, n: usize, from: RawFd, length: usize, to: &RawAddress) -> bool {
        let slot = self.arrived[n].slot;
        let sent = self.push_send(slot, from, length, to, Sent::Relayed);
        self.arrived[n].sent = sent;
        sent
    }

    pub fn send(&mut self, from: RawFd, packet: &[u8], to: &RawAddress, what: Sent) -> bool {
        if self.outbox.is_empty() {
            self.hand_in(0);
        }
        let Some(slot) = self.outbox.pop() else {
            return false;
        };
        let room = self.buffers.room(slot).get_mut(..packet.len());
        let fits = room.map(|room| room.copy_from_slice(packet)).is_some();
        let sent = fits && self.push_send(slot, from, packet.len(), to, what);
        if !sent {
            self.outbox.push(slot);
        }
        sent
    }

    fn push_send(
        &mut self,
        slot: u16,
        from: RawFd,
        length: usize,
        to: &RawAddress,
        what: Sent,
    ) -> bool {
        let target = &mut self.targets[usize::from(slot)];
        *target = *to;
        let send = opcode::Send::new(Fd(from), self.buffers.datagram(slot), length as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .dest_addr(target.as_ptr())
            .dest_addr_len(target.length())
            .build();
        let tag = SENDING | u64::from(slot) | (what as u64) << 16 | (length as u64) << 32;
        self.push(&send.user_data(tag))
    }

    /// Hands everything in and takes what has come; what was refused is noted.
    fn hand_in(&mut self, flags: u32) {
        if let Err(error) = self.submit(flags) {
            tracing::error!(%error, "a media worker cannot hand packets to the kernel");
        }
        self.reap();
    }

    pub fn flush(&mut self) -> Unsent {
        if !self.ring.submission().is_empty() {
            self.hand_in(0);
        }
        take(&mut self.unsent)
    }

    pub fn finish(&mut self, socket: impl Fn(u64) -> Option<RawFd>) -> io::Result<Unsent> {
        for Arrived { slot, sent, .. } in self.arrived.drain(..take(&mut self.round)) {
            if !sent {
                self.buffers.lend(slot);
            }
        }
        self.buffers.publish();
        if !self.ring.submission().is_empty() {
            self.submit(GET_EVENTS)?;
            self.reap();
        }
        // Sockets that lacked buffers get them only now.
        self.follow(socket);
        if !self.ring.submission().is_empty() {
            self.submit(GET_EVENTS)?;
            self.reap();
        }
        Ok(take(&mut self.unsent))
    }

    /// Does what was ordered, and receives again where that has ended.
    fn follow(&mut self, socket: impl Fn(u64) -> Option<RawFd>) {
        for order in self.orders.take() {
            match order {
                Order::Watch(tag) => self.watch(tag, &socket),
                Order::Forget(tag) => self.stop(tag),
                Order::Part(tag, over) => {
                    let left = 0b1111;
                    self.parting.push(Parting { tag, left, over });
                    self.stop(tag);
                }
            }
        }
        for tag in take(&mut self.over) {
            if !self.has_parted(tag)
                && let Some(socket) = socket(tag)
            {
                self.receive(tag, socket);
            }
        }
    }

    fn watch(&mut self, tag: u64, socket: &impl Fn(u64) -> Option<RawFd>) {
        for tag in (0..4).map(|bits| tag | bits) {
            if let Some(socket) = socket(tag) {
                self.receive(tag, socket);
            }
        }
    }

    fn receive(&mut self, tag: u64, socket: RawFd) {
        let shape = &raw const *self.shape;
        let receive = opcode::RecvMsgMulti::new(Fd(socket), shape, GROUP).build();
        if self.push(&receive.user_data(tag)) {
            self.receiving += 1;
        } else {
            self.ended.push(tag);
        }
    }

    fn stop(&mut self, tag: u64) {
        for tag in (0..4).map(|bits| tag | bits) {
            let cancel = opcode::AsyncCancel::new(tag).build();
            if !self.push(&cancel.user_data(STOPPING | tag)) {
                self.ended.push(tag);
            }
        }
    }

    /// Whether a socket whose receive has ended is about to leave; says so when it was the last.
    fn has_parted(&mut self, tag: u64) -> bool {
        let flow = tag & !3;
        let Some(at) = self.parting.iter().position(|one| one.tag == flow) else {
            return false;
        };
        let parting = &mut self.parting[at];
        parting.left &= !(1 << (tag & 3));
        if parting.left == 0 {
            // Whoever waited may have given up.
            let _ = self.parting.swap_remove(at).over.try_send(());
        }
        true
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: slots, targets and shape that entries point at live as long as the ring does;
        // descriptors are handed in under the lock of the table.
        let mut pushed = unsafe { self.ring.submission().push(entry) };
        if pushed.is_err() {
            self.hand_in(0);
            // SAFETY: as above.
            pushed = unsafe { self.ring.submission().push(entry) };
        }
        pushed.is_ok()
    }

    fn submit(&mut self, flags: u32) -> io::Result<()> {
        for _ in 0..SUBMIT_TRIES {
            let count = self.ring.submission().len();
            let submitter = self.ring.submitter();
            // SAFETY: no argument is handed in; entries are as [`Self::push`] says.
            let taken = unsafe { submitter.enter::<libc::sigset_t>(count as u32, 0, flags, None) };
            match taken.map_err(|error| (error.raw_os_error(), error)) {
                Ok(taken) if taken >= count => return Ok(()),
                Ok(_) | Err((Some(libc::EINTR), _)) => {}
                Err((Some(libc::EBUSY | libc::EAGAIN), _)) => self.reap(),
                Err((_, error)) => return Err(error),
            }
        }
        Err(io::Error::other("the kernel takes no further work"))
    }

    /// Takes what the kernel has done.
    fn reap(&mut self) {
        let mut lent = false;
        for done in self.ring.completion() {
            let (tag, result) = (done.user_data(), done.result());
            match tag & KINDS {
                SENDING => {
                    let slot = tag as u16;
                    if result < 0 {
                        self.unsent.add(what_of(tag), (tag >> 32) as usize);
                    }
                    if slot < RING_BUFFERS {
                        self.buffers.lend(slot);
                        lent = true;
                    } else {
                        self.outbox.push(slot);
                    }
                }
                // It had ended already.
                STOPPING if result == -libc::ENOENT => self.ended.push(tag & !KINDS),
                STOPPING => {}
                BELL => (self.has_rung, self.bell_watched) = (true, false),
                _ => {
                    if let Some(slot) = cqueue::buffer_select(done.flags()) {
                        let sent = false;
                        self.arrived.push(Arrived { tag, slot, sent });
                    }
                    if !cqueue::more(done.flags()) {
                        self.receiving -= 1;
                        self.ended.push(tag);
                    }
                }
            }
        }
        if lent {
            self.buffers.publish();
        }
    }
}

fn what_of(tag: u64) -> Sent {
    match tag >> 16 & 3 {
        0 => Sent::Relayed,
        1 => Sent::Spoken,
        _ => Sent::Mixed,
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let everything = CancelBuilder::any().all();
        let wait = Some(Timespec::from(END_WAIT));
        // Nothing may have been under way; what is left is waited for.
        let _ = self.ring.submitter().register_sync_cancel(wait, everything);
        for _ in 0..SUBMIT_TRIES {
            self.reap();
            if self.receiving == 0 || self.pause(END_WAIT.as_millis() as i32).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
