//! Commands on members of a sorted set: queues and timers are built on them. Ranges are in
//! [`super::score_ranges`], combinations in [`super::sorted_algebra`].

use bytes::Bytes;

use super::list_moves::{counted_or_syntax, pop_count};
use super::parse::{
    NOT_A_FLOAT, Outcome, Refusal, SYNTAX, bulk, count, float, is, natural, refuse, signed_count,
};
use super::random::Choices;
use super::table::timeout_ms;
use super::value::{Scored, SortedSet};
use super::{Effects, Keyspace, copied};
use crate::reply::Reply;

#[derive(Default)]
struct AddOptions {
    only_new: bool,
    only_present: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

impl AddOptions {
    fn skips(&self, old: Option<f64>, score: f64) -> bool {
        (self.only_new && old.is_some())
            || (self.only_present && old.is_none())
            || old.is_some_and(|old| self.greater && score <= old)
            || old.is_some_and(|old| self.less && score >= old)
    }
}

fn add_options(command: &[Bytes]) -> Result<(AddOptions, &[Bytes]), Refusal> {
    let mut options = AddOptions::default();
    let mut at = 2;
    while at < command.len() {
        match &command[at] {
            word if is(word, "NX") => options.only_new = true,
            word if is(word, "XX") => options.only_present = true,
            word if is(word, "GT") => options.greater = true,
            word if is(word, "LT") => options.less = true,
            word if is(word, "CH") => options.count_changed = true,
            word if is(word, "INCR") => options.increment = true,
            _ => break,
        }
        at += 1;
    }
    let pairs = &command[at..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(SYNTAX);
    }
    if options.only_new && options.only_present {
        return Err(refuse(
            "ERR XX and NX options at the same time are not compatible",
        ));
    }
    if (options.greater && options.less) || (options.only_new && (options.greater || options.less))
    {
        return Err(refuse(
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ));
    }
    if options.increment && pairs.len() > 2 {
        return Err(refuse(
            "ERR INCR option supports a single increment-element pair",
        ));
    }
    Ok((options, pairs))
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member ...`
pub fn zadd(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (options, pairs) = add_options(command)?;
    add(space, &command[1], &options, pairs, effects)
}

fn add(
    space: &mut Keyspace,
    key: &Bytes,
    options: &AddOptions,
    pairs: &[Bytes],
    effects: &mut Effects,
) -> Outcome {
    let scores = pairs
        .chunks_exact(2)
        .map(|pair| float(&pair[0], NOT_A_FLOAT));
    let scores = scores.collect::<Result<Vec<_>, _>>()?;
    let (mut added, mut changed, mut last) = (0, 0, None);
    space.change(key, effects, |set: &mut SortedSet| {
        for (pair, score) in pairs.chunks_exact(2).zip(scores) {
            let old = set.score(&pair[1]);
            let score = if options.increment {
                old.unwrap_or(0.0) + score
            } else {
                score
            };
            if options.skips(old, score) {
                continue;
            }
            if score.is_nan() {
                return Err(refuse("ERR resulting score is not a number (NaN)"));
            }
            set.insert(&pair[1], score);
            added += usize::from(old.is_none());
            changed += usize::from(old.is_some_and(|old| old != score));
            last = Some(score);
        }
        Ok(())
    })?;
    if added > 0 {
        effects.ready.push(copied(key));
    }
    Ok(match (options.increment, options.count_changed) {
        (true, _) => last.map_or(Reply::Nil, Reply::Double),
        (false, true) => count(added + changed),
        (false, false) => count(added),
    })
}

/// `ZINCRBY key amount member`
pub fn zincrby(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let options = AddOptions {
        increment: true,
        ..AddOptions::default()
    };
    add(space, &command[1], &options, &command[2..], effects)
}

/// `ZREM key member ...`
pub fn zrem(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let removed = space.change_present(&command[1], effects, |set: &mut SortedSet| {
        let members = command[2..].iter();
        members
            .filter(|member| set.remove(member).is_some())
            .count()
    })?;
    Ok(count(removed.unwrap_or(0)))
}

/// `ZSCORE key member`
pub fn zscore(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let set: Option<&SortedSet> = space.get(&command[1])?;
    let score = set.and_then(|set| set.score(&command[2]));
    Ok(score.map_or(Reply::Nil, Reply::Double))
}

/// `ZMSCORE key member ...`
pub fn zmscore(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let set: Option<&SortedSet> = space.get(&command[1])?;
    let one = |member: &Bytes| {
        let score = set.and_then(|set| set.score(member));
        score.map_or(Reply::Nil, Reply::Double)
    };
    Ok(Reply::Array(command[2..].iter().map(one).collect()))
}

/// `ZCARD key`
pub fn zcard(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let set: Option<&SortedSet> = space.get(&command[1])?;
    Ok(count(set.map_or(0, SortedSet::len)))
}

fn rank(space: &Keyspace, command: &[Bytes], reverse: bool) -> Outcome {
    let with_score = match &command[3..] {
        [] => false,
        [word] if is(word, "WITHSCORE") => true,
        _ => return Err(SYNTAX),
    };
    let set: Option<&SortedSet> = space.get(&command[1])?;
    let found = set.and_then(|set| {
        let (place, score) = set.rank(&command[2])?;
        Some((
            if reverse {
                set.len() - 1 - place
            } else {
                place
            },
            score,
        ))
    });
    Ok(match (found, with_score) {
        (None, false) => Reply::Nil,
        (None, true) => Reply::NilArray,
        (Some((place, _)), false) => count(place),
        (Some((place, score)), true) => Reply::Array(vec![count(place), Reply::Double(score)]),
    })
}

/// `ZRANK key member [WITHSCORE]`
pub fn zrank(space: &Keyspace, command: &[Bytes]) -> Outcome {
    rank(space, command, false)
}

/// `ZREVRANK key member [WITHSCORE]`
pub fn zrevrank(space: &Keyspace, command: &[Bytes]) -> Outcome {
    rank(space, command, true)
}

/// A member and its score as replies.
pub fn pair(scored: &Scored) -> (Reply, Reply) {
    (bulk(&scored.member), Reply::Double(scored.score))
}

/// Removes members at one end of the order.
fn pop(
    space: &mut Keyspace,
    key: &[u8],
    (highest, number): (bool, usize),
    effects: &mut Effects,
) -> Result<Vec<Scored>, Refusal> {
    let taken = space.change_present(key, effects, |set: &mut SortedSet| {
        let taken: Vec<_> = if highest {
            set.iter().rev().take(number).cloned().collect()
        } else {
            set.iter().take(number).cloned().collect()
        };
        for scored in &taken {
            set.remove(&scored.member);
        }
        taken
    })?;
    Ok(taken.unwrap_or_default())
}

fn pop_one_key(
    space: &mut Keyspace,
    command: &[Bytes],
    highest: bool,
    effects: &mut Effects,
) -> Outcome {
    let wrong = refuse("ERR value is out of range, must be positive");
    let number = match &command[2..] {
        [] => None,
        [text] => Some(natural(text, wrong)?),
        _ => return Err(SYNTAX),
    };
    let taken = pop(space, &command[1], (highest, number.unwrap_or(1)), effects)?;
    let pairs = taken.iter().map(pair);
    Ok(match number {
        Some(_) => Reply::Pairs(pairs.collect()),
        None => Reply::Array(pairs.flat_map(|(member, score)| [member, score]).collect()),
    })
}

/// `ZPOPMIN key [count]`
pub fn zpopmin(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_one_key(space, command, false, effects)
}

/// `ZPOPMAX key [count]`
pub fn zpopmax(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_one_key(space, command, true, effects)
}

fn pop_first(
    space: &mut Keyspace,
    command: &[Bytes],
    highest: bool,
    effects: &mut Effects,
) -> Outcome {
    let (timeout, keys) = command[1..].split_last().ok_or(SYNTAX)?;
    timeout_ms(timeout)?;
    for key in keys {
        if let Some(scored) = pop(space, key, (highest, 1), effects)?.first() {
            let (member, score) = pair(scored);
            return Ok(Reply::Array(vec![bulk(key), member, score]));
        }
    }
    Ok(Reply::NilArray)
}

/// `BZPOPMIN key ... timeout`
pub fn bzpopmin(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_first(space, command, false, effects)
}

/// `BZPOPMAX key ... timeout`
pub fn bzpopmax(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_first(space, command, true, effects)
}

fn pop_several(
    space: &mut Keyspace,
    command: &[Bytes],
    at: usize,
    effects: &mut Effects,
) -> Outcome {
    let (keys, rest) = counted_or_syntax(command, at)?;
    let (side, rest) = rest.split_first().ok_or(SYNTAX)?;
    let highest = match side {
        word if is(word, "MIN") => false,
        word if is(word, "MAX") => true,
        _ => return Err(SYNTAX),
    };
    let number = pop_count(rest)?;
    if at == 2 {
        timeout_ms(&command[1])?;
    }
    for key in keys {
        let taken = pop(space, key, (highest, number), effects)?;
        if !taken.is_empty() {
            let pairs = taken.iter().map(pair);
            let pairs = pairs.map(|(member, score)| Reply::Array(vec![member, score]));
            return Ok(Reply::Array(vec![bulk(key), Reply::Array(pairs.collect())]));
        }
    }
    Ok(Reply::NilArray)
}

/// `ZMPOP number key ... MIN|MAX [COUNT count]`
pub fn zmpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_several(space, command, 1, effects)
}

/// `BZMPOP timeout number key ... MIN|MAX [COUNT count]`
pub fn bzmpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_several(space, command, 2, effects)
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`
pub fn zrandmember(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let mut choices = Choices::new(space);
    let Some(number) = command.get(2) else {
        let set: Option<&SortedSet> = space.get(&command[1])?;
        let member = set.and_then(|set| set.members().nth(choices.below(set.len())));
        return Ok(member.map_or(Reply::Nil, |member| bulk(&member.key)));
    };
    let number = signed_count(number, i64::MAX)?;
    let with_scores = match &command[3..] {
        [] => false,
        [word] if is(word, "WITHSCORES") => true,
        _ => return Err(SYNTAX),
    };
    if with_scores {
        signed_count(&command[2], i64::MAX / 2)?;
    }
    let Some(set) = space.get::<SortedSet>(&command[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let places = choices.places(number, set.len());
    let members = places.into_iter().filter_map(|at| set.members().nth(at));
    Ok(if with_scores {
        let pair = |entry: &super::dict::Entry<f64>| (bulk(&entry.key), Reply::Double(entry.value));
        Reply::Pairs(members.map(pair).collect())
    } else {
        Reply::Array(members.map(|entry| bulk(&entry.key)).collect())
    })
}
