//! The Redis-like state of the store, as a pure machine.
//!
//! Owner: the state machine (`crate::machine`), which calls [`Keyspace::advance`] with the time of
//! each log entry and then [`Keyspace::apply`] with its commands. Nothing here reads a clock, a
//! socket or randomness: the same entries give the same bytes on every server.
//!
//! Time: entries carry the leader's clock. `advance` moves the logical clock forward, never back,
//! and removes the keys whose time is over, in order of their deadlines. Relative times of
//! commands become absolute here.

mod cursors;
mod dump;
mod hashes;
mod keys;
mod parse;
mod pattern;
mod sets;
mod sorted_sets;
mod strings;
mod table;
mod tree;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::event::Change;
use crate::reply::Reply;

pub use dump::{Dump, Restore};
pub use keys::WATCHED;
pub use pattern::matches;
pub use table::{Kind, Spec, Sql, arity_refusal, describe, find, unknown_command};

use cursors::Cursors;
use parse::{Refusal, WRONG_TYPE, integer};
use tree::Tree;
use value::{Slot, SortedSet, Value};

/// What applying commands did besides changing the state.
#[derive(Debug, Default)]
pub struct Effects {
    /// String keys that were set, deleted or expired, in order.
    pub changes: Vec<Change>,
    /// Messages to subscribers, in order.
    pub messages: Vec<Message>,
    /// Keys of lists, sorted sets and streams that gained elements, in order: whoever waits for
    /// one may try again.
    pub ready: Vec<Bytes>,
    /// Whether everything was deleted at once; the changes behind it are still listed.
    pub flushed: bool,
}

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The channel.
    pub channel: Bytes,
    /// What was published.
    pub payload: Bytes,
}

/// All keys, their deadlines and the logical clock.
///
/// Invariant: `deadlines` holds exactly one entry for each slot with a deadline.
#[derive(Debug, Default)]
pub struct Keyspace {
    slots: Tree<Slot>,
    deadlines: BTreeSet<(u64, Bytes)>,
    clock_ms: u64,
    expired: u64,
    /// Counts every change of a key; the last one is [`Slot::modified`] of that key.
    version: u64,
    /// Positions of `SCAN`: local to this server, not part of the replicated state.
    cursors: Mutex<Cursors>,
}

impl Keyspace {
    /// The logical clock, Unix milliseconds.
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Keys that ended because their time was over.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// When the next key ends.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Moves the clock to `now_ms` unless it is there already, and removes what is due.
    pub fn advance(&mut self, now_ms: u64, effects: &mut Effects) {
        self.clock_ms = self.clock_ms.max(now_ms);
        while let Some((at, key)) = self.deadlines.first() {
            if *at > self.clock_ms {
                break;
            }
            let key = key.clone();
            self.remove(&key, effects);
            self.expired += 1;
        }
    }

    /// Finds and applies one command. SQL commands do not belong here.
    #[cfg(test)]
    pub fn apply(&mut self, command: &[Bytes], effects: &mut Effects) -> Reply {
        match find(command) {
            Ok(spec) => self.run(spec, command, effects),
            Err(refusal) => refusal.into(),
        }
    }

    /// Applies one command whose row is known.
    pub fn run(&mut self, spec: &Spec, command: &[Bytes], effects: &mut Effects) -> Reply {
        let outcome = match spec.kind {
            Kind::Read(run) => run(self, command),
            Kind::Write(run) => run(self, command, effects),
            Kind::Sql(_) => return Reply::error("ERR SQL is not available in this state"),
        };
        outcome.unwrap_or_else(Reply::from)
    }

    /// The version of a key: changes whenever the key does; 0 = no such key.
    pub fn version(&self, key: &[u8]) -> u64 {
        self.slot(key).map_or(0, |slot| slot.modified)
    }

    /// Whether a key of `WATCHED key version ...` has another version by now.
    pub fn watched_differ(&self, command: &[Bytes]) -> bool {
        let same = |pair: &[Bytes]| match pair {
            [key, version] => {
                let known = integer(version).ok();
                known.and_then(|known| u64::try_from(known).ok()) == Some(self.version(key))
            }
            _ => false,
        };
        !command[1..].chunks(2).all(same)
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Answers a command that only reads.
    pub fn read(&self, command: &[Bytes]) -> Reply {
        let outcome = match find(command) {
            Ok(Spec {
                kind: Kind::Read(run),
                ..
            }) => run(self, command),
            Ok(spec) => return Reply::Error(format!("ERR '{}' is not a read", spec.name)),
            Err(refusal) => Err(refusal),
        };
        outcome.unwrap_or_else(Reply::from)
    }

    /// String keys with a prefix in order, beginning behind `after`; at most `limit`.
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Bytes, Bytes)> {
        let start = after.map_or(prefix, |after| after.max(prefix));
        self.slots
            .from(start)
            .filter(|(key, _)| after.is_none_or(|after| key.as_ref() > after))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, slot)| match &slot.value {
                Value::String(value) => Some((key.clone(), value.clone())),
                _ => None,
            })
            .take(limit)
            .collect()
    }

    /// Number of keys with a prefix.
    pub fn count_prefix(&self, prefix: &[u8]) -> usize {
        self.slots
            .from(prefix)
            .take_while(|(key, _)| key.starts_with(prefix))
            .count()
    }

    /// A cheap copy of all string keys, for a watcher that has to read them at leisure.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            slots: self.slots.clone(),
        }
    }

    fn slot(&self, key: &[u8]) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// Sets a key, replacing whatever it held. A deadline that is over deletes it at once.
    fn put(&mut self, key: &[u8], value: Value, expires_at_ms: u64, effects: &mut Effects) {
        if expires_at_ms != 0 && expires_at_ms <= self.clock_ms {
            self.remove(key, effects);
            return;
        }
        let changed = match &value {
            Value::String(text) => Some(Some(text.clone())),
            _ => None,
        };
        let slot = Slot {
            value,
            expires_at_ms,
            modified: self.next_version(),
        };
        let (stored, old) = match self.slots.get_mut(key) {
            Some(present) => {
                let old = std::mem::replace(present, slot);
                (Bytes::copy_from_slice(key), Some(old))
            }
            None => {
                let stored = Bytes::copy_from_slice(key);
                self.slots.insert(stored.clone(), slot);
                (stored, None)
            }
        };
        let was_string = old
            .as_ref()
            .is_some_and(|old| matches!(old.value, Value::String(_)));
        self.index_deadline(
            &stored,
            old.map_or(0, |old| old.expires_at_ms),
            expires_at_ms,
        );
        match changed {
            Some(value) => effects.changes.push(Change { key: stored, value }),
            None if was_string => effects.changes.push(Change {
                key: stored,
                value: None,
            }),
            None => {}
        }
    }

    /// Deletes a key; answers whether it was there.
    fn remove(&mut self, key: &[u8], effects: &mut Effects) -> bool {
        let Some(old) = self.slots.remove(key) else {
            return false;
        };
        if old.expires_at_ms != 0 {
            self.deadlines
                .remove(&(old.expires_at_ms, Bytes::copy_from_slice(key)));
        }
        if matches!(old.value, Value::String(_)) {
            effects.changes.push(Change {
                key: Bytes::copy_from_slice(key),
                value: None,
            });
        }
        true
    }

    /// Gives a key another deadline (0 = none); answers whether the key was there.
    fn set_deadline(&mut self, key: &[u8], expires_at_ms: u64, effects: &mut Effects) -> bool {
        let version = self.version + 1;
        let Some(slot) = self.slots.get_mut(key) else {
            return false;
        };
        self.version = version;
        slot.modified = version;
        let old = std::mem::replace(&mut slot.expires_at_ms, expires_at_ms);
        self.index_deadline(&Bytes::copy_from_slice(key), old, expires_at_ms);
        if expires_at_ms != 0 && expires_at_ms <= self.clock_ms {
            self.remove(key, effects);
        }
        true
    }

    fn index_deadline(&mut self, key: &Bytes, old_ms: u64, new_ms: u64) {
        if old_ms == new_ms {
            return;
        }
        if old_ms != 0 {
            self.deadlines.remove(&(old_ms, key.clone()));
        }
        if new_ms != 0 {
            self.deadlines.insert((new_ms, key.clone()));
        }
    }

    fn clear(&mut self, effects: &mut Effects) {
        for (key, slot) in self.slots.iter() {
            if matches!(slot.value, Value::String(_)) {
                effects.changes.push(Change {
                    key: key.clone(),
                    value: None,
                });
            }
        }
        self.slots = Tree::default();
        self.deadlines.clear();
        effects.flushed = true;
    }

    fn string(&self, key: &[u8]) -> Result<Option<&Bytes>, Refusal> {
        match self.slot(key).map(|slot| &slot.value) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn hash(&self, key: &[u8]) -> Result<Option<&Tree<Bytes>>, Refusal> {
        match self.slot(key).map(|slot| &slot.value) {
            None => Ok(None),
            Some(Value::Hash(fields)) => Ok(Some(fields)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn set(&self, key: &[u8]) -> Result<Option<&Tree<()>>, Refusal> {
        match self.slot(key).map(|slot| &slot.value) {
            None => Ok(None),
            Some(Value::Set(items)) => Ok(Some(items)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn sorted(&self, key: &[u8]) -> Result<Option<&SortedSet>, Refusal> {
        match self.slot(key).map(|slot| &slot.value) {
            None => Ok(None),
            Some(Value::Sorted(set)) => Ok(Some(set)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    /// The value of a key for a change in place; `empty` is stored first when there is none.
    fn entry(&mut self, key: &[u8], empty: fn() -> Value) -> &mut Value {
        if self.slots.get(key).is_none() {
            let slot = Slot {
                value: empty(),
                expires_at_ms: 0,
                modified: 0,
            };
            self.slots.insert(Bytes::copy_from_slice(key), slot);
        }
        let modified = self.next_version();
        let slot = self.slots.get_mut(key).expect("the slot was stored above");
        slot.modified = modified;
        &mut slot.value
    }

    fn hash_mut(&mut self, key: &[u8]) -> Result<&mut Tree<Bytes>, Refusal> {
        match self.entry(key, || Value::Hash(Arc::default())) {
            Value::Hash(fields) => Ok(Arc::make_mut(fields)),
            _ => Err(WRONG_TYPE),
        }
    }

    fn set_mut(&mut self, key: &[u8]) -> Result<&mut Tree<()>, Refusal> {
        match self.entry(key, || Value::Set(Arc::default())) {
            Value::Set(items) => Ok(Arc::make_mut(items)),
            _ => Err(WRONG_TYPE),
        }
    }

    fn sorted_mut(&mut self, key: &[u8]) -> Result<&mut SortedSet, Refusal> {
        match self.entry(key, || Value::Sorted(Arc::default())) {
            Value::Sorted(set) => Ok(Arc::make_mut(set)),
            _ => Err(WRONG_TYPE),
        }
    }

    /// Deletes a hash, set or sorted set that has become empty, as Redis does.
    fn drop_if_empty(&mut self, key: &[u8], effects: &mut Effects) {
        let empty = match self.slot(key).map(|slot| &slot.value) {
            Some(Value::Hash(fields)) => fields.is_empty(),
            Some(Value::Set(items)) => items.is_empty(),
            Some(Value::Sorted(set)) => set.is_empty(),
            _ => false,
        };
        if empty {
            self.remove(key, effects);
        }
    }
}

/// The keys as they were at one moment.
#[derive(Debug, Clone)]
pub struct Frozen {
    slots: Tree<Slot>,
}

impl Frozen {
    /// All string keys with one of the prefixes, in order, each once.
    pub fn strings<'a>(&'a self, prefixes: &'a [Bytes]) -> impl Iterator<Item = Change> + 'a {
        self.slots
            .iter()
            .filter_map(move |(key, slot)| match &slot.value {
                Value::String(value) if prefixes.iter().any(|prefix| key.starts_with(prefix)) => {
                    Some(Change {
                        key: key.clone(),
                        value: Some(value.clone()),
                    })
                }
                _ => None,
            })
    }
}

/// A copy that does not keep the buffer of a whole log entry alive.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
