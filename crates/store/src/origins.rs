//! Recognising requests that were applied already.
//!
//! A request may reach the log twice: its origin did not hear the answer of a leader that died and
//! sent it again to the next one. For each origin the state machine keeps the next sequence number
//! it expects and the replies the origin may still ask for. This is part of the replicated state
//! and of every snapshot.
//!
//! Invariants: `kept` holds the replies of `floor..next`; an origin's requests are applied in
//! order, each at most once.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::limits::{KEPT_REPLY_BYTES_MAX, ORIGINS_MAX};
use crate::reply::Reply;

/// All origins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Origins {
    known: BTreeMap<u64, Origin>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Origin {
    next: u64,
    floor: u64,
    kept: VecDeque<Reply>,
    /// Index of the entry that named it last; the least recent origin is forgotten first.
    used: u64,
}

/// What to do with a request.
#[derive(Debug, PartialEq)]
pub enum Admission {
    /// Apply it, then call [`Origins::keep`].
    Apply,
    /// It was applied before, with this reply.
    Repeat(Reply),
}

impl Origins {
    /// Notes a batch. Answers false when requests before `first` are missing.
    pub fn begin(&mut self, origin: u64, first: u64, floor: u64, index: u64) -> bool {
        if !self.known.contains_key(&origin) && self.known.len() >= ORIGINS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
            if let Some(oldest) = oldest.map(|(origin, _)| *origin) {
                self.known.remove(&oldest);
            }
        }
        let known = self.known.entry(origin).or_default();
        known.used = index;
        if floor > known.floor {
            let answered = usize::try_from(floor - known.floor).unwrap_or(usize::MAX);
            known.kept.drain(..answered.min(known.kept.len()));
            known.floor = floor;
            known.next = known.next.max(floor);
        }
        first <= known.next
    }

    /// Whether request `sequence` has to be applied.
    pub fn admit(&self, origin: u64, sequence: u64) -> Admission {
        let Some(known) = self.known.get(&origin) else {
            return Admission::Apply;
        };
        if sequence >= known.next {
            return Admission::Apply;
        }
        let position = sequence
            .checked_sub(known.floor)
            .and_then(|at| usize::try_from(at).ok());
        let kept = position
            .and_then(|position| known.kept.get(position))
            .cloned();
        Admission::Repeat(kept.unwrap_or_else(|| Reply::error("ERR this request was answered")))
    }

    /// Keeps the reply of the request that was just applied.
    pub fn keep(&mut self, origin: u64, reply: &Reply) {
        if let Some(known) = self.known.get_mut(&origin) {
            known.kept.push_back(if size(reply) > KEPT_REPLY_BYTES_MAX {
                Reply::error("ERR applied, but the reply was too long to be kept for a repeat")
            } else {
                reply.clone()
            });
            known.next += 1;
        }
    }
}

fn size(reply: &Reply) -> usize {
    match reply {
        Reply::Nil | Reply::NilArray | Reply::Ok | Reply::Boolean(_) => 8,
        Reply::Int(_) | Reply::Double(_) => 8,
        Reply::Bulk(text) => text.len(),
        Reply::Simple(text) | Reply::Error(text) | Reply::Verbatim(text) => text.len(),
        Reply::Array(items) | Reply::Set(items) => items.iter().map(size).sum(),
        Reply::Map(pairs) | Reply::Pairs(pairs) | Reply::Entries(pairs) => pairs
            .iter()
            .map(|(key, value)| size(key) + size(value))
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies requests `first..first + count` of origin 7; answers how many were new.
    fn send(origins: &mut Origins, first: u64, count: u64, floor: u64) -> Option<u64> {
        if !origins.begin(7, first, floor, first) {
            return None;
        }
        let mut new = 0;
        for sequence in first..first + count {
            match origins.admit(7, sequence) {
                Admission::Apply => {
                    origins.keep(7, &Reply::Int(i64::try_from(sequence).unwrap_or(0)));
                    new += 1;
                }
                Admission::Repeat(reply) => {
                    assert_eq!(reply, Reply::Int(i64::try_from(sequence).unwrap_or(0)));
                }
            }
        }
        Some(new)
    }

    #[test]
    fn repeats_get_the_first_reply_and_are_not_applied() {
        let mut origins = Origins::default();
        assert_eq!(send(&mut origins, 1, 10, 1), Some(10));
        assert_eq!(send(&mut origins, 5, 10, 5), Some(4));
        assert_eq!(send(&mut origins, 5, 10, 5), Some(0));
    }

    #[test]
    fn a_gap_is_noticed_and_a_given_up_request_is_not_one() {
        let mut origins = Origins::default();
        assert_eq!(send(&mut origins, 1, 1, 1), Some(1));
        assert_eq!(send(&mut origins, 5, 1, 2), None);
        assert_eq!(send(&mut origins, 5, 1, 5), Some(1));
    }

    #[test]
    fn the_least_recent_origin_is_forgotten() {
        let mut origins = Origins::default();
        for origin in 1..=(ORIGINS_MAX as u64 + 1) {
            assert!(origins.begin(origin, 1, 1, origin));
            origins.keep(origin, &Reply::Ok);
        }
        assert_eq!(origins.known.len(), ORIGINS_MAX);
        assert!(!origins.known.contains_key(&1));
        assert!(origins.known.contains_key(&2));
    }

    #[test]
    fn long_replies_are_not_kept() {
        let mut origins = Origins::default();
        origins.begin(7, 1, 1, 1);
        let long = Reply::Bulk(vec![0; KEPT_REPLY_BYTES_MAX + 1].into());
        origins.keep(7, &long);
        let Admission::Repeat(reply) = origins.admit(7, 1) else {
            panic!("not a repeat")
        };
        assert!(reply.is_error());
    }
}
