//! Values of the NG protocol and their two notations, bencode and JSON.
//!
//! Pure. Bencode is read leniently (dictionary keys in any order, as all NG clients send
//! them) and written canonically (keys sorted).

use std::collections::BTreeMap;

use crate::limits::NG_DEPTH_MAX;

/// One value. Byte strings are not always UTF-8 (SIP tags may hold anything).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A signed number.
    Int(i64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A dictionary.
    Dict(Dict),
}

/// A dictionary.
pub type Dict = BTreeMap<Vec<u8>, Value>;

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Bytes(text.into_bytes())
    }
}

impl From<Vec<Value>> for Value {
    fn from(list: Vec<Value>) -> Value {
        Value::List(list)
    }
}

impl From<Dict> for Value {
    fn from(dict: Dict) -> Value {
        Value::Dict(dict)
    }
}

/// Builds a dictionary from keys and values.
pub fn dict<const N: usize>(entries: [(&str, Value); N]) -> Dict {
    entries
        .into_iter()
        .map(|(key, value)| (key.as_bytes().to_vec(), value))
        .collect()
}

/// Reads one bencoded value that fills `bytes`; none when it is malformed or too deep.
pub fn decode(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = read_value(&mut rest, 0)?;
    // Trailing white space is common from hand-made clients.
    rest.iter().all(u8::is_ascii_whitespace).then_some(value)
}

/// How long the value is that bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// This many bytes.
    Whole(usize),
    /// More than there are.
    Part,
    /// It is none.
    Wrong,
}

/// Measures the bencoded value that `bytes` begin with.
pub fn measure(bytes: &[u8]) -> Measured {
    let (mut at, mut depth) = (0, 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(first) = rest.first() else {
            return Measured::Part;
        };
        let end = |sign: u8, most: usize| match rest.iter().take(most).position(|b| *b == sign) {
            Some(found) => Ok(found + 1),
            None if rest.len() < most => Err(Measured::Part),
            None => Err(Measured::Wrong),
        };
        let length = match first {
            b'l' | b'd' if depth <= NG_DEPTH_MAX => {
                depth += 1;
                at += 1;
                continue;
            }
            b'e' if depth > 0 => {
                depth -= 1;
                Ok(1)
            }
            b'i' => end(b'e', 24),
            b'0'..=b'9' => end(b':', 6).and_then(|head| {
                let digits = std::str::from_utf8(&rest[..head - 1]);
                let length = digits.ok().and_then(|digits| digits.parse::<usize>().ok());
                length.map(|length| head + length).ok_or(Measured::Wrong)
            }),
            _ => Err(Measured::Wrong),
        };
        match length {
            Ok(length) => at += length,
            Err(refused) => return refused,
        }
        if at > bytes.len() {
            return Measured::Part;
        }
        if depth == 0 {
            return Measured::Whole(at);
        }
    }
}

/// Writes `value` as bencode.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Int(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
        Value::Bytes(bytes) => encode_bytes(bytes, out),
        Value::List(list) => {
            out.push(b'l');
            list.iter().for_each(|item| encode(item, out));
            out.push(b'e');
        }
        Value::Dict(dict) => {
            out.push(b'd');
            for (key, item) in dict {
                encode_bytes(key, out);
                encode(item, out);
            }
            out.push(b'e');
        }
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

fn read_value(rest: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > NG_DEPTH_MAX {
        return None;
    }
    match rest.first()? {
        b'i' => {
            *rest = &rest[1..];
            let number = take_until(rest, b'e')?;
            std::str::from_utf8(number)
                .ok()?
                .parse()
                .ok()
                .map(Value::Int)
        }
        b'l' => {
            *rest = &rest[1..];
            let mut list = Vec::new();
            while *rest.first()? != b'e' {
                list.push(read_value(rest, depth + 1)?);
            }
            *rest = &rest[1..];
            Some(Value::List(list))
        }
        b'd' => {
            *rest = &rest[1..];
            let mut dict = Dict::new();
            while *rest.first()? != b'e' {
                let key = read_bytes(rest)?.to_vec();
                let value = read_value(rest, depth + 1)?;
                dict.insert(key, value);
            }
            *rest = &rest[1..];
            Some(Value::Dict(dict))
        }
        b'0'..=b'9' => read_bytes(rest).map(|bytes| Value::Bytes(bytes.to_vec())),
        _ => None,
    }
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let digits = take_until(rest, b':')?;
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn take_until<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    // Numbers and lengths are short; a longer search would only waste time on nonsense.
    let at = rest.iter().take(24).position(|&byte| byte == end)?;
    let taken = &rest[..at];
    *rest = &rest[at + 1..];
    Some(taken)
}

/// Turns a parsed JSON document into a value; none when it is too deep. Numbers are cut to
/// whole ones, true and false become 1 and 0, null an empty string.
pub fn from_json(json: &serde_json::Value, depth: usize) -> Option<Value> {
    if depth > NG_DEPTH_MAX {
        return None;
    }
    Some(match json {
        serde_json::Value::Null => Value::Bytes(Vec::new()),
        serde_json::Value::Bool(truth) => Value::Int(i64::from(*truth)),
        serde_json::Value::Number(number) => Value::Int(
            number
                .as_i64()
                .or_else(|| number.as_f64().map(|n| n as i64))?,
        ),
        serde_json::Value::String(text) => Value::Bytes(text.as_bytes().to_vec()),
        serde_json::Value::Array(list) => Value::List(
            list.iter()
                .map(|v| from_json(v, depth + 1))
                .collect::<Option<_>>()?,
        ),
        serde_json::Value::Object(map) => Value::Dict(
            map.iter()
                .map(|(key, v)| Some((key.as_bytes().to_vec(), from_json(v, depth + 1)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

/// Turns a value into JSON; bytes that are not UTF-8 are replaced.
pub fn to_json(value: &Value) -> serde_json::Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        Value::Int(number) => (*number).into(),
        Value::Bytes(bytes) => text(bytes).into(),
        Value::List(list) => list.iter().map(to_json).collect::<Vec<_>>().into(),
        Value::Dict(dict) => serde_json::Value::Object(
            dict.iter()
                .map(|(key, item)| (text(key), to_json(item)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::Int),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let key = prop::collection::vec(any::<u8>(), 0..8);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                prop::collection::btree_map(key, inner, 0..6).prop_map(Value::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            let mut bytes = Vec::new();
            encode(&value, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(value));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_near_miss_makes_it_panic(text in "[dli0-9:e-]{0,60}") {
            let _ = decode(text.as_bytes());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |n: usize| [vec![b'l'; n], vec![b'e'; n]].concat();
        assert!(decode(&deep(NG_DEPTH_MAX)).is_some());
        assert!(decode(&deep(NG_DEPTH_MAX + 2)).is_none());
        assert!(decode(&vec![b'l'; 60_000]).is_none());
    }
}
