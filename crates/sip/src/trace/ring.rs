//! A bounded queue of messages in the order they were seen, with an index by Call-ID.
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use super::{Kept, Seen};
use crate::limits::TRACE_CALL_MESSAGES_MAX;

/// What a message costs besides its bytes: the entry, the allocation, its share of the index.
const ENTRY_BYTES: usize = size_of::<Entry>() + 64;

#[derive(Debug)]
struct Entry {
    seen: Seen,
    /// Of its Call-ID; equal ids have equal ones, different ids hardly ever.
    hash: u64,
}

/// Where the messages of a Call-ID are.
#[derive(Debug)]
struct Span {
    /// Numbers of the first and the last message; the first may be forgotten.
    first: u64,
    last: u64,
    count: usize,
    skipped: u64,
}

/// The queue. A message has a number that never changes.
#[derive(Debug)]
pub(super) struct Ring {
    bytes_max: usize,
    bytes: usize,
    entries: VecDeque<Entry>,
    /// The number of the oldest entry.
    oldest: u64,
    index: HashMap<u64, Span>,
    hasher: RandomState,
}

impl Ring {
    pub fn new(bytes_max: usize) -> Ring {
        Ring {
            bytes_max,
            bytes: 0,
            entries: VecDeque::new(),
            oldest: 0,
            index: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    pub fn add(&mut self, seen: Seen) -> Kept {
        let hash = self.hash(seen.call_id());
        let number = self.oldest + self.entries.len() as u64;
        let span = self.index.entry(hash).or_insert(Span {
            first: number,
            last: number,
            count: 0,
            skipped: 0,
        });
        // The beginning of a call says more than the thousandth repetition.
        if span.count >= TRACE_CALL_MESSAGES_MAX {
            span.skipped += 1;
            return Kept::Skipped;
        }
        span.last = number;
        span.count += 1;
        self.bytes += cost(&seen);
        self.entries.push_back(Entry { seen, hash });
        while self.bytes > self.bytes_max && self.forget_oldest() {}
        Kept::Yes
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(Entry { seen, hash }) = self.entries.pop_front() else {
            return false;
        };
        self.oldest += 1;
        self.bytes -= cost(&seen);
        if let Some(span) = self.index.get_mut(&hash) {
            span.count -= 1;
            if span.count == 0 {
                self.index.remove(&hash);
            }
        }
        true
    }

    pub fn of<'a>(&'a self, call_id: &'a str) -> impl Iterator<Item = &'a Seen> {
        let hash = self.hash(call_id.as_bytes());
        let at = |number: u64| usize::try_from(number.saturating_sub(self.oldest)).unwrap_or(0);
        let range = match self.index.get(&hash) {
            Some(span) => at(span.first)..at(span.last) + 1,
            None => 0..0,
        };
        let same =
            move |entry: &&Entry| entry.hash == hash && entry.seen.call_id() == call_id.as_bytes();
        self.entries
            .range(range)
            .filter(same)
            .map(|entry| &entry.seen)
    }

    pub fn knows(&self, call_id: &str) -> bool {
        self.of(call_id).next().is_some()
    }

    pub fn skipped(&self, call_id: &str) -> u64 {
        let span = self.index.get(&self.hash(call_id.as_bytes()));
        span.map_or(0, |span| span.skipped)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn hash(&self, call_id: &[u8]) -> u64 {
        self.hasher.hash_one(call_id)
    }
}

fn cost(seen: &Seen) -> usize {
    seen.bytes.len() + ENTRY_BYTES
}
