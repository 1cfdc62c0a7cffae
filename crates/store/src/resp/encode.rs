//! Replies of the Redis protocol, to bytes: version 2 and version 3.

use bytes::{BufMut, BytesMut};

use crate::reply::Reply;

/// Version of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RESP2.
    Two,
    /// RESP3.
    Three,
}

/// Appends a reply.
pub fn reply(out: &mut BytesMut, reply: &Reply, version: Version) {
    let three = version == Version::Three;
    match reply {
        Reply::Nil if three => out.put_slice(b"_\r\n"),
        Reply::Nil => out.put_slice(b"$-1\r\n"),
        Reply::Ok => out.put_slice(b"+OK\r\n"),
        Reply::Int(number) => line(out, b':', &number.to_string()),
        Reply::Double(number) if three => line(out, b',', &double(*number)),
        Reply::Double(number) => bulk(out, double(*number).as_bytes()),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Simple(text) => line(out, b'+', &one_line(text)),
        Reply::Error(text) => line(out, b'-', &one_line(text)),
        Reply::Array(items) => {
            line(out, b'*', &items.len().to_string());
            items
                .iter()
                .for_each(|item| self::reply(out, item, version));
        }
        Reply::Map(pairs) => {
            let (kind, length) = if three {
                (b'%', pairs.len())
            } else {
                (b'*', pairs.len() * 2)
            };
            line(out, kind, &length.to_string());
            for (key, value) in pairs {
                self::reply(out, key, version);
                self::reply(out, value, version);
            }
        }
    }
}

/// Appends a message that no request asked for.
pub fn push(out: &mut BytesMut, items: &[Reply], version: Version) {
    let kind = if version == Version::Three {
        b'>'
    } else {
        b'*'
    };
    line(out, kind, &items.len().to_string());
    items.iter().for_each(|item| reply(out, item, version));
}

fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    line(out, b'$', &bytes.len().to_string());
    out.reserve(bytes.len() + 2);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

fn line(out: &mut BytesMut, kind: u8, text: &str) {
    out.reserve(text.len() + 3);
    out.put_u8(kind);
    out.put_slice(text.as_bytes());
    out.put_slice(b"\r\n");
}

/// Status and error texts end at the end of the line.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

fn double(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn bytes_of(value: &Reply, version: Version) -> String {
        let mut out = BytesMut::new();
        reply(&mut out, value, version);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn both_versions_are_encoded_as_documented() {
        let map = Reply::Map(vec![(Reply::text("a"), Reply::Double(1.5))]);
        assert_eq!(
            bytes_of(&map, Version::Two),
            "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n"
        );
        assert_eq!(bytes_of(&map, Version::Three), "%1\r\n$1\r\na\r\n,1.5\r\n");
        assert_eq!(bytes_of(&Reply::Nil, Version::Two), "$-1\r\n");
        assert_eq!(bytes_of(&Reply::Nil, Version::Three), "_\r\n");
        let nested = Reply::Array(vec![Reply::Int(-1), Reply::Ok, Reply::Bulk(Bytes::new())]);
        assert_eq!(
            bytes_of(&nested, Version::Two),
            "*3\r\n:-1\r\n+OK\r\n$0\r\n\r\n"
        );
        assert_eq!(
            bytes_of(&Reply::error("ERR a\r\nb"), Version::Two),
            "-ERR a  b\r\n"
        );
    }
}
