//! Crypto suites by the names of their IANA registry.

use std::fmt;
use std::str::FromStr;

/// A crypto suite (RFC 4568 section 6.2, RFC 6188 section 4, RFC 7714 section 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Suite {
    /// AES-256 in Galois/counter mode, tag of 16 bytes.
    AeadAes256Gcm,
    /// AES-128 in Galois/counter mode, tag of 16 bytes.
    AeadAes128Gcm,
    /// AES-256 in counter mode, HMAC-SHA1 of 10 bytes.
    Aes256CmSha1_80,
    /// AES-256 in counter mode, HMAC-SHA1 of 4 bytes.
    Aes256CmSha1_32,
    /// AES-192 in counter mode, HMAC-SHA1 of 10 bytes.
    Aes192CmSha1_80,
    /// AES-192 in counter mode, HMAC-SHA1 of 4 bytes.
    Aes192CmSha1_32,
    /// AES-128 in counter mode, HMAC-SHA1 of 10 bytes: what every phone with SRTP has.
    Aes128CmSha1_80,
    /// AES-128 in counter mode, HMAC-SHA1 of 4 bytes.
    Aes128CmSha1_32,
}

impl Suite {
    /// All of them, the strongest first.
    pub const ALL: [Suite; 8] = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::Aes256CmSha1_80,
        Suite::Aes256CmSha1_32,
        Suite::Aes192CmSha1_80,
        Suite::Aes192CmSha1_32,
        Suite::Aes128CmSha1_80,
        Suite::Aes128CmSha1_32,
    ];

    /// Its name in `a=crypto`.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::Aes256CmSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::Aes256CmSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::Aes192CmSha1_80 => "AES_192_CM_HMAC_SHA1_80",
            Suite::Aes192CmSha1_32 => "AES_192_CM_HMAC_SHA1_32",
            Suite::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Aes128CmSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// Bytes of its master key.
    pub const fn key_bytes(self) -> usize {
        match self {
            Suite::AeadAes256Gcm | Suite::Aes256CmSha1_80 | Suite::Aes256CmSha1_32 => 32,
            Suite::Aes192CmSha1_80 | Suite::Aes192CmSha1_32 => 24,
            Suite::AeadAes128Gcm | Suite::Aes128CmSha1_80 | Suite::Aes128CmSha1_32 => 16,
        }
    }

    /// Bytes of its master salt.
    pub const fn salt_bytes(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Whether encryption authenticates as well.
    pub const fn is_aead(self) -> bool {
        matches!(self, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm)
    }

    /// Bytes of the tag of an RTP packet. RTCP always has 10, or 16 with GCM (RFC 4568 section
    /// 6.2.2: a short tag is for RTP only).
    pub const fn rtp_tag_bytes(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            Suite::Aes256CmSha1_80 | Suite::Aes192CmSha1_80 | Suite::Aes128CmSha1_80 => 10,
            Suite::Aes256CmSha1_32 | Suite::Aes192CmSha1_32 | Suite::Aes128CmSha1_32 => 4,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Suite {
    type Err = ();

    /// Names are compared without regard to case (RFC 4568 section 9.1).
    fn from_str(name: &str) -> Result<Suite, ()> {
        let found = Suite::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name));
        // Two older spellings are about, one of them in the drafts of RFC 6188.
        match name.to_ascii_uppercase().as_str() {
            "AES_CM_256_HMAC_SHA1_80" => Ok(Suite::Aes256CmSha1_80),
            "AES_CM_256_HMAC_SHA1_32" => Ok(Suite::Aes256CmSha1_32),
            _ => found.ok_or(()),
        }
    }
}
