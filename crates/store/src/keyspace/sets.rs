//! Commands on one set; those on several are in [`super::set_algebra`].

use bytes::Bytes;

use super::parse::{Outcome, SYNTAX, WRONG_TYPE, bulk, count, natural, refuse, signed_count, yes};
use super::random::Choices;
use super::value::{Kept, Set};
use super::{Effects, Keyspace};
use crate::reply::Reply;

/// `SADD key member ...`
pub fn sadd(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let added = space.change(&command[1], effects, |set: &mut Set| {
        let members = command[2..].iter();
        Ok(members
            .filter(|member| set.insert(member, ()).is_none())
            .count())
    })?;
    Ok(count(added))
}

/// `SREM key member ...`
pub fn srem(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let removed = space.change_present(&command[1], effects, |set: &mut Set| {
        let members = command[2..].iter();
        members
            .filter(|member| set.remove(member).is_some())
            .count()
    })?;
    Ok(count(removed.unwrap_or(0)))
}

/// `SMEMBERS key`
pub fn smembers(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let set: Option<&Set> = space.get(&command[1])?;
    let members = set.into_iter().flat_map(Set::iter);
    Ok(Reply::Set(members.map(|entry| bulk(&entry.key)).collect()))
}

/// `SISMEMBER key member`
pub fn sismember(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let set: Option<&Set> = space.get(&command[1])?;
    Ok(yes(set.is_some_and(|set| set.has(&command[2]))))
}

/// `SMISMEMBER key member ...`
pub fn smismember(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let set: Option<&Set> = space.get(&command[1])?;
    let one = |member: &Bytes| yes(set.is_some_and(|set| set.has(member)));
    Ok(Reply::Array(command[2..].iter().map(one).collect()))
}

/// `SCARD key`
pub fn scard(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let set: Option<&Set> = space.get(&command[1])?;
    Ok(count(set.map_or(0, Set::len)))
}

/// `SMOVE source destination member`
pub fn smove(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (from, to, member) = (&command[1], &command[2], &command[3]);
    let Some(source) = space.slot(from) else {
        return Ok(Reply::Int(0));
    };
    let source = Set::of(&source.value).ok_or(WRONG_TYPE)?;
    space.get::<Set>(to)?;
    let present = source.has(member);
    if present && from != to {
        space.change_present(from, effects, |set: &mut Set| set.remove(member))?;
        space.change(to, effects, |set: &mut Set| Ok(set.insert(member, ())))?;
    }
    Ok(yes(present))
}

/// `SPOP key [count]`
pub fn spop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let number = match &command[2..] {
        [] => None,
        [text] => Some(natural(
            text,
            refuse("ERR value is out of range, must be positive"),
        )?),
        _ => return Err(SYNTAX),
    };
    let mut choices = Choices::new(space);
    let taken = space.change_present(&command[1], effects, |set: &mut Set| {
        let places = choices.distinct(number.unwrap_or(1), set.len());
        let members = places.into_iter().filter_map(|at| set.nth(at));
        let members: Vec<_> = members.map(|entry| entry.key.clone()).collect();
        for member in &members {
            set.remove(member);
        }
        members
    })?;
    let taken = taken.unwrap_or_default();
    Ok(match number {
        None => taken.first().map_or(Reply::Nil, bulk),
        Some(_) => Reply::Set(taken.iter().map(bulk).collect()),
    })
}

/// `SRANDMEMBER key [count]`
pub fn srandmember(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let number = match &command[2..] {
        [] => None,
        [text] => Some(signed_count(text, i64::MAX)?),
        _ => return Err(SYNTAX),
    };
    let mut choices = Choices::new(space);
    let set: Option<&Set> = space.get(&command[1])?;
    let Some(number) = number else {
        let member = set.and_then(|set| set.nth(choices.below(set.len())));
        return Ok(member.map_or(Reply::Nil, |entry| bulk(&entry.key)));
    };
    let Some(set) = set else {
        return Ok(Reply::Array(Vec::new()));
    };
    let places = choices.places(number, set.len());
    let members = places.into_iter().filter_map(|at| set.nth(at));
    Ok(Reply::Array(
        members.map(|entry| bulk(&entry.key)).collect(),
    ))
}
