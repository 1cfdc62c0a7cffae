//! Streams: messages in the order of their ids.
//!
//! An id is a time in milliseconds and a number; `*` takes the logical clock, so that every
//! server gives the same one.

mod add;
mod read;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::parse::{Refusal, refuse};
use super::tree::{Item, Iter, Probe, Tree};
use crate::reply::Reply;

pub use add::{xadd, xdel, xsetid, xtrim};
pub use read::{xinfo, xlen, xrange, xread, xrevrange};

/// The id of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id {
    /// Unix milliseconds, normally.
    pub ms: u64,
    /// Number among those of the same millisecond.
    pub number: u64,
}

impl Id {
    /// The highest id.
    pub const MAX: Id = Id {
        ms: u64::MAX,
        number: u64::MAX,
    };

    /// The id behind this one.
    pub fn next(self) -> Option<Id> {
        match self.number.checked_add(1) {
            Some(number) => Some(Id {
                ms: self.ms,
                number,
            }),
            None => self.ms.checked_add(1).map(|ms| Id { ms, number: 0 }),
        }
    }

    /// The id before this one.
    pub fn previous(self) -> Option<Id> {
        match self.number.checked_sub(1) {
            Some(number) => Some(Id {
                ms: self.ms,
                number,
            }),
            None => self.ms.checked_sub(1).map(|ms| Id {
                ms,
                number: u64::MAX,
            }),
        }
    }

    /// Reads an id; a missing number becomes `number`.
    pub fn parse(text: &[u8], number: u64) -> Result<Id, Refusal> {
        let wrong = refuse("ERR Invalid stream ID specified as stream command argument");
        let whole = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let text = std::str::from_utf8(text).map_err(|_| wrong.clone())?;
        let (ms, number) = match text.split_once('-') {
            Some((ms, number)) => (whole(ms), whole(number)),
            None => (whole(text), Some(number)),
        };
        match (ms, number) {
            (Some(ms), Some(number)) => Ok(Id { ms, number }),
            _ => Err(wrong),
        }
    }

    /// The id as a reply.
    pub fn reply(self) -> Reply {
        Reply::text(self.to_string())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: Id,
    /// Field, value, field, value ...
    pub words: Arc<[Bytes]>,
}

impl Message {
    /// The message as a reply.
    pub fn reply(&self) -> Reply {
        let words = self.words.iter().map(|word| Reply::Bulk(word.clone()));
        Reply::Array(vec![self.id.reply(), Reply::Array(words.collect())])
    }
}

impl Item for Message {
    type Bound = Id;

    fn bound(&self) -> Id {
        self.id
    }
}

impl Probe<Message> for Id {
    fn item(&self, item: &Message) -> Ordering {
        item.id.cmp(self)
    }

    fn bound(&self, bound: &Id) -> Ordering {
        bound.cmp(self)
    }
}

/// Messages and what is remembered of those that are gone.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// The messages.
    pub messages: Tree<Message>,
    /// The highest id there ever was.
    pub last: Id,
    /// Messages ever added.
    pub added: u64,
    /// The highest id that was deleted.
    pub deleted: Id,
}

impl Stream {
    /// The messages from one id to another, both included.
    pub fn between(&self, low: Id, high: Id) -> Iter<'_, Message> {
        let start = self.messages.rank(&low);
        let end = match high.next() {
            Some(next) => self.messages.rank(&next),
            None => self.messages.len(),
        };
        self.messages.range(start, end)
    }
}
