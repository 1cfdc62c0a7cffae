//! What no honest node sends. The Raft library counts on consecutive entries, on terms and indexes
//! it can add one to, and on leaders that were elected; bytes from a broken node must not get that
//! far. Nor may a node speak for another one: each speaks for the name it greeted with.

use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

use super::types::{Entry, LogId, SnapshotMeta, Types, Vote};

/// No cluster gets there: a term a microsecond for a century, an entry a nanosecond for two years.
const NUMBER_MAX: u64 = 1 << 56;

fn plausible_id(log_id: Option<&LogId>) -> bool {
    log_id.is_none_or(|id| id.index < NUMBER_MAX && id.leader_id.term < NUMBER_MAX)
}

/// Refuses what is not from an elected leader: `sender`.
fn leader(sender: u64, vote: &Vote) -> Result<(), String> {
    if vote.leader_id.term >= NUMBER_MAX {
        return Err("a term with an impossible number".into());
    }
    if vote.committed && vote.leader_id.node_id == sender {
        return Ok(());
    }
    Err(format!("node {sender} is not the leader it speaks for"))
}

/// Refuses a request for votes that cannot be meant.
pub fn vote(sender: u64, request: &VoteRequest<Types>) -> Result<(), String> {
    let Vote {
        leader_id,
        committed,
    } = &request.vote;
    if leader_id.term >= NUMBER_MAX || !plausible_id(request.last_log_id.as_ref()) {
        return Err("a vote with impossible numbers".into());
    }
    if !committed && leader_id.node_id == sender {
        return Ok(());
    }
    Err(format!(
        "node {sender} is not the candidate it asks votes for"
    ))
}

/// Refuses entries that cannot be meant.
pub fn append(sender: u64, request: &AppendEntriesRequest<Types>) -> Result<(), String> {
    leader(sender, &request.vote)?;
    let ids = [request.prev_log_id.as_ref(), request.leader_commit.as_ref()];
    let last = request.entries.last().map(|entry| &entry.log_id);
    if !ids.into_iter().chain([last]).all(plausible_id) {
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

/// Refuses a transfer of the leadership by anybody but the leader.
pub fn transfer(sender: u64, request: &TransferLeaderRequest<Types>) -> Result<(), String> {
    leader(sender, request.from_leader())?;
    if plausible_id(request.last_log_id()) {
        return Ok(());
    }
    Err("a transfer with impossible numbers".into())
}

/// Refuses a snapshot that no leader of a cluster can have.
pub fn snapshot(sender: u64, vote: &Vote, meta: &SnapshotMeta) -> Result<(), String> {
    leader(sender, vote)?;
    if plausible_id(meta.last_log_id.as_ref())
        && plausible_id(meta.last_membership.log_id().as_ref())
    {
        return Ok(());
    }
    Err("a snapshot with impossible numbers".into())
}

#[cfg(test)]
mod tests {
    use super::super::example::{blank, log_id};
    use super::*;

    fn request(previous: Option<u64>, indexes: &[u64]) -> AppendEntriesRequest<Types> {
        AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: previous.map(log_id),
            entries: indexes.iter().copied().map(blank).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn entries_follow_each_other() {
        assert_eq!(append(1, &request(None, &[0, 1])), Ok(()));
        assert_eq!(append(1, &request(Some(4), &[5, 6])), Ok(()));
        assert_eq!(append(1, &request(Some(4), &[])), Ok(()));
        assert!(append(1, &request(Some(4), &[6])).is_err());
        assert!(append(1, &request(Some(4), &[5, 5])).is_err());
        assert!(append(1, &request(Some(u64::MAX), &[])).is_err());
        assert!(append(1, &request(None, &[1])).is_err());
    }

    #[test]
    fn votes_have_possible_terms() {
        let asked = |term| VoteRequest::new(Vote::new(term, 2), None);
        assert_eq!(vote(2, &asked(7)), Ok(()));
        assert!(vote(2, &asked(u64::MAX)).is_err());
    }

    #[test]
    fn only_elected_leaders_send_entries_and_each_node_speaks_for_itself() {
        let mut append_ahead = request(None, &[0]);
        append_ahead.vote = Vote::new(3, 1);
        assert!(append(1, &append_ahead).is_err());
        assert!(append(2, &request(None, &[0])).is_err());
        assert!(vote(3, &VoteRequest::new(Vote::new(7, 2), None)).is_err());
        let won = VoteRequest::new(Vote::new_committed(7, 2), None);
        assert!(vote(2, &won).is_err());
        let handed = |vote| TransferLeaderRequest::new(vote, 2, None);
        assert_eq!(transfer(1, &handed(Vote::new_committed(3, 1))), Ok(()));
        assert!(transfer(1, &handed(Vote::new(3, 1))).is_err());
        assert!(transfer(2, &handed(Vote::new_committed(3, 1))).is_err());
    }
}
