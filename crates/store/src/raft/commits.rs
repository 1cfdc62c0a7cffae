//! When a follower is told how far the log is committed, as a pure machine.
//!
//! The Raft library tells each commit at once, in a request of its own when no entry goes the same
//! way at that moment: at the rates of calls that is a second request, a second answer and as many
//! wake-ups for each entry. A follower needs commits only to keep its copy; one that is elected
//! learns them anew. So a commit is told [`COMMIT_PATIENCE`] after it is known, with whatever goes
//! then, and the follower applies what came together in one go.

use openraft::raft::AppendEntriesRequest;
use tokio::time::Instant;

use super::types::{LogId, Types, Vote};
use crate::limits::COMMIT_PATIENCE;

type Request = AppendEntriesRequest<Types>;

/// What one stream of requests has told.
#[derive(Debug, Default)]
pub struct Commits {
    /// The last entry that was sent on this stream.
    last: Option<LogId>,
    told: Option<LogId>,
    untold: Option<Untold>,
}

#[derive(Debug)]
struct Untold {
    due: Instant,
    committed: Option<LogId>,
    vote: Vote,
}

impl Commits {
    /// The request as it is sent now; `None` when it has nothing but a commit that can wait.
    pub fn pass(&mut self, mut request: Request, now: Instant) -> Option<Request> {
        let only_tells = request.entries.is_empty();
        if self.last.is_none() || (only_tells && request.prev_log_id != self.last) {
            // The first of the stream, or one that asks where the follower stands.
            self.told = request.leader_commit.max(self.told);
        } else {
            self.learn(&request, now);
            if only_tells {
                return None;
            }
            request.leader_commit = self.tell(now);
        }
        let entries = request.entries.last().map(|entry| entry.log_id);
        self.last = entries.or(self.last);
        Some(request)
    }

    fn learn(&mut self, request: &Request, now: Instant) {
        if request.leader_commit <= self.told {
            return;
        }
        let (committed, vote) = (request.leader_commit, request.vote);
        let due = self.due().unwrap_or(now + COMMIT_PATIENCE);
        self.untold = Some(Untold {
            due,
            committed,
            vote,
        });
    }

    /// What a request may say.
    fn tell(&mut self, now: Instant) -> Option<LogId> {
        if self.due().is_some_and(|due| due <= now) {
            self.told = self.untold.take().and_then(|untold| untold.committed);
        }
        self.told
    }

    /// When [`Commits::alone`] must be asked for, if nothing goes before.
    pub fn due(&self) -> Option<Instant> {
        self.untold.as_ref().map(|untold| untold.due)
    }

    /// A request that only tells what is not told yet.
    pub fn alone(&mut self) -> Option<Request> {
        let Untold {
            committed, vote, ..
        } = self.untold.take()?;
        self.told = committed;
        Some(Request {
            vote,
            prev_log_id: self.last,
            entries: Vec::new(),
            leader_commit: committed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{blank, log_id};
    use super::*;

    fn request(previous: u64, entries: &[u64], committed: u64) -> Request {
        Request {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(log_id(previous)),
            entries: entries.iter().copied().map(blank).collect(),
            leader_commit: Some(log_id(committed)),
        }
    }

    fn told(request: Option<Request>) -> Option<(usize, u64)> {
        let request = request?;
        let committed = request.leader_commit.map_or(0, |log_id| log_id.index);
        Some((request.entries.len(), committed))
    }

    #[test]
    fn a_commit_goes_with_the_entries_that_go_when_it_is_due() {
        let start = Instant::now();
        let mut commits = Commits::default();
        assert_eq!(told(commits.pass(request(4, &[5], 4), start)), Some((1, 4)));
        assert_eq!(told(commits.pass(request(5, &[], 5), start)), None);
        assert_eq!(told(commits.pass(request(5, &[6], 5), start)), Some((1, 4)));
        assert_eq!(told(commits.pass(request(6, &[], 6), start)), None);
        let due = commits.due().expect("something is not told");
        assert_eq!(due, start + COMMIT_PATIENCE, "the oldest of them counts");
        assert_eq!(told(commits.pass(request(6, &[7], 6), due)), Some((1, 6)));
        assert_eq!(commits.due(), None);
    }

    #[test]
    fn a_commit_goes_alone_when_no_entries_come() {
        let start = Instant::now();
        let mut commits = Commits::default();
        commits.pass(request(4, &[5], 4), start);
        assert_eq!(told(commits.pass(request(5, &[], 5), start)), None);
        let alone = commits.alone().expect("a request");
        assert_eq!(alone.prev_log_id, Some(log_id(5)));
        assert_eq!(told(Some(alone)), Some((0, 5)));
        assert!(commits.alone().is_none());
        assert_eq!(commits.due(), None);
        assert_eq!(told(commits.pass(request(5, &[6], 5), start)), Some((1, 5)));
    }

    #[test]
    fn what_asks_where_the_follower_stands_goes_at_once() {
        let start = Instant::now();
        let mut commits = Commits::default();
        assert_eq!(told(commits.pass(request(2, &[], 9), start)), Some((0, 9)));
        assert_eq!(told(commits.pass(request(2, &[3], 9), start)), Some((1, 9)));
        assert_eq!(told(commits.pass(request(1, &[], 9), start)), Some((0, 9)));
        assert_eq!(commits.due(), None);
    }
}
