//! The few system calls of the data path: epoll, an eventfd bell, receive and send.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::address::RawAddress;

/// Most events taken from the kernel at once.
const EVENTS: usize = 256;

/// An epoll instance.
pub struct Poller {
    epoll: OwnedFd,
}

/// Room for the events of one wait.
pub struct Events {
    list: [libc::epoll_event; EVENTS],
    count: usize,
}

impl Events {
    /// Empty room.
    pub fn new() -> Events {
        Events {
            list: [libc::epoll_event { events: 0, u64: 0 }; EVENTS],
            count: 0,
        }
    }

    /// Number of sockets that have something.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Tag of one of them.
    pub fn tag(&self, n: usize) -> u64 {
        self.list[..self.count][n].u64
    }

    /// Takes the event with this tag out; whether there was one.
    pub fn take(&mut self, tag: u64) -> bool {
        let found = (0..self.count).find(|&n| self.tag(n) == tag);
        if let Some(n) = found {
            self.count -= 1;
            self.list[n] = self.list[self.count];
        }
        found.is_some()
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

impl Poller {
    /// A new, empty instance.
    pub fn new() -> io::Result<Poller> {
        // SAFETY: plain system call; on success the descriptor is ours alone.
        let epoll =
            unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Poller { epoll })
    }

    /// Watches `fd` for input, level-triggered; closing it ends the watch.
    pub fn watch(&self, fd: RawFd, tag: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: tag,
        };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` is valid for the call.
        checked(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    /// Watches `fd` no longer. One that was not watched is no concern of anybody.
    pub fn forget(&self, fd: RawFd) {
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: a null event is allowed for this operation.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
    }

    /// Waits until something can be read, for `most_ms` at most; -1 for as long as it takes.
    pub fn wait(&self, events: &mut Events, most_ms: i32) -> io::Result<()> {
        let room = events.list.as_mut_ptr();
        // SAFETY: `room` has space for `EVENTS` events.
        let result = checked(unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), room, EVENTS as i32, most_ms)
        });
        events.count = match result {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        Ok(())
    }
}

/// Wakes a poller from another thread.
pub struct Bell {
    eventfd: OwnedFd,
}

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Bell> {
        let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
        // SAFETY: plain system call; on success the descriptor is ours alone.
        let eventfd = unsafe { OwnedFd::from_raw_fd(checked(libc::eventfd(0, flags))?) };
        Ok(Bell { eventfd })
    }

    /// Rings until it is silenced.
    pub fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the pointer and length describe `one`; a full counter rings already.
        unsafe { libc::write(self.eventfd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl Bell {
    /// Is silent until it rings again.
    pub fn silence(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the pointer and length describe `count`; one that is silent already says so.
        unsafe {
            libc::read(
                self.eventfd.as_raw_fd(),
                count.as_mut_ptr().cast(),
                count.len(),
            )
        };
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }
}

/// Receives one datagram; none when there is none or it did not fit.
pub fn receive(fd: RawFd, buffer: &mut [u8], source: &mut RawAddress) -> Received {
    let (address, length) = source.as_mut_ptrs();
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: pointers and lengths describe `buffer` and `source`.
    let received = unsafe {
        libc::recvfrom(
            fd,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
            address,
            length,
        )
    };
    match usize::try_from(received) {
        Ok(length) if length <= buffer.len() => Received::Datagram(length),
        Ok(_) => Received::TooLarge,
        // Also errors an earlier send left behind, such as ECONNREFUSED: nothing to read.
        Err(_) => Received::Nothing,
    }
}

/// What [`receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A datagram of this many bytes.
    Datagram(usize),
    /// A datagram that does not fit the buffer.
    TooLarge,
    /// Nothing.
    Nothing,
}

/// Sends one datagram; false when the kernel refused it.
pub fn send(fd: RawFd, packet: &[u8], to: &RawAddress) -> bool {
    // SAFETY: pointers and lengths describe `packet` and `to`.
    let sent = unsafe {
        libc::sendto(
            fd,
            packet.as_ptr().cast(),
            packet.len(),
            libc::MSG_DONTWAIT,
            to.as_ptr(),
            to.length(),
        )
    };
    sent >= 0
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    // SAFETY: all-zero is a valid `timespec` and the pointer is valid for the call.
    unsafe {
        let mut time: libc::timespec = zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// Four sockets per media line soon exceed the usual soft limit of 1,024 descriptors.
pub fn raise_descriptor_limit() {
    // SAFETY: all-zero is a valid `rlimit` and the pointers are valid for the calls.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0
            && limit.rlim_cur < limit.rlim_max
        {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
