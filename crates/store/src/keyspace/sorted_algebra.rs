//! Unions, intersections and differences of sorted sets; plain sets count as scores of one.

use bytes::Bytes;

use super::dict::Dict;
use super::parse::{
    Outcome, Refusal, SYNTAX, WRONG_TYPE, bulk, count, float, integer, is, natural, refuse,
};
use super::score_ranges::store;
use super::sorted_sets::pair;
use super::text::Text;
use super::value::{Set, SortedSet, Value};
use super::{Effects, Keyspace};
use crate::reply::Reply;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Lowest,
    Highest,
}

impl Aggregate {
    fn apply(self, one: f64, other: f64) -> f64 {
        match self {
            // Infinities of both signs cancel out, as in Redis.
            Aggregate::Sum if (one + other).is_nan() => 0.0,
            Aggregate::Sum => one + other,
            Aggregate::Lowest => one.min(other),
            Aggregate::Highest => one.max(other),
        }
    }
}

enum Source<'a> {
    Empty,
    Plain(&'a Set),
    Sorted(&'a SortedSet),
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Source::Empty => 0,
            Source::Plain(set) => set.len(),
            Source::Sorted(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Empty => None,
            Source::Plain(set) => set.get(member).map(|()| 1.0),
            Source::Sorted(set) => set.score(member),
        }
    }

    fn each(&self, mut visit: impl FnMut(&Text, f64)) {
        match self {
            Source::Empty => {}
            Source::Plain(set) => set.iter().for_each(|entry| visit(&entry.key, 1.0)),
            Source::Sorted(set) => {
                let members = set.members().iter();
                members.for_each(|entry| visit(&entry.key, entry.value));
            }
        }
    }
}

/// A command of this family, read.
struct Plan<'a> {
    sources: Vec<(Source<'a>, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// Reads `number key ... [options]` at `at`.
fn plan<'a>(
    space: &'a Keyspace,
    command: &'a [Bytes],
    (at, operation, name): (usize, Operation, &str),
) -> Result<Plan<'a>, Refusal> {
    let (keys, words) = keys(command, at, name)?;
    let mut plan = Plan {
        sources: sources(space, keys)?,
        aggregate: Aggregate::Sum,
        with_scores: false,
    };
    let mut left = words;
    let weighs = operation != Operation::Difference;
    while let Some((word, rest)) = left.split_first() {
        left = match word {
            word if weighs && is(word, "WEIGHTS") && rest.len() >= keys.len() => {
                let (weights, rest) = rest.split_at(keys.len());
                for (source, weight) in plan.sources.iter_mut().zip(weights) {
                    source.1 = float(weight, refuse("ERR weight value is not a float"))?;
                }
                rest
            }
            word if weighs && is(word, "AGGREGATE") && !rest.is_empty() => {
                plan.aggregate = match &rest[0] {
                    word if is(word, "SUM") => Aggregate::Sum,
                    word if is(word, "MIN") => Aggregate::Lowest,
                    word if is(word, "MAX") => Aggregate::Highest,
                    _ => return Err(SYNTAX),
                };
                &rest[1..]
            }
            word if at == 1 && is(word, "WITHSCORES") => {
                plan.with_scores = true;
                rest
            }
            _ => return Err(SYNTAX),
        };
    }
    Ok(plan)
}

fn keys<'a>(
    command: &'a [Bytes],
    at: usize,
    name: &str,
) -> Result<(&'a [Bytes], &'a [Bytes]), Refusal> {
    let number = integer(&command[at])?;
    let few = || {
        let text = format!("ERR at least 1 input key is needed for '{name}' command");
        Refusal(text.into())
    };
    let number = usize::try_from(number).ok().filter(|number| *number > 0);
    let (number, rest) = (number.ok_or_else(few)?, &command[at + 1..]);
    if number > rest.len() {
        return Err(SYNTAX);
    }
    Ok(rest.split_at(number))
}

fn sources<'a>(space: &'a Keyspace, keys: &[Bytes]) -> Result<Vec<(Source<'a>, f64)>, Refusal> {
    let source = |key: &Bytes| match space.slot(key).map(|slot| &slot.value) {
        None => Ok((Source::Empty, 1.0)),
        Some(Value::Set(set)) => Ok((Source::Plain(set), 1.0)),
        Some(Value::Sorted(set)) => Ok((Source::Sorted(set), 1.0)),
        Some(_) => Err(WRONG_TYPE),
    };
    keys.iter().map(source).collect()
}

fn weighted(score: f64, weight: f64) -> f64 {
    let product = score * weight;
    if product.is_nan() { 0.0 } else { product }
}

fn combine(mut plan: Plan<'_>, operation: Operation) -> SortedSet {
    let mut scores: Dict<f64> = Dict::default();
    match operation {
        Operation::Union => {
            plan.sources.sort_by_key(|(source, _)| source.len());
            for (source, weight) in &plan.sources {
                source.each(|member, score| {
                    let score = weighted(score, *weight);
                    let sum = scores
                        .get(member)
                        .map(|old| plan.aggregate.apply(*old, score));
                    scores.insert_shared(member, sum.unwrap_or(score));
                });
            }
        }
        Operation::Intersection => {
            plan.sources.sort_by_key(|(source, _)| source.len());
            let (first, others) = plan.sources.split_at(1);
            first[0].0.each(|member, score| {
                let start = weighted(score, first[0].1);
                let total = others.iter().try_fold(start, |total, (source, weight)| {
                    let score = weighted(source.score(member)?, *weight);
                    Some(plan.aggregate.apply(total, score))
                });
                if let Some(total) = total {
                    scores.insert_shared(member, total);
                }
            });
        }
        Operation::Difference => {
            let (first, others) = plan.sources.split_at(1);
            first[0].0.each(|member, score| {
                let elsewhere = |(source, _): &(Source, f64)| source.score(member).is_some();
                if !others.iter().any(elsewhere) {
                    scores.insert_shared(member, score);
                }
            });
        }
    }
    let mut set = SortedSet::default();
    for entry in scores.iter() {
        set.insert(&entry.key, entry.value);
    }
    set
}

fn answer(space: &Keyspace, command: &[Bytes], operation: Operation, name: &str) -> Outcome {
    let plan = plan(space, command, (1, operation, name))?;
    let with_scores = plan.with_scores;
    let set = combine(plan, operation);
    Ok(if with_scores {
        Reply::Pairs(set.iter().map(pair).collect())
    } else {
        Reply::Array(set.iter().map(|scored| bulk(&scored.member)).collect())
    })
}

fn keep(
    space: &mut Keyspace,
    command: &[Bytes],
    (operation, name): (Operation, &str),
    effects: &mut Effects,
) -> Outcome {
    let plan = plan(space, command, (2, operation, name))?;
    let set = combine(plan, operation);
    Ok(store(space, &command[1], set, effects))
}

/// `ZUNION number key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
pub fn zunion(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, Operation::Union, "zunion")
}

/// `ZINTER number key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
pub fn zinter(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, Operation::Intersection, "zinter")
}

/// `ZDIFF number key ... [WITHSCORES]`
pub fn zdiff(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, Operation::Difference, "zdiff")
}

/// `ZUNIONSTORE destination number key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
pub fn zunionstore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    keep(space, command, (Operation::Union, "zunionstore"), effects)
}

/// `ZINTERSTORE destination number key ... [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
pub fn zinterstore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    keep(
        space,
        command,
        (Operation::Intersection, "zinterstore"),
        effects,
    )
}

/// `ZDIFFSTORE destination number key ...`
pub fn zdiffstore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    keep(
        space,
        command,
        (Operation::Difference, "zdiffstore"),
        effects,
    )
}

/// `ZINTERCARD number key ... [LIMIT limit]`
pub fn zintercard(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let (keys, words) = keys(command, 1, "zintercard")?;
    let mut sources = sources(space, keys)?;
    let mut limit = 0;
    for pair in words.chunks(2) {
        limit = match pair {
            [word, number] if is(word, "LIMIT") => {
                natural(number, refuse("ERR LIMIT can't be negative"))?
            }
            _ => return Err(SYNTAX),
        };
    }
    sources.sort_by_key(|(source, _)| source.len());
    let (first, others) = sources.split_at(1);
    let mut found = 0;
    first[0].0.each(|member, _| {
        let present = |(source, _): &(Source, f64)| source.score(member).is_some();
        found += usize::from(others.iter().all(present));
    });
    Ok(count(if limit == 0 { found } else { found.min(limit) }))
}
