//! Commands that move elements between lists, and those a client waits for. In the log nobody
//! waits: they answer nil at once, and whoever waits asks again when a key is ready.

use bytes::Bytes;

use super::lists::End;
use super::parse::{Outcome, Refusal, SYNTAX, WRONG_TYPE, bulk, is, positive, refuse};
use super::set_algebra::counted;
use super::table::timeout_ms;
use super::value::{Kept, List};
use super::{Effects, Keyspace, copied};
use crate::reply::Reply;

fn end(word: &Bytes) -> Result<End, Refusal> {
    match word {
        word if is(word, "LEFT") => Ok(End::Left),
        word if is(word, "RIGHT") => Ok(End::Right),
        _ => Err(SYNTAX),
    }
}

fn shift(
    space: &mut Keyspace,
    (from, taken): (&Bytes, End),
    (to, added): (&Bytes, End),
    effects: &mut Effects,
) -> Outcome {
    let Some(source) = space.slot(from) else {
        return Ok(Reply::Nil);
    };
    List::of(&source.value).ok_or(WRONG_TYPE)?;
    space.get::<List>(to)?;
    if from == to {
        // One change, so that a list of one element is not deleted in between.
        let moved = space.change_present(from, effects, |list: &mut List| {
            let moved = list.pop(taken, 1);
            moved.iter().for_each(|text| list.push(added, text.clone()));
            moved
        })?;
        return Ok(moved.unwrap_or_default().first().map_or(Reply::Nil, bulk));
    }
    let moved = space.change_present(from, effects, |list: &mut List| list.pop(taken, 1))?;
    let Some(text) = moved.unwrap_or_default().pop() else {
        return Ok(Reply::Nil);
    };
    space.change(to, effects, |list: &mut List| {
        list.push(added, text.clone());
        Ok(())
    })?;
    effects.ready.push(copied(to));
    Ok(bulk(&text))
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
pub fn lmove(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (taken, added) = (end(&command[3])?, end(&command[4])?);
    shift(space, (&command[1], taken), (&command[2], added), effects)
}

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`
pub fn blmove(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (taken, added) = (end(&command[3])?, end(&command[4])?);
    timeout_ms(&command[5])?;
    shift(space, (&command[1], taken), (&command[2], added), effects)
}

/// `RPOPLPUSH source destination`
pub fn rpoplpush(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    let (from, to) = ((&command[1], End::Right), (&command[2], End::Left));
    shift(space, from, to, effects)
}

/// `BRPOPLPUSH source destination timeout`
pub fn brpoplpush(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    timeout_ms(&command[3])?;
    rpoplpush(space, command, effects)
}

fn pop_first(space: &mut Keyspace, command: &[Bytes], end: End, effects: &mut Effects) -> Outcome {
    let (timeout, keys) = command[1..].split_last().ok_or(SYNTAX)?;
    timeout_ms(timeout)?;
    for key in keys {
        let taken = space.change_present(key, effects, |list: &mut List| list.pop(end, 1))?;
        if let Some(text) = taken.unwrap_or_default().first() {
            return Ok(Reply::Array(vec![bulk(key), bulk(text)]));
        }
    }
    Ok(Reply::NilArray)
}

/// `BLPOP key ... timeout`
pub fn blpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_first(space, command, End::Left, effects)
}

/// `BRPOP key ... timeout`
pub fn brpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_first(space, command, End::Right, effects)
}

/// Reads `[COUNT number]` behind a side.
pub fn pop_count(rest: &[Bytes]) -> Result<usize, Refusal> {
    match rest {
        [] => Ok(1),
        [word, number] if is(word, "COUNT") => {
            positive(number, refuse("ERR count should be greater than 0"))
        }
        _ => Err(SYNTAX),
    }
}

fn pop_several(
    space: &mut Keyspace,
    command: &[Bytes],
    at: usize,
    effects: &mut Effects,
) -> Outcome {
    let (keys, rest) = counted_or_syntax(command, at)?;
    let (side, rest) = rest.split_first().ok_or(SYNTAX)?;
    let (end, number) = (end(side)?, pop_count(rest)?);
    if at == 2 {
        timeout_ms(&command[1])?;
    }
    for key in keys {
        let taken = space.change_present(key, effects, |list: &mut List| list.pop(end, number))?;
        if let Some(taken) = taken {
            let taken = Reply::Array(taken.iter().map(bulk).collect());
            return Ok(Reply::Array(vec![bulk(key), taken]));
        }
    }
    Ok(Reply::NilArray)
}

/// Reads `number key ...`; too few keys are a syntax error.
pub fn counted_or_syntax(command: &[Bytes], at: usize) -> Result<(&[Bytes], &[Bytes]), Refusal> {
    positive(&command[at], refuse("ERR numkeys should be greater than 0"))?;
    counted(command, at).map_err(|_| SYNTAX)
}

/// `LMPOP number key ... LEFT|RIGHT [COUNT count]`
pub fn lmpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_several(space, command, 1, effects)
}

/// `BLMPOP timeout number key ... LEFT|RIGHT [COUNT count]`
pub fn blmpop(space: &mut Keyspace, command: &[Bytes], effects: &mut Effects) -> Outcome {
    pop_several(space, command, 2, effects)
}
