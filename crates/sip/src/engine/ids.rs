//! Identifiers: unique ones from a seed, and tags every node derives alike.
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::journal::hex;
use crate::transaction::key::MAGIC_COOKIE;

/// A source of unguessable unique names: a hash of a secret seed and a counter.
pub struct Ids {
    seed: [u8; 32],
    count: u64,
}

impl Ids {
    /// With a seed no other engine ever has.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0 }
    }

    fn next(&mut self) -> String {
        self.count += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.count.to_be_bytes());
        hex(&hash.finalize()[..16])
    }

    /// A number nobody can guess.
    pub fn unguessable(&mut self) -> u64 {
        u64::from_str_radix(&self.next()[..16], 16).unwrap_or(self.count)
    }

    /// A UUID, as the drachtio protocol uses for messages and transactions.
    pub fn uuid(&mut self) -> String {
        let mut text = self.next();
        for at in [20, 16, 12, 8] {
            text.insert(at, '-');
        }
        text
    }

    /// A Via branch.
    pub fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{}", &self.next()[..20])
    }

    /// A number from 1 to 2^30, where a count may begin (RSeq).
    pub fn number(&mut self) -> u32 {
        let text = self.next();
        u32::from_str_radix(&text[..7], 16).unwrap_or(0) + 1
    }

    /// A From tag.
    pub fn tag(&mut self) -> String {
        self.next()[..16].to_owned()
    }
}

/// The To tag of a request: the same on every node, so it need not be stored.
pub fn to_tag(key: &[u8; 32], call_id: &str, from_tag: &str, branch: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [call_id, from_tag, branch] {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    hex(&mac.finalize().into_bytes()[..8])
}
