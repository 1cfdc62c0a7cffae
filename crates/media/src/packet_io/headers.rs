//! IP and UDP headers of packets that leave through a raw socket (RFC 768, 791, 8200). Pure.

use std::net::SocketAddr;

/// Room for both headers in front of a packet.
pub const HEAD_BYTES: usize = 48;

const UDP_BYTES: usize = 8;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const UDP: u8 = 17;
const HOPS: u8 = 64;

/// Writes the headers of a packet of `length` bytes, which begins at [`HEAD_BYTES`] of `room`;
/// where the first one begins. None for addresses of two families, and for more than fits.
pub fn put(
    room: &mut [u8],
    length: usize,
    source: SocketAddr,
    target: SocketAddr,
    tos: u8,
) -> Option<usize> {
    let udp_length = u16::try_from(length + UDP_BYTES).ok()?;
    let packet = room.get_mut(..HEAD_BYTES + length)?;
    let udp_at = HEAD_BYTES - UDP_BYTES;
    let udp = &mut packet[udp_at..HEAD_BYTES];
    udp[..2].copy_from_slice(&source.port().to_be_bytes());
    udp[2..4].copy_from_slice(&target.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_length.to_be_bytes());
    udp[6..].fill(0);
    let (at, pseudo) = match (source, target) {
        (SocketAddr::V4(source), SocketAddr::V4(target)) => {
            let addresses = [source.ip().octets(), target.ip().octets()];
            let at = udp_at - IPV4_BYTES;
            put_ipv4(&mut packet[at..udp_at], udp_length, addresses, tos)?;
            (at, sum(addresses.as_flattened()))
        }
        (SocketAddr::V6(source), SocketAddr::V6(target)) => {
            let addresses = [source.ip().octets(), target.ip().octets()];
            let at = udp_at - IPV6_BYTES;
            put_ipv6(&mut packet[at..udp_at], udp_length, addresses, tos);
            (at, sum(addresses.as_flattened()))
        }
        _ => return None,
    };
    let total = pseudo + u64::from(UDP) + u64::from(udp_length) + sum(&packet[udp_at..]);
    // Zero would say that there is none.
    let checksum = match !folded(total) {
        0 => 0xffff,
        checksum => checksum,
    };
    packet[udp_at + 6..HEAD_BYTES].copy_from_slice(&checksum.to_be_bytes());
    Some(at)
}

/// The kernel writes the checksum and a number.
fn put_ipv4(head: &mut [u8], udp_length: u16, addresses: [[u8; 4]; 2], tos: u8) -> Option<()> {
    let total = udp_length.checked_add(IPV4_BYTES as u16)?;
    head.fill(0);
    head[0] = 0x45;
    head[1] = tos;
    head[2..4].copy_from_slice(&total.to_be_bytes());
    head[8] = HOPS;
    head[9] = UDP;
    head[12..].copy_from_slice(addresses.as_flattened());
    Some(())
}

fn put_ipv6(head: &mut [u8], udp_length: u16, addresses: [[u8; 16]; 2], class: u8) {
    head[..4].copy_from_slice(&[0x60 | class >> 4, class << 4, 0, 0]);
    head[4..6].copy_from_slice(&udp_length.to_be_bytes());
    head[6] = UDP;
    head[7] = HOPS;
    head[8..].copy_from_slice(addresses.as_flattened());
}

/// Sum of the 16-bit words (RFC 1071), not folded.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let whole: u64 = words
        .iter()
        .map(|word| u64::from(u16::from_be_bytes(*word)))
        .sum();
    whole + rest.first().map_or(0, |&last| u64::from(last) << 8)
}

fn folded(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// What a receiver does: with its checksum a packet sums up to all ones.
    fn is_right(pseudo: &[u8], udp: &[u8]) -> bool {
        let total = sum(pseudo) + u64::from(UDP) + udp.len() as u64 + sum(udp);
        folded(total) == 0xffff
    }

    #[test]
    fn ipv4_and_ipv6_headers_stand_in_front_of_the_packet() {
        for length in [0, 1, 12, 171, 172] {
            let mut room = [7; HEAD_BYTES + 200];
            let (source, target) = (address("10.0.0.1:20000"), address("10.0.0.2:4001"));
            let at = put(&mut room, length, source, target, 184).expect("headers");
            assert_eq!(at, HEAD_BYTES - 28);
            let packet = &room[at..HEAD_BYTES + length];
            assert_eq!(packet[..4], [0x45, 184, 0, (28 + length) as u8]);
            assert_eq!(packet[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
            assert_eq!(packet[20..24], [78, 32, 15, 161]);
            assert!(is_right(&packet[12..20], &packet[20..]));

            let (source, target) = (address("[fd00::1]:20000"), address("[fd00::2]:4001"));
            let at = put(&mut room, length, source, target, 184).expect("headers");
            assert_eq!(at, 0);
            let packet = &room[..HEAD_BYTES + length];
            assert_eq!(
                packet[..8],
                [0x6b, 0x80, 0, 0, 0, (8 + length) as u8, 17, 64]
            );
            assert!(is_right(&packet[8..40], &packet[40..]));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut room = [0; HEAD_BYTES + 10];
        let (four, six) = (address("10.0.0.1:1"), address("[fd00::1]:1"));
        assert_eq!(put(&mut room, 10, four, six, 0), None);
        assert_eq!(put(&mut room, 11, four, four, 0), None);
        let mut room = vec![0; HEAD_BYTES + 70_000];
        assert_eq!(put(&mut room, 65_520, four, four, 0), None);
        assert_eq!(put(&mut room, 65_530, six, six, 0), None);
    }
}
