//! Tells the network where the virtual address is now.
//!
//! Gratuitous ARP as request and reply (RFC 5944 section 4.6: some devices learn only from
//! one of the two) and the unsolicited neighbour advertisement with the override flag
//! (RFC 4861 section 7.2.6). Owner of one packet socket.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const BROADCAST: [u8; 6] = [0xff; 6];
/// Ethernet group of `ff02::1`, all nodes.
const ALL_NODES: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// Shortest Ethernet frame without its checksum.
const ARP_FRAME_BYTES: usize = 60;
const ADVERTISEMENT_BYTES: usize = 86;
const ICMPV6_AT: usize = 54;

/// Sends announcement frames.
pub(crate) struct Announcer {
    socket: OwnedFd,
}

impl Announcer {
    /// Opens a packet socket that receives nothing.
    pub fn open() -> io::Result<Announcer> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: plain system call; protocol 0 means that no frame is delivered to us.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and is owned by nobody else.
        Ok(Announcer {
            socket: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Sends all frames for `address`; returns how many went out.
    pub fn announce(&self, index: u32, name: &str, address: IpAddr) -> io::Result<u64> {
        let mac = self.hardware_address(name)?;
        match address {
            IpAddr::V4(ip) => {
                self.send(index, &arp_request(mac, ip))?;
                self.send(index, &arp_reply(mac, ip))?;
                Ok(2)
            }
            IpAddr::V6(ip) => {
                self.send(index, &advertisement(mac, ip))?;
                Ok(1)
            }
        }
    }

    fn hardware_address(&self, name: &str) -> io::Result<[u8; 6]> {
        // SAFETY: all-zero is a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *slot = byte as libc::c_char;
        }
        // SAFETY: `request` is a valid, writable `ifreq`; on success the kernel has filled
        // in `ifru_hwaddr`.
        let octets = unsafe {
            if libc::ioctl(
                self.socket.as_raw_fd(),
                libc::SIOCGIFHWADDR,
                &raw mut request,
            ) != 0
            {
                return Err(io::Error::last_os_error());
            }
            request.ifr_ifru.ifru_hwaddr.sa_data
        };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(octets) {
            *to = from as u8;
        }
        Ok(mac)
    }

    fn send(&self, index: u32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: all-zero is a valid `sockaddr_ll`.
        let mut to: libc::sockaddr_ll = unsafe { zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = index as i32;
        to.sll_halen = 6;
        to.sll_addr[..6].copy_from_slice(&frame[..6]);
        // SAFETY: the pointers and lengths describe `frame` and `to`.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

fn arp_request(mac: [u8; 6], ip: Ipv4Addr) -> [u8; ARP_FRAME_BYTES] {
    arp(1, mac, [0; 6], ip)
}

fn arp_reply(mac: [u8; 6], ip: Ipv4Addr) -> [u8; ARP_FRAME_BYTES] {
    arp(2, mac, BROADCAST, ip)
}

/// RFC 826: sender and target protocol address are both the announced one.
fn arp(operation: u8, mac: [u8; 6], target: [u8; 6], ip: Ipv4Addr) -> [u8; ARP_FRAME_BYTES] {
    let mut frame = [0; ARP_FRAME_BYTES];
    frame[..6].copy_from_slice(&BROADCAST);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame[14..22].copy_from_slice(&[0, 1, 0x08, 0, 6, 4, 0, operation]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&ip.octets());
    frame[32..38].copy_from_slice(&target);
    frame[38..42].copy_from_slice(&ip.octets());
    frame
}

/// Ethernet, IPv6 (hop limit 255 as RFC 4861 demands), ICMPv6 type 136 with the override
/// flag and the target link-layer address option.
fn advertisement(mac: [u8; 6], ip: Ipv6Addr) -> [u8; ADVERTISEMENT_BYTES] {
    let mut frame = [0; ADVERTISEMENT_BYTES];
    frame[..6].copy_from_slice(&ALL_NODES);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[14] = 0x60;
    frame[19] = (ADVERTISEMENT_BYTES - ICMPV6_AT) as u8;
    frame[20] = libc::IPPROTO_ICMPV6 as u8;
    frame[21] = 255;
    frame[22..38].copy_from_slice(&ip.octets());
    frame[38..54].copy_from_slice(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    frame[54] = 136;
    frame[58] = 0x20;
    frame[62..78].copy_from_slice(&ip.octets());
    frame[78..80].copy_from_slice(&[2, 1]);
    frame[80..86].copy_from_slice(&mac);
    let checksum = icmpv6_checksum(&frame);
    frame[56..58].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// RFC 4443 section 2.3: over the pseudo-header (addresses, length, next header) and body.
fn icmpv6_checksum(frame: &[u8; ADVERTISEMENT_BYTES]) -> u16 {
    let mut sum = u32::from(frame[19]) + libc::IPPROTO_ICMPV6 as u32;
    for pair in frame[22..].chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    #[test]
    fn gratuitous_arp_names_the_address_as_sender_and_target() {
        for (operation, frame) in [
            (1, arp_request(MAC, Ipv4Addr::new(10, 1, 2, 3))),
            (2, arp_reply(MAC, Ipv4Addr::new(10, 1, 2, 3))),
        ] {
            assert_eq!(frame[21], operation);
            assert_eq!(frame[22..28], MAC);
            assert_eq!(frame[28..32], [10, 1, 2, 3]);
            assert_eq!(frame[38..42], [10, 1, 2, 3]);
        }
    }

    #[test]
    fn the_checksum_of_an_advertisement_verifies() {
        let frame = advertisement(MAC, "fd00::5".parse().expect("an address"));
        // With the checksum in place the ones' complement sum of everything is zero.
        assert_eq!(icmpv6_checksum(&frame), 0);
    }
}
