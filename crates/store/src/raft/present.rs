//! The log of one node as it is in memory: the entries since the last purge, and how many bytes
//! they hold. Pure; `log_store` owns it and writes the same to the disk.

use std::collections::VecDeque;

use openraft::EntryPayload;
use openraft::entry::RaftEntry;

use super::types::{Entry, LogId, Vote};

/// What an entry needs beside its body.
const ENTRY_BYTES: u64 = 64;

#[derive(Debug)]
struct Held {
    entry: Entry,
    /// Bytes of all entries up to this one, purged ones included.
    end: u64,
}

/// See the module head.
#[derive(Debug, Default)]
pub struct Present {
    /// Index of the first entry in `entries`.
    first: u64,
    entries: VecDeque<Held>,
    /// Where the bytes of `entries` begin: the `end` of the last purged one.
    start: u64,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    /// Whether `committed` is newer than what the log on disk says.
    pub committed_unwritten: bool,
}

fn entry_bytes(entry: &Entry) -> u64 {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.body.len() as u64 + ENTRY_BYTES,
        _ => ENTRY_BYTES,
    }
}

impl Present {
    /// Index of the first entry.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the entries.
    pub fn bytes(&self) -> u64 {
        self.end() - self.start
    }

    /// Bytes of the entries behind an index.
    pub fn bytes_behind(&self, index: u64) -> u64 {
        self.end() - self.end_of(index)
    }

    /// The last entry that may go so that those from there up to `index` have at most `kept`
    /// bytes; `None` when nothing has to go.
    pub fn surplus(&self, index: u64, kept: u64) -> Option<u64> {
        let from = self.end_of(index).saturating_sub(kept);
        let last = self.first + self.entries.partition_point(|held| held.end < from) as u64;
        (from > self.start && last <= index).then_some(last)
    }

    fn end(&self) -> u64 {
        self.entries.back().map_or(self.start, |held| held.end)
    }

    fn end_of(&self, index: u64) -> u64 {
        let Some(at) = index.checked_sub(self.first) else {
            return self.start;
        };
        let held = usize::try_from(at).ok().and_then(|at| self.entries.get(at));
        held.map_or(self.end(), |held| held.end)
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.first = entry.index();
        }
        let end = self.end() + entry_bytes(&entry);
        self.entries.push_back(Held { entry, end });
    }

    /// Identity of the last entry, purged ones included.
    pub fn last(&self) -> Option<LogId> {
        let last = self.entries.back().map(|held| held.entry.log_id());
        last.or(self.purged)
    }

    /// Whether entries are missing between the last purged one and the first that is there.
    pub fn has_gap(&self) -> bool {
        let next = self.purged.map_or(0, |purged| purged.index + 1);
        !self.entries.is_empty() && self.first > next
    }

    /// Removes the entries from an index on.
    pub fn truncate_from(&mut self, from: u64) {
        let stays = |held: &Held| held.entry.index() < from;
        let stay = self.entries.partition_point(stays);
        self.entries.truncate(stay);
    }

    /// Removes the entries up to an index.
    pub fn purge_to(&mut self, index: u64) {
        while let Some(held) = self.entries.front()
            && held.entry.index() <= index
        {
            self.start = held.end;
            self.entries.pop_front();
        }
        self.first = index + 1;
    }

    /// The entries of a range: at least one, and no more than `bytes_max` of them otherwise.
    pub fn range(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Entry> {
        let from = from.max(self.first);
        let to = to.min(self.first + self.entries.len() as u64);
        if from >= to {
            return Vec::new();
        }
        let at = |index: u64| usize::try_from(index - self.first).unwrap_or(usize::MAX);
        let mut found = Vec::with_capacity(at(to) - at(from));
        let mut bytes = 0;
        for Held { entry, .. } in self.entries.range(at(from)..at(to)) {
            bytes += usize::try_from(entry_bytes(entry)).unwrap_or(usize::MAX);
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(entry.clone());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::of_bytes;
    use super::*;

    const BODY: u64 = 36;
    const EACH: u64 = BODY + ENTRY_BYTES;

    fn entry(index: u64) -> Entry {
        of_bytes(index, usize::try_from(BODY).expect("small"))
    }

    /// Entries 1 to `last`.
    fn present(last: u64) -> Present {
        let mut present = Present::default();
        (1..=last).for_each(|index| present.push(entry(index)));
        present
    }

    #[test]
    fn bytes_follow_what_comes_and_goes() {
        let mut present = present(10);
        assert_eq!(present.bytes(), 10 * EACH);
        present.purge_to(4);
        assert_eq!((present.bytes(), present.first()), (6 * EACH, 5));
        present.truncate_from(9);
        assert_eq!(present.bytes(), 4 * EACH);
        present.push(entry(9));
        assert_eq!(present.bytes_behind(7), 2 * EACH);
        assert_eq!(present.bytes_behind(2), 5 * EACH, "what was purged is gone");
        assert_eq!(present.bytes_behind(9), 0);
        present.truncate_from(5);
        assert_eq!(present.bytes(), 0);
        present.push(entry(5));
        assert_eq!(present.bytes(), EACH);
        present.purge_to(20);
        assert_eq!((present.bytes(), present.len()), (0, 0));
    }

    #[test]
    fn entries_that_do_not_follow_the_purged_ones_leave_a_gap() {
        let mut present = present(10);
        present.purge_to(4);
        present.purged = Some(entry(4).log_id());
        assert!(!present.has_gap());
        present.purged = Some(entry(3).log_id());
        assert!(present.has_gap());
        present.purged = None;
        assert!(present.has_gap());
        assert!(!Present::default().has_gap());
    }

    #[test]
    fn what_stays_before_a_snapshot_is_bounded_by_bytes() {
        let mut present = present(10);
        assert_eq!(present.surplus(8, 3 * EACH), Some(5));
        assert_eq!(present.surplus(8, 3 * EACH - 1), Some(6));
        assert_eq!(present.surplus(8, 0), Some(8));
        assert_eq!(present.surplus(8, 8 * EACH), None);
        present.purge_to(5);
        assert_eq!(present.surplus(8, 3 * EACH), None);
        assert_eq!(present.surplus(8, EACH), Some(7));
        assert_eq!(present.surplus(3, 0), None, "purged already");
    }

    #[test]
    fn a_range_is_cut_by_bytes_but_never_empty() {
        let present = present(10);
        let each = usize::try_from(EACH).expect("small");
        assert_eq!(present.range(2, 9, 3 * each).len(), 3);
        assert_eq!(present.range(2, 9, 1).len(), 1);
        assert_eq!(present.range(0, u64::MAX, usize::MAX).len(), 10);
        assert!(present.range(11, 20, usize::MAX).is_empty());
    }
}
