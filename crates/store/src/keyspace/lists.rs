//! Commands on one list; those that move elements and those that wait are in
//! [`super::list_moves`].

use bytes::Bytes;

use super::parse::{
    Outcome, Refusal, SYNTAX, bulk, count, index_range, integer, is, natural, refuse,
};
use super::text::Text;
use super::value::{Element, List};
use super::{Effects, Keyspace, copied, own, table};
use crate::reply::Reply;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The first element.
    Left,
    /// The last element.
    Right,
}

impl List {
    /// Adds an element at an end.
    pub fn push(&mut self, end: End, text: Text) {
        match end {
            End::Left => self.items.insert_at(0, Element(text)),
            End::Right => self.items.push(Element(text)),
        }
    }

    /// Removes elements at an end, in the order in which they come off.
    pub fn pop(&mut self, end: End, number: usize) -> Vec<Text> {
        let number = number.min(self.items.len());
        let one = |_| {
            let at = match end {
                End::Left => 0,
                End::Right => self.items.len().saturating_sub(1),
            };
            self.items.remove_at(at).map(|element| element.0)
        };
        (0..number).filter_map(one).collect()
    }

    /// The place an index means; negative ones count from the end.
    fn place(&self, index: i64) -> Option<usize> {
        let length = i64::try_from(self.items.len()).unwrap_or(i64::MAX);
        let place = if index < 0 {
            index.checked_add(length)?
        } else {
            index
        };
        usize::try_from(place)
            .ok()
            .filter(|place| *place < self.items.len())
    }
}

fn push(space: &mut Keyspace, command: &[Bytes], end: End, effects: &mut Effects) -> Outcome {
    let length = space.change(&command[1], effects, |list: &mut List| {
        command[2..]
            .iter()
            .for_each(|text| list.push(end, own(text)));
        Ok(list.items.len())
    })?;
    effects.ready.push(copied(&command[1]));
    Ok(count(length))
}

fn push_present(
    space: &mut Keyspace,
    command: &[Bytes],
    end: End,
    effects: &mut Effects,
) -> Outcome {
    match space.get::<List>(&command[1])? {
        None => Ok(Reply::Int(0)),
        Some(_) => push(space, command, end, effects),
    }
}

/// `LPUSH key element ...`
pub fn lpush(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    push(space, command, End::Left, effects)
}

/// `RPUSH key element ...`
pub fn rpush(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    push(space, command, End::Right, effects)
}

/// `LPUSHX key element ...`
pub fn lpushx(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    push_present(space, command, End::Left, effects)
}

/// `RPUSHX key element ...`
pub fn rpushx(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    push_present(space, command, End::Right, effects)
}

fn pop(
    space: &mut Keyspace,
    command: &[Bytes],
    (end, name): (End, &str),
    effects: &mut Effects,
) -> Outcome {
    let wrong = refuse("ERR value is out of range, must be positive");
    let number = match &command[2..] {
        [] => None,
        [text] => Some(natural(text, wrong)?),
        _ => return Err(table::arity_refusal(name)),
    };
    let taken = space.change_present(&command[1], effects, |list: &mut List| {
        list.pop(end, number.unwrap_or(1))
    })?;
    Ok(match (number, taken) {
        (None, taken) => taken.unwrap_or_default().first().map_or(Reply::Nil, bulk),
        (Some(_), None) => Reply::NilArray,
        (Some(_), Some(taken)) => Reply::Array(taken.iter().map(bulk).collect()),
    })
}

/// `LPOP key [count]`
pub fn lpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop(space, command, (End::Left, "lpop"), effects)
}

/// `RPOP key [count]`
pub fn rpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop(space, command, (End::Right, "rpop"), effects)
}

/// `LLEN key`
pub fn llen(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let list: Option<&List> = space.get(&command[1])?;
    Ok(count(list.map_or(0, |list| list.items.len())))
}

/// `LRANGE key start stop`
pub fn lrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let (start, stop) = (integer(&command[2])?, integer(&command[3])?);
    let Some(list) = space.get::<List>(&command[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let (start, end) = index_range(start, stop, list.items.len())
        .map_or((0, 0), |(start, stop)| (start, stop + 1));
    let elements = list.items.range(start, end);
    Ok(Reply::Array(
        elements.map(|element| bulk(&element.0)).collect(),
    ))
}

/// `LINDEX key index`
pub fn lindex(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let Some(list) = space.get::<List>(&command[1])? else {
        return Ok(Reply::Nil);
    };
    let place = list.place(integer(&command[2])?);
    let element = place.and_then(|place| list.items.nth(place));
    Ok(element.map_or(Reply::Nil, |element| bulk(&element.0)))
}

/// `LSET key index element`
pub fn lset(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let list: Option<&List> = space.get(&command[1])?;
    let list = list.ok_or(refuse("ERR no such key"))?;
    let place = list.place(integer(&command[2])?);
    let place = place.ok_or(refuse("ERR index out of range"))?;
    space.change_present(&command[1], effects, |list: &mut List| {
        if let Some(element) = list.items.nth_mut(place) {
            element.0 = own(&command[3]);
        }
    })?;
    Ok(Reply::Ok)
}

/// `LINSERT key BEFORE|AFTER pivot element`
pub fn linsert(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let behind = match &command[2] {
        word if is(word, "BEFORE") => 0,
        word if is(word, "AFTER") => 1,
        _ => return Err(SYNTAX),
    };
    let length = space.change_present(&command[1], effects, |list: &mut List| {
        let place = list
            .items
            .iter()
            .position(|element| *element.0 == *command[3])?;
        list.items
            .insert_at(place + behind, Element(own(&command[4])));
        Some(list.items.len())
    })?;
    Ok(match length {
        None => Reply::Int(0),
        Some(None) => Reply::Int(-1),
        Some(Some(length)) => count(length),
    })
}

/// `LREM key count element`
pub fn lrem(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let number = integer(&command[2])?;
    let many = match usize::try_from(number.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(many) => many,
    };
    let removed = space.change_present(&command[1], effects, |list: &mut List| {
        let elements = list.items.iter().enumerate();
        let equal = |(_, element): &(usize, &Element)| *element.0 == *command[3];
        // From the highest place down, so that places stay true while elements go.
        let places: Vec<usize> = if number < 0 {
            let places = elements.rev().filter(equal).take(many);
            places.map(|(place, _)| place).collect()
        } else {
            let places = elements.filter(equal).take(many);
            let mut places: Vec<_> = places.map(|(place, _)| place).collect();
            places.reverse();
            places
        };
        for place in &places {
            list.items.remove_at(*place);
        }
        places.len()
    })?;
    Ok(count(removed.unwrap_or(0)))
}

/// `LTRIM key start stop`
pub fn ltrim(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (start, stop) = (integer(&command[2])?, integer(&command[3])?);
    space.change_present(&command[1], effects, |list: &mut List| {
        match index_range(start, stop, list.items.len()) {
            Some((start, stop)) => list.items.keep(start, stop + 1),
            None => list.items.keep(0, 0),
        }
    })?;
    Ok(Reply::Ok)
}

struct Search {
    rank: i64,
    number: Option<usize>,
    looked_at: usize,
}

fn search(words: &[Bytes]) -> Result<Search, Refusal> {
    let mut search = Search {
        rank: 1,
        number: None,
        looked_at: usize::MAX,
    };
    if !words.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    let no_limit = |number: usize| if number == 0 { usize::MAX } else { number };
    for pair in words.chunks_exact(2) {
        match &pair[0] {
            word if is(word, "RANK") => {
                search.rank = super::parse::signed(&pair[1])?;
                if search.rank == 0 {
                    return Err(refuse(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            }
            word if is(word, "COUNT") => {
                let number = natural(&pair[1], refuse("ERR COUNT can't be negative"))?;
                search.number = Some(no_limit(number));
            }
            word if is(word, "MAXLEN") => {
                let number = natural(&pair[1], refuse("ERR MAXLEN can't be negative"))?;
                search.looked_at = no_limit(number);
            }
            _ => return Err(SYNTAX),
        }
    }
    Ok(search)
}

/// `LPOS key element [RANK rank] [COUNT count] [MAXLEN length]`
pub fn lpos(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let search = search(&command[3..])?;
    let list: Option<&List> = space.get(&command[1])?;
    let skipped = usize::try_from(search.rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let mut places = Vec::new();
    if let Some(list) = list {
        let elements = list.items.iter().enumerate();
        let equal = |(_, element): &(usize, &Element)| *element.0 == *command[2];
        let number = search.number.unwrap_or(1);
        let place = |(place, _): (usize, &Element)| count(place);
        places = if search.rank < 0 {
            let looked_at = elements.rev().take(search.looked_at);
            looked_at
                .filter(equal)
                .skip(skipped)
                .take(number)
                .map(place)
                .collect()
        } else {
            let looked_at = elements.take(search.looked_at);
            looked_at
                .filter(equal)
                .skip(skipped)
                .take(number)
                .map(place)
                .collect()
        };
    }
    Ok(match search.number {
        Some(_) => Reply::Array(places),
        None => places.into_iter().next().unwrap_or(Reply::Nil),
    })
}
