//! Commands on strings.

use bytes::{Bytes, BytesMut};

use super::parse::{NOT_AN_INTEGER, OVERFLOW, Outcome, Refusal, SYNTAX, argument, integer, is};
use super::parse::{WRONG_TYPE, refuse};
use super::value::Value;
use super::{Effects, Keyspace, own};
use crate::limits::BULK_MAX;
use crate::reply::Reply;

/// What the options of `SET` and `GETEX` say about the deadline.
#[derive(Clone, Copy, PartialEq)]
enum Deadline {
    Unset,
    Keep,
    Persist,
    At(u64),
}

/// Reads `EX s`, `PX ms`, `EXAT s` or `PXAT ms` at `at`; answers the absolute time.
fn deadline(command: &[Bytes], at: usize, clock_ms: u64) -> Result<Option<u64>, Refusal> {
    let (unit_ms, relative) = match &command[at] {
        word if is(word, "EX") => (1_000, true),
        word if is(word, "PX") => (1, true),
        word if is(word, "EXAT") => (1_000, false),
        word if is(word, "PXAT") => (1, false),
        _ => return Ok(None),
    };
    let wrong = || {
        let name = String::from_utf8_lossy(&command[0]).to_lowercase();
        Refusal(format!("ERR invalid expire time in '{name}' command").into())
    };
    let amount = integer(argument(command, at + 1)?)?;
    let amount = u64::try_from(amount)
        .ok()
        .filter(|amount| *amount > 0)
        .ok_or_else(wrong)?;
    let amount = amount.checked_mul(unit_ms).ok_or_else(wrong)?;
    let base = if relative { clock_ms } else { 0 };
    amount.checked_add(base).map(Some).ok_or_else(wrong)
}

struct SetOptions {
    only_new: bool,
    only_present: bool,
    get: bool,
    deadline: Deadline,
}

fn set_options(command: &[Bytes], clock_ms: u64) -> Result<SetOptions, Refusal> {
    let mut options = SetOptions {
        only_new: false,
        only_present: false,
        get: false,
        deadline: Deadline::Unset,
    };
    let mut at = 3;
    while at < command.len() {
        let word = &command[at];
        if is(word, "NX") {
            options.only_new = true;
        } else if is(word, "XX") {
            options.only_present = true;
        } else if is(word, "GET") {
            options.get = true;
        } else {
            if options.deadline != Deadline::Unset {
                return Err(SYNTAX);
            }
            options.deadline = if is(word, "KEEPTTL") {
                Deadline::Keep
            } else {
                let time = deadline(command, at, clock_ms)?.ok_or(SYNTAX)?;
                at += 1;
                Deadline::At(time)
            };
        }
        at += 1;
    }
    if options.only_new && options.only_present {
        Err(SYNTAX)
    } else {
        Ok(options)
    }
}

/// `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`
pub fn set(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let options = set_options(command, space.clock_ms)?;
    let (key, value) = (&command[1], &command[2]);
    let present = space.slot(key);
    let old_deadline = present.map_or(0, |slot| slot.expires_at_ms);
    let exists = present.is_some();
    let old = if options.get {
        space
            .string(key)?
            .map_or(Reply::Nil, |text| Reply::Bulk(text.clone()))
    } else {
        Reply::Nil
    };
    if (options.only_new && exists) || (options.only_present && !exists) {
        return Ok(old);
    }
    let expires_at_ms = match options.deadline {
        Deadline::At(time) => time,
        Deadline::Keep => old_deadline,
        Deadline::Unset | Deadline::Persist => 0,
    };
    space.put(key, Value::String(own(value)), expires_at_ms, effects);
    Ok(if options.get { old } else { Reply::Ok })
}

/// `SETNX key value`
pub fn setnx(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if space.slot(&command[1]).is_some() {
        return Ok(Reply::Int(0));
    }
    space.put(&command[1], Value::String(own(&command[2])), 0, effects);
    Ok(Reply::Int(1))
}

fn set_with_time(
    space: &mut Keyspace,
    command: &[Bytes],
    unit_ms: u64,
    effects: &mut Effects,
) -> Outcome {
    let amount = u64::try_from(integer(&command[2])?)
        .ok()
        .filter(|amount| *amount > 0);
    let time = amount
        .and_then(|amount| amount.checked_mul(unit_ms))
        .and_then(|amount| amount.checked_add(space.clock_ms))
        .ok_or(refuse("ERR invalid expire time in 'setex' command"))?;
    space.put(&command[1], Value::String(own(&command[3])), time, effects);
    Ok(Reply::Ok)
}

/// `SETEX key seconds value`
pub fn setex(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    set_with_time(space, command, 1_000, effects)
}

/// `PSETEX key milliseconds value`
pub fn psetex(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    set_with_time(space, command, 1, effects)
}

/// `GET key`
pub fn get(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(space
        .string(&command[1])?
        .map_or(Reply::Nil, |text| Reply::Bulk(text.clone())))
}

/// `GETSET key value`
pub fn getset(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let old = get(space, command)?;
    space.put(&command[1], Value::String(own(&command[2])), 0, effects);
    Ok(old)
}

/// `GETDEL key`
pub fn getdel(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let old = get(space, command)?;
    space.remove(&command[1], effects);
    Ok(old)
}

/// `GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]`
pub fn getex(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let chosen = match command.len() {
        2 => Deadline::Unset,
        3 if is(&command[2], "PERSIST") => Deadline::Persist,
        4 => Deadline::At(deadline(command, 2, space.clock_ms)?.ok_or(SYNTAX)?),
        _ => return Err(SYNTAX),
    };
    let value = get(space, command)?;
    match chosen {
        Deadline::At(time) => space.set_deadline(&command[1], time, effects),
        Deadline::Persist => space.set_deadline(&command[1], 0, effects),
        Deadline::Unset | Deadline::Keep => false,
    };
    Ok(value)
}

fn add(space: &mut Keyspace, key: &[u8], amount: i64, effects: &mut Effects) -> Outcome {
    let (old, expires_at_ms) = match space.slot(key) {
        None => (0, 0),
        Some(slot) => match &slot.value {
            Value::String(text) => (integer(text)?, slot.expires_at_ms),
            _ => return Err(WRONG_TYPE),
        },
    };
    let sum = old.checked_add(amount).ok_or(OVERFLOW)?;
    space.put(
        key,
        Value::String(Bytes::from(sum.to_string())),
        expires_at_ms,
        effects,
    );
    Ok(Reply::Int(sum))
}

/// `INCR key`
pub fn incr(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    add(space, &command[1], 1, effects)
}

/// `DECR key`
pub fn decr(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    add(space, &command[1], -1, effects)
}

/// `INCRBY key amount`
pub fn incrby(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    add(space, &command[1], integer(&command[2])?, effects)
}

/// `DECRBY key amount`
pub fn decrby(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let amount = integer(&command[2])?.checked_neg().ok_or(NOT_AN_INTEGER)?;
    add(space, &command[1], amount, effects)
}

/// `APPEND key value`
pub fn append(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let old = space.string(&command[1])?.cloned().unwrap_or_default();
    let expires_at_ms = space.slot(&command[1]).map_or(0, |slot| slot.expires_at_ms);
    if old.len() + command[2].len() > BULK_MAX {
        return Err(refuse("ERR string exceeds maximum allowed size"));
    }
    let mut text = BytesMut::with_capacity(old.len() + command[2].len());
    text.extend_from_slice(&old);
    text.extend_from_slice(&command[2]);
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    space.put(
        &command[1],
        Value::String(text.freeze()),
        expires_at_ms,
        effects,
    );
    Ok(Reply::Int(length))
}

/// `STRLEN key`
pub fn strlen(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let length = space.string(&command[1])?.map_or(0, Bytes::len);
    Ok(Reply::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// `MGET key ...`
pub fn mget(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let value = |key: &Bytes| match space.string(key) {
        Ok(Some(text)) => Reply::Bulk(text.clone()),
        _ => Reply::Nil,
    };
    Ok(Reply::Array(command[1..].iter().map(value).collect()))
}

/// `MSET key value ...`
pub fn mset(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if command.len().is_multiple_of(2) {
        return Err(refuse("ERR wrong number of arguments for 'mset' command"));
    }
    for pair in command[1..].chunks_exact(2) {
        space.put(&pair[0], Value::String(own(&pair[1])), 0, effects);
    }
    Ok(Reply::Ok)
}
