//! Messages of STUN as ICE has them: binding requests and their answers (RFC 8489, RFC 8445).
//!
//! Pure. A message is a view of the datagram; nothing of it is believed before
//! [`Message::is_genuine`].

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Bytes of the head.
const HEAD_BYTES: usize = 20;
/// The magic cookie, RFC 8489 section 5.
const COOKIE: u32 = 0x2112_a442;
/// What the CRC is mixed with, RFC 8489 section 14.7.
const FINGERPRINT_MASK: u32 = 0x5354_554e;
/// Bytes of MESSAGE-INTEGRITY with its head.
const INTEGRITY_BYTES: usize = 24;
/// Bytes of FINGERPRINT with its head.
const FINGERPRINT_BYTES: usize = 8;

/// Names one exchange.
pub type Transaction = [u8; 12];

/// Numbers of attributes, RFC 8489 section 18.3 and RFC 8445 section 16.1.
mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802a;
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A binding request.
    Request,
    /// A binding indication: keeps a way through a NAT open and wants no answer.
    Indication,
    /// A binding success response.
    Success,
    /// A binding error response.
    Error,
}

impl Class {
    const fn bits(self) -> u16 {
        match self {
            Class::Request => 0x0001,
            Class::Indication => 0x0011,
            Class::Success => 0x0101,
            Class::Error => 0x0111,
        }
    }

    fn of(bits: u16) -> Option<Class> {
        let all = [
            Class::Request,
            Class::Indication,
            Class::Success,
            Class::Error,
        ];
        all.into_iter().find(|class| class.bits() == bits)
    }
}

/// A message that was received.
#[derive(Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// What it is.
    pub class: Class,
    /// The exchange it belongs to.
    pub transaction: Transaction,
    /// USERNAME.
    pub username: Option<&'a str>,
    /// The sender wants this pair to be used.
    pub nominates: bool,
    /// The sender says that it decides (ICE-CONTROLLING).
    pub controlling: bool,
    /// The code of an error.
    pub error: Option<u16>,
    integrity_at: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads a binding message; none when it is something else or malformed. Its fingerprint, which
    /// ICE wants in each message, must be right.
    pub fn parse(bytes: &'a [u8]) -> Option<Message<'a>> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        let class = Class::of(u16::from_be_bytes([head[0], head[1]]))?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let cookie = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        if cookie != COOKIE || length % 4 != 0 || bytes.len() != HEAD_BYTES + length {
            return None;
        }
        let mut transaction = Transaction::default();
        transaction.copy_from_slice(&head[8..]);
        let mut message = Message {
            bytes,
            class,
            transaction,
            username: None,
            nominates: false,
            controlling: false,
            error: None,
            integrity_at: None,
        };
        let mut at = HEAD_BYTES;
        let mut whole = false;
        while at < bytes.len() {
            let head = bytes.get(at..at + 4)?;
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = bytes.get(at + 4..at + 4 + length)?;
            if kind == attribute::FINGERPRINT {
                whole = at + FINGERPRINT_BYTES == bytes.len() && is_whole(&bytes[..at], value);
                break;
            }
            message.note(kind, value, at)?;
            at += 4 + length.next_multiple_of(4);
        }
        whole.then_some(message)
    }

    fn note(&mut self, kind: u16, value: &'a [u8], at: usize) -> Option<()> {
        // What stands behind the integrity is not covered by it (RFC 8489 section 14.5).
        if self.integrity_at.is_some() {
            return Some(());
        }
        match kind {
            attribute::USERNAME => self.username = Some(std::str::from_utf8(value).ok()?),
            attribute::USE_CANDIDATE => self.nominates = true,
            attribute::ICE_CONTROLLING => self.controlling = true,
            attribute::ERROR_CODE => {
                let code = value.first_chunk::<4>()?;
                self.error = Some(u16::from(code[2] & 7) * 100 + u16::from(code[3]));
            }
            attribute::MESSAGE_INTEGRITY => {
                (value.len() == INTEGRITY_BYTES - 4).then_some(())?;
                self.integrity_at = Some(at);
            }
            _ => {}
        }
        Some(())
    }

    /// Whether who wrote it knows the password.
    pub fn is_genuine(&self, password: &str) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let mut mac = integrity(password, &self.bytes[..at], at);
        mac.update(&self.bytes[HEAD_BYTES..at]);
        let tag = &self.bytes[at + 4..at + INTEGRITY_BYTES];
        mac.verify_slice(tag).is_ok()
    }
}

/// The HMAC over a head whose length counts up to the end of MESSAGE-INTEGRITY.
fn integrity(password: &str, message: &[u8], at: usize) -> Hmac<Sha1> {
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).expect("any length is a key");
    let length = (at + INTEGRITY_BYTES - HEAD_BYTES) as u16;
    mac.update(&message[..2]);
    mac.update(&length.to_be_bytes());
    mac.update(&message[4..HEAD_BYTES]);
    mac
}

fn is_whole(before: &[u8], value: &[u8]) -> bool {
    value == fingerprint(before).to_be_bytes()
}

fn fingerprint(bytes: &[u8]) -> u32 {
    crc32(bytes) ^ FINGERPRINT_MASK
}

/// CRC-32 of ISO/IEC 13239, bit by bit: a message has a hundred bytes and there are few of them.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xedb8_8320 & mask);
        }
    }
    !crc
}

/// Writes one message.
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn new(class: Class, transaction: Transaction) -> Writer {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&class.bits().to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Writer { bytes }
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
        let length = (self.bytes.len() - HEAD_BYTES) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }

    fn finish(mut self, password: &str) -> Vec<u8> {
        let at = self.bytes.len();
        let mut mac = integrity(password, &self.bytes, at);
        mac.update(&self.bytes[HEAD_BYTES..]);
        let tag = mac.finalize().into_bytes();
        self.put(attribute::MESSAGE_INTEGRITY, &tag);
        // The length in the head counts the fingerprint before it is computed.
        let length = (self.bytes.len() + FINGERPRINT_BYTES - HEAD_BYTES) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let crc = fingerprint(&self.bytes);
        self.put(attribute::FINGERPRINT, &crc.to_be_bytes());
        self.bytes
    }
}

/// The answer to a genuine request from `source`, under our password.
pub fn success(transaction: Transaction, source: SocketAddr, password: &str) -> Vec<u8> {
    let mut writer = Writer::new(Class::Success, transaction);
    let mut value = vec![0, if source.is_ipv4() { 1 } else { 2 }];
    let port = source.port() ^ (COOKIE >> 16) as u16;
    value.extend_from_slice(&port.to_be_bytes());
    let mut mask = COOKIE.to_be_bytes().to_vec();
    mask.extend_from_slice(&transaction);
    let octets = match source.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    value.extend(octets.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    writer.put(attribute::XOR_MAPPED_ADDRESS, &value);
    writer.finish(password)
}

/// The answer to a request of a peer that says it has a role which is ours (487, Role Conflict).
pub fn role_conflict(transaction: Transaction, password: &str) -> Vec<u8> {
    let mut writer = Writer::new(Class::Error, transaction);
    writer.put(attribute::ERROR_CODE, b"\0\0\x04\x57Role Conflict");
    writer.finish(password)
}

/// What a check of ours says.
pub struct Check<'a> {
    /// `theirs:ours`.
    pub username: &'a str,
    /// The peer's password.
    pub password: &'a str,
    /// Priority of a candidate learned from it.
    pub priority: u32,
    /// We decide, with this number; else the peer does.
    pub controlling: bool,
    /// Decides when both want to.
    pub tie_breaker: u64,
    /// This pair is to be used.
    pub nominates: bool,
}

/// A check of ours.
pub fn request(transaction: Transaction, check: &Check<'_>) -> Vec<u8> {
    let mut writer = Writer::new(Class::Request, transaction);
    writer.put(attribute::USERNAME, check.username.as_bytes());
    writer.put(attribute::PRIORITY, &check.priority.to_be_bytes());
    let role = if check.controlling {
        attribute::ICE_CONTROLLING
    } else {
        attribute::ICE_CONTROLLED
    };
    writer.put(role, &check.tie_breaker.to_be_bytes());
    if check.nominates {
        writer.put(attribute::USE_CANDIDATE, &[]);
    }
    writer.finish(check.password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 section 2.1: a request with everything ICE puts into it.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\
        \xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    fn check(nominates: bool) -> Check<'static> {
        Check {
            username: "them:us",
            password: PASSWORD,
            priority: 1,
            controlling: true,
            tie_breaker: 7,
            nominates,
        }
    }

    #[test]
    fn the_sample_of_rfc_5769_is_genuine_and_a_changed_byte_is_noticed() {
        let message = Message::parse(SAMPLE).expect("a message");
        assert_eq!(message.class, Class::Request);
        assert_eq!(message.username, Some("evtj:h6vY"));
        assert!(message.is_genuine(PASSWORD));
        assert!(!message.is_genuine("another"));
        for at in 0..SAMPLE.len() {
            let mut bytes = SAMPLE.to_vec();
            bytes[at] ^= 1;
            let genuine =
                Message::parse(&bytes).is_some_and(|message| message.is_genuine(PASSWORD));
            assert!(!genuine, "byte {at}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = request([9; 12], &check(true));
        let message = Message::parse(&bytes).expect("a message");
        assert!(message.is_genuine(PASSWORD) && message.nominates && message.controlling);
        assert_eq!(message.username, Some("them:us"));
        let source = "[2001:db8::1]:4000".parse().expect("an address");
        let bytes = success([9; 12], source, PASSWORD);
        let message = Message::parse(&bytes).expect("a message");
        assert_eq!(
            (message.class, message.transaction),
            (Class::Success, [9; 12])
        );
        assert!(message.is_genuine(PASSWORD));
        let bytes = role_conflict([9; 12], PASSWORD);
        let message = Message::parse(&bytes).expect("a message");
        assert_eq!((message.class, message.error), (Class::Error, Some(487)));
    }

    /// RFC 5769 section 2.2, without its SOFTWARE: the address is masked.
    #[test]
    fn the_source_is_told_masked() {
        let transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let source = "192.0.2.1:32853".parse().expect("an address");
        let bytes = success(transaction, source, PASSWORD);
        let address = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
        assert_eq!(&bytes[20..32], address);
    }

    #[test]
    fn what_stands_behind_the_integrity_does_not_count() {
        let mut writer = Writer::new(Class::Request, [1; 12]);
        writer.put(attribute::USERNAME, b"them:us");
        let at = writer.bytes.len();
        let mut mac = integrity(PASSWORD, &writer.bytes, at);
        mac.update(&writer.bytes[HEAD_BYTES..]);
        let tag = mac.finalize().into_bytes();
        writer.put(attribute::MESSAGE_INTEGRITY, &tag);
        writer.put(attribute::USE_CANDIDATE, &[]);
        let length = (writer.bytes.len() + FINGERPRINT_BYTES - HEAD_BYTES) as u16;
        writer.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        let crc = fingerprint(&writer.bytes);
        writer.put(attribute::FINGERPRINT, &crc.to_be_bytes());
        let message = Message::parse(&writer.bytes).expect("a message");
        assert!(message.is_genuine(PASSWORD) && !message.nominates);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(message) = Message::parse(&bytes) {
                message.is_genuine(PASSWORD);
            }
        }

        #[test]
        fn no_near_miss_makes_it_panic(
            at in 0..SAMPLE.len(), byte: u8, cut in 0..SAMPLE.len(), more in 0..8_usize,
        ) {
            let mut bytes = SAMPLE.to_vec();
            bytes[at] = byte;
            bytes.truncate(cut.max(20));
            bytes.resize(bytes.len() + more, byte);
            let length = (bytes.len() - 20) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            let crc = fingerprint(&bytes);
            let mut writer = Writer { bytes };
            writer.put(attribute::FINGERPRINT, &crc.to_be_bytes());
            if let Some(message) = Message::parse(&writer.bytes) {
                message.is_genuine(PASSWORD);
            }
        }
    }
}
