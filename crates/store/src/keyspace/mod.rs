//! The Redis-like state of the store, as a pure machine.
//!
//! Owner: the state machine (`crate::machine`), which calls [`Keyspace::advance`] with the time of
//! each log entry and then [`Keyspace::apply`] with its commands. Nothing here reads a clock, a
//! socket or randomness: the same entries give the same bytes on every server.
//!
//! Time: entries carry the leader's clock. `advance` moves the logical clock forward, never back,
//! and removes the keys whose time is over, in order of their deadlines. Relative times of
//! commands become absolute here.

mod deadlines;
mod decimal;
mod dict;
mod dump;
mod effects;
mod hash_deadlines;
mod hash_slots;
mod hashes;
mod keys;
mod list_moves;
mod lists;
mod names;
mod parse;
mod pattern;
mod random;
mod removals;
mod scans;
mod score_ranges;
mod set_algebra;
mod sets;
mod sorted_algebra;
mod sorted_sets;
mod streams;
mod strings;
mod table;
mod text;
mod tree;
mod value;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;

use crate::reply::Reply;

pub use dump::{Dump, Record, Restore};
pub use effects::{Altered, Effects, Message};
pub use hash_slots::{SLOTS, slot_of};
pub use keys::{VERSIONS, WATCHED};
pub use pattern::matches;
pub use table::{Kind, Spec, Sql, all, arity_refusal, describe, find, reference, unknown_command};

use dict::Dict;
use names::{Behind, Frozen, Name};
use parse::{Refusal, WRONG_TYPE, integer};
use removals::Removals;
use text::{Share, Text};
use tree::Tree;
use value::{Kept, Slot, Value};

/// All keys, their deadlines and the logical clock.
///
/// Invariants: `names` holds the keys of `slots`; `deadlines` holds one entry for each slot with a
/// deadline and `field_deadlines` one for each field of a hash with a deadline.
#[derive(Debug, Default)]
pub struct Keyspace {
    slots: Dict<Slot>,
    names: Tree<Name>,
    deadlines: BTreeSet<(u64, Text)>,
    field_deadlines: BTreeSet<(u64, Text, Text)>,
    clock_ms: u64,
    expired: u64,
    /// Counts every change of a key; the last one is [`Slot::modified`] of that key.
    version: u64,
    /// When keys that are not there any more were removed, in the same count.
    removals: Removals,
    /// Random reads of this server since its last entry: see [`random`]. Not replicated.
    draws: AtomicU64,
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

    /// When the next key or field ends.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let key = self.deadlines.first().map(|(at, _)| *at);
        let field = self.field_deadlines.first().map(|(at, _, _)| *at);
        key.into_iter().chain(field).min()
    }

    /// Moves the clock to `now_ms` unless it is there already, and removes what is due.
    pub fn advance(&mut self, now_ms: u64, effects: &mut Effects) {
        self.clock_ms = self.clock_ms.max(now_ms);
        while let Some(at) = self.next_deadline_ms() {
            if at > self.clock_ms {
                break;
            }
            match self.deadlines.first() {
                Some((key_at, key)) if *key_at == at => {
                    let key = key.clone();
                    self.remove(&key, effects);
                    self.expired += 1;
                }
                _ => self.end_field(effects),
            }
        }
    }

    /// Finds and applies one command. SQL commands do not belong here.
    pub fn apply(&mut self, command: &[Bytes], effects: &mut Effects) -> Reply {
        match find(command) {
            Ok(spec) => self.run(spec, command, effects),
            Err(refusal) => refusal.into(),
        }
    }

    /// Applies one command whose row is known.
    pub fn run(&mut self, spec: &Spec, command: &[Bytes], effects: &mut Effects) -> Reply {
        let outcome = match spec.kind {
            Kind::Read(run) => {
                *self.draws.get_mut() = 0;
                run(self, command)
            }
            Kind::Write(run) => run(self, command, effects),
            Kind::Sql(_) => return Reply::error("ERR SQL is not available in this state"),
        };
        outcome.unwrap_or_else(Reply::from)
    }

    /// The version of a key: changes whenever the key does, also when it ends, and is never the
    /// same again. One that was never there has 0 or the version of a removal beside it.
    pub fn version(&self, key: &[u8]) -> u64 {
        match self.slot(key) {
            Some(slot) => slot.modified,
            None => self.removals.last(key),
        }
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
            }) => {
                self.draws.fetch_add(1, Relaxed);
                run(self, command)
            }
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
        self.names
            .from(&start)
            .filter(|name| after.is_none_or(|after| &*name.0 > after))
            .take_while(|name| name.0.starts_with(prefix))
            .filter_map(|name| match &self.slots.get(&name.0)?.value {
                Value::String(value) => Some((name.0.share(), value.share())),
                _ => None,
            })
            .take(limit)
            .collect()
    }

    /// Number of keys with a prefix.
    pub fn count_prefix(&self, prefix: &[u8]) -> usize {
        self.names.rank(&Behind(prefix)) - self.names.rank(&prefix)
    }

    /// A cheap copy of all string keys, for a watcher that has to read them at leisure.
    pub fn freeze(&self) -> Frozen {
        Frozen {
            slots: self.slots.clone(),
            names: self.names.clone(),
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
        let text = match &value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        let slot = Slot {
            value,
            expires_at_ms,
            modified: self.next_version(),
        };
        let (kept, old) = self.slots.upsert(key, |found| match found {
            Some(present) => (None, Some(std::mem::replace(present, slot))),
            None => (Some(slot), None),
        });
        let kept = kept.unwrap_or_default();
        let was_string = match &old {
            Some(old) => {
                self.forget_deadlines(&kept, old);
                matches!(old.value, Value::String(_))
            }
            None => {
                self.add_name(&kept);
                false
            }
        };
        if expires_at_ms != 0 {
            self.deadlines.insert((expires_at_ms, kept.clone()));
        }
        if text.is_some() || was_string {
            effects.changes.push(Altered {
                key: kept,
                value: text,
            });
        }
    }

    /// Sets a key to a value that may have fields with deadlines.
    fn put_whole(&mut self, key: &[u8], value: Value, expires_at_ms: u64, effects: &mut Effects) {
        let fields: Vec<_> = match &value {
            Value::Hash(hash) => hash.timed().map(|(at, name)| (at, name.clone())).collect(),
            _ => Vec::new(),
        };
        self.put(key, value, expires_at_ms, effects);
        for (at, name) in fields {
            self.field_deadlines.insert((at, Text::from(key), name));
        }
    }

    fn add_name(&mut self, key: &Text) {
        let probe: &[u8] = key;
        self.names.upsert(&probe, |_| (Some(Name(key.clone())), ()));
    }

    /// Takes what a slot has in the orders of deadlines out of them.
    fn forget_deadlines(&mut self, key: &Text, slot: &Slot) {
        if slot.expires_at_ms != 0 {
            self.deadlines.remove(&(slot.expires_at_ms, key.clone()));
        }
        if let Value::Hash(hash) = &slot.value {
            for (at, name) in hash.timed() {
                self.field_deadlines
                    .remove(&(at, key.clone(), name.clone()));
            }
        }
    }

    /// Takes a field's deadline (0 = none) out of their order.
    fn forget_field(&mut self, deadline_ms: u64, key: &[u8], field: &[u8]) {
        if deadline_ms != 0 {
            self.field_deadlines
                .remove(&(deadline_ms, key.into(), field.into()));
        }
    }

    /// Deletes a key; answers whether it was there.
    fn remove(&mut self, key: &[u8], effects: &mut Effects) -> bool {
        self.take(key, effects).is_some()
    }

    /// Deletes a key and answers what it held.
    fn take(&mut self, key: &[u8], effects: &mut Effects) -> Option<Slot> {
        let (kept, old) = self.slots.remove(key)?;
        let version = self.next_version();
        self.removals.note(key, version);
        self.names.remove(&key);
        self.forget_deadlines(&kept, &old);
        if matches!(old.value, Value::String(_)) {
            effects.changes.push(Altered {
                key: kept,
                value: None,
            });
        }
        Some(old)
    }

    /// Gives a key another deadline (0 = none); answers whether the key was there.
    fn set_deadline(&mut self, key: &[u8], expires_at_ms: u64, effects: &mut Effects) -> bool {
        let version = self.version + 1;
        let Some((kept, slot)) = self.slots.get_mut(key) else {
            return false;
        };
        self.version = version;
        slot.modified = version;
        let old = std::mem::replace(&mut slot.expires_at_ms, expires_at_ms);
        if old != expires_at_ms {
            if old != 0 {
                self.deadlines.remove(&(old, kept.clone()));
            }
            if expires_at_ms != 0 {
                self.deadlines.insert((expires_at_ms, kept.clone()));
            }
        }
        if expires_at_ms != 0 && expires_at_ms <= self.clock_ms {
            self.remove(key, effects);
        }
        true
    }

    /// Removes the field that is due first.
    fn end_field(&mut self, effects: &mut Effects) {
        let Some((_, key, name)) = self.field_deadlines.pop_first() else {
            return;
        };
        let ended = self.change_present(&key, effects, |hash: &mut value::Hash| {
            hash.remove(&name);
        });
        debug_assert!(matches!(ended, Ok(Some(()))), "a deadline without a field");
    }

    fn clear(&mut self, effects: &mut Effects) {
        let version = self.next_version();
        for entry in self.slots.iter() {
            self.removals.note(&entry.key, version);
            if matches!(entry.value.value, Value::String(_)) {
                effects.changes.push(Altered {
                    key: entry.key.clone(),
                    value: None,
                });
            }
        }
        self.slots = Dict::default();
        self.names = Tree::default();
        self.deadlines.clear();
        self.field_deadlines.clear();
        effects.flushed = true;
    }

    /// The value of a key, which must be of the type when there is one.
    fn get<T: Kept>(&self, key: &[u8]) -> Result<Option<&T>, Refusal> {
        match self.slot(key) {
            None => Ok(None),
            Some(slot) => T::of(&slot.value).map(Some).ok_or(WRONG_TYPE),
        }
    }

    fn string(&self, key: &[u8]) -> Result<Option<&Text>, Refusal> {
        self.get(key)
    }

    /// Changes a value in place; an empty one is made first when there is none, and a collection
    /// that is empty afterwards is deleted. What `run` refuses must have changed nothing.
    fn change<T: Kept, R>(
        &mut self,
        key: &[u8],
        effects: &mut Effects,
        run: impl FnOnce(&mut T) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let modified = self.next_version();
        let (kept, (new, used_up, answer)) = self.slots.upsert(key, |found| match found {
            Some(slot) => {
                let Some(kept) = T::of_mut(&mut slot.value) else {
                    return (None, (false, false, Err(WRONG_TYPE)));
                };
                let answer = run(kept);
                slot.modified = modified;
                (None, (false, slot.value.is_used_up(), answer))
            }
            None => {
                let mut value = T::empty();
                let answer = match T::of_mut(&mut value) {
                    Some(kept) => run(kept),
                    None => Err(WRONG_TYPE),
                };
                let wanted = answer.is_ok() && !value.is_used_up();
                let slot = wanted.then_some(Slot {
                    value,
                    expires_at_ms: 0,
                    modified,
                });
                (slot, (wanted, false, answer))
            }
        });
        if new {
            self.add_name(&kept.unwrap_or_default());
        } else if used_up {
            self.remove(key, effects);
        }
        answer
    }

    /// Changes a value in place when there is one; see [`Self::change`].
    fn change_present<T: Kept, R>(
        &mut self,
        key: &[u8],
        effects: &mut Effects,
        run: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, Refusal> {
        let version = self.version + 1;
        let Some((_, slot)) = self.slots.get_mut(key) else {
            return Ok(None);
        };
        let kept = T::of_mut(&mut slot.value).ok_or(WRONG_TYPE)?;
        let answer = run(kept);
        slot.modified = version;
        self.version = version;
        if slot.value.is_used_up() {
            self.remove(key, effects);
        }
        Ok(Some(answer))
    }
}

/// An argument as it is kept.
fn own(bytes: &[u8]) -> Text {
    Text::from(bytes)
}

/// A copy that does not keep the buffer of a whole log entry alive.
fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
