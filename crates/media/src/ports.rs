//! Pairs of UDP ports: even for RTP, the next odd one for RTCP (RFC 3550 section 11).
//!
//! A first-in first-out list, so that a port rests as long as possible before the next call
//! gets it and late packets of the old call do not reach the new one.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Two bound sockets facing one party.
pub struct PortPair {
    /// Address of the even port; the odd one follows.
    pub local: SocketAddr,
    /// Even port.
    pub rtp: OwnedFd,
    /// Odd port.
    pub rtcp: OwnedFd,
}

/// Why there is no port pair.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// All are taken, by us or by other programs.
    #[error("Ran out of ports")]
    Exhausted,
    /// The kernel refused for another reason.
    #[error("Failed to open media sockets: {0}")]
    System(#[from] io::Error),
}

/// The port pairs of one local address.
pub struct PortPool {
    address: IpAddr,
    free: VecDeque<u16>,
    total: usize,
}

impl PortPool {
    /// A pool of the pairs that lie wholly in `range`.
    pub fn new(address: IpAddr, range: &RangeInclusive<u16>) -> PortPool {
        let last = *range.end();
        let free: VecDeque<u16> = range
            .clone()
            .filter(|port| port % 2 == 0 && *port != 0 && *port < last)
            .collect();
        PortPool {
            address,
            total: free.len(),
            free,
        }
    }

    /// The address the ports are bound to.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Pairs not in use by this engine.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pairs in use by this engine.
    pub fn used(&self) -> usize {
        self.total - self.free.len()
    }

    /// Binds the pair that has rested longest. Pairs in use by other programs are passed
    /// over and tried again later.
    pub fn take(&mut self) -> Result<PortPair, PortError> {
        for _ in 0..self.free.len() {
            let Some(port) = self.free.pop_front() else {
                break;
            };
            match bind_pair(self.address, port) {
                Ok(pair) => return Ok(pair),
                Err(error) => {
                    self.free.push_back(port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(error.into());
                    }
                }
            }
        }
        Err(PortError::Exhausted)
    }

    /// Closes the pair and lets its ports rest at the end of the list.
    pub fn give_back(&mut self, pair: PortPair) {
        let port = pair.local.port();
        drop(pair);
        self.free.push_back(port);
    }
}

fn bind_pair(address: IpAddr, port: u16) -> io::Result<PortPair> {
    let local = SocketAddr::new(address, port);
    let rtp = bind(local)?;
    let rtcp = bind(SocketAddr::new(address, port + 1))?;
    Ok(PortPair { local, rtp, rtcp })
}

fn bind(local: SocketAddr) -> io::Result<OwnedFd> {
    // The kernel's own buffer sizes (about 200 kB) hold seconds of audio.
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(local), kind, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn pairs_begin_at_even_ports_inside_the_range() {
        let pool = PortPool::new(LOCAL, &(39_101..=39_106));
        assert_eq!(pool.free, [39_102, 39_104]);
    }

    #[test]
    fn the_pair_freed_last_is_used_last() {
        let mut pool = PortPool::new(LOCAL, &(39_110..=39_115));
        let first = pool.take().expect("free");
        assert_eq!((first.local.port(), pool.used()), (39_110, 1));
        pool.give_back(first);
        let ports: Vec<_> = (0..3).map(|_| pool.take().expect("free")).collect();
        let ports: Vec<_> = ports.iter().map(|pair| pair.local.port()).collect();
        assert_eq!(ports, [39_112, 39_114, 39_110]);
    }

    #[test]
    fn ports_of_other_programs_are_passed_over_and_running_out_is_said() {
        let _stranger = UdpSocket::bind((LOCAL, 39_121)).expect("bind");
        let mut pool = PortPool::new(LOCAL, &(39_120..=39_123));
        let pair = pool.take().expect("one is free");
        assert_eq!(pair.local.port(), 39_122);
        assert_eq!(
            pool.take().map(|p| p.local).expect_err("none").to_string(),
            "Ran out of ports"
        );
    }
}
