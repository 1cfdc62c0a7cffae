//! Unions, intersections and differences of sets.

use bytes::Bytes;

use super::parse::{Outcome, Refusal, SYNTAX, bulk, count, is, natural, positive, refuse};
use super::text::Text;
use super::value::{Set, Value};
use super::{Effects, Keyspace};
use crate::reply::Reply;

type Combine = fn(&[Option<&Set>]) -> Set;

fn combined(space: &Keyspace, keys: &[Bytes], combine: Combine) -> Result<Set, Refusal> {
    let sets = keys.iter().map(|key| space.get::<Set>(key));
    Ok(combine(&sets.collect::<Result<Vec<_>, _>>()?))
}

fn union(sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    for entry in sets.iter().flatten().flat_map(|set| set.iter()) {
        result.insert_shared(&entry.key, ());
    }
    result
}

/// Members of the smallest set that are in all others.
fn common<'a>(sets: &'a [Option<&'a Set>]) -> impl Iterator<Item = &'a Text> {
    let all: Option<Vec<&Set>> = sets.iter().copied().collect();
    let mut all = all.unwrap_or_default();
    all.sort_by_key(|set| set.len());
    let smallest = all.first().copied();
    let entries = smallest.into_iter().flat_map(Set::iter);
    entries
        .map(|entry| &entry.key)
        .filter(move |member| all.iter().all(|set| set.has(member)))
}

fn intersection(sets: &[Option<&Set>]) -> Set {
    common(sets).map(|member| (member.clone(), ())).collect()
}

fn difference(sets: &[Option<&Set>]) -> Set {
    let (first, others) = sets.split_at(1.min(sets.len()));
    let entries = first.iter().flatten().flat_map(|set| set.iter());
    let left = entries.filter(|entry| !others.iter().flatten().any(|set| set.has(&entry.key)));
    left.map(|entry| (entry.key.clone(), ())).collect()
}

fn answer(space: &Keyspace, command: &[Bytes], combine: Combine) -> Outcome {
    let result = combined(space, &command[1..], combine)?;
    Ok(Reply::Set(
        result.iter().map(|entry| bulk(&entry.key)).collect(),
    ))
}

fn store(
    space: &mut Keyspace,
    command: &[Bytes],
    combine: Combine,
    effects: &mut Effects,
) -> Outcome {
    let result = combined(space, &command[2..], combine)?;
    let size = result.len();
    if size == 0 {
        space.remove(&command[1], effects);
    } else {
        space.put(&command[1], Value::Set(Box::new(result)), 0, effects);
    }
    Ok(count(size))
}

/// `SUNION key ...`
pub fn sunion(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, union)
}

/// `SINTER key ...`
pub fn sinter(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, intersection)
}

/// `SDIFF key ...`
pub fn sdiff(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, difference)
}

/// `SUNIONSTORE destination key ...`
pub fn sunionstore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    store(space, command, union, effects)
}

/// `SINTERSTORE destination key ...`
pub fn sinterstore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    store(space, command, intersection, effects)
}

/// `SDIFFSTORE destination key ...`
pub fn sdiffstore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    store(space, command, difference, effects)
}

/// Reads `number key ...` at `at`; answers the keys and what follows them.
pub fn counted(command: &[Bytes], at: usize) -> Result<(&[Bytes], &[Bytes]), Refusal> {
    let number = positive(&command[at], refuse("ERR numkeys should be greater than 0"))?;
    let rest = &command[at + 1..];
    if number > rest.len() {
        return Err(refuse(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    Ok(rest.split_at(number))
}

/// Reads `[LIMIT number]`; 0 = no limit.
pub fn limit(rest: &[Bytes]) -> Result<usize, Refusal> {
    let limit = match rest {
        [] => 0,
        [word, number] if is(word, "LIMIT") => {
            natural(number, refuse("ERR LIMIT can't be negative"))?
        }
        _ => return Err(SYNTAX),
    };
    Ok(if limit == 0 { usize::MAX } else { limit })
}

/// `SINTERCARD number key ... [LIMIT limit]`
pub fn sintercard(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let (keys, rest) = counted(command, 1)?;
    let limit = limit(rest)?;
    let sets = keys.iter().map(|key| space.get::<Set>(key));
    let sets = sets.collect::<Result<Vec<_>, _>>()?;
    Ok(count(common(&sets).take(limit).count()))
}
