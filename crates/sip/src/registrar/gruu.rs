//! Globally routable user agent URIs (RFC 5627): names of one device of a user.
//!
//! A public one names user and instance. A temporary one hides both: it is the two and the
//! REGISTER they came with, sealed with a key of the cluster. Nothing is remembered, so every
//! node opens what any node gave out.
use super::binding::Binding;
use crate::journal::hex;
use crate::message::{Scheme, Uri};
use crate::seal::{SEAL_BYTES, Seal};

/// Begins the user part of a temporary GRUU.
const TEMPORARY: &str = "tgruu.";
const MARK_BYTES: usize = 8;

/// What a GRUU says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gruu {
    /// User and instance in plain text.
    Public {
        /// The user.
        user: String,
        /// `<urn:...>`, as bindings have it.
        instance: String,
    },
    /// The same, sealed.
    Temporary {
        /// The user.
        user: String,
        /// Marks of instance and Call-ID.
        marks: [[u8; MARK_BYTES]; 2],
    },
}

/// Makes and reads GRUUs.
#[derive(Clone, Debug)]
pub struct Gruus {
    seal: Seal,
}

impl Gruus {
    /// With a key that is the same on every node.
    pub fn new(key: [u8; 32]) -> Gruus {
        Gruus {
            seal: Seal::new(key),
        }
    }

    fn mark(&self, text: &str) -> [u8; MARK_BYTES] {
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&self.seal.hash(b'm', &[text.as_bytes()])[..MARK_BYTES]);
        mark
    }

    /// `sip:user@domain;gr=urn:...`: the same as long as the device lives.
    pub fn public(user: &str, domain: &str, instance: &str) -> String {
        let name = instance.trim_matches(['<', '>']);
        format!("sip:{user}@{domain};gr={}", escape(name))
    }

    /// A name that tells nothing, another one for each refresh; all of them are good until
    /// the device registers with another Call-ID (RFC 5627 section 5.4).
    pub fn temporary(&self, domain: &str, user: &str, binding: &Binding) -> Option<String> {
        let instance = binding.instance.as_deref()?;
        let mut plain = Vec::with_capacity(64);
        plain.extend_from_slice(&self.mark(instance));
        plain.extend_from_slice(&self.mark(&binding.call_id));
        plain.extend_from_slice(&binding.cseq.to_be_bytes());
        plain.extend_from_slice(user.as_bytes());
        let sealed = hex(&self.seal.close(&plain));
        Some(format!("sip:{TEMPORARY}{sealed}@{domain};gr"))
    }

    /// Reads a URI; None when it is no GRUU, or none of ours.
    pub fn open(&self, uri: &Uri<'_>) -> Option<Gruu> {
        let name = uri.params.get("gr")?;
        let user = uri.user.filter(|_| uri.scheme != Scheme::Tel)?;
        if !name.is_empty() {
            return Some(Gruu::Public {
                user: user.to_owned(),
                instance: format!("<{}>", unescape(name)?),
            });
        }
        let bytes = unhex(user.strip_prefix(TEMPORARY)?)?;
        if bytes.len() < SEAL_BYTES + 2 * MARK_BYTES + 4 {
            return None;
        }
        let plain = self.seal.open(&bytes)?;
        let (instance, rest) = plain.split_first_chunk()?;
        let (call, rest) = rest.split_first_chunk()?;
        let user = String::from_utf8(rest[4..].to_vec()).ok()?;
        Some(Gruu::Temporary {
            user,
            marks: [*instance, *call],
        })
    }

    /// Whether a binding is of the device a GRUU names.
    pub fn names(&self, gruu: &Gruu, binding: &Binding) -> bool {
        let Some(of_binding) = binding.instance.as_deref() else {
            return false;
        };
        match gruu {
            Gruu::Public { instance, .. } => instance.eq_ignore_ascii_case(of_binding),
            Gruu::Temporary { marks, .. } => {
                *marks == [self.mark(of_binding), self.mark(&binding.call_id)]
            }
        }
    }
}

impl Gruu {
    /// Whose device it is.
    pub fn user(&self) -> &str {
        match self {
            Gruu::Public { user, .. } | Gruu::Temporary { user, .. } => user,
        }
    }
}

/// What may stand in a URI parameter (RFC 3261 section 25.1, `paramchar`).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push_str(&hex(&[byte]));
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).ok().filter(|d| d.len() == 2)?;
        u8::from_str_radix(digits, 16).ok()
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registrar::Registration;

    fn binding(instance: &str, call_id: &str, cseq: u32) -> Binding {
        let json = format!(
            r#"{{"user":"1001","bindings":[{{"contact":"sip:a","received":"","local":"",
            "callId":"{call_id}","cseq":{cseq},"expiresAt":1,"q":1.0,"instance":"{instance}",
            "userAgent":null,"registeredAt":1}}]}}"#
        );
        let registration = Registration::from_json(json.as_bytes()).expect("valid");
        registration.bindings[0].clone()
    }

    fn opened(gruus: &Gruus, text: &str) -> Option<Gruu> {
        gruus.open(&Uri::parse(text).expect("a URI"))
    }

    #[test]
    fn a_public_name_names_its_device_only() {
        let gruus = Gruus::new([1; 32]);
        let text = Gruus::public("1001", "pbx.test", "<urn:uuid:f81d;x>");
        assert_eq!(text, "sip:1001@pbx.test;gr=urn:uuid:f81d%3bx");
        let gruu = opened(&gruus, &text).expect("it is one");
        assert_eq!(gruu.user(), "1001");
        assert!(gruus.names(&gruu, &binding("<urn:uuid:f81d;x>", "c", 1)));
        assert!(!gruus.names(&gruu, &binding("<urn:uuid:2>", "c", 1)));
    }

    #[test]
    fn temporary_names_differ_hide_the_user_and_end_with_the_call_id() {
        let (here, there) = (Gruus::new([1; 32]), Gruus::new([1; 32]));
        let first = binding("<urn:uuid:1>", "call", 1);
        let second = binding("<urn:uuid:1>", "call", 2);
        let texts = [&first, &second].map(|binding| {
            here.temporary("pbx.test", "1001", binding)
                .expect("it has an instance")
        });
        assert_ne!(texts[0], texts[1]);
        for text in &texts {
            assert!(!text.contains("1001") && !text.contains("uuid"));
            let gruu = opened(&there, text).expect("any node opens it");
            assert_eq!(gruu.user(), "1001");
            assert!(there.names(&gruu, &second));
            assert!(!there.names(&gruu, &binding("<urn:uuid:1>", "another", 3)));
        }
    }

    #[test]
    fn forged_and_damaged_names_are_none() {
        let gruus = Gruus::new([1; 32]);
        let real = gruus
            .temporary("pbx.test", "1001", &binding("<urn:uuid:1>", "c", 1))
            .expect("it has an instance");
        assert_eq!(opened(&Gruus::new([2; 32]), &real), None);
        assert_eq!(
            opened(&gruus, &real.replacen("tgruu.", "tgruu.00", 1)),
            None
        );
        for text in [
            "sip:tgruu.@h;gr",
            "sip:tgruu.zz@h;gr",
            "sip:1001@h",
            "sip:a@h;gr=%z",
        ] {
            assert_eq!(opened(&gruus, text), None, "{text}");
        }
    }
}
