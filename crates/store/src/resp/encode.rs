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
        Reply::Nil | Reply::NilArray if three => out.put_slice(b"_\r\n"),
        Reply::NilArray => out.put_slice(b"*-1\r\n"),
        Reply::Nil => out.put_slice(b"$-1\r\n"),
        Reply::Ok => out.put_slice(b"+OK\r\n"),
        Reply::Int(number) => line(out, b':', &number.to_string()),
        Reply::Double(number) if three => line(out, b',', &double(*number)),
        Reply::Double(number) => bulk(out, double(*number).as_bytes()),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Simple(text) => line(out, b'+', &one_line(text)),
        Reply::Error(text) => line(out, b'-', &one_line(text)),
        Reply::Boolean(yes) if three => line(out, b'#', if *yes { "t" } else { "f" }),
        Reply::Boolean(yes) => line(out, b':', if *yes { "1" } else { "0" }),
        Reply::Verbatim(text) if three => {
            line(out, b'=', &(text.len() + 4).to_string());
            out.put_slice(b"txt:");
            out.put_slice(text.as_bytes());
            out.put_slice(b"\r\n");
        }
        Reply::Verbatim(text) => bulk(out, text.as_bytes()),
        Reply::Array(items) => several(out, b'*', items, version),
        Reply::Set(items) => several(out, if three { b'~' } else { b'*' }, items, version),
        Reply::Map(pairs) | Reply::Entries(pairs) if three => {
            line(out, b'%', &pairs.len().to_string());
            flat(out, pairs, version);
        }
        Reply::Pairs(pairs) | Reply::Entries(pairs) if three || nested(reply) => {
            line(out, b'*', &pairs.len().to_string());
            for pair in pairs {
                line(out, b'*', "2");
                flat(out, std::slice::from_ref(pair), version);
            }
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) | Reply::Entries(pairs) => {
            line(out, b'*', &(pairs.len() * 2).to_string());
            flat(out, pairs, version);
        }
    }
}

/// Whether pairs are arrays of two in version 2 as well.
fn nested(reply: &Reply) -> bool {
    matches!(reply, Reply::Entries(_))
}

fn several(out: &mut BytesMut, kind: u8, items: &[Reply], version: Version) {
    line(out, kind, &items.len().to_string());
    items.iter().for_each(|item| reply(out, item, version));
}

fn flat(out: &mut BytesMut, pairs: &[(Reply, Reply)], version: Version) {
    for (first, second) in pairs {
        reply(out, first, version);
        reply(out, second, version);
    }
}

/// Appends a message that no request asked for.
pub fn push(out: &mut BytesMut, items: &[Reply], version: Version) {
    let kind = if version == Version::Three {
        b'>'
    } else {
        b'*'
    };
    several(out, kind, items, version);
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

/// The shortest digits that read back as the same number, laid out as Redis does since 7.2.
pub fn double(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.into();
    }
    if number == 0.0 || number.is_nan() {
        let minus = number == 0.0 && number.is_sign_negative();
        return if number.is_nan() {
            "nan"
        } else if minus {
            "-0"
        } else {
            "0"
        }
        .into();
    }
    let shortest = format!("{:e}", number.abs());
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let places = i32::try_from(digits.len().saturating_sub(2)).unwrap_or(0);
    // The number is its digits, read as an integer, times ten to the power of this.
    let power = exponent - places;
    let plain = if power >= 0 {
        exponent < places + 8
    } else {
        power > -7 || exponent.abs() < 4
    };
    let minus = if number < 0.0 { "-" } else { "" };
    if plain {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{minus}{digits}e{sign}{}", exponent.abs())
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

    #[test]
    fn what_only_version_three_knows_is_flattened_for_version_two() {
        let pairs = Reply::Pairs(vec![(Reply::text("a"), Reply::Double(1.5))]);
        let verbatim = Reply::Verbatim("ab".into());
        for (value, two, three) in [
            (
                pairs,
                "*2\r\n$1\r\na\r\n$3\r\n1.5\r\n",
                "*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n",
            ),
            (
                Reply::Set(vec![Reply::Int(1)]),
                "*1\r\n:1\r\n",
                "~1\r\n:1\r\n",
            ),
            (
                Reply::Entries(vec![(Reply::Int(1), Reply::Int(2))]),
                "*1\r\n*2\r\n:1\r\n:2\r\n",
                "%1\r\n:1\r\n:2\r\n",
            ),
            (Reply::NilArray, "*-1\r\n", "_\r\n"),
            (Reply::Boolean(true), ":1\r\n", "#t\r\n"),
            (verbatim, "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"),
        ] {
            assert_eq!(bytes_of(&value, Version::Two), two);
            assert_eq!(bytes_of(&value, Version::Three), three);
        }
    }

    #[test]
    fn numbers_look_as_in_redis() {
        for (number, text) in [
            (0.1, "0.1"),
            (-3.0, "-3"),
            (1e7, "10000000"),
            (1e20, "1e+20"),
            (1.5e-9, "1.5e-9"),
            (0.00012, "0.00012"),
            (f64::NEG_INFINITY, "-inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(double(number), text);
        }
    }
}
