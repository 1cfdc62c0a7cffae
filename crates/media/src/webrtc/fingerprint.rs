//! `a=fingerprint`: the hash of a certificate, which signalling vouches for (RFC 8122). Pure.

use std::fmt;

use ring::digest;

/// Hash functions of RFC 8122 section 5 that still say something; MD2 and MD5 do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// `sha-1`.
    Sha1,
    /// `sha-224`.
    Sha224,
    /// `sha-256`: what everybody writes.
    Sha256,
    /// `sha-384`.
    Sha384,
    /// `sha-512`.
    Sha512,
}

impl Hash {
    const ALL: [(&'static str, Hash); 5] = [
        ("sha-1", Hash::Sha1),
        ("sha-224", Hash::Sha224),
        ("sha-256", Hash::Sha256),
        ("sha-384", Hash::Sha384),
        ("sha-512", Hash::Sha512),
    ];

    fn of(self, certificate: &[u8]) -> Vec<u8> {
        let ring = |algorithm| digest::digest(algorithm, certificate).as_ref().to_vec();
        match self {
            Hash::Sha1 => ring(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            Hash::Sha224 => {
                use sha2::Digest;
                sha2::Sha224::digest(certificate).to_vec()
            }
            Hash::Sha256 => ring(&digest::SHA256),
            Hash::Sha384 => ring(&digest::SHA384),
            Hash::Sha512 => ring(&digest::SHA512),
        }
    }
}

/// A fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint {
    hash: Hash,
    bytes: Vec<u8>,
}

impl Fingerprint {
    /// Of a certificate (DER), by SHA-256.
    pub fn of(certificate: &[u8]) -> Fingerprint {
        let hash = Hash::Sha256;
        Fingerprint {
            hash,
            bytes: hash.of(certificate),
        }
    }

    /// The value of `a=fingerprint`; none for an unknown function or a length that is not its own.
    pub fn parse(value: &str) -> Option<Fingerprint> {
        let (name, digits) = value.trim().split_once(' ')?;
        let known = |(known, _): &(&str, Hash)| known.eq_ignore_ascii_case(name);
        let (_, hash) = Hash::ALL.into_iter().find(known)?;
        let byte = |pair: &str| match pair.len() {
            2 => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        };
        // Signs are digits to nobody but the standard library.
        let digits = (!digits.contains('+')).then(|| digits.trim())?;
        let bytes: Option<Vec<u8>> = digits.split(':').map(byte).collect();
        let bytes = bytes.filter(|bytes| bytes.len() == hash.of(&[]).len())?;
        Some(Fingerprint { hash, bytes })
    }

    /// Whether a certificate (DER) is one of those that a description names. Of several, only those
    /// of the strongest function that is known count (RFC 8122 section 5).
    pub fn any_matches(all: &[Fingerprint], certificate: &[u8]) -> bool {
        let Some(best) = all.iter().map(|one| one.hash).max() else {
            return false;
        };
        let right = best.of(certificate);
        all.iter().any(|one| one.hash == best && one.bytes == right)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Fingerprint, &'static str> {
        Fingerprint::parse(&text).ok_or("no fingerprint")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Hash::ALL.into_iter().find(|(_, hash)| *hash == self.hash);
        f.write_str(known.map_or("", |(name, _)| name))?;
        for (n, byte) in self.bytes.iter().enumerate() {
            let before = if n == 0 { ' ' } else { ':' };
            write!(f, "{before}{byte:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(hash: Hash, certificate: &[u8]) -> Fingerprint {
        Fingerprint {
            hash,
            bytes: hash.of(certificate),
        }
    }

    #[test]
    fn all_functions_are_written_and_read_in_any_case() {
        for (name, hash) in Hash::ALL {
            let one = with(hash, b"certificate");
            let text = one.to_string();
            assert!(text.starts_with(&format!("{name} ")), "{text}");
            assert_eq!(Fingerprint::parse(&text).as_ref(), Some(&one));
            assert_eq!(
                Fingerprint::parse(&text.to_lowercase()).as_ref(),
                Some(&one)
            );
            assert!(Fingerprint::any_matches(&[one], b"certificate"));
        }
    }

    #[test]
    fn the_strongest_decides_and_nothing_matches_nothing() {
        let right = with(Hash::Sha1, b"certificate");
        let wrong = with(Hash::Sha512, b"other");
        assert!(!Fingerprint::any_matches(
            &[right.clone(), wrong.clone()],
            b"certificate"
        ));
        let two = [wrong, with(Hash::Sha512, b"certificate"), right];
        assert!(Fingerprint::any_matches(&two, b"certificate"));
        assert!(!Fingerprint::any_matches(&[], b"certificate"));
    }

    #[test]
    fn nonsense_is_no_fingerprint() {
        let long = "AB:".repeat(40);
        for text in [
            "",
            "sha-256",
            "sha-256 AB:CD",
            "md5 AB",
            "sha-1 +1:+2",
            &long,
        ] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
