//! Digest authentication (RFC 7616, RFC 8760) with nonces any node can check.
//!
//! A nonce is its time, a part of its own, and an HMAC of both: nobody need remember it, so a
//! new leader accepts what the old one handed out. How often it was used is counted apart, in
//! [`counts`]. The `uri` parameter is hashed but not compared: phones disagree on what it
//! should be.
#![forbid(unsafe_code)]

pub mod counts;
pub mod directory;
pub mod reluctant;

use std::hash::{DefaultHasher, Hash, Hasher};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::journal::{Credentials, hex};
use crate::limits::NONCE_LIFETIME_S;
use crate::message::{lexical::quoted_end, list};
use counts::NonceCounts;
use directory::Directory;

const NONCE_TIME_DIGITS: usize = 8;
const NONCE_OWN_DIGITS: usize = 16;
const NONCE_DIGITS: usize = NONCE_TIME_DIGITS + NONCE_OWN_DIGITS + 32;

/// The result of checking an Authorization header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This user knows the password.
    Accepted(Accepted),
    /// The password is right, the nonce too old: challenge with `stale=true`.
    Stale,
    /// No header for our realm: challenge.
    Missing,
    /// Wrong password or unknown user, which look the same from outside; the name given.
    Wrong(String),
}

/// A right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Whose.
    pub user: String,
    /// A hash of the nonce, and when it was issued, Unix seconds.
    nonce: (u64, u64),
    /// The nonce count; 1 of an answer without `qop`, whose nonce is good once.
    count: u32,
}

impl Accepted {
    /// Takes note of the use in `counts`; false when it is a replay. `request` is what tells
    /// the request from others: equal for a retransmission only.
    pub fn count_in(&self, counts: &mut NonceCounts, request: impl Hash, now_s: u64) -> bool {
        counts.take(self.nonce, self.count, hash_of(request), now_s)
    }
}

/// For maps that need not keep what they know things by.
pub fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The algorithms a challenge names. Either is always accepted in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// MD5 only.
    #[default]
    Md5,
    /// SHA-256 first, then MD5 (RFC 8760 section 2.4), but to devices that give up then.
    Sha256AndMd5,
}

/// Challenges and checks for one realm.
#[derive(Clone, Debug)]
pub struct Authenticator {
    realm: String,
    /// Has taken in the key: each nonce begins with a copy.
    nonces: Hmac<Sha256>,
    /// To devices that can bear it.
    pub offer: Offer,
    /// Stands for a user who is not there: its check takes as long and always fails.
    decoy: Credentials,
}

/// What is read from an Authorization header.
const FIELDS: [&str; 9] = [
    "realm",
    "username",
    "nonce",
    "uri",
    "response",
    "algorithm",
    "qop",
    "nc",
    "cnonce",
];

/// The parts of an Authorization header.
struct Answer<'a> {
    username: String,
    nonce: &'a str,
    uri: &'a str,
    response: &'a str,
    algorithm: &'a str,
    qop: Option<(&'a str, &'a str, &'a str)>,
}

impl Authenticator {
    /// For a realm, with the cluster's nonce key.
    pub fn new(realm: &str, nonce_key: [u8; 32], offer: Offer) -> Self {
        Self {
            realm: realm.to_owned(),
            nonces: Hmac::new_from_slice(&nonce_key).expect("HMAC takes keys of any length"),
            offer,
            decoy: Credentials {
                ha1_md5: "-".repeat(32),
                ha1_sha256: "-".repeat(64),
            },
        }
    }

    fn nonce(&self, now_s: u64, own: u64) -> String {
        self.signed(format!("{:08x}{own:016x}", now_s & 0xffff_ffff))
    }

    fn signed(&self, mut nonce: String) -> String {
        let mut mac = self.nonces.clone();
        mac.update(nonce.as_bytes());
        nonce.push_str(&hex(&mac.finalize().into_bytes()[..16]));
        nonce
    }

    /// Header values to challenge with, the stronger algorithm first; `own` makes the nonce
    /// differ from all others.
    pub fn challenges(&self, offer: Offer, now_s: u64, own: u64, stale: bool) -> Vec<String> {
        let nonce = self.nonce(now_s, own);
        let stale = if stale { ", stale=true" } else { "" };
        let algorithms: &[&str] = match offer {
            Offer::Md5 => &["MD5"],
            Offer::Sha256AndMd5 => &["SHA-256", "MD5"],
        };
        let challenge = |algorithm: &&str| {
            format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}",
                self.realm
            )
        };
        algorithms.iter().map(challenge).collect()
    }

    /// When a nonce of ours was issued, Unix seconds; None when it is not ours or too old.
    fn issued_s(&self, nonce: &str, now_s: u64) -> Option<u64> {
        let issued_s = u64::from_str_radix(nonce.get(..NONCE_TIME_DIGITS)?, 16).ok()?;
        let signed = nonce.get(..NONCE_TIME_DIGITS + NONCE_OWN_DIGITS)?;
        let ours = nonce.len() == NONCE_DIGITS
            && equal(self.signed(signed.to_owned()).as_bytes(), nonce.as_bytes());
        let fresh = now_s.saturating_sub(issued_s) <= NONCE_LIFETIME_S
            && issued_s <= now_s + NONCE_LIFETIME_S;
        (ours && fresh).then_some(issued_s)
    }

    /// Checks the header values of a request against stored digests.
    pub fn verify<'a>(
        &self,
        values: impl Iterator<Item = &'a str>,
        method: &str,
        now_s: u64,
        users: &mut Directory,
    ) -> Verdict {
        let mut answers = values.filter_map(|value| self.parse(value));
        let Some(answer) = answers.next() else {
            return Verdict::Missing;
        };
        let right = users.check(&answer.username, |known| {
            self.matches(&answer, method, known)
        });
        let count = answer.qop.map_or(Some(1), |(nc, _, _)| count_of(nc));
        let fresh = self.issued_s(answer.nonce, now_s);
        match (right, fresh.zip(count)) {
            (true, Some((issued_s, count))) => Verdict::Accepted(Accepted {
                nonce: (hash_of(answer.nonce), issued_s),
                user: answer.username,
                count,
            }),
            (true, None) => Verdict::Stale,
            (false, Some(_)) => Verdict::Wrong(answer.username),
            (false, None) => Verdict::Missing,
        }
    }

    fn parse<'a>(&self, value: &'a str) -> Option<Answer<'a>> {
        let (scheme, rest) = value.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut fields = [""; FIELDS.len()];
        for (name, value) in list(rest).filter_map(|one| one.split_once('=')) {
            let known = FIELDS
                .iter()
                .position(|field| name.trim().eq_ignore_ascii_case(field));
            if let Some(known) = known {
                fields[known] = unquote(value.trim());
            }
        }
        let [
            realm,
            username,
            nonce,
            uri,
            response,
            algorithm,
            qop,
            nc,
            cnonce,
        ] = fields;
        let complete = [username, nonce, uri, response]
            .iter()
            .all(|field| !field.is_empty());
        let answer = Answer {
            username: username.replace('\\', ""),
            nonce,
            uri,
            response,
            algorithm: if algorithm.is_empty() {
                "MD5"
            } else {
                algorithm
            },
            qop: (!qop.is_empty()).then_some((nc, cnonce, qop)),
        };
        (realm == self.realm && complete).then_some(answer)
    }

    /// Unknown users cost the same work as known ones.
    fn matches(&self, answer: &Answer<'_>, method: &str, known: Option<&Credentials>) -> bool {
        let digests = known.unwrap_or(&self.decoy);
        let (ha1, hash): (&str, fn(&str) -> String) =
            if answer.algorithm.eq_ignore_ascii_case("SHA-256") {
                (&digests.ha1_sha256, |t| hex(&Sha256::digest(t)))
            } else if answer.algorithm.eq_ignore_ascii_case("MD5") {
                (&digests.ha1_md5, |t| hex(&Md5::digest(t)))
            } else {
                return false;
            };
        let ha2 = hash(&format!("{method}:{}", answer.uri));
        let expected = match answer.qop {
            Some((nc, cnonce, qop)) if qop.eq_ignore_ascii_case("auth") => {
                hash(&format!("{ha1}:{}:{nc}:{cnonce}:{qop}:{ha2}", answer.nonce))
            }
            Some(_) => return false,
            None => hash(&format!("{ha1}:{}:{ha2}", answer.nonce)),
        };
        let same = equal(
            expected.as_bytes(),
            answer.response.to_ascii_lowercase().as_bytes(),
        );
        same && known.is_some()
    }
}

/// Eight hexadecimal digits, fewer of phones that leave zeros away; zero counts nothing.
fn count_of(nc: &str) -> Option<u32> {
    let digits = (1..=8).contains(&nc.len()) && nc.bytes().all(|byte| byte.is_ascii_hexdigit());
    let count = u32::from_str_radix(nc, 16).ok().filter(|_| digits);
    count.filter(|count| *count > 0)
}

fn unquote(value: &str) -> &str {
    match value.strip_prefix('"') {
        Some(_) => quoted_end(value).map_or("", |end| &value[1..end - 1]),
        None => value,
    }
}

/// Compares without telling by its time where the difference is.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

#[cfg(test)]
mod tests;
