//! Addresses of network interfaces, over a route netlink socket.
//!
//! Owner of one socket. Invariant: every request is answered before the call returns, and
//! the kernel's error code is never ignored.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::limits::{LIFETIME_S, NETLINK_BUFFER_BYTES, NETLINK_REPLIES_MAX};

/// `IFA_F_NODAD`: an IPv6 address is usable at once, without duplicate detection.
const IFA_F_NODAD: u32 = 0x02;
/// `IFA_F_NOPREFIXROUTE`: the kernel makes no route for the prefix.
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `struct ifa_cacheinfo`: preferred and valid lifetime in seconds, then two time stamps.
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const HEADER_BYTES: usize = 16;
const ADDRESS_HEADER_BYTES: usize = 8;

/// One address on one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Present {
    /// Index of the interface.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix, bits.
    pub prefix: u8,
}

/// A route netlink socket.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// Index of the interface `name`, none when there is no such interface.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is a valid C string for the whole call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Prefix length of a virtual address: the address alone.
pub(crate) fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl Netlink {
    /// Opens a socket in the network namespace of this thread.
    pub fn open() -> io::Result<Netlink> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: plain system call; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and is owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // The kernel answers at once; a second of silence means something is badly wrong.
        let timeout = libc::timeval {
            tv_sec: 1,
            tv_usec: 0,
        };
        // SAFETY: the pointer and length describe `timeout`.
        let set = unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const timeout).cast(),
                size_of::<libc::timeval>() as u32,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Netlink {
            socket,
            sequence: 0,
        })
    }

    /// Adds `address` to `interface` as a host address. One that is there already is fine.
    pub fn add(&mut self, interface: u32, address: IpAddr) -> io::Result<()> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let request = self.address_request(libc::RTM_NEWADDR, flags as u16, interface, address);
        self.acknowledged(&request)
    }

    /// Removes the host address; false when it was not there.
    pub fn remove(&mut self, interface: u32, address: IpAddr) -> io::Result<bool> {
        let request = self.address_request(libc::RTM_DELADDR, 0, interface, address);
        match self.acknowledged(&request) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All addresses of all interfaces of this network namespace.
    pub fn list(&mut self) -> io::Result<Vec<Present>> {
        let mut request = self.header(libc::RTM_GETADDR, libc::NLM_F_DUMP as u16);
        request.extend_from_slice(&[0; ADDRESS_HEADER_BYTES]);
        finish(&mut request);
        self.send(&request)?;
        let mut found = Vec::new();
        let mut buffer = vec![0_u8; NETLINK_BUFFER_BYTES];
        for _ in 0..NETLINK_REPLIES_MAX {
            let length = self.receive(&mut buffer)?;
            for message in Messages(&buffer[..length]) {
                match message.answer(self.sequence)? {
                    Answer::Stale => {}
                    Answer::Done => return Ok(found),
                    Answer::Payload if message.kind == libc::RTM_NEWADDR => {
                        found.extend(parse_address(message.payload));
                    }
                    Answer::Payload => {}
                }
            }
        }
        Err(io::Error::other(
            "the kernel's list of addresses does not end",
        ))
    }

    fn header(&mut self, kind: u16, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes
    }

    fn address_request(&mut self, kind: u16, flags: u16, index: u32, ip: IpAddr) -> Vec<u8> {
        let mut bytes = self.header(kind, flags | libc::NLM_F_ACK as u16);
        let (family, mut address_flags) = match ip {
            IpAddr::V4(_) => (libc::AF_INET as u8, IFA_F_NOPREFIXROUTE),
            IpAddr::V6(_) => (libc::AF_INET6 as u8, IFA_F_NOPREFIXROUTE | IFA_F_NODAD),
        };
        bytes.extend_from_slice(&[family, host_prefix(ip), 0, 0]);
        bytes.extend_from_slice(&index.to_ne_bytes());
        let octets = match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        attribute(&mut bytes, IFA_LOCAL, &octets);
        attribute(&mut bytes, IFA_ADDRESS, &octets);
        if kind == libc::RTM_DELADDR {
            address_flags = 0;
        } else {
            let mut lifetime = [0; 16];
            lifetime[..4].copy_from_slice(&LIFETIME_S.to_ne_bytes());
            lifetime[4..8].copy_from_slice(&LIFETIME_S.to_ne_bytes());
            attribute(&mut bytes, IFA_CACHEINFO, &lifetime);
        }
        attribute(&mut bytes, IFA_FLAGS, &address_flags.to_ne_bytes());
        finish(&mut bytes);
        bytes
    }

    fn acknowledged(&mut self, request: &[u8]) -> io::Result<()> {
        self.send(request)?;
        let mut buffer = vec![0_u8; NETLINK_BUFFER_BYTES];
        for _ in 0..NETLINK_REPLIES_MAX {
            let length = self.receive(&mut buffer)?;
            for message in Messages(&buffer[..length]) {
                if let Answer::Done = message.answer(self.sequence)? {
                    return Ok(());
                }
            }
        }
        Err(io::Error::other(
            "the kernel does not acknowledge the request",
        ))
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and length describe `request`.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                request.as_ptr().cast(),
                request.len(),
                0,
            )
        };
        if sent == request.len() as isize {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // SAFETY: the pointer and length describe `buffer`.
            let length = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                )
            };
            if length >= 0 {
                return Ok(length as usize);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn finish(bytes: &mut [u8]) {
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
}

enum Answer {
    /// Belongs to an earlier request.
    Stale,
    /// The request is finished without error.
    Done,
    /// The message carries a payload.
    Payload,
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Message<'_> {
    fn answer(&self, sequence: u32) -> io::Result<Answer> {
        if self.sequence != sequence {
            return Ok(Answer::Stale);
        }
        match i32::from(self.kind) {
            libc::NLMSG_DONE => Ok(Answer::Done),
            libc::NLMSG_ERROR => match self.payload.first_chunk::<4>() {
                Some(&code) => match i32::from_ne_bytes(code) {
                    0 => Ok(Answer::Done),
                    code => Err(io::Error::from_raw_os_error(-code)),
                },
                None => Err(io::Error::other("truncated netlink error")),
            },
            _ => Ok(Answer::Payload),
        }
    }
}

struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let head = self.0.first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length < HEADER_BYTES || length > self.0.len() {
            return None;
        }
        let message = Message {
            kind: u16::from_ne_bytes([head[4], head[5]]),
            sequence: u32::from_ne_bytes([head[8], head[9], head[10], head[11]]),
            payload: &self.0[HEADER_BYTES..length],
        };
        self.0 = &self.0[length.next_multiple_of(4).min(self.0.len())..];
        Some(message)
    }
}

/// Reads one `RTM_NEWADDR`. IPv4 point-to-point links have the own address in `IFA_LOCAL`
/// and the peer's in `IFA_ADDRESS`; IPv6 usually has only `IFA_ADDRESS`.
fn parse_address(payload: &[u8]) -> Option<Present> {
    let head = payload.first_chunk::<ADDRESS_HEADER_BYTES>()?;
    let interface = u32::from_ne_bytes([head[4], head[5], head[6], head[7]]);
    let mut rest = &payload[ADDRESS_HEADER_BYTES..];
    let (mut local, mut address) = (None, None);
    while let Some(&[a, b, c, d]) = rest.first_chunk::<4>() {
        let length = u16::from_ne_bytes([a, b]) as usize;
        if length < 4 || length > rest.len() {
            break;
        }
        let value = &rest[4..length];
        let ip = match value.len() {
            4 => value
                .first_chunk::<4>()
                .map(|v| IpAddr::V4(Ipv4Addr::from(*v))),
            16 => value
                .first_chunk::<16>()
                .map(|v| IpAddr::V6(Ipv6Addr::from(*v))),
            _ => None,
        };
        match u16::from_ne_bytes([c, d]) {
            IFA_LOCAL => local = ip,
            IFA_ADDRESS => address = ip,
            _ => {}
        }
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    Some(Present {
        interface,
        address: local.or(address)?,
        prefix: head[1],
    })
}
