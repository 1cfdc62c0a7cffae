//! A stream of Opus in Ogg (RFC 7845): its two heads, and its time in samples at 48 kHz.

/// The clock of its time, Hz.
pub const CLOCK_HZ: u32 = 48_000;

/// Most channels that are read: family 0 of section 5.1.1 has no more.
const CHANNELS_MAX: u8 = 2;

/// What the first packet of a stream says (section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 1 or 2.
    pub channels: u8,
    /// Samples of the clock to be left out at the beginning.
    pub skip: u16,
    /// Rate of what was encoded, Hz; for people.
    pub rate_hz: u32,
    /// To be added to the level, in 256ths of a decibel.
    pub gain: i16,
}

impl Head {
    /// As bytes.
    pub fn bytes(&self) -> [u8; 19] {
        let mut bytes = [0; 19];
        bytes[..8].copy_from_slice(b"OpusHead");
        (bytes[8], bytes[9]) = (1, self.channels);
        bytes[10..12].copy_from_slice(&self.skip.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.rate_hz.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.gain.to_le_bytes());
        bytes
    }

    /// From bytes; none for what is no head, and for more channels than two.
    pub fn parse(bytes: &[u8]) -> Option<Head> {
        let rest = bytes.strip_prefix(b"OpusHead")?.first_chunk::<11>()?;
        // The upper half of the version has to be known, the lower may grow.
        let known = rest[0] >> 4 == 0 && rest[10] == 0;
        (known && (1..=CHANNELS_MAX).contains(&rest[1])).then(|| Head {
            channels: rest[1],
            skip: u16::from_le_bytes([rest[2], rest[3]]),
            rate_hz: u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]),
            gain: i16::from_le_bytes([rest[8], rest[9]]),
        })
    }
}

/// The second packet of a stream (section 5.2): who wrote it, and no comments.
pub fn tags(vendor: &str) -> Vec<u8> {
    let mut bytes = b"OpusTags".to_vec();
    bytes.extend((vendor.len() as u32).to_le_bytes());
    bytes.extend_from_slice(vendor.as_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn heads_come_back(channels in 1_u8..3, skip: u16, rate_hz: u32, gain: i16) {
            let head = Head { channels, skip, rate_hz, gain };
            prop_assert_eq!(Head::parse(&head.bytes()), Some(head));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            prop_assert_eq!(Head::parse(&bytes), None);
        }
    }
}
