//! The keyspace as bytes: the part of a snapshot that belongs to it.
//!
//! Format: a postcard sequence of [`Record`]s, one a key, behind the counter of changes. Writing
//! works on a frozen copy, so that commands go on meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Keyspace;
use super::tree::Tree;
use super::value::{Slot, SortedSet, Value};

/// What is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// The first record: how many changes were counted.
    Version(u64),
    /// One key.
    Key(Key),
}

/// One key as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    key: Bytes,
    expires_at_ms: u64,
    modified: u64,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Content {
    String(Bytes),
    Hash(Vec<(Bytes, Bytes)>),
    Set(Vec<Bytes>),
    Sorted(Vec<(Bytes, f64)>),
}

/// A frozen keyspace that can be written record by record.
pub struct Dump {
    slots: Tree<Slot>,
    version: u64,
    /// The logical clock.
    pub clock_ms: u64,
    /// Number of expired keys.
    pub expired: u64,
}

impl Dump {
    /// Number of records.
    pub fn count(&self) -> usize {
        self.slots.len() + 1
    }

    /// The counter of changes, then all keys.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        std::iter::once(Record::Version(self.version)).chain(self.keys().map(Record::Key))
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        self.slots.iter().map(|(key, slot)| Key {
            key: key.clone(),
            expires_at_ms: slot.expires_at_ms,
            modified: slot.modified,
            content: match &slot.value {
                Value::String(text) => Content::String(text.clone()),
                Value::Hash(fields) => {
                    let pairs = fields
                        .iter()
                        .map(|(field, value)| (field.clone(), value.clone()));
                    Content::Hash(pairs.collect())
                }
                Value::Set(items) => {
                    Content::Set(items.iter().map(|(item, ())| item.clone()).collect())
                }
                Value::Sorted(set) => Content::Sorted(set.iter().collect()),
            },
        })
    }
}

/// A keyspace that is being read back.
#[derive(Default)]
pub struct Restore {
    slots: Tree<Slot>,
    deadlines: BTreeSet<(u64, Bytes)>,
    version: u64,
}

impl Restore {
    /// Adds one record.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Version(version) => self.version = version,
            Record::Key(key) => self.add_key(key),
        }
    }

    fn add_key(&mut self, record: Key) {
        let value = match record.content {
            Content::String(text) => Value::String(text),
            Content::Hash(pairs) => {
                let mut fields = Tree::default();
                for (field, value) in pairs {
                    fields.insert(field, value);
                }
                Value::Hash(Arc::new(fields))
            }
            Content::Set(members) => {
                let mut items = Tree::default();
                for item in members {
                    items.insert(item, ());
                }
                Value::Set(Arc::new(items))
            }
            Content::Sorted(members) => {
                let mut set = SortedSet::default();
                for (item, score) in members {
                    set.insert(item, score);
                }
                Value::Sorted(Arc::new(set))
            }
        };
        if record.expires_at_ms != 0 {
            self.deadlines
                .insert((record.expires_at_ms, record.key.clone()));
        }
        self.slots.insert(
            record.key,
            Slot {
                value,
                expires_at_ms: record.expires_at_ms,
                modified: record.modified,
            },
        );
    }

    /// The finished keyspace.
    pub fn finish(self, clock_ms: u64, expired: u64) -> Keyspace {
        Keyspace {
            slots: self.slots,
            deadlines: self.deadlines,
            clock_ms,
            expired,
            version: self.version,
            ..Keyspace::default()
        }
    }
}

impl Keyspace {
    /// Freezes the state for a snapshot; costs one reference count per 32 to 64 keys.
    pub fn dump(&self) -> Dump {
        Dump {
            slots: self.slots.clone(),
            version: self.version,
            clock_ms: self.clock_ms,
            expired: self.expired,
        }
    }
}
