//! Keys in session descriptions: `a=crypto` (RFC 4568).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::keys::MasterKey;
use super::suite::Suite;

/// Reads keys with and without padding, which RFC 4568 leaves open.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longest identifier of a master key, bytes (RFC 4568 section 9.2).
const MKI_BYTES_MAX: usize = 128;

/// Digits of a tag at most (RFC 4568 section 9.1).
const TAG_DIGITS_MAX: usize = 9;

/// One `a=crypto` line that we can use.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Crypto {
    /// Its number: an answer repeats that of the offered line it takes.
    pub tag: u32,
    /// The key with which the writer of the line protects what it sends.
    pub key: MasterKey,
    /// Bytes of the key's identifier in each packet of the writer.
    pub mki_bytes: usize,
}

impl Crypto {
    /// Reads what stands behind `a=crypto:`. None: it is malformed, of a suite that is not ours,
    /// with several keys, or with session parameters that change the packets.
    pub fn parse(value: &str) -> Option<Crypto> {
        let mut words = value.split_ascii_whitespace();
        let (tag, suite, key) = (words.next()?, words.next()?, words.next()?);
        let digits = tag.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || tag.len() > TAG_DIGITS_MAX || !words.all(is_harmless) {
            return None;
        }
        let suite: Suite = suite.parse().ok()?;
        let mut parts = key.strip_prefix("inline:")?.split('|');
        let bytes = LENIENT.decode(parts.next()?).ok()?;
        let mut mki_bytes = 0;
        for part in parts {
            // A lifetime (`2^20`) or an identifier (`1:4`).
            if let Some((_, length)) = part.split_once(':') {
                mki_bytes = length.parse().ok().filter(|n| *n <= MKI_BYTES_MAX)?;
            }
        }
        Some(Crypto {
            tag: tag.parse().ok()?,
            key: MasterKey::new(suite, &bytes)?,
            mki_bytes,
        })
    }

    /// What is written behind `a=crypto:`; with padding when `padded`.
    pub fn value(&self, padded: bool) -> String {
        let key = LENIENT.encode(self.key.bytes());
        let key = if padded {
            &key[..]
        } else {
            key.trim_end_matches('=')
        };
        format!("{} {} inline:{key}", self.tag, self.key.suite())
    }
}

/// Whether a session parameter leaves the packets as they are: `WSH` is a hint for receivers
/// (RFC 4568 section 6.3.7), `KDR=0` the default.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with("WSH=") || parameter == "KDR=0"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn the_line_of_the_rfc_is_read_and_written() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 FEC_ORDER=FEC_SRTP");
        assert_eq!(Crypto::parse(&line), None, "its order of FEC is not ours");
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 WSH=64");
        let crypto = Crypto::parse(&line).expect("a line");
        assert_eq!((crypto.tag, crypto.mki_bytes), (1, 4));
        assert_eq!(crypto.key.suite(), Suite::Aes128CmSha1_80);
        let written = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        assert_eq!(crypto.value(true), written);
        assert!(
            !format!("{crypto:?}").contains("WVN"),
            "keys do not end up in logs"
        );
    }

    #[test]
    fn what_would_change_packets_or_does_not_fit_is_passed_over() {
        for line in [
            "1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=",
            "x AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "1 F8_128_HMAC_SHA1_80 inline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY UNENCRYPTED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY KDR=1",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|1:4;inline:KEY|2:4",
            "1 AES_CM_128_HMAC_SHA1_80 other:KEY",
            "1 AES_CM_128_HMAC_SHA1_80",
            "",
        ] {
            assert_eq!(Crypto::parse(&line.replace("KEY", KEY)), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tag in 1..999_999_999_u32, padded in any::<bool>()) {
            for suite in Suite::ALL {
                let crypto = Crypto { tag, key: MasterKey::random(suite), mki_bytes: 0 };
                prop_assert_eq!(Crypto::parse(&crypto.value(padded)), Some(crypto));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9]{0,3} AES_CM_128_HMAC_SHA1_80 inline:[ -~]{0,60}") {
            let _ = Crypto::parse(&text);
        }
    }
}
