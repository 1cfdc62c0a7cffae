//! Deadlines of single fields of a hash, as in Redis 7.4. A field ends when the logical clock
//! reaches its deadline, in the order of deadlines, on every server at the same entry.

use bytes::Bytes;

use super::deadlines::Condition;
use super::parse::{Outcome, Refusal, integer, is, positive, refuse};
use super::value::Hash;
use super::{Effects, Keyspace, own};
use crate::reply::Reply;

/// The farthest deadline of a field (Redis 7.4: 48 bits).
const DEADLINE_MS_MAX: u64 = (1 << 48) - 2;

const NO_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;
const REFUSED: i64 = 0;
const DONE: i64 = 1;
const ENDED: i64 = 2;

/// Reads `FIELDS number field ...` at `at`.
fn fields(command: &[Bytes], at: usize) -> Result<&[Bytes], Refusal> {
    if !command.get(at).is_some_and(|word| is(word, "FIELDS")) {
        return Err(refuse(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    let wrong = refuse("ERR Parameter `numFields` should be greater than 0");
    let empty = Bytes::new();
    let number = positive(command.get(at + 1).unwrap_or(&empty), wrong)?;
    match command.get(at + 2..) {
        Some(fields) if fields.len() == number => Ok(fields),
        _ => Err(refuse(
            "ERR The `numfields` parameter must match the number of arguments",
        )),
    }
}

fn expire(
    space: &mut Keyspace,
    command: &[Bytes],
    (name, unit_ms, relative): (&str, u64, bool),
    effects: &mut Effects,
) -> Outcome {
    let key = &command[1];
    space.get::<Hash>(key)?;
    let amount = u64::try_from(integer(&command[2])?)
        .map_err(|_| refuse("ERR invalid expire time, must be >= 0"))?;
    let base = if relative { space.clock_ms } else { 0 };
    let at_ms = amount
        .checked_mul(unit_ms)
        .and_then(|amount| amount.checked_add(base))
        .filter(|at_ms| *at_ms <= DEADLINE_MS_MAX);
    let at_ms = at_ms
        .ok_or_else(|| Refusal(format!("ERR invalid expire time in '{name}' command").into()))?;
    let mut condition = Condition::default();
    let given = command.get(3).is_some_and(|word| condition.add(word));
    let fields = fields(command, 3 + usize::from(given))?;
    let over = at_ms <= space.clock_ms;
    let (mut gone, mut set) = (Vec::new(), Vec::new());
    let answers = space.change_present(key, effects, |hash: &mut Hash| {
        let mut one = |field: &Bytes| {
            let Some(old) = hash.fields().get(field).map(|field| field.expires_at_ms) else {
                return NO_FIELD;
            };
            if !condition.admits(old, at_ms) {
                return REFUSED;
            }
            gone.push((old, own(field)));
            if over {
                hash.remove(field);
                return ENDED;
            }
            if let Some((kept, _)) = hash.set_deadline(field, at_ms) {
                set.push(kept);
            }
            DONE
        };
        fields.iter().map(&mut one).collect::<Vec<_>>()
    })?;
    for (old, field) in gone {
        space.forget_field(old, key, &field);
    }
    for field in set {
        space.field_deadlines.insert((at_ms, own(key), field));
    }
    Ok(numbers(
        answers.unwrap_or_else(|| vec![NO_FIELD; fields.len()]),
    ))
}

fn numbers(numbers: Vec<i64>) -> Reply {
    Reply::Array(numbers.into_iter().map(Reply::Int).collect())
}

/// `HEXPIRE key seconds [NX|XX|GT|LT] FIELDS number field ...`
pub fn hexpire(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire(space, command, ("hexpire", 1_000, true), effects)
}

/// `HPEXPIRE key milliseconds [NX|XX|GT|LT] FIELDS number field ...`
pub fn hpexpire(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire(space, command, ("hpexpire", 1, true), effects)
}

/// `HEXPIREAT key time [NX|XX|GT|LT] FIELDS number field ...`
pub fn hexpireat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire(space, command, ("hexpireat", 1_000, false), effects)
}

/// `HPEXPIREAT key time [NX|XX|GT|LT] FIELDS number field ...`
pub fn hpexpireat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    expire(space, command, ("hpexpireat", 1, false), effects)
}

/// `HPERSIST key FIELDS number field ...`
pub fn hpersist(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let key = &command[1];
    space.get::<Hash>(key)?;
    let fields = fields(command, 2)?;
    let mut gone = Vec::new();
    let answers = space.change_present(key, effects, |hash: &mut Hash| {
        let mut one = |field: &Bytes| match hash.set_deadline(field, 0) {
            None => NO_FIELD,
            Some((_, 0)) => NO_DEADLINE,
            Some((kept, old)) => {
                gone.push((old, kept));
                DONE
            }
        };
        fields.iter().map(&mut one).collect::<Vec<_>>()
    })?;
    for (old, field) in gone {
        space.forget_field(old, key, &field);
    }
    Ok(numbers(
        answers.unwrap_or_else(|| vec![NO_FIELD; fields.len()]),
    ))
}

fn shown(space: &Keyspace, command: &[Bytes], show: impl Fn(u64) -> u64) -> Outcome {
    let hash = space.get::<Hash>(&command[1])?;
    let one = |field: &Bytes| match hash.and_then(|hash| hash.fields().get(field)) {
        None => NO_FIELD,
        Some(field) if field.expires_at_ms == 0 => NO_DEADLINE,
        Some(field) => i64::try_from(show(field.expires_at_ms)).unwrap_or(i64::MAX),
    };
    Ok(numbers(fields(command, 2)?.iter().map(one).collect()))
}

/// `HTTL key FIELDS number field ...`: seconds, rounded up.
pub fn httl(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, command, |at| {
        at.saturating_sub(space.clock_ms).div_ceil(1_000)
    })
}

/// `HPTTL key FIELDS number field ...`
pub fn hpttl(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, command, |at| at.saturating_sub(space.clock_ms))
}

/// `HEXPIRETIME key FIELDS number field ...`: seconds, rounded up.
pub fn hexpiretime(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, command, |at| at.div_ceil(1_000))
}

/// `HPEXPIRETIME key FIELDS number field ...`
pub fn hpexpiretime(space: &Keyspace, command: &[Bytes]) -> Outcome {
    shown(space, command, |at| at)
}
