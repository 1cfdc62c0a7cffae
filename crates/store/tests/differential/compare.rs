//! What may differ between two replies, and nothing else.

use super::server::{Server, Wire};

/// Commands whose elements come in any order.
const UNORDERED: &[&str] = &[
    "SMEMBERS", "SUNION", "SINTER", "SDIFF", "HKEYS", "HVALS", "KEYS", "HGETALL", "SCAN", "HSCAN",
    "SSCAN", "ZSCAN", "SPOP",
];

/// Commands that choose; their elements must be some of those there are.
const RANDOM: &[(&str, &str)] = &[
    ("SRANDMEMBER", "SMEMBERS"),
    ("HRANDFIELD", "HGETALL"),
    ("ZRANDMEMBER", "ZRANGE"),
    ("RANDOMKEY", "KEYS"),
];

/// Two clocks are read one after the other.
const CLOCKS_APART_MS: i64 = 2_000;

/// Whether both replies are the same but for what may differ.
pub fn same(server: &mut Server, words: &[String], theirs: &Wire, ours: &Wire) -> bool {
    let name = words[0].as_str();
    if let Some((_, all)) = RANDOM.iter().find(|(random, _)| *random == name) {
        return shape(theirs) == shape(ours) && is_among(server, words, all, ours);
    }
    match (name, theirs, ours) {
        ("TTL", Wire::Int(theirs), Wire::Int(ours)) if *theirs >= 0 => {
            (theirs - ours).abs() <= CLOCKS_APART_MS / 1_000
        }
        ("PTTL" | "PEXPIRETIME", Wire::Int(theirs), Wire::Int(ours)) if *theirs >= 0 => {
            (theirs - ours).abs() <= CLOCKS_APART_MS
        }
        ("EXPIRETIME", Wire::Int(theirs), Wire::Int(ours)) if *theirs >= 0 => {
            (theirs - ours).abs() <= CLOCKS_APART_MS / 1_000
        }
        _ => normal(name, theirs) == normal(name, ours),
    }
}

/// Sorts what has no order and writes scores with the same digits.
fn normal(name: &str, wire: &Wire) -> Wire {
    let scores = name.contains('Z');
    let sorted = UNORDERED.contains(&name);
    let each = |items: &[Wire]| {
        let mut items: Vec<_> = items.iter().map(|item| normal(name, item)).collect();
        if sorted {
            let flat_pairs = matches!(name, "HGETALL" | "HSCAN" | "ZSCAN");
            let page = name.ends_with("SCAN") && matches!(items.last(), Some(Wire::Array(_)));
            if flat_pairs && !page {
                let mut pairs: Vec<_> = items.chunks(2).map(<[Wire]>::to_vec).collect();
                pairs.sort();
                items = pairs.concat();
            } else if !page {
                items.sort();
            }
        }
        items
    };
    match wire {
        Wire::Array(items) => Wire::Array(each(items)),
        Wire::Set(items) => Wire::Set(each(items)),
        Wire::Map(pairs) => {
            let mut pairs = pairs.clone();
            if sorted {
                pairs.sort();
            }
            Wire::Map(pairs)
        }
        Wire::Double(text) => Wire::Double(digits(text)),
        Wire::Bulk(text) if scores => {
            let text = String::from_utf8_lossy(text);
            match text.parse::<f64>() {
                Ok(_) => Wire::Bulk(digits(&text).into_bytes()),
                Err(_) => wire.clone(),
            }
        }
        _ => wire.clone(),
    }
}

/// A number with the fewest digits. Zero loses its sign: Redis drops it in small sorted sets only.
fn digits(text: &str) -> String {
    let number = text.parse::<f64>();
    number.map_or(text.into(), |number| (number + 0.0).to_string())
}

/// A reply without its elements.
fn shape(wire: &Wire) -> String {
    match wire {
        Wire::Error(text) => text.clone(),
        Wire::Array(items) => {
            let inner = items.first().map(shape).unwrap_or_default();
            format!("{} {inner}", items.len())
        }
        Wire::Bulk(_) | Wire::Double(_) => "element".into(),
        other => format!("{other:?}"),
    }
}

fn elements(wire: &Wire, found: &mut Vec<Vec<u8>>) {
    match wire {
        Wire::Array(items) | Wire::Set(items) => {
            items.iter().for_each(|item| elements(item, found));
        }
        Wire::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            elements(key, found);
            elements(value, found);
        }),
        Wire::Bulk(text) => found.push(text.clone()),
        Wire::Double(text) => found.push(digits(text).into_bytes()),
        _ => {}
    }
}

fn is_among(server: &mut Server, words: &[String], all: &str, ours: &Wire) -> bool {
    let everything = match all {
        "KEYS" => server.say("KEYS *"),
        "ZRANGE" => server.say(&format!("ZRANGE {} 0 -1 WITHSCORES", words[1])),
        _ => server.say(&format!("{all} {}", words[1])),
    };
    let (mut known, mut chosen) = (Vec::new(), Vec::new());
    elements(&everything, &mut known);
    elements(ours, &mut chosen);
    let digits = |text: &Vec<u8>| digits(&String::from_utf8_lossy(text));
    let known: Vec<_> = known.iter().map(digits).collect();
    chosen
        .iter()
        .map(digits)
        .all(|element| known.contains(&element))
}
