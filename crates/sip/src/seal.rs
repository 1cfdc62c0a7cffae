//! Bytes that everybody may carry and only this cluster can read: a synthetic seal (a MAC of
//! the plain bytes) that also begins the pad they are covered with. The same bytes give the
//! same result on every node, and nothing has to be remembered to open it.
#![forbid(unsafe_code)]

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes in front of what is covered: 96 bits nobody guesses over a network.
pub const SEAL_BYTES: usize = 12;

/// A key and what is done with it. Use one key for each kind of content: what was sealed as
/// one thing must never open as another.
#[derive(Clone)]
pub struct Seal {
    key: [u8; 32],
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// With a key that is the same on every node.
    pub fn new(key: [u8; 32]) -> Seal {
        Seal { key }
    }

    /// With a key of its own for a purpose, from one that has others.
    pub fn derived(key: &[u8; 32], purpose: &str) -> Seal {
        Seal::new(Seal::new(*key).hash(b'k', &[purpose.as_bytes()]))
    }

    /// A MAC of some parts.
    pub fn hash(&self, purpose: u8, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&[purpose]);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Covers or uncovers `bytes` under a seal.
    fn cover(&self, seal: &[u8], bytes: &mut [u8]) {
        for (count, block) in bytes.chunks_mut(32).enumerate() {
            let pad = self.hash(b'c', &[seal, &count.to_be_bytes()]);
            block
                .iter_mut()
                .zip(pad)
                .for_each(|(byte, pad)| *byte ^= pad);
        }
    }

    /// The seal and the covered bytes.
    pub fn close(&self, plain: &[u8]) -> Vec<u8> {
        let seal = self.hash(b's', &[plain]);
        let mut sealed = seal[..SEAL_BYTES].to_vec();
        sealed.extend_from_slice(plain);
        let (seal, covered) = sealed.split_at_mut(SEAL_BYTES);
        self.cover(seal, covered);
        sealed
    }

    /// The plain bytes; None when this cluster did not seal them.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (seal, covered) = sealed.split_at_checked(SEAL_BYTES)?;
        let mut plain = covered.to_vec();
        self.cover(seal, &mut plain);
        let ours = self.hash(b's', &[&plain]);
        // No early end: the time it takes must not tell how much of a forgery is right.
        let differs = ours.iter().zip(seal).fold(0, |all, (a, b)| all | (a ^ b));
        (differs == 0).then_some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_key_only_and_undamaged_only() {
        let seal = Seal::derived(&[1; 32], "test");
        for plain in [&b""[..], b"a", &[7; 100]] {
            let sealed = seal.close(plain);
            assert_eq!(sealed, seal.close(plain));
            assert_eq!(
                Seal::derived(&[1; 32], "test").open(&sealed).as_deref(),
                Some(plain)
            );
            assert_eq!(Seal::derived(&[1; 32], "other").open(&sealed), None);
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert_eq!(seal.open(&damaged), None);
            }
            assert_eq!(seal.open(&sealed[..SEAL_BYTES - 1]), None);
        }
    }
}
