//! Pairs of UDP ports: even for RTP, the next odd one for RTCP (RFC 3550 section 11).
//!
//! First-in first-out lists, so that a port rests as long as possible, and for [`PORT_REST_MS`] at
//! least, before the next call gets it and late packets of the old call do not reach the new one.
//! Ports that the kernel may give to any program come last.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use socket2::{Domain, Protocol, Socket, Type};

use crate::address::RawAddress;
use crate::epoll::monotonic_ns;
use crate::limits::PORT_REST_MS;
use crate::packet_io::Steering;

/// Two ports facing one party.
pub struct PortPair {
    /// Address of the even port; the odd one follows.
    pub local: SocketAddr,
    /// Even port.
    pub rtp: Door,
    /// Odd port.
    pub rtcp: Door,
}

impl PortPair {
    /// Marks what is sent: type of service (IPv4) or traffic class (IPv6).
    pub fn mark(&self, tos: u8) {
        self.rtp.mark(tos);
        self.rtcp.mark(tos);
    }
}

/// A port of ours that is open.
pub struct Door {
    local: SocketAddr,
    way: Passage,
    tos: AtomicU8,
}

/// How packets pass a door.
enum Passage {
    /// A socket of its own.
    Socket(OwnedFd),
    /// It has none.
    Steered(Arc<Steering>),
}

impl Door {
    fn new(local: SocketAddr, way: Passage) -> Door {
        let tos = AtomicU8::new(0);
        Door { local, way, tos }
    }

    /// An open one that does without a socket.
    pub fn steered(local: SocketAddr, steering: &Arc<Steering>) -> Door {
        steering.open(local);
        Door::new(local, Passage::Steered(Arc::clone(steering)))
    }

    /// Its address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// How packets are marked.
    pub fn tos(&self) -> u8 {
        self.tos.load(Ordering::Relaxed)
    }

    /// Its socket; -1 when it does without.
    pub fn socket(&self) -> RawFd {
        match &self.way {
            Passage::Socket(socket) => socket.as_raw_fd(),
            Passage::Steered(_) => -1,
        }
    }

    /// Sends a packet at once, past what a worker has collected; false when the kernel refuses.
    pub fn send(&self, packet: &[u8], to: &RawAddress) -> bool {
        match &self.way {
            Passage::Socket(socket) => crate::epoll::send(socket.as_raw_fd(), packet, to),
            Passage::Steered(steering) => steering.send(self.local, self.tos(), packet, to),
        }
    }

    fn mark(&self, tos: u8) {
        self.tos.store(tos, Ordering::Relaxed);
        let Passage::Socket(socket) = &self.way else {
            return;
        };
        let socket = socket2::SockRef::from(socket);
        let marked = match self.local {
            SocketAddr::V4(_) => socket.set_tos_v4(tos.into()),
            SocketAddr::V6(_) => socket.set_tclass_v6(tos.into()),
        };
        if let Err(error) = marked {
            tracing::debug!(%error, tos, "packets are not marked");
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Passage::Steered(steering) = &self.way {
            steering.close(self.local);
        }
    }
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
    /// Ports do without sockets.
    steering: Option<Arc<Steering>>,
    /// Outside the kernel's own range, and inside of it.
    free: [VecDeque<Free>; 2],
    ephemeral: Vec<RangeInclusive<u16>>,
    total: usize,
}

/// An even port and when it was given back, `CLOCK_MONOTONIC` ns; 0 for never used.
type Free = (u16, u64);

impl PortPool {
    /// A pool of the pairs that lie wholly in `range`; with `steering` they do without sockets.
    pub fn new(
        address: IpAddr,
        range: &RangeInclusive<u16>,
        steering: Option<Arc<Steering>>,
    ) -> PortPool {
        let last = *range.end();
        let pairs = range
            .clone()
            .filter(|port| port % 2 == 0 && *port != 0 && *port < last);
        let mut pool = PortPool {
            address,
            steering,
            free: Default::default(),
            ephemeral: ephemeral(),
            total: 0,
        };
        for port in pairs {
            pool.push(port, 0);
            pool.total += 1;
        }
        pool
    }

    fn push(&mut self, port: u16, since_ns: u64) {
        let taken = [port, port + 1];
        let mut ranges = self.ephemeral.iter();
        let inside = ranges.any(|range| taken.iter().any(|port| range.contains(port)));
        self.free[usize::from(inside)].push_back((port, since_ns));
    }

    /// Pairs that any program of this server may get from the kernel.
    pub fn contested(&self) -> usize {
        self.free[1].len()
    }

    /// The address the ports are bound to.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Pairs not in use by this engine.
    pub fn free(&self) -> usize {
        self.free.iter().map(VecDeque::len).sum()
    }

    /// Pairs in use by this engine.
    pub fn used(&self) -> usize {
        self.total - self.free()
    }

    /// Binds the pair that has rested longest. Pairs in use by other programs are passed
    /// over and tried again later.
    pub fn take(&mut self) -> Result<PortPair, PortError> {
        let now_ns = monotonic_ns();
        for list in &mut self.free {
            for _ in 0..list.len() {
                let Some((port, since_ns)) = list.pop_front() else {
                    break;
                };
                if since_ns != 0 && now_ns - since_ns < PORT_REST_MS * 1_000_000 {
                    list.push_back((port, since_ns));
                    continue;
                }
                match bind_pair(self.address, port) {
                    Ok(pair) => return Ok(self.steered(pair)),
                    Err(error) => {
                        list.push_back((port, since_ns));
                        if error.kind() != io::ErrorKind::AddrInUse {
                            return Err(error.into());
                        }
                    }
                }
            }
        }
        Err(PortError::Exhausted)
    }

    /// Binds this pair, which another engine had; one that is in use here is refused by the kernel.
    pub fn take_exactly(&mut self, port: u16) -> Result<PortPair, PortError> {
        let pair = bind_pair(self.address, port)?;
        for list in &mut self.free {
            list.retain(|(free, _)| *free != port);
        }
        Ok(self.steered(pair))
    }

    /// The same pair, without its sockets where they are not needed: no other program has it.
    fn steered(&self, pair: PortPair) -> PortPair {
        let Some(steering) = &self.steering else {
            return pair;
        };
        let open = |door: Door| {
            let local = door.local();
            drop(door);
            Door::steered(local, steering)
        };
        PortPair {
            local: pair.local,
            rtp: open(pair.rtp),
            rtcp: open(pair.rtcp),
        }
    }

    /// Closes the pair and lets its ports rest at the end of the list.
    pub fn give_back(&mut self, pair: PortPair) {
        let port = pair.local.port();
        drop(pair);
        self.push(port, monotonic_ns());
    }
}

/// What the kernel gives to programs that ask for no port in particular, without what is reserved.
fn ephemeral() -> Vec<RangeInclusive<u16>> {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default()
    };
    let range = ranges(&read("ip_local_port_range").trim().replace(['\t', ' '], "-"));
    let reserved = ranges(read("ip_local_reserved_ports").trim());
    range
        .into_iter()
        .flat_map(|range| without(range, &reserved))
        .collect()
}

/// Ranges as the kernel writes them: `8000,9000-9010`.
fn ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let one = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(one).collect()
}

fn without(
    range: RangeInclusive<u16>,
    reserved: &[RangeInclusive<u16>],
) -> Vec<RangeInclusive<u16>> {
    let mut left = vec![range];
    for gap in reserved {
        let parts = left.into_iter().flat_map(|range| {
            let before = *range.start()..=(*range.end()).min(gap.start().saturating_sub(1));
            let after = (*range.start()).max(gap.end().saturating_add(1))..=*range.end();
            if gap.end() < range.start() || gap.start() > range.end() {
                vec![range]
            } else {
                vec![before, after]
            }
        });
        left = parts.filter(|range| !range.is_empty()).collect();
    }
    left
}

/// Binds a pair. Its address may not be here yet: it floats.
pub fn bind_pair(address: IpAddr, port: u16) -> io::Result<PortPair> {
    let local = SocketAddr::new(address, port);
    let rtp = bind(local)?;
    let rtcp = bind(SocketAddr::new(address, port + 1))?;
    Ok(PortPair { local, rtp, rtcp })
}

fn bind(local: SocketAddr) -> io::Result<Door> {
    // The kernel's own buffer sizes (about 200 kB) hold seconds of audio.
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(local), kind, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // An address that floats is not here before its packets are to be.
    match local {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&local.into())?;
    Ok(Door::new(local, Passage::Socket(socket.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn pairs_begin_at_even_ports_inside_the_range() {
        let pool = PortPool::new(LOCAL, &(39_101..=39_106), None);
        let mut ports: Vec<u16> = pool.free.iter().flatten().map(|(port, _)| *port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [39_102, 39_104]);
    }

    #[test]
    fn reserved_ports_are_not_the_kernels() {
        assert_eq!(ranges("8000,9000-9010"), [8_000..=8_000, 9_000..=9_010]);
        assert_eq!(ranges("none"), []);
        let reserved = ranges("10-19,40-50,70-90");
        assert_eq!(without(15..=80, &reserved), [20..=39, 51..=69]);
        assert_eq!(without(15..=18, &reserved), []);
        assert_eq!(without(1..=5, &reserved), [1..=5]);
    }

    #[test]
    fn ports_the_kernel_gives_away_come_last() {
        let mut pool = PortPool::new(LOCAL, &(39_130..=39_131), None);
        pool.ephemeral = vec![39_133..=39_134];
        for port in [39_132, 39_134, 39_136] {
            pool.push(port, 0);
        }
        let taken: Vec<u16> = (0..4)
            .map(|_| pool.take().expect("free").local.port())
            .collect();
        assert_eq!(taken[2..], [39_132, 39_134]);
        assert!(taken[..2].contains(&39_136));
    }

    #[test]
    fn a_pair_given_back_rests_and_is_used_last() {
        let mut pool = PortPool::new(LOCAL, &(39_110..=39_115), None);
        let first = pool.take().expect("free");
        assert_eq!((first.local.port(), pool.used()), (39_110, 1));
        pool.give_back(first);
        let pairs: Vec<_> = (0..2).map(|_| pool.take().expect("free")).collect();
        let ports: Vec<_> = pairs.iter().map(|pair| pair.local.port()).collect();
        assert_eq!(ports, [39_112, 39_114]);
        assert!(matches!(pool.take(), Err(PortError::Exhausted)));
        let list = pool.free.iter_mut().find(|list| !list.is_empty());
        // As if it had been long ago.
        list.expect("the pair")[0].1 = 1;
        assert_eq!(pool.take().expect("rested").local.port(), 39_110);
    }

    #[test]
    fn packets_are_marked_in_both_families() {
        for address in [LOCAL, IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)] {
            let mut pool = PortPool::new(address, &(39_140..=39_143), None);
            let pair = pool.take().expect("free");
            pair.mark(184);
            for door in [&pair.rtp, &pair.rtcp] {
                let Passage::Socket(socket) = &door.way else {
                    panic!("a socket");
                };
                let socket = socket2::SockRef::from(socket);
                let marked = if address.is_ipv4() {
                    socket.tos_v4()
                } else {
                    socket.tclass_v6()
                };
                assert_eq!(marked.expect("a mark"), 184);
            }
        }
    }

    #[test]
    fn ports_of_other_programs_are_passed_over_and_running_out_is_said() {
        let _stranger = UdpSocket::bind((LOCAL, 39_121)).expect("bind");
        let mut pool = PortPool::new(LOCAL, &(39_120..=39_123), None);
        let pair = pool.take().expect("one is free");
        assert_eq!(pair.local.port(), 39_122);
        assert_eq!(
            pool.take().map(|p| p.local).expect_err("none").to_string(),
            "Ran out of ports"
        );
    }
}
