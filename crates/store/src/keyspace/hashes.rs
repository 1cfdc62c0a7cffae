//! Commands on hashes.

use bytes::Bytes;

use super::parse::{OVERFLOW, Outcome, integer, refuse};
use super::{Effects, Keyspace, own};
use crate::reply::Reply;

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// `HSET key field value ...`
pub fn hset(space: &mut Keyspace, command: &[Bytes], _: &mut Effects) -> Outcome {
    if command.len() % 2 == 1 {
        return Err(refuse("ERR wrong number of arguments for 'hset' command"));
    }
    let fields = space.hash_mut(&command[1])?;
    let mut added = 0;
    for pair in command[2..].chunks_exact(2) {
        added += usize::from(fields.insert(own(&pair[0]), own(&pair[1])).is_none());
    }
    Ok(count(added))
}

/// `HMSET key field value ...`
pub fn hmset(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if command.len() % 2 == 1 {
        return Err(refuse("ERR wrong number of arguments for 'hmset' command"));
    }
    hset(space, command, effects).map(|_| Reply::Ok)
}

/// `HSETNX key field value`
pub fn hsetnx(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let present = space
        .hash(&command[1])?
        .is_some_and(|hash| hash.get(&command[2]).is_some());
    if present {
        Ok(Reply::Int(0))
    } else {
        hset(space, command, effects)
    }
}

/// `HGET key field`
pub fn hget(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let value = space
        .hash(&command[1])?
        .and_then(|fields| fields.get(&command[2]));
    Ok(value.map_or(Reply::Nil, |value| Reply::Bulk(value.clone())))
}

/// `HMGET key field ...`
pub fn hmget(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let fields = space.hash(&command[1])?;
    let value = |field: &Bytes| match fields.and_then(|fields| fields.get(field)) {
        Some(value) => Reply::Bulk(value.clone()),
        None => Reply::Nil,
    };
    Ok(Reply::Array(command[2..].iter().map(value).collect()))
}

/// `HGETALL key`
pub fn hgetall(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let pair =
        |(field, value): (&Bytes, &Bytes)| (Reply::Bulk(field.clone()), Reply::Bulk(value.clone()));
    let fields = space.hash(&command[1])?;
    Ok(Reply::Map(fields.map_or_else(Vec::new, |fields| {
        fields.iter().map(pair).collect()
    })))
}

/// `HKEYS key`
pub fn hkeys(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let fields = space
        .hash(&command[1])?
        .into_iter()
        .flat_map(|fields| fields.iter());
    Ok(Reply::Array(
        fields
            .map(|(field, _)| Reply::Bulk(field.clone()))
            .collect(),
    ))
}

/// `HVALS key`
pub fn hvals(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let fields = space
        .hash(&command[1])?
        .into_iter()
        .flat_map(|fields| fields.iter());
    Ok(Reply::Array(
        fields
            .map(|(_, value)| Reply::Bulk(value.clone()))
            .collect(),
    ))
}

/// `HLEN key`
pub fn hlen(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(count(
        space.hash(&command[1])?.map_or(0, |fields| fields.len()),
    ))
}

/// `HEXISTS key field`
pub fn hexists(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let present = space
        .hash(&command[1])?
        .is_some_and(|hash| hash.get(&command[2]).is_some());
    Ok(Reply::Int(i64::from(present)))
}

/// `HDEL key field ...`
pub fn hdel(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if space.hash(&command[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let fields = space.hash_mut(&command[1])?;
    let removed = command[2..]
        .iter()
        .filter(|field| fields.remove(field).is_some())
        .count();
    space.drop_if_empty(&command[1], effects);
    Ok(count(removed))
}

/// `HINCRBY key field amount`
pub fn hincrby(space: &mut Keyspace, command: &[Bytes], _: &mut Effects) -> Outcome {
    let amount = integer(&command[3])?;
    let old = match space
        .hash(&command[1])?
        .and_then(|fields| fields.get(&command[2]))
    {
        None => 0,
        Some(text) => integer(text).map_err(|_| refuse("ERR hash value is not an integer"))?,
    };
    let sum = old.checked_add(amount).ok_or(OVERFLOW)?;
    space
        .hash_mut(&command[1])?
        .insert(own(&command[2]), Bytes::from(sum.to_string()));
    Ok(Reply::Int(sum))
}
