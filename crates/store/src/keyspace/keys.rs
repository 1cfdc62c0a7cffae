//! Commands on any key, on the clock, and on messages.

use bytes::Bytes;

use super::parse::{Outcome, SYNTAX, count, integer, is, refuse, yes};
use super::value::Value;
use super::{Effects, Keyspace, Message, copied};
use crate::reply::Reply;

/// `DEL key ...` and `UNLINK key ...`
pub fn del(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let keys = command[1..].iter();
    Ok(count(keys.filter(|key| space.remove(key, effects)).count()))
}

/// `EXISTS key ...` and `TOUCH key ...`
pub fn exists(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let keys = command[1..].iter();
    Ok(count(keys.filter(|key| space.slot(key).is_some()).count()))
}

/// Name of the internal command that makes a request depend on versions of keys.
pub const WATCHED: &str = "watched";

/// `WATCHED key version ...`, a request's first command; see [`Keyspace::watched_differ`]. What
/// gets here stands elsewhere or comes alone, and has no effect.
pub fn watched(_: &mut Keyspace, _: &[Bytes], _: &mut Effects) -> Outcome {
    Ok(Reply::Ok)
}

/// Name of the internal command that answers the versions of keys, for `WATCH`.
pub const VERSIONS: &str = "versions";

/// `VERSIONS key ...`
pub fn versions(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let version = |key: &Bytes| Reply::Int(i64::try_from(space.version(key)).unwrap_or(i64::MAX));
    Ok(Reply::Array(command[1..].iter().map(version).collect()))
}

/// `TYPE key`
pub fn type_of(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let slot = space.slot(&command[1]);
    let name = slot.map_or("none", |slot| slot.value.type_name());
    Ok(Reply::Simple(name.into()))
}

/// `DBSIZE`
pub fn dbsize(space: &Keyspace, _: &[Bytes]) -> Outcome {
    Ok(count(space.len()))
}

/// `TIME`: the logical clock as seconds and microseconds.
pub fn time(space: &Keyspace, _: &[Bytes]) -> Outcome {
    let (seconds, rest_ms) = (space.clock_ms / 1_000, space.clock_ms % 1_000);
    let micros = rest_ms * 1_000;
    Ok(Reply::Array(vec![
        Reply::text(seconds.to_string()),
        Reply::text(micros.to_string()),
    ]))
}

/// `PUBLISH channel message`: delivered on every server. Receivers are not counted, because they
/// are connected to different servers; the answer is always 0.
pub fn publish(_: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    effects.messages.push(Message {
        channel: copied(&command[1]),
        payload: copied(&command[2]),
    });
    Ok(Reply::Int(0))
}

/// Says that whoever waits for a key's elements may try again.
fn announce(key: &Bytes, value: &Value, effects: &mut Effects) {
    if matches!(value, Value::List(_) | Value::Sorted(_) | Value::Stream(_)) {
        effects.ready.push(copied(key));
    }
}

fn moved(space: &mut Keyspace, from: &Bytes, to: &Bytes, effects: &mut Effects) {
    if let Some(slot) = space.take(from, effects) {
        announce(to, &slot.value, effects);
        space.put_whole(to, slot.value, slot.expires_at_ms, effects);
    }
}

/// `RENAME key newkey`
pub fn rename(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (from, to) = (&command[1], &command[2]);
    if space.slot(from).is_none() {
        return Err(refuse("ERR no such key"));
    }
    if from != to {
        moved(space, from, to, effects);
    }
    Ok(Reply::Ok)
}

/// `RENAMENX key newkey`
pub fn renamenx(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (from, to) = (&command[1], &command[2]);
    if space.slot(from).is_none() {
        return Err(refuse("ERR no such key"));
    }
    let free = space.slot(to).is_none();
    if free {
        moved(space, from, to, effects);
    }
    Ok(yes(free))
}

/// `COPY source destination [DB 0] [REPLACE]`
pub fn copy(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (from, to) = (&command[1], &command[2]);
    let mut replace = false;
    let mut left = &command[3..];
    while let Some((word, rest)) = left.split_first() {
        left = match rest.split_first() {
            _ if is(word, "REPLACE") => {
                replace = true;
                rest
            }
            Some((number, rest)) if is(word, "DB") => {
                if integer(number)? != 0 {
                    return Err(refuse("ERR DB index is out of range"));
                }
                rest
            }
            _ => return Err(SYNTAX),
        };
    }
    if from == to {
        return Err(refuse("ERR source and destination objects are the same"));
    }
    let Some(slot) = space.slot(from).cloned() else {
        return Ok(Reply::Int(0));
    };
    let free = replace || space.slot(to).is_none();
    if free {
        announce(to, &slot.value, effects);
        space.put_whole(to, slot.value, slot.expires_at_ms, effects);
    }
    Ok(yes(free))
}

/// Strings up to this length are kept in one piece by Redis (`embstr`).
const EMBEDDED_MAX: usize = 44;

/// Collections up to this size are kept flat by Redis (`listpack`).
const FLAT_MAX: usize = 128;

fn encoding(value: &Value) -> &'static str {
    let size = |len: usize, large| if len <= FLAT_MAX { "listpack" } else { large };
    match value {
        Value::String(text) if integer(text).is_ok() => "int",
        Value::String(text) if text.len() <= EMBEDDED_MAX => "embstr",
        Value::String(_) => "raw",
        Value::Hash(hash) => size(hash.len(), "hashtable"),
        Value::Set(set) => size(set.len(), "hashtable"),
        Value::Sorted(set) => size(set.len(), "skiplist"),
        Value::List(_) => "quicklist",
        Value::Stream(_) => "stream",
    }
}

/// `OBJECT ENCODING|REFCOUNT|IDLETIME key`
pub fn object(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let key = match &command[2..] {
        [key] => key,
        _ => return Err(super::table::arity_refusal("object")),
    };
    let slot = space.slot(key);
    let answer = |show: fn(&Value) -> Reply| slot.map_or(Reply::Nil, |slot| show(&slot.value));
    match &command[1] {
        word if is(word, "ENCODING") => Ok(answer(|value| Reply::text(encoding(value)))),
        word if is(word, "REFCOUNT") => Ok(answer(|_| Reply::Int(1))),
        word if is(word, "IDLETIME") => Ok(answer(|_| Reply::Int(0))),
        word => {
            let word = String::from_utf8_lossy(word);
            let text = format!("ERR unknown subcommand '{word}'. Try OBJECT HELP.");
            Err(super::parse::Refusal(text.into()))
        }
    }
}
