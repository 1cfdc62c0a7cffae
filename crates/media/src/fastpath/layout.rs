//! What engine and program share: the layouts of `bpf/relay.bpf.c`.

use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A port of ours that a party sends to: the key of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Place {
    address: [u32; 4],
    port: u16,
    family: u16,
}

// SAFETY: no padding, and any bytes are a value of it.
unsafe impl aya::Pod for Place {}

/// What the program does with the packets of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    from: [u32; 4],
    source: [u32; 4],
    target: [u32; 4],
    from_port: u16,
    source_port: u16,
    target_port: u16,
    mtu: u16,
    ifindex: u32,
    ssrc: u32,
    tally: u32,
    clock_hz: u32,
    refused: [u64; 2],
    tos: u8,
    unused: [u8; 7],
}

// SAFETY: no padding, and any bytes are a value of it.
unsafe impl aya::Pod for Entry {}

const _: () = assert!(size_of::<Place>() == 20 && size_of::<Entry>() == 96);

/// One direction of a flow as the kernel is to relay it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Our address and port that the party sends to.
    pub at: SocketAddr,
    /// Where the party sends from.
    pub from: SocketAddr,
    /// Our address and port towards the other party.
    pub source: SocketAddr,
    /// Where the other party receives.
    pub target: SocketAddr,
    /// Source of the stream.
    pub ssrc: u32,
    /// Clock of its timestamps, Hz.
    pub clock_hz: u32,
    /// Payload types the engine wants to see, a bit each.
    pub refused: u128,
    /// Type of service (IPv4) or traffic class (IPv6) of what is sent.
    pub tos: u8,
}

/// Where packets to a party leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Index of the interface.
    pub ifindex: u32,
    /// Its largest IP packet, bytes.
    pub mtu: u16,
}

impl Wanted {
    /// Key and entry for the program; `tally` is the index of its counters.
    pub fn laid_out(&self, exit: Exit, tally: u32) -> (Place, Entry) {
        let place = Place {
            address: words(self.at.ip()),
            port: self.at.port().to_be(),
            family: if self.at.is_ipv4() { 4 } else { 6 },
        };
        let entry = Entry {
            from: words(self.from.ip()),
            source: words(self.source.ip()),
            target: words(self.target.ip()),
            from_port: self.from.port().to_be(),
            source_port: self.source.port().to_be(),
            target_port: self.target.port().to_be(),
            mtu: exit.mtu,
            ifindex: exit.ifindex,
            ssrc: self.ssrc.to_be(),
            tally,
            clock_hz: self.clock_hz,
            refused: [self.refused as u64, (self.refused >> 64) as u64],
            tos: self.tos,
            unused: [0; 7],
        };
        (place, entry)
    }
}

/// An address as it stands in a packet.
pub fn words(ip: IpAddr) -> [u32; 4] {
    let mut bytes = [0_u8; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    let word = |n: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|at| bytes[4 * n + at]));
    [word(0), word(1), word(2), word(3)]
}

/// Counters of a flow as they stand, RFC 3550 appendix A.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets relayed.
    pub packets: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// When the last one came, `CLOCK_MONOTONIC` ns.
    pub last_ns: u64,
    /// Relative transit time of the last one, units of its clock.
    pub transit: u32,
    /// Interarrival jitter, sixteenths of a unit.
    pub jitter_scaled: u32,
    /// Media time of the newest one.
    pub timestamp: u32,
    /// Number of the newest one.
    pub sequence: u16,
}

/// Counters in memory that the kernel writes.
#[repr(C)]
pub struct TallyCell {
    packets: AtomicU64,
    bytes: AtomicU64,
    last_ns: AtomicU64,
    transit: AtomicU32,
    jitter_scaled: AtomicU32,
    timestamp: AtomicU32,
    sequence: AtomicU16,
    unused: AtomicU16,
}

const _: () = assert!(size_of::<TallyCell>() == 40);

impl TallyCell {
    /// The counters now.
    pub fn read(&self) -> Tally {
        Tally {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            last_ns: self.last_ns.load(Ordering::Relaxed),
            transit: self.transit.load(Ordering::Relaxed),
            jitter_scaled: self.jitter_scaled.load(Ordering::Relaxed),
            timestamp: self.timestamp.load(Ordering::Relaxed),
            sequence: self.sequence.load(Ordering::Relaxed),
        }
    }

    /// Where counting begins; no flow may use the cell.
    pub fn set(&self, tally: Tally) {
        self.packets.store(tally.packets, Ordering::Relaxed);
        self.bytes.store(tally.bytes, Ordering::Relaxed);
        self.last_ns.store(tally.last_ns, Ordering::Relaxed);
        self.transit.store(tally.transit, Ordering::Relaxed);
        self.jitter_scaled
            .store(tally.jitter_scaled, Ordering::Relaxed);
        self.timestamp.store(tally.timestamp, Ordering::Relaxed);
        self.sequence.store(tally.sequence, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports_stand_as_in_a_packet() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let wanted = Wanted {
            at: address("10.0.0.1:20000"),
            from: address("10.0.0.2:4000"),
            source: address("10.0.0.1:20002"),
            target: address("10.0.0.3:5000"),
            ssrc: 0x0102_0304,
            clock_hz: 8_000,
            refused: 1 << 101 | 1,
            tos: 184,
        };
        let exit = Exit {
            ifindex: 7,
            mtu: 1_500,
        };
        let (place, entry) = wanted.laid_out(exit, 9);
        assert_eq!(place.address[0].to_ne_bytes(), [10, 0, 0, 1]);
        assert_eq!(place.port.to_ne_bytes(), 20_000_u16.to_be_bytes());
        assert_eq!(entry.ssrc.to_ne_bytes(), [1, 2, 3, 4]);
        assert_eq!(entry.refused, [1, 1 << 37]);
        let six = Wanted {
            at: address("[fd00::1]:20000"),
            ..wanted
        };
        let (place, _) = six.laid_out(exit, 9);
        assert_eq!(
            (place.family, place.address[3].to_ne_bytes()),
            (6, [0, 0, 0, 1])
        );
    }
}
