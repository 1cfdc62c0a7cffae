//! Memory of a ring: buffers that the kernel receives into, and room for packets of our own.
//!
//! Owner of two mappings. All slots are alike; the first [`RING_BUFFERS`] go round between kernel
//! and worker through a ring of their own, the others never leave us. Invariant: a slot is either
//! the kernel's, or ours, or being sent.

use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::limits::{DATAGRAM_BYTES_MAX, RING_BUFFERS, RING_OUTBOX};
use crate::srtp::GROWTH_MAX;

/// `struct io_uring_recvmsg_out`, which the kernel writes in front of a datagram.
const HEAD_BYTES: usize = 16;
/// Room for `sockaddr_in6` behind it.
pub const NAME_BYTES: usize = 28;
/// Where a datagram begins in its slot.
pub const DATAGRAM_AT: usize = HEAD_BYTES + NAME_BYTES;
/// What the kernel may write.
const LENT_BYTES: usize = DATAGRAM_AT + DATAGRAM_BYTES_MAX;
/// A slot begins at a cache line.
const SLOT_BYTES: usize = (LENT_BYTES + GROWTH_MAX).next_multiple_of(64);
/// All slots.
pub const SLOTS: usize = RING_BUFFERS as usize + RING_OUTBOX;
/// The only group of buffers a ring has.
pub const GROUP: u16 = 0;

const _: () = assert!(RING_BUFFERS.is_power_of_two());

/// The head of a datagram, as the kernel wrote it.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// Bytes of the datagram as it was sent.
    pub bytes: usize,
    /// `MSG_TRUNC`, if it did not fit.
    pub flags: i32,
}

/// The slots and the ring in which they are lent.
pub struct Buffers {
    slots: Mapping,
    ring: Mapping,
    tail: u16,
}

impl Buffers {
    /// All slots are ours.
    pub fn new() -> io::Result<Buffers> {
        let entry = size_of::<BufRingEntry>();
        Ok(Buffers {
            slots: Mapping::new(SLOTS * SLOT_BYTES)?,
            ring: Mapping::new(usize::from(RING_BUFFERS) * entry)?,
            tail: 0,
        })
    }

    /// Lends the kernel all it may have.
    pub fn lend_to(&mut self, ring: &IoUring) -> io::Result<()> {
        let address = self.ring.first as u64;
        // SAFETY: the mapping has place for so many entries; the owner drops the ring before it.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, RING_BUFFERS, GROUP, 0)?;
        }
        (0..RING_BUFFERS).for_each(|slot| self.lend(slot));
        self.publish();
        Ok(())
    }

    /// Lends a slot again; the kernel knows after [`Self::publish`].
    pub fn lend(&mut self, slot: u16) {
        assert!(slot < RING_BUFFERS, "a slot that may be lent");
        let address = self.at(slot) as u64;
        let place = usize::from(self.tail & (RING_BUFFERS - 1));
        // SAFETY: inside the mapping, which is aligned to pages.
        let entry = unsafe { &mut *self.ring.first.cast::<BufRingEntry>().add(place) };
        entry.set_addr(address);
        entry.set_len(LENT_BYTES as u32);
        entry.set_bid(slot);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel which slots were lent.
    pub fn publish(&self) {
        let first = self.ring.first.cast::<BufRingEntry>();
        // SAFETY: the place of the tail inside the first entry; the kernel only reads it.
        let tail = unsafe { &*BufRingEntry::tail(first).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    fn at(&self, slot: u16) -> *mut u8 {
        assert!(usize::from(slot) < SLOTS, "a slot of ours");
        // SAFETY: inside the mapping.
        unsafe { self.slots.first.add(usize::from(slot) * SLOT_BYTES) }
    }

    /// Where the datagram of a slot begins: for the kernel, which sends from there.
    pub fn datagram(&self, slot: u16) -> *const u8 {
        // SAFETY: inside the slot.
        unsafe { self.at(slot).add(DATAGRAM_AT) }
    }

    /// The datagram of a slot, with room behind it to grow. The slot must be ours.
    pub fn room(&mut self, slot: u16) -> &mut [u8] {
        // SAFETY: inside the slot, which the kernel has given back and nobody else has.
        unsafe {
            let first = self.at(slot).add(DATAGRAM_AT);
            std::slice::from_raw_parts_mut(first, DATAGRAM_BYTES_MAX + GROWTH_MAX)
        }
    }

    /// What the kernel wrote in front of the datagram, and its source's address.
    pub fn head(&self, slot: u16) -> (Head, &[u8]) {
        // SAFETY: inside the slot, which the kernel has given back.
        let bytes = unsafe { std::slice::from_raw_parts(self.at(slot), DATAGRAM_AT) };
        let word = |n: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|at| bytes[4 * n + at]));
        let name_bytes = (word(0) as usize).min(NAME_BYTES);
        let head = Head {
            bytes: word(2) as usize,
            flags: word(3) as i32,
        };
        (head, &bytes[HEAD_BYTES..HEAD_BYTES + name_bytes])
    }
}

/// Memory of whole pages, zero at first.
struct Mapping {
    first: *mut u8,
    bytes: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Mapping> {
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping.
        let first = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
        if first == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = first.cast();
        Ok(Mapping { first, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the kernel has nothing to write into it any more.
        unsafe { libc::munmap(self.first.cast(), self.bytes) };
    }
}
