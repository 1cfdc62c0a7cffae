//! Commands on sorted sets: queues and timers are built on them.

use bytes::Bytes;

use super::parse::{
    NOT_A_FLOAT, Outcome, Refusal, SYNTAX, ScoreBound, argument, float, index_range, integer, is,
    refuse,
};
use super::{Effects, Keyspace, own};
use crate::reply::Reply;

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

#[derive(Default)]
struct AddOptions {
    only_new: bool,
    only_present: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

fn add_options(command: &[Bytes]) -> Result<(AddOptions, usize), Refusal> {
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
    Ok((options, at))
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score item ...`
pub fn zadd(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (options, first) = add_options(command)?;
    let pairs = &command[first..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(SYNTAX);
    }
    if options.increment && pairs.len() > 2 {
        return Err(refuse(
            "ERR INCR option supports a single increment-element pair",
        ));
    }
    let scores = pairs
        .chunks_exact(2)
        .map(|pair| float(&pair[0], NOT_A_FLOAT));
    let scores = scores.collect::<Result<Vec<_>, _>>()?;
    let set = space.sorted_mut(&command[1])?;
    let (mut added, mut changed, mut last) = (0, 0, None);
    let mut not_a_number = false;
    for (pair, score) in pairs.chunks_exact(2).zip(scores) {
        let old = set.score(&pair[1]);
        let score = if options.increment {
            old.unwrap_or(0.0) + score
        } else {
            score
        };
        let skipped = (options.only_new && old.is_some())
            || (options.only_present && old.is_none())
            || old.is_some_and(|old| options.greater && score <= old)
            || old.is_some_and(|old| options.less && score >= old);
        not_a_number |= score.is_nan();
        if skipped || score.is_nan() {
            continue;
        }
        set.insert(own(&pair[1]), score);
        added += usize::from(old.is_none());
        changed += usize::from(old.is_some_and(|old| old != score));
        last = Some(score);
    }
    space.drop_if_empty(&command[1], effects);
    if added > 0 {
        effects.ready.push(own(&command[1]));
    }
    if not_a_number {
        return Err(refuse("ERR resulting score is not a number (NaN)"));
    }
    Ok(match (options.increment, options.count_changed) {
        (true, _) => last.map_or(Reply::Nil, Reply::Double),
        (false, true) => count(added + changed),
        (false, false) => count(added),
    })
}

/// `ZINCRBY key amount item`
pub fn zincrby(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let incr = Bytes::from_static(b"INCR");
    let add = [&command[0], &command[1], &incr, &command[2], &command[3]].map(Bytes::clone);
    zadd(space, &add, effects)
}

/// `ZREM key item ...`
pub fn zrem(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if space.sorted(&command[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let set = space.sorted_mut(&command[1])?;
    let removed = command[2..]
        .iter()
        .filter(|item| set.remove(item).is_some())
        .count();
    space.drop_if_empty(&command[1], effects);
    Ok(count(removed))
}

/// `ZSCORE key item`
pub fn zscore(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let score = space
        .sorted(&command[1])?
        .and_then(|set| set.score(&command[2]));
    Ok(score.map_or(Reply::Nil, Reply::Double))
}

/// `ZCARD key`
pub fn zcard(space: &Keyspace, command: &[Bytes]) -> Outcome {
    Ok(count(space.sorted(&command[1])?.map_or(0, |set| set.len())))
}

/// `ZRANK key item`
pub fn zrank(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let rank = space
        .sorted(&command[1])?
        .and_then(|set| set.rank(&command[2]));
    Ok(rank.map_or(Reply::Nil, count))
}

/// Members with scores; RESP2 and RESP3 both get them as one flat list, which every client knows.
fn list(members: impl Iterator<Item = (Bytes, f64)>, with_scores: bool) -> Reply {
    let mut items = Vec::new();
    for (item, score) in members {
        items.push(Reply::Bulk(item));
        if with_scores {
            items.push(Reply::Double(score));
        }
    }
    Reply::Array(items)
}

#[derive(Default)]
struct RangeOptions {
    by_score: bool,
    reverse: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

fn range_options(command: &[Bytes]) -> Result<RangeOptions, Refusal> {
    let mut options = RangeOptions::default();
    let mut at = 4;
    while at < command.len() {
        match &command[at] {
            word if is(word, "BYSCORE") => options.by_score = true,
            word if is(word, "REV") => options.reverse = true,
            word if is(word, "WITHSCORES") => options.with_scores = true,
            word if is(word, "LIMIT") => {
                let offset = integer(argument(command, at + 1)?)?;
                options.limit = Some((offset, integer(argument(command, at + 2)?)?));
                at += 2;
            }
            _ => return Err(SYNTAX),
        }
        at += 1;
    }
    Ok(options)
}

/// `ZRANGE key start stop [BYSCORE] [REV] [LIMIT offset count] [WITHSCORES]`
pub fn zrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let options = range_options(command)?;
    if options.by_score {
        return by_score(space, command, &options);
    }
    if options.limit.is_some() {
        return Err(refuse(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    let (start, stop) = (integer(&command[2])?, integer(&command[3])?);
    let Some(set) = space.sorted(&command[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let Some((start, stop)) = index_range(start, stop, set.len()) else {
        return Ok(Reply::Array(Vec::new()));
    };
    let taken = stop - start + 1;
    if !options.reverse {
        return Ok(list(
            set.iter().skip(start).take(taken),
            options.with_scores,
        ));
    }
    let from = set.len() - stop - 1;
    let mut members: Vec<_> = set.iter().skip(from).take(taken).collect();
    members.reverse();
    Ok(list(members.into_iter(), options.with_scores))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub fn zrangebyscore(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let options = range_options(command)?;
    if options.by_score || options.reverse {
        return Err(SYNTAX);
    }
    by_score(space, command, &options)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub fn zrevrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let mut reversed = command.to_vec();
    reversed.push(Bytes::from_static(b"REV"));
    zrange(space, &reversed)
}

fn by_score(space: &Keyspace, command: &[Bytes], options: &RangeOptions) -> Outcome {
    let (low, high) = if options.reverse { (3, 2) } else { (2, 3) };
    let (low, high) = (
        ScoreBound::parse(&command[low])?,
        ScoreBound::parse(&command[high])?,
    );
    let Some(set) = space.sorted(&command[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let mut members: Vec<_> = within(set, low, high).collect();
    if options.reverse {
        members.reverse();
    }
    let (offset, number) = options.limit.unwrap_or((0, -1));
    let Ok(offset) = usize::try_from(offset) else {
        return Ok(Reply::Array(Vec::new()));
    };
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    Ok(list(
        members.into_iter().skip(offset).take(number),
        options.with_scores,
    ))
}

fn within(
    set: &super::value::SortedSet,
    low: ScoreBound,
    high: ScoreBound,
) -> impl Iterator<Item = (Bytes, f64)> + use<'_> {
    set.at_least(low.score)
        .skip_while(move |(_, score)| !low.admits_from_below(*score))
        .take_while(move |(_, score)| high.admits_from_above(*score))
}

/// `ZCOUNT key min max`
pub fn zcount(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let (low, high) = (
        ScoreBound::parse(&command[2])?,
        ScoreBound::parse(&command[3])?,
    );
    let found = space
        .sorted(&command[1])?
        .map_or(0, |set| within(set, low, high).count());
    Ok(count(found))
}

/// `ZREMRANGEBYSCORE key min max`
pub fn zremrangebyscore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (low, high) = (
        ScoreBound::parse(&command[2])?,
        ScoreBound::parse(&command[3])?,
    );
    let Some(set) = space.sorted(&command[1])? else {
        return Ok(Reply::Int(0));
    };
    let members: Vec<_> = within(set, low, high).collect();
    let set = space.sorted_mut(&command[1])?;
    for (item, _) in &members {
        set.remove(item);
    }
    space.drop_if_empty(&command[1], effects);
    Ok(count(members.len()))
}

/// `ZPOPMIN key [count]`
pub fn zpopmin(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let number = command.get(2).map_or(Ok(1), |text| integer(text))?;
    let number = usize::try_from(number)
        .map_err(|_| refuse("ERR value is out of range, must be positive"))?;
    let Some(set) = space.sorted(&command[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let members: Vec<_> = set.iter().take(number).collect();
    let set = space.sorted_mut(&command[1])?;
    for (item, _) in &members {
        set.remove(item);
    }
    space.drop_if_empty(&command[1], effects);
    Ok(list(members.into_iter(), true))
}
