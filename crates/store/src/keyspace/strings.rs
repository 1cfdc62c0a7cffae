//! Commands on strings.

use bytes::Bytes;

use super::deadlines::{Time, time_word};
use super::parse::{
    NOT_A_FLOAT, OVERFLOW, Outcome, Refusal, SYNTAX, WRONG_TYPE, argument, bulk, count, integer,
    is, refuse, yes,
};
use super::text::Text;
use super::value::Value;
use super::{Effects, Keyspace, decimal, own, table};
use crate::limits::BULK_MAX;
use crate::reply::Reply;

/// What the options of `SET` and `GETEX` say about the deadline.
#[derive(Clone, Copy, PartialEq)]
enum Deadline<'a> {
    Unset,
    Keep,
    Persist,
    At(Time<'a>),
}

#[derive(PartialEq, Clone, Copy)]
enum Condition<'a> {
    None,
    New,
    Present,
    Equal(&'a Bytes),
}

struct SetOptions<'a> {
    condition: Condition<'a>,
    get: bool,
    deadline: Deadline<'a>,
}

fn set_options(command: &[Bytes]) -> Result<SetOptions<'_>, Refusal> {
    let mut options = SetOptions {
        condition: Condition::None,
        get: false,
        deadline: Deadline::Unset,
    };
    let mut at = 3;
    while at < command.len() {
        let word = &command[at];
        let condition = if is(word, "NX") {
            Some(Condition::New)
        } else if is(word, "XX") {
            Some(Condition::Present)
        } else if is(word, "IFEQ") {
            at += 1;
            Some(Condition::Equal(argument(command, at)?))
        } else {
            None
        };
        if let Some(condition) = condition {
            if options.condition != Condition::None && options.condition != condition {
                return Err(SYNTAX);
            }
            options.condition = condition;
        } else if is(word, "GET") {
            options.get = true;
        } else {
            let keep = is(word, "KEEPTTL");
            let free =
                options.deadline == Deadline::Unset || (keep && options.deadline == Deadline::Keep);
            if !free {
                return Err(SYNTAX);
            }
            options.deadline = if keep {
                Deadline::Keep
            } else {
                at += 1;
                Deadline::At(time_word(word, command.get(at)).ok_or(SYNTAX)?)
            };
        }
        at += 1;
    }
    Ok(options)
}

/// `SET key value [NX|XX|IFEQ old] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`
pub fn set(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (key, value) = (&command[1], &command[2]);
    if command.len() == 3 {
        space.put(key, Value::String(own(value)), 0, effects);
        return Ok(Reply::Ok);
    }
    let options = set_options(command)?;
    let at_ms = match options.deadline {
        Deadline::At(time) => time.resolve("set", space.clock_ms)?,
        _ => 0,
    };
    let present = space.slot(key);
    let expires_at_ms = match options.deadline {
        Deadline::Keep => present.map_or(0, |slot| slot.expires_at_ms),
        _ => at_ms,
    };
    let exists = present.is_some();
    let old = if options.get {
        space.string(key)?.map_or(Reply::Nil, bulk)
    } else {
        Reply::Nil
    };
    let admitted = match options.condition {
        Condition::None => true,
        Condition::New => !exists,
        Condition::Present => exists,
        Condition::Equal(wanted) => {
            let present = space.string(key)?;
            present.is_some_and(|text| **text == **wanted)
        }
    };
    if !admitted {
        return Ok(old);
    }
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

/// `SETEX key seconds value`
pub fn setex(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let at_ms = Time::relative(&command[2], 1_000).resolve("setex", space.clock_ms)?;
    space.put(&command[1], Value::String(own(&command[3])), at_ms, effects);
    Ok(Reply::Ok)
}

/// `PSETEX key milliseconds value`
pub fn psetex(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let at_ms = Time::relative(&command[2], 1).resolve("psetex", space.clock_ms)?;
    space.put(&command[1], Value::String(own(&command[3])), at_ms, effects);
    Ok(Reply::Ok)
}

/// `GET key`
pub fn get(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(space.string(&command[1])?.map_or(Reply::Nil, bulk))
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
    let chosen = match &command[2..] {
        [] => Deadline::Unset,
        [word] if is(word, "PERSIST") => Deadline::Persist,
        [word, _] => Deadline::At(time_word(word, command.get(3)).ok_or(SYNTAX)?),
        _ => return Err(SYNTAX),
    };
    let Some(text) = space.string(&command[1])? else {
        return Ok(Reply::Nil);
    };
    let value = bulk(text);
    match chosen {
        Deadline::At(time) => {
            let at_ms = time.resolve("getex", space.clock_ms)?;
            space.set_deadline(&command[1], at_ms, effects);
        }
        Deadline::Persist => {
            space.set_deadline(&command[1], 0, effects);
        }
        Deadline::Unset | Deadline::Keep => {}
    }
    Ok(value)
}

/// `GETRANGE key start end` and `SUBSTR key start end`
pub fn getrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let (start, end) = (integer(&command[2])?, integer(&command[3])?);
    let Some(text) = space.string(&command[1])? else {
        return Ok(Reply::Bulk(Bytes::new()));
    };
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let place = |index: i64| {
        let place = if index < 0 {
            index.saturating_add(length)
        } else {
            index
        };
        usize::try_from(place.max(0)).unwrap_or(usize::MAX)
    };
    let end = place(end).saturating_add(1).min(text.len());
    let start = place(start).min(end);
    Ok(Reply::Bulk(Bytes::copy_from_slice(&text[start..end])))
}

const TOO_LONG: Refusal = refuse("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// Replaces the text of a string that may be there, and keeps its deadline.
fn rewrite(
    space: &mut Keyspace,
    key: &Bytes,
    effects: &mut Effects,
    new: impl FnOnce(Option<&[u8]>) -> Result<Text, Refusal>,
) -> Result<usize, Refusal> {
    let (text, expires_at_ms) = match space.slot(key) {
        None => (new(None)?, 0),
        Some(slot) => match &slot.value {
            Value::String(text) => (new(Some(text.as_ref()))?, slot.expires_at_ms),
            _ => return Err(WRONG_TYPE),
        },
    };
    let length = text.len();
    space.put(key, Value::String(text), expires_at_ms, effects);
    Ok(length)
}

/// `SETRANGE key offset value`
pub fn setrange(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let offset = integer(&command[2])?;
    let offset = usize::try_from(offset).map_err(|_| refuse("ERR offset is out of range"))?;
    let piece = &command[3];
    if piece.is_empty() {
        return strlen(space, command);
    }
    let length = rewrite(space, &command[1], effects, |old| {
        let end = offset
            .checked_add(piece.len())
            .filter(|end| *end <= BULK_MAX);
        let end = end.ok_or(TOO_LONG)?;
        let old = old.unwrap_or_default();
        let mut text = vec![0; end.max(old.len())];
        text[..old.len()].copy_from_slice(old);
        text[offset..end].copy_from_slice(piece);
        Ok(Text::from(&*text))
    })?;
    Ok(count(length))
}

fn add(space: &mut Keyspace, key: &Bytes, amount: i64, effects: &mut Effects) -> Outcome {
    let mut sum = amount;
    rewrite(space, key, effects, |old| {
        let old = old.map_or(Ok(0), integer)?;
        sum = old.checked_add(amount).ok_or(OVERFLOW)?;
        Ok(Text::from(sum.to_string().as_bytes()))
    })?;
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
    let amount = integer(&command[2])?.checked_neg();
    let amount = amount.ok_or(refuse("ERR decrement would overflow"))?;
    add(space, &command[1], amount, effects)
}

/// `INCRBYFLOAT key amount`
pub fn incrbyfloat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let mut sum = Bytes::new();
    rewrite(space, &command[1], effects, |old| {
        let old = old.unwrap_or(b"0");
        sum = Bytes::from(decimal::add(old, &command[2], NOT_A_FLOAT)?);
        Ok(Text::from(&*sum))
    })?;
    Ok(Reply::Bulk(sum))
}

/// `APPEND key value`
pub fn append(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let length = rewrite(space, &command[1], effects, |old| {
        let old = old.unwrap_or_default();
        if old.len() + command[2].len() > BULK_MAX {
            return Err(TOO_LONG);
        }
        Ok(Text::from(&*[old, &command[2]].concat()))
    })?;
    Ok(count(length))
}

/// `STRLEN key`
pub fn strlen(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(count(
        space.string(&command[1])?.map_or(0, |text| text.len()),
    ))
}

/// `MGET key ...`
pub fn mget(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let value = |key: &Bytes| match space.string(key) {
        Ok(Some(text)) => bulk(text),
        _ => Reply::Nil,
    };
    Ok(Reply::Array(command[1..].iter().map(value).collect()))
}

fn set_pairs(space: &mut Keyspace, pairs: &[Bytes], effects: &mut Effects) {
    for pair in pairs.chunks_exact(2) {
        space.put(&pair[0], Value::String(own(&pair[1])), 0, effects);
    }
}

/// `MSET key value ...`
pub fn mset(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if command.len().is_multiple_of(2) {
        return Err(table::arity_refusal("mset"));
    }
    set_pairs(space, &command[1..], effects);
    Ok(Reply::Ok)
}

/// `MSETNX key value ...`
pub fn msetnx(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if command.len().is_multiple_of(2) {
        return Err(table::arity_refusal("msetnx"));
    }
    let mut keys = command[1..].iter().step_by(2);
    let free = keys.all(|key| space.slot(key).is_none());
    if free {
        set_pairs(space, &command[1..], effects);
    }
    Ok(yes(free))
}
