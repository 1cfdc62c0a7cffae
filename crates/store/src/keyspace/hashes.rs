//! Commands on hashes. Deadlines of fields are in [`super::hash_deadlines`].

use bytes::Bytes;

use super::parse::{
    OVERFLOW, Outcome, Refusal, SYNTAX, bulk, count, integer, is, refuse, signed_count, yes,
};
use super::random::Choices;
use super::text::Text;
use super::value::Hash;
use super::{Effects, Keyspace, decimal, own, table};
use crate::reply::Reply;

/// Sets fields; answers how many are new.
fn set_fields(
    space: &mut Keyspace,
    key: &Bytes,
    pairs: &[Bytes],
    effects: &mut Effects,
) -> Result<usize, Refusal> {
    let mut ended = Vec::new();
    let added = space.change(key, effects, |hash: &mut Hash| {
        let mut added = 0;
        for pair in pairs.chunks_exact(2) {
            let (new, deadline_ms) = hash.set(&pair[0], own(&pair[1]), false);
            added += usize::from(new);
            if deadline_ms != 0 {
                ended.push((deadline_ms, &pair[0]));
            }
        }
        Ok(added)
    })?;
    for (deadline_ms, field) in ended {
        space.forget_field(deadline_ms, key, field);
    }
    Ok(added)
}

/// `HSET key field value ...`
pub fn hset(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if command.len() % 2 == 1 {
        return Err(table::arity_refusal("hset"));
    }
    set_fields(space, &command[1], &command[2..], effects).map(count)
}

/// `HMSET key field value ...`
pub fn hmset(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if command.len() % 2 == 1 {
        return Err(table::arity_refusal("hmset"));
    }
    set_fields(space, &command[1], &command[2..], effects).map(|_| Reply::Ok)
}

fn has(space: &Keyspace, command: &[Bytes]) -> Result<bool, Refusal> {
    let hash: Option<&Hash> = space.get(&command[1])?;
    Ok(hash.is_some_and(|hash| hash.get(&command[2]).is_some()))
}

/// `HSETNX key field value`
pub fn hsetnx(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if has(space, command)? {
        return Ok(Reply::Int(0));
    }
    set_fields(space, &command[1], &command[2..], effects).map(count)
}

/// `HGET key field`
pub fn hget(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let hash: Option<&Hash> = space.get(&command[1])?;
    let value = hash.and_then(|hash| hash.get(&command[2]));
    Ok(value.map_or(Reply::Nil, bulk))
}

/// `HMGET key field ...`
pub fn hmget(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let hash: Option<&Hash> = space.get(&command[1])?;
    let value = |field: &Bytes| {
        let value = hash.and_then(|hash| hash.get(field));
        value.map_or(Reply::Nil, bulk)
    };
    Ok(Reply::Array(command[2..].iter().map(value).collect()))
}

/// Makes a reply of each field.
fn each<R>(
    space: &Keyspace,
    key: &Bytes,
    show: impl Fn(&Text, &Text) -> R,
) -> Result<Vec<R>, Refusal> {
    let hash: Option<&Hash> = space.get(key)?;
    let fields = hash.into_iter().flat_map(|hash| hash.fields().iter());
    Ok(fields
        .map(|field| show(&field.key, &field.value.value))
        .collect())
}

/// `HGETALL key`
pub fn hgetall(space: &Keyspace, command: &[Bytes]) -> Outcome {
    each(space, &command[1], |field, value| {
        (bulk(field), bulk(value))
    })
    .map(Reply::Map)
}

/// `HKEYS key`
pub fn hkeys(space: &Keyspace, command: &[Bytes]) -> Outcome {
    each(space, &command[1], |field, _| bulk(field)).map(Reply::Array)
}

/// `HVALS key`
pub fn hvals(space: &Keyspace, command: &[Bytes]) -> Outcome {
    each(space, &command[1], |_, value| bulk(value)).map(Reply::Array)
}

/// `HLEN key`
pub fn hlen(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let hash: Option<&Hash> = space.get(&command[1])?;
    Ok(count(hash.map_or(0, Hash::len)))
}

/// `HEXISTS key field`
pub fn hexists(space: &Keyspace, command: &[Bytes]) -> Outcome {
    has(space, command).map(yes)
}

/// `HSTRLEN key field`
pub fn hstrlen(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let hash: Option<&Hash> = space.get(&command[1])?;
    let value = hash.and_then(|hash| hash.get(&command[2]));
    Ok(count(value.map_or(0, |value| value.len())))
}

/// `HDEL key field ...`
pub fn hdel(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let key = &command[1];
    let removed = space.change_present(key, effects, |hash: &mut Hash| {
        let names = command[2..].iter();
        let removed = names.filter_map(|name| hash.remove(name));
        removed
            .map(|(name, field)| (field.expires_at_ms, name))
            .collect::<Vec<_>>()
    })?;
    let removed = removed.unwrap_or_default();
    for (deadline_ms, field) in &removed {
        space.forget_field(*deadline_ms, key, field);
    }
    Ok(count(removed.len()))
}

/// Replaces the value of a field by what `new` makes of it; the field keeps its deadline.
fn rewrite(
    space: &mut Keyspace,
    command: &[Bytes],
    effects: &mut Effects,
    new: impl FnOnce(Option<&[u8]>) -> Result<Text, Refusal>,
) -> Result<(), Refusal> {
    space.change(&command[1], effects, |hash: &mut Hash| {
        let value = new(hash.get(&command[2]).map(Text::as_ref))?;
        hash.set(&command[2], value, true);
        Ok(())
    })
}

/// `HINCRBY key field amount`
pub fn hincrby(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let amount = integer(&command[3])?;
    let mut sum = amount;
    rewrite(space, command, effects, |old| {
        let wrong = |_| refuse("ERR hash value is not an integer");
        let old = old.map_or(Ok(0), |old| integer(old).map_err(wrong))?;
        sum = old.checked_add(amount).ok_or(OVERFLOW)?;
        Ok(Text::from(sum.to_string().as_bytes()))
    })?;
    Ok(Reply::Int(sum))
}

/// `HINCRBYFLOAT key field amount`
pub fn hincrbyfloat(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let mut sum = Bytes::new();
    let amount = super::parse::float(&command[3], super::parse::NOT_A_FLOAT)?;
    if amount.is_infinite() {
        return Err(refuse("ERR value is NaN or Infinity"));
    }
    rewrite(space, command, effects, |old| {
        let wrong = refuse("ERR hash value is not a float");
        let old = old.unwrap_or(b"0");
        sum = Bytes::from(decimal::add(old, &command[3], wrong)?);
        Ok(Text::from(&*sum))
    })?;
    Ok(Reply::Bulk(sum))
}

/// `HRANDFIELD key [count [WITHVALUES]]`
pub fn hrandfield(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let mut choices = Choices::new(space);
    let Some(number) = command.get(2) else {
        let hash: Option<&Hash> = space.get(&command[1])?;
        let field = hash.and_then(|hash| hash.fields().nth(choices.below(hash.len())));
        return Ok(field.map_or(Reply::Nil, |field| bulk(&field.key)));
    };
    let number = signed_count(number, i64::MAX)?;
    let with_values = match &command[3..] {
        [] => false,
        [word] if is(word, "WITHVALUES") => true,
        _ => return Err(SYNTAX),
    };
    if with_values {
        signed_count(&command[2], i64::MAX / 2)?;
    }
    let Some(hash) = space.get::<Hash>(&command[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let places = choices.places(number, hash.len());
    let fields = places.into_iter().filter_map(|at| hash.fields().nth(at));
    Ok(if with_values {
        Reply::Pairs(
            fields
                .map(|field| (bulk(&field.key), bulk(&field.value.value)))
                .collect(),
        )
    } else {
        Reply::Array(fields.map(|field| bulk(&field.key)).collect())
    })
}
