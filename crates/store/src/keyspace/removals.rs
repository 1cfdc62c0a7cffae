//! When keys were removed, so that `WATCH` on a key that is not there notices one that came and
//! went meanwhile.
//!
//! Kept by hash slot, because every name that was ever used would need space for good. Keys of one
//! slot share a number: now and then a transaction is refused because another key was removed,
//! and its client tries again.

use std::sync::Arc;

use super::hash_slots::{SLOTS, slot_of};

/// The version of the last removal in each hash slot; 0 = none yet. Shared with snapshots until
/// the next removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removals(Arc<Vec<u64>>);

impl Default for Removals {
    fn default() -> Removals {
        Removals(Arc::new(vec![0; usize::from(SLOTS)]))
    }
}

impl Removals {
    /// The last removal in the slot of a key.
    pub fn last(&self, key: &[u8]) -> u64 {
        self.0[usize::from(slot_of(key))]
    }

    /// A key was removed.
    pub fn note(&mut self, key: &[u8], version: u64) {
        self.set(slot_of(key), version);
    }

    /// What was written of a slot; one that does not exist is passed over.
    pub fn set(&mut self, slot: u16, version: u64) {
        if let Some(last) = Arc::make_mut(&mut self.0).get_mut(usize::from(slot)) {
            *last = version;
        }
    }

    /// The slots in which keys were removed.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        let slots = (0..SLOTS).zip(self.0.iter().copied());
        slots.filter(|(_, version)| *version != 0)
    }
}
