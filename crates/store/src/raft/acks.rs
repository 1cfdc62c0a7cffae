//! When the leader sent what its members acknowledged: the base of its lease.
//!
//! The Raft library keeps such times too, but matches answers to requests by log index. Requests
//! without entries share one index, so an answer that was on its way while this process was
//! paused counts for the request sent right after the pause, and the lease begins anew although
//! others may have elected a leader meanwhile. Here each answer belongs to its own request.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The latest acknowledged request of each member; a member has one entry.
#[derive(Debug, Default)]
pub struct Acks {
    /// Term of the request and when it was sent.
    latest: Mutex<BTreeMap<u64, (u64, Instant)>>,
}

impl Acks {
    /// A member accepted a request of `term` that was sent at `sent`.
    pub fn note(&self, member: u64, term: u64, sent: Instant) {
        let mut latest = self.latest.lock();
        let entry = latest.entry(member).or_insert((term, sent));
        *entry = (*entry).max((term, sent));
    }

    /// When the requests of `term` were sent that a majority of each group of voters accepted,
    /// the leader `own` counting as of `now`; `None` without such a majority.
    pub fn quorum(
        &self,
        groups: &[BTreeSet<u64>],
        own: u64,
        term: u64,
        now: Instant,
    ) -> Option<Instant> {
        let latest = self.latest.lock();
        let of_group = |group: &BTreeSet<u64>| {
            let accepted = |id: &u64| match latest.get(id) {
                _ if *id == own => Some(now),
                Some((of, sent)) if *of == term => Some(*sent),
                _ => None,
            };
            let mut times: Vec<Instant> = group.iter().filter_map(accepted).collect();
            times.sort_unstable_by(|one, other| other.cmp(one));
            times.get(group.len() / 2).copied()
        };
        let times: Option<Vec<Instant>> = groups.iter().map(of_group).collect();
        times?.into_iter().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_majority_of_each_group_counts_in_its_own_term() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let five: BTreeSet<u64> = (1..=5).collect();
        let acks = Acks::default();
        let quorum = |groups: &[BTreeSet<u64>], term| acks.quorum(groups, 1, term, at(100));
        let of_five = std::slice::from_ref(&five);
        acks.note(2, 7, at(50));
        assert_eq!(quorum(of_five, 7), None, "two of five");
        acks.note(3, 7, at(40));
        acks.note(4, 6, at(90));
        assert_eq!(
            quorum(of_five, 7),
            Some(at(40)),
            "node 4 accepted an older term"
        );
        acks.note(3, 7, at(30));
        assert_eq!(quorum(of_five, 7), Some(at(40)), "times never go back");
        let joint = [five.clone(), BTreeSet::from([1, 2])];
        assert_eq!(quorum(&joint, 7), Some(at(40)));
        let other = [five, BTreeSet::from([4, 5])];
        assert_eq!(quorum(&other, 7), None);
        assert_eq!(quorum(&[BTreeSet::from([1])], 9), Some(at(100)));
    }
}
