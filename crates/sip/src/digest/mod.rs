//! Digest authentication (RFC 7616, RFC 8760) with nonces any node can check.
//!
//! A nonce is its time and an HMAC of it: nothing is remembered, so a new leader accepts
//! what the old one handed out. The nonce count is accepted as it comes, and the `uri`
//! parameter is hashed but not compared: phones disagree on what it should be.
#![forbid(unsafe_code)]

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use crate::journal::{Credentials, hex};
use crate::limits::NONCE_LIFETIME_S;
use crate::message::{lexical::quoted_end, list};

const NONCE_TIME_DIGITS: usize = 8;
const NONCE_DIGITS: usize = NONCE_TIME_DIGITS + 32;

/// The result of checking an Authorization header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This user knows the password.
    Accepted(String),
    /// The password is right, the nonce too old: challenge with `stale=true`.
    Stale,
    /// No header for our realm: challenge.
    Missing,
    /// Wrong password or unknown user, which look the same from outside.
    Wrong,
}

/// The algorithms a challenge names. Either is always accepted in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// MD5 only: baresip 1.0 and sipp 3.6 give up when SHA-256 is offered beside it.
    #[default]
    Md5,
    /// SHA-256 first, then MD5 (RFC 8760 section 2.4).
    Sha256AndMd5,
}

/// Challenges and checks for one realm.
#[derive(Clone, Debug)]
pub struct Authenticator {
    realm: String,
    nonce_key: [u8; 32],
    offer: Offer,
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
            nonce_key,
            offer,
        }
    }

    fn nonce(&self, now_s: u64) -> String {
        let time = format!("{:08x}", now_s & 0xffff_ffff);
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.nonce_key).expect("HMAC takes keys of any length");
        mac.update(time.as_bytes());
        let signature = mac.finalize().into_bytes();
        time + &hex(&signature[..16])
    }

    /// Header values to challenge with, the stronger algorithm first.
    pub fn challenges(&self, now_s: u64, stale: bool) -> Vec<String> {
        let nonce = self.nonce(now_s);
        let stale = if stale { ", stale=true" } else { "" };
        let algorithms: &[&str] = match self.offer {
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

    fn is_fresh(&self, nonce: &str, now_s: u64) -> bool {
        let Some(time) = nonce.get(..NONCE_TIME_DIGITS) else {
            return false;
        };
        let Ok(issued_s) = u64::from_str_radix(time, 16) else {
            return false;
        };
        nonce.len() == NONCE_DIGITS
            && equal(self.nonce(issued_s).as_bytes(), nonce.as_bytes())
            && now_s.saturating_sub(issued_s) <= NONCE_LIFETIME_S
            && issued_s <= now_s + NONCE_LIFETIME_S
    }

    /// Checks the header values of a request against stored digests.
    pub fn verify<'a>(
        &self,
        values: impl Iterator<Item = &'a str>,
        method: &str,
        now_s: u64,
        credentials: impl Fn(&str) -> Option<Credentials>,
    ) -> Verdict {
        let mut answers = values.filter_map(|value| self.parse(value));
        let Some(answer) = answers.next() else {
            return Verdict::Missing;
        };
        let known = credentials(&answer.username);
        let right = self.matches(&answer, method, known.as_ref());
        match (right, self.is_fresh(answer.nonce, now_s)) {
            (true, true) => Verdict::Accepted(answer.username),
            (true, false) => Verdict::Stale,
            (false, true) => Verdict::Wrong,
            (false, false) => Verdict::Missing,
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
        let (ha1, hash): (&str, fn(&str) -> String) =
            if answer.algorithm.eq_ignore_ascii_case("SHA-256") {
                (known.map_or("-", |k| k.ha1_sha256.as_str()), |t| {
                    hex(&Sha256::digest(t))
                })
            } else if answer.algorithm.eq_ignore_ascii_case("MD5") {
                (known.map_or("-", |k| k.ha1_md5.as_str()), |t| {
                    hex(&Md5::digest(t))
                })
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
