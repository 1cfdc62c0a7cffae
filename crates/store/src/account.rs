//! Accounts of the Redis door: a name, a role and salted hashes of passwords.
//!
//! The hash is one round of SHA-256 over 16 random bytes and the password. That is right for
//! passwords that a program generated (128 random bits or more cannot be guessed however fast the
//! hash is) and wrong for passwords that people invent. A slow hash would make the login storm
//! after a failover cost minutes: 4,096 clients at 50 ms each. So passwords are generated
//! (`raftpbx store-account`, the lab), and failed logins are throttled by source.

use std::fmt::{self, Write};
use std::io::Read;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::StoreError;

/// Bytes of salt.
const SALT_BYTES: usize = 16;

/// The one scheme; a later one gets another word.
const SCHEME: &str = "sha256";

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything: the servers of the cluster.
    Node,
    /// Reads and writes, but neither keys of the cluster itself nor what destroys or configures.
    Operator,
    /// Looks at measurements: `INFO`, `PING` and the like.
    Metrics,
}

impl Role {
    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Operator => "operator",
            Role::Metrics => "metrics",
        }
    }
}

impl FromStr for Role {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Role, StoreError> {
        match text {
            "node" => Ok(Role::Node),
            "operator" => Ok(Role::Operator),
            "metrics" => Ok(Role::Metrics),
            other => Err(StoreError::Config(format!(
                "account role '{other}'; use node, operator or metrics"
            ))),
        }
    }
}

/// A salted hash of a password, written `sha256:SALT:DIGEST` in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    salt: [u8; SALT_BYTES],
    digest: [u8; 32],
}

impl PasswordHash {
    /// Hashes a password with new salt. Fails when the system gives no random bytes.
    pub fn of(password: &[u8]) -> Result<PasswordHash, StoreError> {
        let mut salt = [0; SALT_BYTES];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut salt)?;
        Ok(PasswordHash {
            salt,
            digest: digest(&salt, password),
        })
    }

    /// Whether a password is the one that was hashed.
    pub fn matches(&self, password: &[u8]) -> bool {
        let given = digest(&self.salt, password);
        // All bytes are looked at, so the time tells nothing about where they differ.
        let difference = given
            .iter()
            .zip(&self.digest)
            .fold(0, |d, (a, b)| d | (a ^ b));
        difference == 0
    }
}

fn digest(salt: &[u8], password: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(password);
    hash.finalize().into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn from_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, digest) = (hexadecimal(&self.salt), hexadecimal(&self.digest));
        write!(f, "{SCHEME}:{salt}:{digest}")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl FromStr for PasswordHash {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<PasswordHash, StoreError> {
        let wrong = || {
            StoreError::Config(format!(
                "a password hash must read {SCHEME}:SALT:DIGEST; make one with \
                 'raftpbx store-account'"
            ))
        };
        let mut parts = text.split(':');
        let (scheme, salt, digest) = (parts.next(), parts.next(), parts.next());
        if scheme != Some(SCHEME) || parts.next().is_some() {
            return Err(wrong());
        }
        Ok(PasswordHash {
            salt: salt.and_then(from_hexadecimal).ok_or_else(wrong)?,
            digest: digest.and_then(from_hexadecimal).ok_or_else(wrong)?,
        })
    }
}

/// Who may enter the Redis door. The name `default` serves `AUTH password`.
#[derive(Debug, Clone)]
pub struct Account {
    /// Name as in `AUTH name password`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Any of these opens; two while a password is being changed, none for nobody.
    pub hashes: Vec<PasswordHash>,
}

impl Account {
    /// An account with one password. Fails when the system gives no random bytes.
    pub fn new(name: &str, role: Role, password: &str) -> Result<Account, StoreError> {
        Ok(Account {
            name: name.to_owned(),
            role,
            hashes: vec![PasswordHash::of(password.as_bytes())?],
        })
    }

    /// Whether one of the account's passwords was given. Every hash is tried.
    pub fn admits(&self, password: &[u8]) -> bool {
        let tried = self.hashes.iter().map(|hash| hash.matches(password));
        tried.fold(false, |any, one| any | one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_being_written_and_admits_only_its_password() {
        let hash = PasswordHash::of(b"secret").expect("random bytes");
        let read: PasswordHash = hash.to_string().parse().expect("its own text");
        assert!(read == hash && read.matches(b"secret"));
        assert!(!read.matches(b"Secret") && !read.matches(b""));
        let again = PasswordHash::of(b"secret").expect("random bytes");
        assert!(again != hash, "each has its own salt");
        assert!(!format!("{read:?}").contains("sha256"), "never in a log");
    }

    #[test]
    fn malformed_hashes_are_refused_with_a_way_out() {
        for text in [
            "",
            "sha256",
            "sha256::",
            "md5:00:00",
            "sha256:zz:zz",
            "sha256:é:é",
        ] {
            let error = text.parse::<PasswordHash>().expect_err(text).to_string();
            assert!(error.contains("raftpbx store-account"), "{error}");
        }
        assert!("root".parse::<Role>().is_err());
    }
}
