//! Commands on ranges of a sorted set: by place, by score and by name.

use bytes::Bytes;

use super::parse::{
    Outcome, Refusal, SYNTAX, bulk, count, float, index_range, integer, is, refuse,
};
use super::sorted_sets::pair;
use super::value::{Scored, SortedSet, Value};
use super::{Effects, Keyspace, copied};
use crate::reply::Reply;

/// What the two ends of a range mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Place,
    Score,
    Name,
}

/// One end of a range of scores: `(1.5` excludes, `-inf` and `+inf` are open.
#[derive(Clone, Copy)]
struct ScoreBound {
    score: f64,
    exclusive: bool,
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let refusal = refuse("ERR min or max is not a float");
        let (text, exclusive) = match text.strip_prefix(b"(") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let score = float(text, refusal)?;
        Ok(Self { score, exclusive })
    }
}

/// One end of a range of names: `[a` includes, `(a` excludes, `-` and `+` are open.
#[derive(Clone, Copy, PartialEq)]
enum NameBound<'a> {
    Lowest,
    Highest,
    Including(&'a [u8]),
    Excluding(&'a [u8]),
}

impl<'a> NameBound<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        match text {
            b"-" => Ok(Self::Lowest),
            b"+" => Ok(Self::Highest),
            [b'[', name @ ..] => Ok(Self::Including(name)),
            [b'(', name @ ..] => Ok(Self::Excluding(name)),
            _ => Err(refuse("ERR min or max not valid string range item")),
        }
    }

    /// Whether a name lies before a range that begins here.
    fn is_behind(&self, name: &[u8]) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::Including(bound) => name < *bound,
            Self::Excluding(bound) => name <= *bound,
        }
    }

    /// Whether a name does not lie behind a range that ends here.
    fn reaches(&self, name: &[u8]) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::Including(bound) => name <= *bound,
            Self::Excluding(bound) => name < *bound,
        }
    }
}

/// The ends of a range, lowest first.
enum Ends<'a> {
    Places(i64, i64),
    Scores(ScoreBound, ScoreBound),
    Names(NameBound<'a>, NameBound<'a>),
}

impl<'a> Ends<'a> {
    fn parse(by: By, low: &'a Bytes, high: &'a Bytes) -> Result<Self, Refusal> {
        Ok(match by {
            By::Place => Ends::Places(integer(low)?, integer(high)?),
            By::Score => Ends::Scores(ScoreBound::parse(low)?, ScoreBound::parse(high)?),
            By::Name => Ends::Names(NameBound::parse(low)?, NameBound::parse(high)?),
        })
    }

    /// The places of the range: from the first to before the second.
    fn places(&self, set: &SortedSet, reverse: bool) -> (usize, usize) {
        let (start, end) = match self {
            Ends::Places(start, stop) => {
                let range = index_range(*start, *stop, set.len());
                let (start, end) = range.map_or((0, 0), |(start, stop)| (start, stop + 1));
                if reverse {
                    (set.len() - end, set.len() - start)
                } else {
                    (start, end)
                }
            }
            Ends::Scores(low, high) => (
                set.count_while(|score, _| {
                    score < low.score || (low.exclusive && score == low.score)
                }),
                set.count_while(|score, _| {
                    score < high.score || (!high.exclusive && score == high.score)
                }),
            ),
            Ends::Names(low, high) => (
                set.count_while(|_, name| low.is_behind(name)),
                set.count_while(|_, name| high.reaches(name)),
            ),
        };
        (start, end.max(start))
    }
}

/// How a range is read.
struct Reading {
    by: By,
    reverse: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

/// What the name of a command leaves open.
#[derive(Clone, Copy)]
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
    stores: bool,
}

const OPEN: Fixed = Fixed {
    by: None,
    reverse: None,
    stores: false,
};

const fn fixed(by: By, reverse: bool) -> Fixed {
    Fixed {
        by: Some(by),
        reverse: Some(reverse),
        stores: false,
    }
}

fn options(words: &[Bytes], fixed: Fixed) -> Result<Reading, Refusal> {
    let (mut by, mut reverse) = (fixed.by, fixed.reverse);
    let (mut with_scores, mut limit) = (false, None);
    let mut at = 0;
    while at < words.len() {
        match &words[at] {
            word if !fixed.stores && is(word, "WITHSCORES") => with_scores = true,
            word if is(word, "LIMIT") && at + 2 < words.len() => {
                limit = Some((integer(&words[at + 1])?, integer(&words[at + 2])?));
                at += 2;
            }
            word if fixed.reverse.is_none() && is(word, "REV") => reverse = Some(true),
            word if by.is_none() && is(word, "BYLEX") => by = Some(By::Name),
            word if by.is_none() && is(word, "BYSCORE") => by = Some(By::Score),
            _ => return Err(SYNTAX),
        }
        at += 1;
    }
    let by = by.unwrap_or(By::Place);
    if by == By::Place && limit.is_some_and(|limit| limit != (0, -1)) {
        return Err(refuse(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if by == By::Name && with_scores {
        return Err(refuse(
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ));
    }
    Ok(Reading {
        by,
        reverse: reverse.unwrap_or(false),
        with_scores,
        limit,
    })
}

/// Reads the range of `source`; `words` are its ends and the options.
fn members(
    space: &Keyspace,
    source: &[u8],
    words: &[Bytes],
    fixed: Fixed,
) -> Result<(Vec<Scored>, Reading), Refusal> {
    let reading = options(&words[2..], fixed)?;
    let swapped = reading.reverse && reading.by != By::Place;
    let (low, high) = if swapped { (1, 0) } else { (0, 1) };
    let ends = Ends::parse(reading.by, &words[low], &words[high])?;
    let Some(set) = space.get::<SortedSet>(source)? else {
        return Ok((Vec::new(), reading));
    };
    let (start, end) = ends.places(set, reading.reverse);
    let (offset, number) = match reading.limit {
        Some(limit) if reading.by != By::Place => limit,
        _ => (0, -1),
    };
    // A negative offset is beyond every range, a negative number is all.
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let (start, end) = if reading.reverse {
        let end = end.saturating_sub(offset).max(start);
        (end.saturating_sub(number).max(start), end)
    } else {
        let start = start.saturating_add(offset).min(end);
        (start, start.saturating_add(number).min(end))
    };
    let range = set.range(start, end).cloned();
    let found = if reading.reverse {
        range.rev().collect()
    } else {
        range.collect()
    };
    Ok((found, reading))
}

fn answer(space: &Keyspace, command: &[Bytes], fixed: Fixed) -> Outcome {
    let (members, reading) = members(space, &command[1], &command[2..], fixed)?;
    Ok(if reading.with_scores {
        Reply::Pairs(members.iter().map(pair).collect())
    } else {
        Reply::Array(members.iter().map(|scored| bulk(&scored.member)).collect())
    })
}

/// `ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub fn zrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, OPEN)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub fn zrevrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, fixed(By::Place, true))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub fn zrangebyscore(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, fixed(By::Score, false))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub fn zrevrangebyscore(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, fixed(By::Score, true))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub fn zrangebylex(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, fixed(By::Name, false))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub fn zrevrangebylex(space: &Keyspace, command: &[Bytes]) -> Outcome {
    answer(space, command, fixed(By::Name, true))
}

/// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`
pub fn zrangestore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let stores = Fixed {
        stores: true,
        ..OPEN
    };
    let (members, _) = members(space, &command[2], &command[3..], stores)?;
    let mut set = SortedSet::default();
    for scored in &members {
        set.insert(&scored.member, scored.score);
    }
    Ok(store(space, &command[1], set, effects))
}

/// Replaces a key by a sorted set, or deletes it when that is empty.
pub fn store(space: &mut Keyspace, key: &Bytes, set: SortedSet, effects: &mut Effects) -> Reply {
    let size = set.len();
    if size == 0 {
        space.remove(key, effects);
    } else {
        space.put(key, Value::Sorted(Box::new(set)), 0, effects);
        effects.ready.push(copied(key));
    }
    count(size)
}

fn count_within(space: &Keyspace, command: &[Bytes], by: By) -> Outcome {
    let ends = Ends::parse(by, &command[2], &command[3])?;
    let set: Option<&SortedSet> = space.get(&command[1])?;
    let (start, end) = set.map_or((0, 0), |set| ends.places(set, false));
    Ok(count(end - start))
}

/// `ZCOUNT key min max`
pub fn zcount(space: &Keyspace, command: &[Bytes]) -> Outcome {
    count_within(space, command, By::Score)
}

/// `ZLEXCOUNT key min max`
pub fn zlexcount(space: &Keyspace, command: &[Bytes]) -> Outcome {
    count_within(space, command, By::Name)
}

fn remove_within(
    space: &mut Keyspace,
    command: &[Bytes],
    by: By,
    effects: &mut Effects,
) -> Outcome {
    let ends = Ends::parse(by, &command[2], &command[3])?;
    let removed = space.change_present(&command[1], effects, |set: &mut SortedSet| {
        let (start, end) = ends.places(set, false);
        let members: Vec<_> = set.range(start, end).cloned().collect();
        for scored in &members {
            set.remove(&scored.member);
        }
        members.len()
    })?;
    Ok(count(removed.unwrap_or(0)))
}

/// `ZREMRANGEBYRANK key start stop`
pub fn zremrangebyrank(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    remove_within(space, command, By::Place, effects)
}

/// `ZREMRANGEBYSCORE key min max`
pub fn zremrangebyscore(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    remove_within(space, command, By::Score, effects)
}

/// `ZREMRANGEBYLEX key min max`
pub fn zremrangebylex(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    remove_within(space, command, By::Name, effects)
}
