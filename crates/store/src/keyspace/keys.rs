//! Commands on any key, on all keys, and the clock.

use bytes::Bytes;

use super::parse::{Outcome, Refusal, SYNTAX, argument, integer, is, refuse};
use super::{Effects, Keyspace, Message, matches, own};
use crate::limits::KEYS_MAX;
use crate::reply::Reply;

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// `DEL key ...` and `UNLINK key ...`
pub fn del(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let removed = command[1..]
        .iter()
        .filter(|key| space.remove(key, effects))
        .count();
    Ok(count(removed))
}

/// `EXISTS key ...`
pub fn exists(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(count(
        command[1..]
            .iter()
            .filter(|key| space.slot(key).is_some())
            .count(),
    ))
}

/// Name of the internal command that makes a request depend on versions of keys.
pub const WATCHED: &str = "watched";

/// `WATCHED key version ...`, a request's first command; see [`Keyspace::watched_differ`]. What
/// gets here stands elsewhere or comes alone, and has no effect.
pub fn watched(_: &mut Keyspace, _: &[Bytes], _: &mut Effects) -> Outcome {
    Ok(Reply::Ok)
}

/// `TYPE key`
pub fn type_of(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let name = space
        .slot(&command[1])
        .map_or("none", |slot| slot.value.type_name());
    Ok(Reply::Simple(name.into()))
}

/// `DBSIZE`
pub fn dbsize(space: &Keyspace, _: &[Bytes]) -> Outcome {
    Ok(count(space.len()))
}

/// `FLUSHALL` and `FLUSHDB`
pub fn flushall(space: &mut Keyspace, _: &[Bytes], effects: &mut Effects) -> Outcome {
    space.clear(effects);
    Ok(Reply::Ok)
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
        channel: own(&command[1]),
        payload: own(&command[2]),
    });
    Ok(Reply::Int(0))
}

/// `KEYS pattern`
pub fn keys(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let found = space
        .slots
        .iter()
        .filter(|(key, _)| matches(&command[1], key))
        .take(KEYS_MAX);
    Ok(Reply::Array(
        found.map(|(key, _)| Reply::Bulk(key.clone())).collect(),
    ))
}

/// `SCAN cursor [MATCH pattern] [COUNT number] [TYPE name]`
pub fn scan(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let cursor = integer(&command[1])
        .ok()
        .and_then(|cursor| u64::try_from(cursor).ok());
    let cursor = cursor.ok_or(refuse("ERR invalid cursor"))?;
    let (mut pattern, mut number, mut type_name) = (None, 10, None);
    for at in (2..command.len()).step_by(2) {
        let value = argument(command, at + 1)?;
        match &command[at] {
            word if is(word, "MATCH") => pattern = Some(value),
            word if is(word, "COUNT") => number = integer(value)?,
            word if is(word, "TYPE") => type_name = Some(value),
            _ => return Err(SYNTAX),
        }
    }
    let number = usize::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or(SYNTAX)?;
    let start = match cursor {
        0 => None,
        _ => Some(space.cursors.lock().recall(cursor).ok_or(refuse(
            "ERR this cursor is not known here any more (another leader?), begin again with 0",
        ))?),
    };
    let mut page: Vec<_> = match &start {
        None => space.slots.iter().take(number.min(KEYS_MAX) + 1).collect(),
        Some(key) => space
            .slots
            .after(key)
            .take(number.min(KEYS_MAX) + 1)
            .collect(),
    };
    let more = page.len() > number;
    page.truncate(number);
    let next = match page.last() {
        Some((last, _)) if more => space.cursors.lock().remember((*last).clone()),
        _ => 0,
    };
    let wanted = page.into_iter().filter(|(key, slot)| {
        pattern.is_none_or(|pattern| matches(pattern, key))
            && type_name.is_none_or(|name| is(name, slot.value.type_name()))
    });
    let found = wanted.map(|(key, _)| Reply::Bulk(key.clone())).collect();
    Ok(Reply::Array(vec![
        Reply::text(next.to_string()),
        Reply::Array(found),
    ]))
}

/// Options of the `EXPIRE` family.
fn expire_allowed(command: &[Bytes], old_ms: u64, new_ms: u64) -> Result<bool, Refusal> {
    let mut allowed = true;
    for word in &command[3..] {
        // No deadline counts as the farthest one.
        let old = if old_ms == 0 { u64::MAX } else { old_ms };
        allowed &= match word {
            word if is(word, "NX") => old_ms == 0,
            word if is(word, "XX") => old_ms != 0,
            word if is(word, "GT") => new_ms > old,
            word if is(word, "LT") => new_ms < old,
            _ => {
                let text = String::from_utf8_lossy(word);
                return Err(Refusal(format!("ERR Unsupported option {text}").into()));
            }
        };
    }
    Ok(allowed)
}

fn expire_at(
    space: &mut Keyspace,
    command: &[Bytes],
    unit_ms: i64,
    relative: bool,
    effects: &mut Effects,
) -> Outcome {
    let wrong = || {
        let name = String::from_utf8_lossy(&command[0]).to_lowercase();
        Refusal(format!("ERR invalid expire time in '{name}' command").into())
    };
    let base = if relative {
        i64::try_from(space.clock_ms).unwrap_or(i64::MAX)
    } else {
        0
    };
    let amount = integer(&command[2])?
        .checked_mul(unit_ms)
        .ok_or_else(wrong)?;
    let at = amount.checked_add(base).ok_or_else(wrong)?;
    // A time before the epoch is over as well; 1 keeps it apart from "no deadline".
    let at = u64::try_from(at).unwrap_or(0).max(1);
    let Some(slot) = space.slot(&command[1]) else {
        return Ok(Reply::Int(0));
    };
    if !expire_allowed(command, slot.expires_at_ms, at)? {
        return Ok(Reply::Int(0));
    }
    Ok(Reply::Int(i64::from(space.set_deadline(
        &command[1],
        at,
        effects,
    ))))
}

/// `EXPIRE key seconds [NX|XX|GT|LT]`
pub fn expire(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire_at(space, command, 1_000, true, effects)
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`
pub fn pexpire(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire_at(space, command, 1, true, effects)
}

/// `EXPIREAT key seconds [NX|XX|GT|LT]`
pub fn expireat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire_at(space, command, 1_000, false, effects)
}

/// `PEXPIREAT key milliseconds [NX|XX|GT|LT]`
pub fn pexpireat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire_at(space, command, 1, false, effects)
}

/// `PERSIST key`
pub fn persist(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let timed = space
        .slot(&command[1])
        .is_some_and(|slot| slot.expires_at_ms != 0);
    Ok(Reply::Int(i64::from(
        timed && space.set_deadline(&command[1], 0, effects),
    )))
}

fn remaining_ms(space: &Keyspace, key: &[u8]) -> i64 {
    match space.slot(key) {
        None => -2,
        Some(slot) if slot.expires_at_ms == 0 => -1,
        Some(slot) => {
            let left = slot.expires_at_ms.saturating_sub(space.clock_ms);
            i64::try_from(left).unwrap_or(i64::MAX)
        }
    }
}

/// `PTTL key`
pub fn pttl(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(Reply::Int(remaining_ms(space, &command[1])))
}

/// `TTL key`, rounded to the nearest second as Redis does.
pub fn ttl(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let left = remaining_ms(space, &command[1]);
    Ok(Reply::Int(if left < 0 {
        left
    } else {
        (left + 500) / 1_000
    }))
}
