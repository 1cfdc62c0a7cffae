//! Commands about the time a key ends.

use bytes::Bytes;

use super::parse::{Outcome, Refusal, integer, is, refuse, yes};
use super::{Effects, Keyspace};
use crate::reply::Reply;

/// A time as it was given.
#[derive(Clone, Copy, PartialEq)]
pub struct Time<'a> {
    text: &'a Bytes,
    unit_ms: i64,
    relative: bool,
}

/// Reads `EX s`, `PX ms`, `EXAT s` or `PXAT ms`.
pub fn time_word<'a>(word: &Bytes, text: Option<&'a Bytes>) -> Option<Time<'a>> {
    let (unit_ms, relative) = match word {
        word if is(word, "EX") => (1_000, true),
        word if is(word, "PX") => (1, true),
        word if is(word, "EXAT") => (1_000, false),
        word if is(word, "PXAT") => (1, false),
        _ => return None,
    };
    text.map(|text| Time {
        text,
        unit_ms,
        relative,
    })
}

fn invalid(name: &str) -> Refusal {
    Refusal(format!("ERR invalid expire time in '{name}' command").into())
}

impl<'a> Time<'a> {
    /// A time counted from now.
    pub fn relative(text: &'a Bytes, unit_ms: i64) -> Self {
        Self {
            text,
            unit_ms,
            relative: true,
        }
    }

    /// A time counted from 1970.
    pub fn absolute(text: &'a Bytes, unit_ms: i64) -> Self {
        Self {
            text,
            unit_ms,
            relative: false,
        }
    }

    /// The time in Unix milliseconds; it must be above zero as it was given.
    pub fn resolve(&self, name: &str, clock_ms: u64) -> Result<u64, Refusal> {
        let amount = integer(self.text)?;
        if amount <= 0 {
            return Err(invalid(name));
        }
        self.at(amount, name, clock_ms)
    }

    /// The time in Unix milliseconds; what lies before 1970 is 1, which is over as well.
    pub fn resolve_any(&self, name: &str, clock_ms: u64) -> Result<u64, Refusal> {
        let amount = integer(self.text)?;
        self.at(amount, name, clock_ms)
    }

    fn at(&self, amount: i64, name: &str, clock_ms: u64) -> Result<u64, Refusal> {
        let base = if self.relative { clock_ms } else { 0 };
        let base = i64::try_from(base).unwrap_or(i64::MAX);
        let at = amount
            .checked_mul(self.unit_ms)
            .and_then(|amount| amount.checked_add(base))
            .ok_or_else(|| invalid(name))?;
        Ok(u64::try_from(at).unwrap_or(0).max(1))
    }
}

/// A condition of the `EXPIRE` family.
#[derive(Clone, Copy, Default)]
pub struct Condition {
    none_before: bool,
    some_before: bool,
    later: bool,
    earlier: bool,
}

impl Condition {
    /// Adds an option; answers false for a word that is none.
    pub fn add(&mut self, word: &Bytes) -> bool {
        match word {
            word if is(word, "NX") => self.none_before = true,
            word if is(word, "XX") => self.some_before = true,
            word if is(word, "GT") => self.later = true,
            word if is(word, "LT") => self.earlier = true,
            _ => return false,
        }
        true
    }

    /// Whether a deadline may be replaced; 0 = there is none, which counts as the farthest one.
    pub fn admits(&self, old_ms: u64, new_ms: u64) -> bool {
        let far = if old_ms == 0 { u64::MAX } else { old_ms };
        (!self.none_before || old_ms == 0)
            && (!self.some_before || old_ms != 0)
            && (!self.later || new_ms > far)
            && (!self.earlier || new_ms < far)
    }
}

fn condition(words: &[Bytes]) -> Result<Condition, Refusal> {
    let mut condition = Condition::default();
    for word in words {
        if !condition.add(word) {
            let text = String::from_utf8_lossy(word);
            return Err(Refusal(format!("ERR Unsupported option {text}").into()));
        }
    }
    if condition.none_before && (condition.some_before || condition.later || condition.earlier) {
        return Err(refuse(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if condition.later && condition.earlier {
        return Err(refuse(
            "ERR GT and LT options at the same time are not compatible",
        ));
    }
    Ok(condition)
}

fn expire_at(
    space: &mut Keyspace,
    command: &[Bytes],
    name: &str,
    time: &Time<'_>,
    effects: &mut Effects,
) -> Outcome {
    let condition = condition(&command[3..])?;
    let at_ms = time.resolve_any(name, space.clock_ms)?;
    let admitted = space
        .slot(&command[1])
        .is_some_and(|slot| condition.admits(slot.expires_at_ms, at_ms));
    Ok(yes(
        admitted && space.set_deadline(&command[1], at_ms, effects)
    ))
}

/// `EXPIRE key seconds [NX|XX|GT|LT]`
pub fn expire(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let time = Time::relative(&command[2], 1_000);
    expire_at(space, command, "expire", &time, effects)
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`
pub fn pexpire(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let time = Time::relative(&command[2], 1);
    expire_at(space, command, "pexpire", &time, effects)
}

/// `EXPIREAT key seconds [NX|XX|GT|LT]`
pub fn expireat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let time = Time::absolute(&command[2], 1_000);
    expire_at(space, command, "expireat", &time, effects)
}

/// `PEXPIREAT key milliseconds [NX|XX|GT|LT]`
pub fn pexpireat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let time = Time::absolute(&command[2], 1);
    expire_at(space, command, "pexpireat", &time, effects)
}

/// `PERSIST key`
pub fn persist(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let timed = space
        .slot(&command[1])
        .is_some_and(|slot| slot.expires_at_ms != 0);
    Ok(yes(timed && space.set_deadline(&command[1], 0, effects)))
}

/// A deadline as a reply: -2 without a key, -1 without a deadline.
fn shown(space: &Keyspace, key: &[u8], show: impl FnOnce(u64) -> u64) -> Outcome {
    Ok(Reply::Int(match space.slot(key) {
        None => -2,
        Some(slot) if slot.expires_at_ms == 0 => -1,
        Some(slot) => i64::try_from(show(slot.expires_at_ms)).unwrap_or(i64::MAX),
    }))
}

/// Milliseconds as seconds, to the nearest, as Redis does.
fn nearest_s(ms: u64) -> u64 {
    ms.saturating_add(500) / 1_000
}

/// `PTTL key`
pub fn pttl(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, &command[1], |at| at.saturating_sub(space.clock_ms))
}

/// `TTL key`
pub fn ttl(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, &command[1], |at| {
        nearest_s(at.saturating_sub(space.clock_ms))
    })
}

/// `EXPIRETIME key`
pub fn expiretime(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, &command[1], nearest_s)
}

/// `PEXPIRETIME key`
pub fn pexpiretime(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, &command[1], |at| at)
}
