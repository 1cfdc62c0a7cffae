//! Commands and their replies, as in Redis.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A command: its name and its arguments.
pub type Command = Vec<Bytes>;

/// One command, or several that are applied together as one piece of one log entry.
pub type Request = Vec<Command>;

/// The answer to a command. A request of several commands answers one [`Reply::Array`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// `+OK`.
    Ok,
    /// An integer.
    Int(i64),
    /// A floating point number (a bulk string in RESP2).
    Double(f64),
    /// Bytes.
    Bulk(Bytes),
    /// A short status text.
    Simple(String),
    /// Several replies.
    Array(Vec<Reply>),
    /// Pairs (a flat array in RESP2).
    Map(Vec<(Reply, Reply)>),
    /// An error text that begins with its code, for example `ERR` or `WRONGTYPE`.
    Error(String),
    /// No array (`*-1` in RESP2, the same as [`Reply::Nil`] in RESP3).
    NilArray,
    /// Distinct elements (an array in RESP2).
    Set(Vec<Reply>),
    /// Pairs in order, for example members with scores: arrays of two in RESP3, flat in RESP2.
    Pairs(Vec<(Reply, Reply)>),
    /// Names and what belongs to them: a map in RESP3, an array of arrays of two in RESP2.
    Entries(Vec<(Reply, Reply)>),
    /// Yes or no (1 or 0 in RESP2).
    Boolean(bool),
    /// Plain text for people (a bulk string in RESP2).
    Verbatim(String),
}

impl Reply {
    /// An error reply; `text` begins with its code.
    pub fn error(text: impl Into<String>) -> Reply {
        Reply::Error(text.into())
    }

    /// A bulk reply of a string.
    pub fn text(text: impl Into<String>) -> Reply {
        Reply::Bulk(Bytes::from(text.into()))
    }

    /// Whether the command was refused.
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }
}
