//! From a master key to the session keys of RTP and RTCP (RFC 3711 section 4.3).

use std::fmt;

use aes::cipher::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::cipher::{Block, Protection};
use super::state::KeyText;
use super::suite::Suite;

/// Most bytes of a master key with its salt.
const BYTES_MAX: usize = 32 + 14;

/// A master key with its salt, as it stands in `inline:`.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "KeyText", try_from = "KeyText")]
pub struct MasterKey {
    suite: Suite,
    bytes: [u8; BYTES_MAX],
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key itself: this ends up in logs.
        write!(f, "MasterKey({})", self.suite)
    }
}

/// What a session key is for; the numbers of RFC 3711 section 4.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// RTP: labels 0 to 2.
    Rtp = 0,
    /// RTCP: labels 3 to 5.
    Rtcp = 3,
}

impl MasterKey {
    /// Takes key and salt, one behind the other; none when their length is not the suite's.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<MasterKey> {
        let mut bytes = [0; BYTES_MAX];
        let length = suite.key_bytes() + suite.salt_bytes();
        bytes[..length].copy_from_slice((key_and_salt.len() == length).then_some(key_and_salt)?);
        Some(MasterKey { suite, bytes })
    }

    /// A new key that nobody can guess.
    pub fn random(suite: Suite) -> MasterKey {
        let mut bytes = [0; BYTES_MAX];
        rand::fill(&mut bytes[..suite.key_bytes() + suite.salt_bytes()]);
        MasterKey { suite, bytes }
    }

    /// A key that follows from a secret and a name: the same wherever both are known.
    pub fn derived(suite: Suite, secret: &[u8; 32], name: &str) -> MasterKey {
        let mut key = MasterKey {
            suite,
            bytes: [0; BYTES_MAX],
        };
        let length = suite.key_bytes() + suite.salt_bytes();
        for (n, piece) in (0_u8..).zip(key.bytes[..length].chunks_mut(32)) {
            let mut hmac = Hmac::<Sha256>::new_from_slice(secret).expect("any length is a key");
            hmac.update(&[n]);
            hmac.update(suite.name().as_bytes());
            hmac.update(b" ");
            hmac.update(name.as_bytes());
            piece.copy_from_slice(&hmac.finalize().into_bytes()[..piece.len()]);
        }
        key
    }

    /// The suite it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Key and salt, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes() + self.suite.salt_bytes()]
    }

    /// The session keys of one stream, ready to be used.
    pub(super) fn session(&self, stream: Stream) -> Protection {
        let (key, salt) = self.bytes().split_at(self.suite.key_bytes());
        let derive = |label: u8, out: &mut [u8]| {
            // The salt of GCM is shorter and padded with zeros (RFC 7714 section 11).
            let mut counter = [0; 16];
            counter[..salt.len()].copy_from_slice(salt);
            counter[7] ^= label;
            Block::new(key).keystream(counter, out);
        };
        let first = stream as u8;
        let mut session_key = [0; 32];
        let session_key = &mut session_key[..key.len()];
        let (mut authentication, mut session_salt) = ([0; 20], [0; 14]);
        derive(first, session_key);
        derive(first + 1, &mut authentication);
        derive(first + 2, &mut session_salt[..salt.len()]);
        Protection::new(
            self.suite,
            stream,
            session_key,
            &authentication,
            session_salt,
        )
    }
}
