//! Commands that change streams.

use bytes::Bytes;

use super::{Id, Message, Stream};
use crate::keyspace::parse::{Outcome, Refusal, SYNTAX, count, integer, is, refuse};
use crate::keyspace::{Effects, Keyspace, copied, table};
use crate::reply::Reply;

/// What is to be cut off at the low end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trim {
    None,
    Longest(usize),
    From(Id),
}

/// Options of `XADD` and `XTRIM`.
struct Options {
    trim: Trim,
    create: bool,
    limit: Option<i64>,
    approximate: bool,
    /// The id of `XADD`, and the place behind it.
    id: Option<Wanted>,
    rest: usize,
}

fn options(command: &[Bytes], adds: bool) -> Result<Options, Refusal> {
    let mut options = Options {
        trim: Trim::None,
        create: true,
        limit: None,
        approximate: false,
        id: None,
        rest: command.len(),
    };
    let mut at = 2;
    while at < command.len() {
        let (word, more) = (&command[at], command.len() - at - 1);
        if more > 0 && (is(word, "MAXLEN") || is(word, "MINID")) {
            at += trim(command, at, &mut options)?;
        } else if more > 0 && is(word, "LIMIT") {
            let limit = integer(&command[at + 1])?;
            if limit < 0 {
                return Err(refuse("ERR The LIMIT argument must be >= 0."));
            }
            options.limit = Some(limit);
            at += 1;
        } else if adds && is(word, "NOMKSTREAM") {
            options.create = false;
        } else if adds {
            options.id = Some(wanted(word)?);
            options.rest = at + 1;
            break;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    if options.limit.is_some_and(|limit| limit > 0) && options.trim == Trim::None {
        return Err(refuse(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if !adds && options.trim == Trim::None {
        return Err(refuse(
            "ERR syntax error, XTRIM must be called with a trimming strategy",
        ));
    }
    if options.limit.is_some() && !options.approximate {
        return Err(refuse(
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    Ok(options)
}

/// Reads `MAXLEN|MINID [=|~] threshold` at `at`; answers how many words follow the first.
fn trim(command: &[Bytes], at: usize, options: &mut Options) -> Result<usize, Refusal> {
    if options.trim != Trim::None {
        return Err(refuse(
            "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        ));
    }
    let mut used = 1;
    if command.len() - at > 2 {
        let mark = command[at + 1].as_ref();
        options.approximate = mark == b"~";
        used += usize::from(mark == b"~" || mark == b"=");
    }
    let threshold = &command[at + used];
    options.trim = if is(&command[at], "MAXLEN") {
        let length = usize::try_from(integer(threshold)?);
        Trim::Longest(length.map_err(|_| refuse("ERR The MAXLEN argument must be >= 0."))?)
    } else {
        Trim::From(Id::parse(threshold, 0)?)
    };
    Ok(used)
}

impl Stream {
    fn trim(&mut self, trim: Trim) -> usize {
        let gone = match trim {
            Trim::None => 0,
            Trim::Longest(length) => self.messages.len().saturating_sub(length),
            Trim::From(id) => self.messages.rank(&id),
        };
        if gone > 0 {
            self.messages.keep(gone, self.messages.len());
        }
        gone
    }

    /// The id of the next message, as it was asked for.
    fn next_id(&self, wanted: Wanted, clock_ms: u64) -> Result<Id, Refusal> {
        let exhausted =
            refuse("ERR The stream has exhausted the last possible ID, unable to add more items");
        let small = refuse(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        );
        if self.last == Id::MAX {
            return Err(exhausted);
        }
        let id = match wanted {
            Wanted::Any if clock_ms > self.last.ms => Id {
                ms: clock_ms,
                number: 0,
            },
            Wanted::Any => self.last.next().ok_or(exhausted)?,
            Wanted::Within(ms) if ms == self.last.ms => Id {
                ms,
                number: self.last.number.checked_add(1).ok_or(small.clone())?,
            },
            Wanted::Within(ms) => Id { ms, number: 0 },
            Wanted::Exactly(id) => id,
        };
        if id > self.last { Ok(id) } else { Err(small) }
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Any,
    Within(u64),
    Exactly(Id),
}

fn wanted(text: &Bytes) -> Result<Wanted, Refusal> {
    if text.as_ref() == b"*" {
        return Ok(Wanted::Any);
    }
    if let Some(ms) = text.strip_suffix(b"-*") {
        return Ok(Wanted::Within(Id::parse(ms, 0)?.ms));
    }
    Id::parse(text, 0).map(Wanted::Exactly)
}

/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value ...`
pub fn xadd(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let options = options(command, true)?;
    let words = &command[options.rest..];
    let paired = !words.is_empty() && words.len().is_multiple_of(2);
    let Some(id) = options.id.filter(|_| paired) else {
        return Err(table::arity_refusal("xadd"));
    };
    if matches!(id, Wanted::Exactly(id) if id == Id::default()) {
        return Err(refuse(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let clock_ms = space.clock_ms;
    let present = space.get::<Stream>(&command[1])?.is_some();
    if !present && !options.create {
        return Ok(Reply::Nil);
    }
    let id = space.change(&command[1], effects, |stream: &mut Stream| {
        let id = stream.next_id(id, clock_ms)?;
        let words = words.iter().map(copied).collect();
        stream.messages.push(Message { id, words });
        stream.last = id;
        stream.added += 1;
        stream.trim(options.trim);
        Ok(id)
    })?;
    effects.ready.push(copied(&command[1]));
    Ok(id.reply())
}

/// `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]`
pub fn xtrim(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let options = options(command, false)?;
    let gone = space.change_present(&command[1], effects, |stream: &mut Stream| {
        stream.trim(options.trim)
    })?;
    Ok(count(gone.unwrap_or(0)))
}

/// `XDEL key id ...`
pub fn xdel(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    if space.get::<Stream>(&command[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let ids = command[2..].iter().map(|text| Id::parse(text, 0));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let gone = space.change_present(&command[1], effects, |stream: &mut Stream| {
        let mut gone = 0;
        for id in ids {
            if stream.messages.remove(&id).is_some() {
                stream.deleted = stream.deleted.max(id);
                gone += 1;
            }
        }
        gone
    })?;
    Ok(count(gone.unwrap_or(0)))
}

/// `XSETID key id [ENTRIESADDED number] [MAXDELETEDID id]`
pub fn xsetid(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let id = Id::parse(&command[2], 0)?;
    let (mut added, mut deleted) = (None, None);
    for pair in command[3..].chunks(2) {
        match pair {
            [word, number] if is(word, "ENTRIESADDED") => {
                let number = u64::try_from(integer(number)?);
                added = Some(number.map_err(|_| refuse("ERR entries_added must be positive"))?);
            }
            [word, id] if is(word, "MAXDELETEDID") => deleted = Some(Id::parse(id, 0)?),
            _ => return Err(SYNTAX),
        }
    }
    if deleted.is_some_and(|deleted| id < deleted) {
        return Err(refuse(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ));
    }
    let stream = space.get::<Stream>(&command[1])?;
    let stream = stream.ok_or(refuse("ERR no such key"))?;
    let length = stream.messages.len();
    let top = length.checked_sub(1).and_then(|at| stream.messages.nth(at));
    if top.is_some_and(|top| id < top.id) {
        return Err(refuse(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if top.is_some() && added.is_some_and(|added| added < length as u64) {
        return Err(refuse(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    space.change_present(&command[1], effects, |stream: &mut Stream| {
        stream.last = id;
        stream.added = added.unwrap_or(stream.added);
        stream.deleted = deleted.unwrap_or(stream.deleted);
    })?;
    Ok(Reply::Ok)
}
