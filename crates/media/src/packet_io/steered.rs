//! Ports without sockets: many datagrams of many ports in one call, and out in one call.
//!
//! A worker has one socket for each family, to which [`Steering`] leads what is for the ports of
//! its calls; packets leave whole, with headers, through a raw socket for each address of ours.

use std::io;
use std::mem::{take, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::headers::{self, HEAD_BYTES};
use super::steering::{self, Steering};
use super::{Sent, Unsent};
use crate::address::RawAddress;
use crate::epoll::{Bell, Events, Poller, Received};
use crate::limits::{DATAGRAM_BYTES_MAX, STEERED_BATCH, STEERED_RECEIVE_BYTES};
use crate::ports::Door;
use crate::srtp::GROWTH_MAX;

/// Tag of the bell; the sockets have their place in the list.
const BELL: u64 = u64::MAX;
/// A slot begins at a cache line.
const SLOT_BYTES: usize = (HEAD_BYTES + DATAGRAM_BYTES_MAX + GROWTH_MAX).next_multiple_of(64);
/// Room for `sockaddr_in6`.
const NAME_BYTES: usize = 28;
/// Of linux/in.h and linux/in6.h.
const IP_RECVORIGDSTADDR: i32 = 20;
const IPV6_RECVORIGDSTADDR: i32 = 74;

/// What is known of a received datagram.
#[derive(Clone, Copy)]
struct Arrived {
    tag: u64,
    bytes: usize,
    flags: i32,
    source: RawAddress,
}

/// A packet that is to leave.
#[derive(Clone, Copy)]
struct Leaving {
    exit: usize,
    /// Its slot, where the headers begin in it, and how long it is without them.
    slot: usize,
    at: usize,
    length: usize,
    local: SocketAddr,
    tos: u8,
    target: RawAddress,
    what: Sent,
}

/// Room for one control message with an address.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// What `recvmmsg` writes into.
struct Inbox {
    messages: Box<[libc::mmsghdr]>,
    names: Box<[[u8; NAME_BYTES]]>,
    controls: Box<[Control]>,
    parts: Box<[libc::iovec]>,
}

/// A worker's sockets and slots: those of datagrams, and behind them those of our own packets.
pub struct Steered {
    steering: Arc<Steering>,
    worker: usize,
    poller: Poller,
    events: Events,
    rung: bool,
    entrances: Vec<OwnedFd>,
    exits: Vec<(IpAddr, OwnedFd)>,
    slots: Vec<u8>,
    inbox: Inbox,
    arrived: Vec<Arrived>,
    /// Slots behind those of datagrams that are in use.
    own: usize,
    leaving: Vec<Leaving>,
    unsent: Unsent,
}

impl Steered {
    /// Sockets of a worker, which is rung by `bell`.
    pub fn new(steering: &Arc<Steering>, worker: usize, bell: &Bell) -> io::Result<Steered> {
        let (poller, mut entrances) = (Poller::new()?, Vec::new());
        poller.watch(bell.as_raw_fd(), BELL)?;
        for ipv6 in [false, true] {
            if !steering.addresses().any(|ip| ip.is_ipv6() == ipv6) {
                continue;
            }
            let socket = entrance(ipv6)?;
            let entered = steering.enter(worker, ipv6, &socket);
            entered.map_err(io::Error::other)?;
            poller.watch(socket.as_raw_fd(), entrances.len() as u64)?;
            entrances.push(socket);
        }
        let exits = steering.addresses().map(|ip| Ok((ip, steering::exit(ip)?)));
        let mut slots = vec![0; 2 * STEERED_BATCH * SLOT_BYTES];
        Ok(Steered {
            steering: Arc::clone(steering),
            worker,
            poller,
            events: Events::new(),
            rung: false,
            entrances,
            exits: exits.collect::<io::Result<_>>()?,
            inbox: Inbox::over(&mut slots),
            slots,
            arrived: Vec::with_capacity(STEERED_BATCH),
            own: 0,
            leaving: Vec::with_capacity(2 * STEERED_BATCH),
            unsent: Unsent::default(),
        })
    }

    pub fn wait(&mut self, most_ms: i32) -> io::Result<()> {
        self.poller.wait(&mut self.events, most_ms)?;
        self.rung = self.events.take(BELL);
        self.arrived.clear();
        for n in 0..self.events.count() {
            let entrance = self.entrances[self.events.tag(n) as usize].as_raw_fd();
            self.receive(entrance);
        }
        Ok(())
    }

    /// Takes what one socket has, as far as there are slots.
    fn receive(&mut self, entrance: RawFd) {
        let begin = self.arrived.len();
        let count = self.inbox.receive(entrance, begin);
        for n in begin..begin + count {
            let (local, datagram) = self.inbox.read(n);
            let tag = local.and_then(|local| self.steering.tag(local, self.worker));
            // No flow has tag 0.
            let tag = tag.unwrap_or(0);
            self.arrived.push(Arrived { tag, ..datagram });
        }
    }

    pub fn rung(&self) -> bool {
        self.rung
    }

    pub fn count(&self) -> usize {
        self.arrived.len()
    }

    pub fn tag(&self, n: usize) -> u64 {
        self.arrived[n].tag
    }

    pub fn open(&self, n: usize, source: &mut RawAddress) -> Received {
        let arrived = &self.arrived[n];
        if arrived.flags & libc::MSG_TRUNC != 0 {
            return Received::TooLarge;
        }
        *source = arrived.source;
        Received::Datagram(arrived.bytes)
    }

    pub fn room(&mut self, n: usize) -> &mut [u8] {
        &mut self.slot(n)[HEAD_BYTES..]
    }

    fn slot(&mut self, n: usize) -> &mut [u8] {
        &mut self.slots[n * SLOT_BYTES..][..HEAD_BYTES + DATAGRAM_BYTES_MAX + GROWTH_MAX]
    }

    pub fn forward(&mut self, n: usize, from: &Door, length: usize, to: &RawAddress) -> bool {
        self.put(n, from, length, to, Sent::Relayed)
    }

    pub fn send(&mut self, from: &Door, packet: &[u8], to: &RawAddress, what: Sent) -> bool {
        if self.own == STEERED_BATCH {
            self.leave();
        }
        let slot = STEERED_BATCH + self.own;
        let Some(room) = self.room(slot).get_mut(..packet.len()) else {
            return false;
        };
        room.copy_from_slice(packet);
        let taken = self.put(slot, from, packet.len(), to, what);
        self.own += usize::from(taken);
        taken
    }

    fn put(
        &mut self,
        slot: usize,
        from: &Door,
        length: usize,
        to: &RawAddress,
        what: Sent,
    ) -> bool {
        let (local, tos) = (from.local(), from.tos());
        let exit = self.exits.iter().position(|(ip, _)| *ip == local.ip());
        let (Some(exit), Some(target)) = (exit, to.to_std()) else {
            return false;
        };
        let Some(at) = headers::put(self.slot(slot), length, local, target, tos) else {
            return false;
        };
        self.leaving.push(Leaving {
            exit,
            slot,
            at,
            length,
            local,
            tos,
            target: *to,
            what,
        });
        true
    }

    pub fn flush(&mut self) -> Unsent {
        self.leave();
        take(&mut self.unsent)
    }

    /// Sends all that is to leave; one call for those in a row that leave by the same socket.
    fn leave(&mut self) {
        let leaving = take(&mut self.leaving);
        for row in leaving.chunk_by(|one, next| one.exit == next.exit) {
            self.send_row(row);
        }
        self.leaving = leaving;
        self.leaving.clear();
        self.own = 0;
    }

    fn send_row(&mut self, row: &[Leaving]) {
        let exit = self.exits[row[0].exit].1.as_raw_fd();
        let mut targets: Vec<RawAddress> =
            row.iter().map(|one| one.target.without_port()).collect();
        let mut parts: Vec<libc::iovec> = Vec::with_capacity(row.len());
        for one in row {
            let packet = &mut self.slot(one.slot)[one.at..HEAD_BYTES + one.length];
            parts.push(libc::iovec {
                iov_base: packet.as_mut_ptr().cast(),
                iov_len: packet.len(),
            });
        }
        let messages = targets.iter_mut().zip(&mut parts).map(|(target, part)| {
            // SAFETY: all-zero is a valid header.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            (message.msg_hdr.msg_name, message.msg_hdr.msg_namelen) = target.name();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        let mut messages: Vec<libc::mmsghdr> = messages.collect();
        let mut done = 0;
        while done < messages.len() {
            let rest = &mut messages[done..];
            let (first, count) = (rest.as_mut_ptr(), rest.len() as u32);
            // SAFETY: the headers point at targets and parts, which live as long.
            let sent = unsafe { libc::sendmmsg(exit, first, count, libc::MSG_DONTWAIT) };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                done += sent;
                continue;
            }
            let error = io::Error::last_os_error().raw_os_error();
            if error != Some(libc::EINTR) {
                self.refused(&row[done], error);
                done += 1;
            }
        }
    }

    /// The kernel did not take a packet.
    fn refused(&mut self, one: &Leaving, error: Option<i32>) {
        let end = HEAD_BYTES + one.length;
        let (local, tos, target) = (one.local, one.tos, one.target);
        let packet = &self.slot(one.slot)[HEAD_BYTES..end];
        let large = error == Some(libc::EMSGSIZE);
        if !(large && steering::send_large(local, tos, packet, &target)) {
            self.unsent.add(one.what, one.length);
        }
    }
}

impl Inbox {
    /// Headers whose datagrams lie in the first of these slots.
    fn over(slots: &mut [u8]) -> Inbox {
        let mut names: Box<[_]> = vec![[0; NAME_BYTES]; STEERED_BATCH].into();
        let mut controls: Box<[_]> = vec![Control([0; 64]); STEERED_BATCH].into();
        let parts = slots.chunks_exact_mut(SLOT_BYTES).take(STEERED_BATCH);
        let parts = parts.map(|slot| libc::iovec {
            iov_base: slot[HEAD_BYTES..].as_mut_ptr().cast(),
            iov_len: DATAGRAM_BYTES_MAX,
        });
        let mut parts: Box<[libc::iovec]> = parts.collect();
        let messages = (0..STEERED_BATCH).map(|n| {
            // SAFETY: all-zero is a valid header.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            message.msg_hdr.msg_name = names[n].as_mut_ptr().cast();
            message.msg_hdr.msg_control = controls[n].0.as_mut_ptr().cast();
            message.msg_hdr.msg_iov = &raw mut parts[n];
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        Inbox {
            messages: messages.collect(),
            names,
            controls,
            parts,
        }
    }

    /// Takes datagrams into the slots from `begin` on; how many.
    fn receive(&mut self, entrance: RawFd, begin: usize) -> usize {
        debug_assert_eq!(self.parts.len(), self.messages.len());
        let free = &mut self.messages[begin..];
        if free.is_empty() {
            return 0;
        }
        for message in free.iter_mut() {
            message.msg_hdr.msg_namelen = NAME_BYTES as u32;
            message.msg_hdr.msg_controllen = size_of::<Control>();
        }
        let (first, count) = (free.as_mut_ptr(), free.len() as u32);
        let none = std::ptr::null_mut();
        // SAFETY: the headers point into boxes and slots that live as long as they do.
        let taken = unsafe { libc::recvmmsg(entrance, first, count, libc::MSG_DONTWAIT, none) };
        usize::try_from(taken).unwrap_or(0)
    }

    /// The port a datagram was for, and what else is known of it.
    fn read(&self, n: usize) -> (Option<SocketAddr>, Arrived) {
        let libc::mmsghdr { msg_hdr, msg_len } = &self.messages[n];
        let name = &self.names[n][..(msg_hdr.msg_namelen as usize).min(NAME_BYTES)];
        let arrived = Arrived {
            tag: 0,
            bytes: *msg_len as usize,
            flags: msg_hdr.msg_flags,
            source: RawAddress::read(name),
        };
        let Control(control) = &self.controls[n];
        let length = msg_hdr.msg_controllen.min(control.len());
        (asked_for(&control[..length]), arrived)
    }
}

/// The address in the only control message (`struct cmsghdr`) that these sockets get.
fn asked_for(control: &[u8]) -> Option<SocketAddr> {
    const HEAD: usize = size_of::<libc::cmsghdr>();
    let length = usize::from_ne_bytes(control.get(..8)?.try_into().ok()?);
    let name = control.get(HEAD..length)?;
    let word = |at: usize| {
        Some(i32::from_ne_bytes(
            control.get(at..at + 4)?.try_into().ok()?,
        ))
    };
    match (word(8)?, word(12)?) {
        (libc::SOL_IP, IP_RECVORIGDSTADDR) | (libc::SOL_IPV6, IPV6_RECVORIGDSTADDR) => {
            RawAddress::read(name).to_std()
        }
        _ => None,
    }
}

/// A socket that gets what is led to it, wherever it was for.
fn entrance(ipv6: bool) -> io::Result<OwnedFd> {
    let (loopback, level, option): (IpAddr, _, _) = if ipv6 {
        (
            Ipv6Addr::LOCALHOST.into(),
            libc::SOL_IPV6,
            IPV6_RECVORIGDSTADDR,
        )
    } else {
        (Ipv4Addr::LOCALHOST.into(), libc::SOL_IP, IP_RECVORIGDSTADDR)
    };
    let local = SocketAddr::new(loopback, 0);
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(local), kind, Some(Protocol::UDP))?;
    if ipv6 {
        socket.set_only_v6(true)?;
    }
    let yes = 1_i32;
    let value = (&raw const yes).cast();
    // SAFETY: pointer and length describe `yes`.
    if unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, 4) } != 0 {
        return Err(io::Error::last_os_error());
    }
    steering::force(&socket, libc::SO_RCVBUFFORCE, STEERED_RECEIVE_BYTES)?;
    // The table of sockets takes only bound ones; nobody sends there.
    socket.bind(&local.into())?;
    Ok(socket.into())
}
