//! A socket address in the kernel's own layout, so that no packet needs a conversion.

use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Room for `sockaddr_in6`, the larger of the two.
const BYTES: usize = size_of::<libc::sockaddr_in6>();

/// An IPv4 or IPv6 socket address as the kernel reads and writes it.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub struct RawAddress {
    bytes: [u8; BYTES],
    length: libc::socklen_t,
}

impl RawAddress {
    /// Room for the kernel to write an address into.
    pub const fn empty() -> RawAddress {
        RawAddress {
            bytes: [0; BYTES],
            length: BYTES as libc::socklen_t,
        }
    }

    /// No address: for a socket that has its peer.
    pub const fn none() -> RawAddress {
        RawAddress {
            bytes: [0; BYTES],
            length: 0,
        }
    }

    /// The same without its port, which raw sockets take for a protocol.
    pub fn without_port(mut self) -> RawAddress {
        self.bytes[2..4].fill(0);
        self
    }

    /// Pointer and length for a list of messages to be sent.
    pub fn name(&mut self) -> (*mut libc::c_void, libc::socklen_t) {
        (self.bytes.as_mut_ptr().cast(), self.length)
    }

    /// The address that the kernel wrote here.
    pub fn read(name: &[u8]) -> RawAddress {
        let length = name.len().min(BYTES);
        let mut raw = RawAddress::empty();
        raw.bytes[..length].copy_from_slice(&name[..length]);
        raw.length = length as libc::socklen_t;
        raw
    }

    /// Pointer for a system call that reads the address.
    pub fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    /// Length for a system call that reads the address.
    pub fn length(&self) -> libc::socklen_t {
        self.length
    }

    /// Pointers for a system call that writes an address; the room is made full size again.
    pub fn as_mut_ptrs(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        self.length = BYTES as libc::socklen_t;
        (self.bytes.as_mut_ptr().cast(), &raw mut self.length)
    }

    /// True when both name the same address and port. Flow label and scope do not count.
    pub fn same(&self, other: &RawAddress) -> bool {
        if self.bytes[..8] != other.bytes[..8] && self.family_port() != other.family_port() {
            return false;
        }
        match self.family() {
            libc::AF_INET => self.bytes[..8] == other.bytes[..8],
            _ => self.bytes[8..24] == other.bytes[8..24],
        }
    }

    fn family(&self) -> i32 {
        i32::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]))
    }

    fn family_port(&self) -> [u8; 4] {
        [self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]
    }

    /// The address in the standard library's form; none when no address is in it.
    pub fn to_std(self) -> Option<SocketAddr> {
        let b = &self.bytes;
        let port = u16::from_be_bytes([b[2], b[3]]);
        match self.family() {
            libc::AF_INET => Some(SocketAddr::from((
                Ipv4Addr::new(b[4], b[5], b[6], b[7]),
                port,
            ))),
            libc::AF_INET6 => {
                let octets: [u8; 16] = b[8..24].try_into().ok()?;
                Some(SocketAddr::from((Ipv6Addr::from(octets), port)))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> RawAddress {
        let mut raw = RawAddress::empty();
        raw.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let family = match address {
            SocketAddr::V4(v4) => {
                raw.bytes[4..8].copy_from_slice(&v4.ip().octets());
                raw.length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                libc::AF_INET
            }
            SocketAddr::V6(v6) => {
                raw.bytes[8..24].copy_from_slice(&v6.ip().octets());
                raw.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                libc::AF_INET6
            }
        };
        raw.bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip_and_compare_by_address_and_port() {
        let list = [
            "10.0.0.1:5000",
            "10.0.0.1:5002",
            "10.0.0.2:5000",
            "[fd00::1]:5000",
            "[fd00::1]:5002",
            "[fd00::2]:5000",
        ];
        for a in list {
            let left = RawAddress::from(a.parse::<SocketAddr>().expect("an address"));
            assert_eq!(left.to_std().map(|s| s.to_string()).as_deref(), Some(a));
            for b in list {
                let right = RawAddress::from(b.parse::<SocketAddr>().expect("an address"));
                assert_eq!(left.same(&right), a == b, "{a} and {b}");
            }
        }
    }
}
