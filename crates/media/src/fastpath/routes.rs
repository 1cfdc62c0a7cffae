//! Where packets leave this server, as the kernel's routing says (rtnetlink).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::layout::Exit;
use crate::limits::ROUTES_MAX;

const HEADER_BYTES: usize = 16;
const ROUTE_BYTES: usize = 12;
/// Routing, addresses or links have changed. `RTMGRP_*`, netlink(7): `LINK`, `IPV4_IFADDR`,
/// `IPV4_ROUTE`, `IPV4_RULE`, `IPV6_IFADDR`, `IPV6_ROUTE`.
const CHANGES: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTN_UNICAST: u8 = 1;
/// How long the kernel may take to answer.
const ANSWER_MS: i64 = 200;

/// The routes that were asked for, until something changes.
pub struct Routes {
    questions: OwnedFd,
    news: OwnedFd,
    known: HashMap<(IpAddr, IpAddr), Option<Exit>>,
}

impl Routes {
    /// Listens for changes from now on.
    pub fn open() -> io::Result<Routes> {
        let questions = netlink(0, 0)?;
        let timeout = libc::timeval {
            tv_sec: 0,
            tv_usec: ANSWER_MS * 1_000,
        };
        // SAFETY: pointer and length describe `timeout`.
        let result = unsafe {
            libc::setsockopt(
                questions.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const timeout).cast(),
                size_of::<libc::timeval>() as libc::socklen_t,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Routes {
            questions,
            news: netlink(libc::SOCK_NONBLOCK, CHANGES)?,
            known: HashMap::new(),
        })
    }

    /// Whether anything changed since the last time; what was known is forgotten then.
    pub fn have_changed(&mut self) -> bool {
        let mut room = [0_u8; 8_192];
        let mut changed = false;
        // An overrun (ENOBUFS) is news too.
        while receive(&self.news, &mut room).map_or_else(is_overrun, |bytes| bytes > 0) {
            changed = true;
        }
        if changed {
            self.known.clear();
        }
        changed
    }

    /// Where packets from `source` to `target` leave; none when they do not leave by Ethernet.
    pub fn exit(&mut self, source: IpAddr, target: IpAddr) -> Option<Exit> {
        if let Some(known) = self.known.get(&(source, target)) {
            return *known;
        }
        let found = self.ask(source, target).unwrap_or_else(|error| {
            tracing::debug!(%error, %target, "cannot ask for a route");
            None
        });
        if self.known.len() >= ROUTES_MAX {
            self.known.clear();
        }
        self.known.insert((source, target), found);
        found
    }

    fn ask(&self, source: IpAddr, target: IpAddr) -> io::Result<Option<Exit>> {
        // What came too late for an earlier question.
        let mut room = [0_u8; 4_096];
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: pointer and length describe `room`.
        while unsafe {
            libc::recv(
                self.questions.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
                flags,
            )
        } > 0
        {}
        let question = question(source, target);
        // SAFETY: pointer and length describe `question`.
        let sent = unsafe {
            libc::send(
                self.questions.as_raw_fd(),
                question.as_ptr().cast(),
                question.len(),
                0,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let bytes = receive(&self.questions, &mut room)?;
        let Some(ifindex) = leaving_by(&room[..bytes]) else {
            return Ok(None);
        };
        Ok(ethernet_mtu(ifindex)?.map(|mtu| Exit { ifindex, mtu }))
    }
}

fn is_overrun(error: io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

fn netlink(flags: i32, groups: u32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | flags;
    // SAFETY: plain system call; on success the descriptor is ours alone.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: all-zero is a valid `sockaddr_nl`; pointer and length describe it.
    let bound = unsafe {
        let mut address: libc::sockaddr_nl = std::mem::zeroed();
        address.nl_family = libc::AF_NETLINK as u16;
        address.nl_groups = groups;
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_nl>() as libc::socklen_t,
        )
    };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn receive(socket: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe `room`.
    let bytes = unsafe { libc::recv(socket.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}

/// `RTM_GETROUTE`, rtnetlink(7).
fn question(source: IpAddr, target: IpAddr) -> Vec<u8> {
    let (family, bits) = match target {
        IpAddr::V4(_) => (libc::AF_INET as u8, 32),
        IpAddr::V6(_) => (libc::AF_INET6 as u8, 128),
    };
    let mut message = vec![0_u8; HEADER_BYTES];
    message.extend_from_slice(&[family, bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (kind, ip) in [(RTA_DST, target), (RTA_SRC, source)] {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        message.extend_from_slice(&(octets.len() as u16 + 4).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&octets);
    }
    let length = (message.len() as u32).to_ne_bytes();
    message[..4].copy_from_slice(&length);
    message[4..6].copy_from_slice(&libc::RTM_GETROUTE.to_ne_bytes());
    message[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message
}

/// The interface of a unicast route; none for every other answer, local addresses too.
fn leaving_by(answer: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u16::from_ne_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    if word(4)? != libc::RTM_NEWROUTE || *answer.get(HEADER_BYTES + 7)? != RTN_UNICAST {
        return None;
    }
    let mut at = HEADER_BYTES + ROUTE_BYTES;
    loop {
        let (length, kind) = (usize::from(word(at)?), word(at + 2)?);
        if length < 4 {
            return None;
        }
        if kind == RTA_OIF {
            let index = answer.get(at + 4..at + 8)?;
            return Some(u32::from_ne_bytes(index.try_into().ok()?));
        }
        at += length.next_multiple_of(4);
    }
}

/// MTU of an interface, none when it is no Ethernet.
fn ethernet_mtu(ifindex: u32) -> io::Result<Option<u16>> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .or_else(|_| std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)))
        .or_else(|_| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    let fd = socket.as_raw_fd();
    // SAFETY: all-zero is a valid `ifreq` whose name has room for `IFNAMSIZ` bytes; which field of
    // the union the kernel wrote is known from the question.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        if libc::if_indextoname(ifindex, request.ifr_name.as_mut_ptr()).is_null()
            || libc::ioctl(fd, libc::SIOCGIFHWADDR, &raw mut request) < 0
        {
            return Err(io::Error::last_os_error());
        }
        if request.ifr_ifru.ifru_hwaddr.sa_family != libc::ARPHRD_ETHER {
            return Ok(None);
        }
        if libc::ioctl(fd, libc::SIOCGIFMTU, &raw mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
        let mtu = request.ifr_ifru.ifru_mtu;
        Ok(Some(u16::try_from(mtu).unwrap_or(u16::MAX)))
    }
}

/// Names of the Ethernet interfaces that have one of these addresses.
pub fn interfaces_with(addresses: &[IpAddr]) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the kernel's list is read until its end and freed once; each address is as long as
    // its family says.
    unsafe {
        if libc::getifaddrs(&raw mut list) < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut next = list;
        while let Some(entry) = next.as_ref() {
            next = entry.ifa_next;
            let known = address_of(entry.ifa_addr).is_some_and(|ip| addresses.contains(&ip));
            let name = std::ffi::CStr::from_ptr(entry.ifa_name);
            let name = name.to_string_lossy().into_owned();
            let index = libc::if_nametoindex(entry.ifa_name);
            if known && !names.contains(&name) && matches!(ethernet_mtu(index), Ok(Some(_))) {
                names.push(name);
            }
        }
        libc::freeifaddrs(list);
    }
    Ok(names)
}

/// # Safety
/// The pointer is null or leads to an address as long as its family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: as above.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => {
                let v4 = &*address.cast::<libc::sockaddr_in>();
                Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let v6 = &*address.cast::<libc::sockaddr_in6>();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_to_this_server_itself_do_not_leave() {
        let mut routes = Routes::open().expect("netlink");
        let local: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert_eq!(routes.exit(local, local), None);
        assert!(routes.known.contains_key(&(local, local)));
        assert!(interfaces_with(&[local]).expect("a list").is_empty());
    }

    #[test]
    fn an_answer_cut_short_is_no_route() {
        let mut answer = vec![0_u8; HEADER_BYTES + ROUTE_BYTES];
        answer[4..6].copy_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
        answer[HEADER_BYTES + 7] = RTN_UNICAST;
        answer.extend_from_slice(&8_u16.to_ne_bytes());
        answer.extend_from_slice(&RTA_OIF.to_ne_bytes());
        answer.extend_from_slice(&5_u32.to_ne_bytes());
        assert_eq!(leaving_by(&answer), Some(5));
        for length in 0..answer.len() {
            assert_eq!(leaving_by(&answer[..length]), None);
        }
    }
}
