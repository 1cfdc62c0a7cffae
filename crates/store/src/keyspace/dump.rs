//! The keyspace as bytes: the part of a snapshot that belongs to it.
//!
//! Format: a postcard sequence of [`Record`]s, one a key, behind the counters of changes. Writing
//! works on a frozen copy, so that commands go on meanwhile.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Keyspace;
use super::dict::Dict;
use super::removals::Removals;
use super::streams::{Id, Message, Stream};
use super::text::Text;
use super::value::{Element, Hash, List, Scored, Set, Slot, SortedSet, Value};

/// What is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// The first record: how many changes were counted.
    Version(u64),
    /// One key.
    Key(Key),
    /// The second record: the last removal of each hash slot that had one.
    Removals(Vec<(u16, u64)>),
}

/// One key as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    key: Text,
    expires_at_ms: u64,
    modified: u64,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Content {
    String(Text),
    /// Field, value, deadline.
    Hash(Vec<(Text, Text, u64)>),
    Set(Vec<Text>),
    Sorted(Vec<(Text, f64)>),
    List(Vec<Text>),
    Stream(StreamContent),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StreamContent {
    messages: Vec<(Id, Vec<Bytes>)>,
    last: Id,
    added: u64,
    deleted: Id,
}

/// A frozen keyspace that can be written record by record.
pub struct Dump {
    slots: Dict<Slot>,
    version: u64,
    removals: Removals,
    /// The logical clock.
    pub clock_ms: u64,
    /// Number of expired keys.
    pub expired: u64,
}

impl Dump {
    /// Number of records.
    pub fn count(&self) -> usize {
        self.slots.len() + 2
    }

    /// The counters of changes, then all keys.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let keys = self.slots.iter().map(|entry| {
            Record::Key(Key {
                key: entry.key.clone(),
                expires_at_ms: entry.value.expires_at_ms,
                modified: entry.value.modified,
                content: Content::of(&entry.value.value),
            })
        });
        let removals = Record::Removals(self.removals.iter().collect());
        [Record::Version(self.version), removals]
            .into_iter()
            .chain(keys)
    }
}

impl Content {
    fn of(value: &Value) -> Content {
        match value {
            Value::String(text) => Content::String(text.clone()),
            Value::Hash(hash) => {
                let fields = hash.fields().iter().map(|field| {
                    let value = field.value.value.clone();
                    (field.key.clone(), value, field.value.expires_at_ms)
                });
                Content::Hash(fields.collect())
            }
            Value::Set(set) => Content::Set(set.iter().map(|entry| entry.key.clone()).collect()),
            Value::Sorted(set) => {
                let members = set.iter();
                let members = members.map(|scored| (scored.member.clone(), scored.score));
                Content::Sorted(members.collect())
            }
            Value::List(list) => {
                Content::List(list.items.iter().map(|element| element.0.clone()).collect())
            }
            Value::Stream(stream) => {
                let messages = stream.messages.iter();
                Content::Stream(StreamContent {
                    messages: messages
                        .map(|message| (message.id, message.words.to_vec()))
                        .collect(),
                    last: stream.last,
                    added: stream.added,
                    deleted: stream.deleted,
                })
            }
        }
    }

    fn value(self) -> Value {
        match self {
            Content::String(text) => Value::String(text),
            Content::Hash(fields) => {
                let mut hash = Hash::default();
                for (name, value, expires_at_ms) in fields {
                    hash.restore(&name, value, expires_at_ms);
                }
                Value::Hash(Box::new(hash))
            }
            Content::Set(members) => {
                let members: Set = members.into_iter().map(|member| (member, ())).collect();
                Value::Set(Box::new(members))
            }
            Content::Sorted(members) => {
                let members = members.into_iter();
                let scored = members.map(|(member, score)| Scored { score, member });
                Value::Sorted(Box::new(SortedSet::restore(scored)))
            }
            Content::List(items) => Value::List(Box::new(List {
                items: items.into_iter().map(Element).collect(),
            })),
            Content::Stream(content) => {
                let messages = content.messages.into_iter().map(|(id, words)| Message {
                    id,
                    words: words.into(),
                });
                Value::Stream(Box::new(Stream {
                    messages: messages.collect(),
                    last: content.last,
                    added: content.added,
                    deleted: content.deleted,
                }))
            }
        }
    }
}

/// A keyspace that is being read back.
#[derive(Default)]
pub struct Restore {
    space: Keyspace,
}

impl Restore {
    /// Adds one record.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Version(version) => self.space.version = version,
            Record::Key(key) => self.add_key(key),
            Record::Removals(removals) => {
                for (slot, version) in removals {
                    self.space.removals.set(slot, version);
                }
            }
        }
    }

    fn add_key(&mut self, record: Key) {
        let slot = Slot {
            value: record.content.value(),
            expires_at_ms: record.expires_at_ms,
            modified: record.modified,
        };
        self.space.add_name(&record.key);
        if slot.expires_at_ms != 0 {
            let deadline = (slot.expires_at_ms, record.key.clone());
            self.space.deadlines.insert(deadline);
        }
        if let Value::Hash(hash) = &slot.value {
            for (at, name) in hash.timed() {
                let deadline = (at, record.key.clone(), name.clone());
                self.space.field_deadlines.insert(deadline);
            }
        }
        self.space.slots.insert_shared(&record.key, slot);
    }

    /// The finished keyspace.
    pub fn finish(self, clock_ms: u64, expired: u64) -> Keyspace {
        Keyspace {
            clock_ms,
            expired,
            ..self.space
        }
    }
}

impl Keyspace {
    /// Freezes the state for a snapshot; costs one reference count.
    pub fn dump(&self) -> Dump {
        Dump {
            slots: self.slots.clone(),
            version: self.version,
            removals: self.removals.clone(),
            clock_ms: self.clock_ms,
            expired: self.expired,
        }
    }
}
