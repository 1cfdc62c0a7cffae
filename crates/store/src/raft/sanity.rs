//! What no honest node sends. The Raft library counts on consecutive entries and on terms and
//! indexes it can add one to; bytes from a broken node must not get that far.

use openraft::raft::{AppendEntriesRequest, VoteRequest};

use super::types::{Entry, LogId, Types, Vote};

/// No cluster gets there: a term a microsecond for a century, an entry a nanosecond for two years.
const NUMBER_MAX: u64 = 1 << 56;

fn plausible_vote(vote: &Vote) -> bool {
    vote.leader_id.term < NUMBER_MAX
}

fn plausible_id(log_id: Option<&LogId>) -> bool {
    log_id.is_none_or(|id| id.index < NUMBER_MAX && id.leader_id.term < NUMBER_MAX)
}

/// Refuses a request for votes that cannot be meant.
pub fn vote(request: &VoteRequest<Types>) -> Result<(), String> {
    if plausible_vote(&request.vote) && plausible_id(request.last_log_id.as_ref()) {
        return Ok(());
    }
    Err("a vote with impossible numbers".into())
}

/// Refuses entries that cannot be meant.
pub fn append(request: &AppendEntriesRequest<Types>) -> Result<(), String> {
    let ids = [request.prev_log_id.as_ref(), request.leader_commit.as_ref()];
    let last = request.entries.last().map(|entry| &entry.log_id);
    if !plausible_vote(&request.vote) || !ids.into_iter().chain([last]).all(plausible_id) {
        return Err("entries with impossible numbers".into());
    }
    let first = request.prev_log_id.map_or(0, |id| id.index + 1);
    let follows = |(expected, entry): (u64, &Entry)| {
        entry.log_id.index == expected && plausible_id(Some(&entry.log_id))
    };
    if (first..).zip(&request.entries).all(follows) {
        return Ok(());
    }
    Err("entries that do not follow each other".into())
}

#[cfg(test)]
mod tests {
    use openraft::{EntryPayload, RaftTypeConfig};

    use super::*;

    type LeaderId = <Types as RaftTypeConfig>::LeaderId;

    fn log_id(index: u64) -> LogId {
        let leader_id = LeaderId {
            term: 3,
            node_id: 1,
        };
        LogId {
            leader_id: openraft::vote::RaftLeaderId::to_committed(&leader_id),
            index,
        }
    }

    fn request(previous: Option<u64>, indexes: &[u64]) -> AppendEntriesRequest<Types> {
        let entry = |index: &u64| Entry {
            log_id: log_id(*index),
            payload: EntryPayload::Blank,
        };
        AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: previous.map(log_id),
            entries: indexes.iter().map(entry).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn entries_follow_each_other() {
        assert_eq!(append(&request(None, &[0, 1])), Ok(()));
        assert_eq!(append(&request(Some(4), &[5, 6])), Ok(()));
        assert_eq!(append(&request(Some(4), &[])), Ok(()));
        assert!(append(&request(Some(4), &[6])).is_err());
        assert!(append(&request(Some(4), &[5, 5])).is_err());
        assert!(append(&request(Some(u64::MAX), &[])).is_err());
        assert!(append(&request(None, &[1])).is_err());
    }

    #[test]
    fn votes_have_possible_terms() {
        let asked = |term| VoteRequest::new(Vote::new(term, 2), None);
        assert_eq!(vote(&asked(7)), Ok(()));
        assert!(vote(&asked(u64::MAX)).is_err());
    }
}
