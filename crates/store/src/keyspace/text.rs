//! Keys, members and values as they are kept: one pointer to one allocation that holds the count
//! of its owners, the length and the bytes.
//!
//! `Bytes` is four words where it stands, and a second allocation once it is shared; of a key with
//! a small value that was more than the key and the value themselves.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use triomphe::ThinArc;

/// A reply with more bytes than these shares them with the keyspace instead of copying them.
const COPIED_BYTES_MAX: usize = 1_024;

/// Bytes that never change and that several owners share. The empty text needs no allocation.
#[derive(Clone, Default)]
pub struct Text(Option<ThinArc<(), u8>>);

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Text {
        Text((!bytes.is_empty()).then(|| ThinArc::from_header_and_slice((), bytes)))
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |shared| &shared.slice)
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(Text::from(bytes))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

/// What can become part of a reply.
pub trait Share {
    /// The same bytes for a reply.
    fn share(&self) -> Bytes;
}

impl Share for Bytes {
    fn share(&self) -> Bytes {
        self.clone()
    }
}

impl Share for Text {
    fn share(&self) -> Bytes {
        if self.len() > COPIED_BYTES_MAX {
            Bytes::from_owner(self.clone())
        } else {
            Bytes::copy_from_slice(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_word_and_orders_by_its_bytes() {
        assert_eq!(size_of::<Text>(), size_of::<usize>());
        let mut texts = [&b"b"[..], b"", b"a\xff", b"a"].map(Text::from);
        texts.sort();
        assert_eq!(
            texts.map(|text| text.to_vec()),
            [&b""[..], b"a", b"a\xff", b"b"]
        );
        assert_eq!(Text::default(), Text::from(&b""[..]));
    }

    #[test]
    fn a_text_is_written_as_bytes_always_were() {
        for length in [0, 1, 200, 5_000] {
            let bytes = Bytes::from(vec![7; length]);
            let text = Text::from(&bytes[..]);
            let written = postcard::to_stdvec(&text).expect("written");
            assert_eq!(written, postcard::to_stdvec(&bytes).expect("written"));
            assert_eq!(postcard::from_bytes::<Text>(&written).expect("read"), text);
            assert_eq!(text.share(), bytes);
        }
    }
}
