//! Commands on sets. `SPOP` and `SRANDMEMBER` are left out: they are not deterministic.

use bytes::Bytes;

use super::parse::Outcome;
use super::{Effects, Keyspace, own};
use crate::reply::Reply;

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// `SADD key item ...`
pub fn sadd(space: &mut Keyspace, command: &[Bytes], _: &mut Effects) -> Outcome {
    let items = space.set_mut(&command[1])?;
    let added = command[2..]
        .iter()
        .filter(|item| items.insert(own(item), ()).is_none())
        .count();
    Ok(count(added))
}

/// `SREM key item ...`
pub fn srem(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if space.set(&command[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let items = space.set_mut(&command[1])?;
    let removed = command[2..]
        .iter()
        .filter(|item| items.remove(item).is_some())
        .count();
    space.drop_if_empty(&command[1], effects);
    Ok(count(removed))
}

/// `SMEMBERS key`
pub fn smembers(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let items = space
        .set(&command[1])?
        .into_iter()
        .flat_map(|items| items.iter());
    Ok(Reply::Array(
        items.map(|(item, ())| Reply::Bulk(item.clone())).collect(),
    ))
}

/// `SISMEMBER key item`
pub fn sismember(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let present = space
        .set(&command[1])?
        .is_some_and(|items| items.get(&command[2]).is_some());
    Ok(Reply::Int(i64::from(present)))
}

/// `SCARD key`
pub fn scard(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(count(
        space.set(&command[1])?.map_or(0, |items| items.len()),
    ))
}
