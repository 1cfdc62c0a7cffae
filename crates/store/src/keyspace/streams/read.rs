//! Commands that read streams.

use bytes::Bytes;

use super::{Id, Message, Stream};
use crate::keyspace::parse::{Outcome, Refusal, SYNTAX, bulk, count, integer, is, refuse};
use crate::keyspace::{Keyspace, table};
use crate::reply::Reply;

/// `XLEN key`
pub fn xlen(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let stream: Option<&Stream> = space.get(&command[1])?;
    Ok(count(stream.map_or(0, |stream| stream.messages.len())))
}

/// One end of a range of ids; `(` excludes the id.
fn end(text: &Bytes, low: bool) -> Result<Id, Refusal> {
    let missing = if low { 0 } else { u64::MAX };
    match text.as_ref() {
        b"-" => Ok(Id::default()),
        b"+" => Ok(Id::MAX),
        [b'(', id @ ..] => {
            let id = Id::parse(id, missing)?;
            let (inner, side) = if low {
                (id.next(), "start")
            } else {
                (id.previous(), "end")
            };
            let text = || Refusal(format!("ERR invalid {side} ID for the interval").into());
            inner.ok_or_else(text)
        }
        id => Id::parse(id, missing),
    }
}

fn messages<'a>(found: impl Iterator<Item = &'a Message>, limit: usize) -> Reply {
    Reply::Array(found.take(limit).map(Message::reply).collect())
}

fn range(space: &Keyspace, command: &[Bytes], reverse: bool) -> Outcome {
    let (low, high) = if reverse { (3, 2) } else { (2, 3) };
    let (low, high) = (end(&command[low], true)?, end(&command[high], false)?);
    let mut number = -1;
    for pair in command[4..].chunks(2) {
        number = match pair {
            [word, number] if is(word, "COUNT") => integer(number)?.max(0),
            _ => return Err(SYNTAX),
        };
    }
    let Some(stream) = space.get::<Stream>(&command[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    if number == 0 {
        return Ok(Reply::NilArray);
    }
    let limit = usize::try_from(number).unwrap_or(usize::MAX);
    let found = stream.between(low, high);
    Ok(if reverse {
        messages(found.rev(), limit)
    } else {
        messages(found, limit)
    })
}

/// `XRANGE key start end [COUNT count]`
pub fn xrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    range(space, command, false)
}

/// `XREVRANGE key end start [COUNT count]`
pub fn xrevrange(space: &Keyspace, command: &[Bytes]) -> Outcome {
    range(space, command, true)
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key ... id ...`
pub fn xread(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let mut limit = usize::MAX;
    let mut at = 1;
    let streams = loop {
        let word = command.get(at).ok_or(SYNTAX)?;
        let value = command.get(at + 1).ok_or(SYNTAX)?;
        if is(word, "STREAMS") {
            break &command[at + 1..];
        } else if is(word, "COUNT") {
            let number = usize::try_from(integer(value)?).unwrap_or(0);
            limit = if number == 0 { usize::MAX } else { number };
        } else if is(word, "BLOCK") {
            // Whoever waits does so outside of the log; a bad time is refused here as well.
            let wrong = |_| refuse("ERR timeout is not an integer or out of range");
            if integer(value).map_err(wrong)? < 0 {
                return Err(refuse("ERR timeout is negative"));
            }
        } else {
            return Err(SYNTAX);
        }
        at += 2;
    };
    if streams.len() % 2 == 1 {
        return Err(refuse(
            "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be \
             specified.",
        ));
    }
    let (keys, ids) = streams.split_at(streams.len() / 2);
    let mut found = Vec::new();
    for (key, text) in keys.iter().zip(ids) {
        let stream = space.get::<Stream>(key)?;
        let after = match text.as_ref() {
            b"$" => stream.map_or(Id::default(), |stream| stream.last),
            b">" => {
                return Err(refuse(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                     <group> <consumer> option.",
                ));
            }
            _ => Id::parse(text, 0)?,
        };
        let new = stream.zip(after.next());
        let mut new = new.map(|(stream, low)| stream.between(low, Id::MAX));
        if let Some(new) = new.as_mut().filter(|new| new.len() > 0) {
            found.push((bulk(key), messages(new, limit)));
        }
    }
    Ok(if found.is_empty() {
        Reply::NilArray
    } else {
        Reply::Entries(found)
    })
}

/// `XINFO STREAM key`
pub fn xinfo(space: &Keyspace, command: &[Bytes]) -> Outcome {
    let key = match &command[1..] {
        [verb, key] if is(verb, "STREAM") => key,
        [verb, ..] if is(verb, "STREAM") => return Err(table::arity_refusal("xinfo|stream")),
        [verb, ..] => {
            let verb = String::from_utf8_lossy(verb);
            let text = format!("ERR unknown subcommand '{verb}'. Try XINFO HELP.");
            return Err(Refusal(text.into()));
        }
        [] => return Err(SYNTAX),
    };
    let stream = space.get::<Stream>(key)?;
    let stream = stream.ok_or(refuse("ERR no such key"))?;
    let (first, last) = (
        stream.messages.iter().next(),
        stream.messages.iter().next_back(),
    );
    let message = |message: Option<&Message>| message.map_or(Reply::Nil, Message::reply);
    let added = i64::try_from(stream.added).unwrap_or(i64::MAX);
    let first_id = first.map_or(Id::default(), |first| first.id);
    let pairs = [
        ("length", count(stream.messages.len())),
        ("last-generated-id", stream.last.reply()),
        ("max-deleted-entry-id", stream.deleted.reply()),
        ("entries-added", Reply::Int(added)),
        ("recorded-first-entry-id", first_id.reply()),
        ("groups", Reply::Int(0)),
        ("first-entry", message(first)),
        ("last-entry", message(last)),
    ];
    let pairs = pairs.map(|(name, value)| (Reply::text(name), value));
    Ok(Reply::Map(pairs.into()))
}
