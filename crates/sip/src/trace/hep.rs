//! HEP version 3, the Homer encapsulation protocol: one message in one datagram, as chunks of
//! vendor, type, length and value, all in network byte order.
use std::net::{IpAddr, SocketAddr};

use super::Seen;
use crate::config::Transport;

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const UDP: u8 = 17;
const TCP: u8 = 6;
const SIP: u8 = 1;

/// Who says so.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The capture agent's number.
    pub id: u32,
    /// The authenticate key.
    pub password: Option<String>,
}

/// The packet about a message.
pub fn encode(seen: &Seen, agent: &Agent) -> Vec<u8> {
    let (source, destination) = seen.ends();
    let (source, destination) = same_family(source, destination);
    let mut packet = Vec::with_capacity(seen.bytes.len() + 160);
    packet.extend_from_slice(b"HEP3\0\0");
    let protocol = match seen.flow.transport {
        Transport::Udp => UDP,
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => TCP,
    };
    let family = if source.is_ipv4() { IPV4 } else { IPV6 };
    chunk(&mut packet, 1, &[family]);
    chunk(&mut packet, 2, &[protocol]);
    address(&mut packet, (3, 5), source.ip());
    address(&mut packet, (4, 6), destination.ip());
    chunk(&mut packet, 7, &source.port().to_be_bytes());
    chunk(&mut packet, 8, &destination.port().to_be_bytes());
    // Seconds are 32 bits on the wire: until 2106.
    let seconds = u32::try_from(seen.at_us / 1_000_000).unwrap_or(u32::MAX);
    let micros = u32::try_from(seen.at_us % 1_000_000).unwrap_or_default();
    chunk(&mut packet, 9, &seconds.to_be_bytes());
    chunk(&mut packet, 10, &micros.to_be_bytes());
    chunk(&mut packet, 11, &[SIP]);
    chunk(&mut packet, 12, &agent.id.to_be_bytes());
    if let Some(password) = &agent.password {
        chunk(&mut packet, 14, password.as_bytes());
    }
    chunk(&mut packet, 15, &seen.bytes);
    chunk(&mut packet, 17, seen.call_id());
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet
}

fn chunk(packet: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 6).unwrap_or(u16::MAX);
    packet.extend_from_slice(&0u16.to_be_bytes());
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(value);
}

fn address(packet: &mut Vec<u8>, (v4_kind, v6_kind): (u16, u16), ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => chunk(packet, v4_kind, &ip.octets()),
        IpAddr::V6(ip) => chunk(packet, v6_kind, &ip.octets()),
    }
}

/// A packet has one family: a listener on all addresses may be of the other one.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |one: SocketAddr| SocketAddr::new(one.ip().to_canonical(), one.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |one: SocketAddr| match one.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), one.port()),
        IpAddr::V6(_) => one,
    };
    (mapped(source), mapped(destination))
}
