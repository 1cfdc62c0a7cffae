//! STUN binding requests among the datagrams of a SIP port: phones keep their NAT open with
//! them and see when their address changes (RFC 5626 sections 4.4.2 and 8, RFC 8489).
use std::net::{IpAddr, SocketAddr};

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_A442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
/// Attributes below must be understood; these are, in that they change nothing here:
/// USERNAME, MESSAGE-INTEGRITY, REALM, NONCE, MESSAGE-INTEGRITY-SHA256, PRIORITY.
const OPTIONAL_FROM: u16 = 0x8000;
const IGNORED: [u16; 6] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x0024];

/// Whether a datagram is STUN rather than SIP: no SIP message starts with a byte below 4.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|byte| *byte < 4)
}

/// The answer to a binding request from `source`; None to anything else.
pub fn answer(datagram: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let header = datagram.first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let body = &datagram[HEADER_BYTES..];
    if word(0) != BINDING_REQUEST
        || cookie != MAGIC_COOKIE
        || usize::from(word(2)) != body.len()
        || !body.len().is_multiple_of(4)
    {
        return None;
    }
    let id = &header[4..];
    let unknown = unknown_attributes(body)?;
    if !unknown.is_empty() {
        let mut attributes = attribute(ERROR_CODE, &[0, 0, 4, 20]);
        let types: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        attributes.extend(attribute(UNKNOWN_ATTRIBUTES, &types));
        return Some(message(BINDING_ERROR, id, &attributes));
    }
    let address = attribute(XOR_MAPPED_ADDRESS, &xored(source, id));
    Some(message(BINDING_SUCCESS, id, &address))
}

/// Attributes that must be understood and are not; None when the attributes are cut short.
fn unknown_attributes(mut body: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while !body.is_empty() {
        let head = body.first_chunk::<4>()?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        body = body.get(4 + length.next_multiple_of(4)..)?;
        if kind < OPTIONAL_FROM && !IGNORED.contains(&kind) {
            unknown.push(kind);
        }
    }
    Some(unknown)
}

/// Address and port hidden from NATs that rewrite addresses (RFC 8489 section 14.2). `id` is
/// the cookie and the transaction id.
fn xored(source: SocketAddr, id: &[u8]) -> Vec<u8> {
    let (family, octets) = match source.ip() {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let mut value = vec![0, family];
    let port = source.port().to_be_bytes();
    value.extend(port.iter().zip(id).map(|(byte, key)| byte ^ key));
    value.extend(octets.iter().zip(id).map(|(byte, key)| byte ^ key));
    value
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, id: &[u8], attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(attributes.len()).unwrap_or(u16::MAX);
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend(id);
    bytes.extend(attributes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transaction id of RFC 5769 section 2.2.
    const ID: [u8; 16] = [
        0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf,
        0xae,
    ];

    #[test]
    fn the_addresses_are_those_of_the_rfc() {
        let request = message(BINDING_REQUEST, &ID, &[]);
        // The XOR-MAPPED-ADDRESS attributes of RFC 5769 sections 2.2 and 2.3.
        let v4 = answer(&request, "192.0.2.1:32853".parse().expect("an address"));
        assert_eq!(
            v4.expect("a binding request")[20..],
            [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]
        );
        let source = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        let v6 = answer(&request, source.parse().expect("an address"));
        assert_eq!(
            v6.expect("a binding request")[20..],
            [
                0, 0x20, 0, 0x14, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79,
                0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9
            ]
        );
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_named() {
        let source = "192.0.2.1:32853".parse().expect("an address");
        let request = message(BINDING_REQUEST, &ID, &attribute(0x0030, b"abc"));
        let refusal = answer(&request, source).expect("a binding request");
        assert_eq!(refusal[..2], BINDING_ERROR.to_be_bytes());
        assert_eq!(refusal[20..28], [0, 9, 0, 4, 0, 0, 4, 20]);
        assert_eq!(refusal[28..], [0, 0x0A, 0, 2, 0, 0x30, 0, 0]);
        let harmless = message(BINDING_REQUEST, &ID, &attribute(0x8022, b"phone"));
        let success = answer(&harmless, source).expect("a binding request");
        assert_eq!(success[..2], BINDING_SUCCESS.to_be_bytes());
    }

    #[test]
    fn anything_else_gets_no_answer() {
        let source = "192.0.2.1:32853".parse().expect("an address");
        let whole = message(BINDING_REQUEST, &ID, &attribute(0x8022, b"phone"));
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length], source), None);
        }
        let response = message(BINDING_SUCCESS, &ID, &[]);
        assert_eq!(answer(&response, source), None);
        assert!(is_stun(&response) && !is_stun(b"OPTIONS") && !is_stun(b""));
    }
}
