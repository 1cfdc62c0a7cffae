//! RTP and RTCP headers: what a datagram is and the few fields the relay looks at.
//!
//! Pure. RFC 3550 sections 5.1, 6.4 and appendix A, RFC 5761 section 4 for telling RTP and
//! RTCP apart on one port.

use crate::audio::outgoing::Head;

/// Shortest RTP packet, bytes.
pub const RTP_HEADER_BYTES: usize = 12;
/// Shortest RTCP packet that says anything: header and one SSRC.
const RTCP_HEADER_BYTES: usize = 8;

/// What a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A well-formed RTP header.
    Rtp(RtpHeader),
    /// A well-formed first RTCP header.
    Rtcp,
    /// Anything else.
    Other,
}

/// The fields of an RTP header used for statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Media timestamp, in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Where the payload begins, bytes.
    pub payload_at: usize,
}

/// Tells what `packet` is. Padding is not checked: in SRTP the last octet is not its length.
pub fn classify(packet: &[u8]) -> Kind {
    let Some(head) = packet.first_chunk::<RTCP_HEADER_BYTES>() else {
        return Kind::Other;
    };
    if head[0] >> 6 != 2 {
        return Kind::Other;
    }
    // RFC 5761: RTP never uses the payload types that RTCP's 192 to 223 would look like.
    if (192..=223).contains(&head[1]) {
        let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let fits = (words + 1) * 4 <= packet.len();
        return if fits { Kind::Rtcp } else { Kind::Other };
    }
    let Some(head) = packet.first_chunk::<RTP_HEADER_BYTES>() else {
        return Kind::Other;
    };
    let mut header_bytes = RTP_HEADER_BYTES + 4 * usize::from(head[0] & 0x0f);
    if head[0] & 0x10 != 0 {
        let Some(extension) = packet.get(header_bytes..header_bytes + 4) else {
            return Kind::Other;
        };
        let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
        header_bytes += 4 + 4 * words;
    }
    if header_bytes > packet.len() {
        return Kind::Other;
    }
    Kind::Rtp(RtpHeader {
        payload_type: head[1] & 0x7f,
        sequence: u16::from_be_bytes([head[2], head[3]]),
        timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        payload_at: header_bytes,
    })
}

/// The payload of a plain RTP packet without its padding.
pub fn payload<'a>(packet: &'a [u8], header: &RtpHeader) -> &'a [u8] {
    let content = packet.get(header.payload_at..).unwrap_or_default();
    let padded = packet.first().is_some_and(|first| first & 0x20 != 0);
    let padding = content
        .last()
        .filter(|_| padded)
        .map_or(0, |count| usize::from(*count));
    content
        .get(..content.len().saturating_sub(padding))
        .unwrap_or_default()
}

/// Writes the fixed part of a header: its first two bytes as they are to be, and the rest.
pub fn put_header(packet: &mut [u8], first: u8, second: u8, head: Head) {
    if let Some(room) = packet.first_chunk_mut::<RTP_HEADER_BYTES>() {
        (room[0], room[1]) = (first, second);
        room[2..4].copy_from_slice(&head.sequence.to_be_bytes());
        room[4..8].copy_from_slice(&head.timestamp.to_be_bytes());
        room[8..12].copy_from_slice(&head.ssrc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rtp(first: u8, length: usize) -> Vec<u8> {
        let mut packet = vec![first, 8, 0x12, 0x34, 0, 0, 0, 160, 0, 0, 0, 9];
        packet.resize(length, 0);
        packet
    }

    #[test]
    fn an_rtp_header_is_read() {
        let header = RtpHeader {
            payload_type: 8,
            sequence: 0x1234,
            timestamp: 160,
            ssrc: 9,
            payload_at: 12,
        };
        assert_eq!(classify(&rtp(0x80, 172)), Kind::Rtp(header));
    }

    #[test]
    fn padding_is_no_payload_even_when_it_lies() {
        let header = |packet: &[u8]| match classify(packet) {
            Kind::Rtp(header) => header,
            other => panic!("{other:?}"),
        };
        let mut packet = rtp(0xa0, 20);
        packet[19] = 3;
        assert_eq!(payload(&packet, &header(&packet)).len(), 5);
        packet[19] = 200;
        assert_eq!(payload(&packet, &header(&packet)).len(), 0);
        assert_eq!(payload(&rtp(0x80, 20), &header(&packet)).len(), 8);
    }

    #[test]
    fn headers_longer_than_the_packet_are_refused() {
        assert_eq!(classify(&rtp(0x8f, 40)), Kind::Other);
        assert_eq!(classify(&rtp(0x90, 12)), Kind::Other);
        assert_eq!(classify(&rtp(0x80, 11)), Kind::Other);
        assert_eq!(classify(&rtp(0x40, 172)), Kind::Other);
    }

    #[test]
    fn rtcp_is_told_by_its_type_and_length() {
        let receiver_report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        assert_eq!(classify(&receiver_report), Kind::Rtcp);
        assert_eq!(classify(&[0x80, 201, 0, 9, 0, 0, 0, 9]), Kind::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = classify(&bytes);
        }
    }
}
