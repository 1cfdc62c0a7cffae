//! What clients asked and what they were told.

use bytes::Bytes;
use raftpbx_store::{Command, Reply};

/// What a client does to one object. Values are unique numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reads the value, or the number.
    Read,
    /// Writes a value.
    Write(u64),
    /// Writes a value that vanishes after some milliseconds.
    WriteFor(u64, u64),
    /// Writes a value and answers the one before.
    Swap(u64),
    /// Writes a value if there is none; answers whether.
    Claim(u64),
    /// Removes the value; answers whether there was one.
    Remove,
    /// Adds to a number and answers the sum.
    Add(i64),
    /// Puts an item into a queue.
    Push(u64),
    /// Takes the lowest item out of a queue.
    Pop,
}

/// Which commands an object is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string: `SET`, `SET GET`, `SET NX`, `DEL`, `GET`.
    Text,
    /// A string with an end: `SET PX`.
    Expiring,
    /// A field of a hash.
    Field,
    /// A counter: `INCRBY`.
    Counter,
    /// A counter in a hash: `HINCRBY`.
    FieldCounter,
    /// A sorted set: `ZADD`, `ZPOPMIN`.
    Queue,
}

/// An object under test.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its commands.
    pub shape: Shape,
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing of interest.
    Done,
    /// A value, if there is one.
    Value(Option<u64>),
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(i64),
}

/// One operation. Times are steps of the world.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Index of the object.
    pub object: usize,
    /// What was asked.
    pub action: Action,
    /// Of which node.
    pub node: u64,
    /// When it began.
    pub began: u64,
    /// When it ended; `None` while nobody knows its outcome.
    pub ended: Option<u64>,
    /// The answer, when there was one.
    pub told: Option<Told>,
    /// It certainly had no effect.
    pub refused: bool,
}

fn words(words: &[&str]) -> Command {
    words
        .iter()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

impl Object {
    /// The command of an action.
    pub fn command(&self, action: Action) -> Command {
        let key = self.key.as_str();
        let text = |number: u64| format!("{number:08}");
        match (self.shape, action) {
            (Shape::Text | Shape::Expiring | Shape::Counter, Action::Read) => words(&["GET", key]),
            (Shape::Field | Shape::FieldCounter, Action::Read) => words(&["HGET", "hash", key]),
            (Shape::Field, Action::Write(value)) => words(&["HSET", "hash", key, &text(value)]),
            (Shape::Field, Action::Claim(value)) => words(&["HSETNX", "hash", key, &text(value)]),
            (Shape::Field, Action::Remove) => words(&["HDEL", "hash", key]),
            (_, Action::Write(value)) => words(&["SET", key, &text(value)]),
            (_, Action::WriteFor(value, ms)) => {
                words(&["SET", key, &text(value), "PX", &ms.to_string()])
            }
            (_, Action::Swap(value)) => words(&["SET", key, &text(value), "GET"]),
            (_, Action::Claim(value)) => words(&["SET", key, &text(value), "NX"]),
            (_, Action::Remove) => words(&["DEL", key]),
            (Shape::FieldCounter, Action::Add(by)) => {
                words(&["HINCRBY", "hash", key, &by.to_string()])
            }
            (_, Action::Add(by)) => words(&["INCRBY", key, &by.to_string()]),
            (_, Action::Push(item)) => words(&["ZADD", key, &item.to_string(), &text(item)]),
            (_, Action::Pop) => words(&["ZPOPMIN", key]),
            (Shape::Queue, Action::Read) => words(&["ZCARD", key]),
        }
    }

    /// What a reply says; `None` for one that the action cannot have.
    pub fn told(&self, action: Action, reply: &Reply) -> Option<Told> {
        let number = |bytes: &Bytes| std::str::from_utf8(bytes).ok()?.parse::<i64>().ok();
        let value = |reply: &Reply| match reply {
            Reply::Nil => Some(None),
            Reply::Bulk(bytes) => Some(Some(number(bytes)?.unsigned_abs())),
            _ => None,
        };
        let counter = matches!(self.shape, Shape::Counter | Shape::FieldCounter);
        Some(match (action, reply) {
            (Action::Read, Reply::Nil) if counter => Told::Number(0),
            (Action::Read, Reply::Bulk(bytes)) if counter => Told::Number(number(bytes)?),
            (Action::Read, Reply::Int(count)) => Told::Number(*count),
            (Action::Read | Action::Swap(_), reply) => Told::Value(value(reply)?),
            (Action::Write(_) | Action::WriteFor(..), Reply::Ok | Reply::Int(_)) => Told::Done,
            (Action::Claim(_), Reply::Ok) => Told::Flag(true),
            (Action::Claim(_), Reply::Nil) => Told::Flag(false),
            (Action::Claim(_) | Action::Remove, Reply::Int(count)) => Told::Flag(*count == 1),
            (Action::Add(_), Reply::Int(sum)) => Told::Number(*sum),
            (Action::Push(_), Reply::Int(count)) => Told::Flag(*count == 1),
            (Action::Pop, Reply::Array(items)) => match items.first() {
                None => Told::Value(None),
                Some(Reply::Array(pair)) => Told::Value(value(pair.first()?)?),
                Some(item) => Told::Value(value(item)?),
            },
            _ => return None,
        })
    }
}
