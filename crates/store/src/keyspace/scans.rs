//! `SCAN` and its kin: pages in the order of hashes, so that a cursor is a number that every
//! server understands.

use bytes::Bytes;

use super::dict::{Dict, Entry};
use super::parse::{Outcome, Refusal, SYNTAX, bulk, integer, is, refuse};
use super::pattern::matches;
use super::value::{Hash, Set, Slot, SortedSet};
use super::{Effects, Keyspace};
use crate::limits::KEYS_MAX;
use crate::reply::Reply;
use crate::resp::encode::double;

struct Scan<'a> {
    cursor: u64,
    pattern: Option<&'a Bytes>,
    number: usize,
    type_name: Option<&'a Bytes>,
    values: bool,
}

fn cursor(text: &Bytes) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok())
        .ok_or(refuse("ERR invalid cursor"))
}

fn options<'a>(cursor: u64, words: &'a [Bytes], names: &[&str]) -> Result<Scan<'a>, Refusal> {
    let mut scan = Scan {
        cursor,
        pattern: None,
        number: 10,
        type_name: None,
        values: true,
    };
    let known = |word: &Bytes, name: &str| names.contains(&name) && is(word, name);
    let mut left = words;
    while let Some((word, rest)) = left.split_first() {
        if known(word, "NOVALUES") {
            scan.values = false;
            left = rest;
            continue;
        }
        let (value, rest) = rest.split_first().ok_or(SYNTAX)?;
        match word {
            word if is(word, "MATCH") => scan.pattern = Some(value),
            word if is(word, "COUNT") => {
                let number = usize::try_from(integer(value)?).ok();
                let number = number.filter(|number| *number > 0).ok_or(SYNTAX)?;
                scan.number = number.min(KEYS_MAX);
            }
            word if known(word, "TYPE") => scan.type_name = Some(value),
            _ => return Err(SYNTAX),
        }
        left = rest;
    }
    Ok(scan)
}

/// One page of a collection; `show` appends what an entry answers.
fn page<V: Clone + std::fmt::Debug>(
    dict: Option<&Dict<V>>,
    scan: &Scan,
    show: impl Fn(&Entry<V>, &mut Vec<Reply>),
) -> Reply {
    let (next, entries) = dict.map_or((0, Vec::new()), |dict| dict.page(scan.cursor, scan.number));
    let mut found = Vec::new();
    for entry in entries {
        if scan
            .pattern
            .is_none_or(|pattern| matches(pattern, &entry.key))
        {
            show(entry, &mut found);
        }
    }
    Reply::Array(vec![Reply::text(next.to_string()), Reply::Array(found)])
}

/// `SCAN cursor [MATCH pattern] [COUNT number] [TYPE name]`
pub fn scan(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let scan = options(cursor(&command[1])?, &command[2..], &["TYPE"])?;
    let show = |entry: &Entry<Slot>, found: &mut Vec<Reply>| {
        let name = entry.value.value.type_name();
        if scan.type_name.is_none_or(|wanted| is(wanted, name)) {
            found.push(bulk(&entry.key));
        }
    };
    Ok(page(Some(&space.slots), &scan, show))
}

/// `HSCAN key cursor [MATCH pattern] [COUNT number] [NOVALUES]`
pub fn hscan(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let cursor = cursor(&command[2])?;
    let Some(hash) = space.get::<Hash>(&command[1])? else {
        return Ok(nothing());
    };
    let scan = options(cursor, &command[3..], &["NOVALUES"])?;
    Ok(page(Some(hash.fields()), &scan, |entry, found| {
        found.push(bulk(&entry.key));
        if scan.values {
            found.push(bulk(&entry.value.value));
        }
    }))
}

/// `SSCAN key cursor [MATCH pattern] [COUNT number]`
pub fn sscan(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let cursor = cursor(&command[2])?;
    let Some(set) = space.get::<Set>(&command[1])? else {
        return Ok(nothing());
    };
    let scan = options(cursor, &command[3..], &[])?;
    Ok(page(Some(set), &scan, |entry, found| {
        found.push(bulk(&entry.key))
    }))
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT number]`
pub fn zscan(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let cursor = cursor(&command[2])?;
    let Some(set) = space.get::<SortedSet>(&command[1])? else {
        return Ok(nothing());
    };
    let scan = options(cursor, &command[3..], &[])?;
    Ok(page(Some(set.members()), &scan, |entry, found| {
        found.push(bulk(&entry.key));
        found.push(Reply::text(double(entry.value)));
    }))
}

fn nothing() -> Reply {
    Reply::Array(vec![Reply::text("0"), Reply::Array(Vec::new())])
}

/// `KEYS pattern`, in order of the names.
pub fn keys(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let pattern = &command[1];
    // Names outside the pattern's literal beginning need not be looked at.
    let special = pattern.iter().position(|byte| b"*?[\\".contains(byte));
    let prefix = &pattern[..special.unwrap_or(pattern.len())];
    let names = space.names.from(&prefix);
    let names = names.take_while(|name| name.0.starts_with(prefix));
    let found = names
        .filter(|name| matches(pattern, &name.0))
        .take(KEYS_MAX);
    Ok(Reply::Array(found.map(|name| bulk(&name.0)).collect()))
}

/// `RANDOMKEY`
pub fn randomkey(space: &Keyspace, _: &[Bytes]) -> Outcome {
    let place = super::random::Choices::new(space).below(space.slots.len());
    let entry = space.slots.nth(place);
    Ok(entry.map_or(Reply::Nil, |entry| bulk(&entry.key)))
}

/// `FLUSHALL` and `FLUSHDB`
pub fn flushall(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    match &command[1..] {
        [] => {}
        [word] if is(word, "SYNC") || is(word, "ASYNC") => {}
        _ => return Err(SYNTAX),
    }
    space.clear(effects);
    Ok(Reply::Ok)
}
