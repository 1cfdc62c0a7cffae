//! Requests that only this node, as leader, may propose: never forwarded, never sent twice.
//!
//! The SIP engine and call control use them: when this node does not lead any more, their machines
//! are about to be dropped and another node's take over, so nobody must act for them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Submitted, TAKE_MAX};
use crate::batch::{Batch, NO_ORIGIN};
use crate::error::StoreError;
use crate::limits::{BATCH_BYTES_MAX, BATCH_REQUESTS_MAX, BATCHES_IN_FLIGHT_MAX};
use crate::raft::{Consensus, Outcome};
use crate::store::Done;

/// Gathers what is queued into batches and proposes them in order.
pub async fn run(consensus: Arc<Consensus>, mut queue: mpsc::UnboundedReceiver<Submitted>) {
    let mut sent: FuturesUnordered<BoxFuture<'static, (Vec<Done>, Outcome)>> =
        FuturesUnordered::new();
    let mut company = Company::default();
    let mut taken = Vec::new();
    let mut open = true;
    while open || !company.waiting.is_empty() {
        let may_send = sent.len() < BATCHES_IN_FLIGHT_MAX;
        if may_send && (!open || company.goes(Instant::now())) {
            let (batch, waiting) = company.leave();
            let proposed = consensus.propose(batch).await;
            sent.push(Box::pin(async move { (waiting, proposed.outcome().await) }));
            continue;
        }
        let due = company.due.filter(|_| may_send);
        tokio::select! {
            biased;
            Some((waiting, outcome)) = sent.next(), if !sent.is_empty() => settle(waiting, outcome),
            number = queue.recv_many(&mut taken, TAKE_MAX), if open && company.has_room() => {
                open = number > 0;
                taken.drain(..).for_each(|one| company.join(one));
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
    while let Some((waiting, outcome)) = sent.next().await {
        settle(waiting, outcome);
    }
}

/// Requests that wait for each other, in order. An entry costs every node a flush and a dozen
/// switches between threads, however many requests are in it.
#[derive(Default)]
struct Company {
    waiting: VecDeque<Submitted>,
    /// When the least patient of them goes, and takes the others along.
    due: Option<Instant>,
}

impl Company {
    fn join(&mut self, one: Submitted) {
        self.due = Some(self.due.map_or(one.until, |due| due.min(one.until)));
        self.waiting.push_back(one);
    }

    fn goes(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now) || !self.has_room()
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < BATCH_REQUESTS_MAX
    }

    /// The next batch, the longest waiting first. Who does not fit goes with the next.
    fn leave(&mut self) -> (Batch, Vec<Done>) {
        let mut body = BytesMut::new();
        let mut waiting = Vec::with_capacity(self.waiting.len().min(BATCH_REQUESTS_MAX));
        while let Some(one) = self.waiting.pop_front() {
            let full = body.len() + one.body.len() > BATCH_BYTES_MAX && !waiting.is_empty();
            if full || waiting.len() >= BATCH_REQUESTS_MAX {
                self.waiting.push_front(one);
                break;
            }
            body.extend_from_slice(Bytes::as_ref(&one.body));
            waiting.push(one.done);
        }
        self.due = self.waiting.iter().map(|one| one.until).min();
        let batch = Batch {
            origin: NO_ORIGIN,
            count: u32::try_from(waiting.len()).unwrap_or(u32::MAX),
            body: body.freeze(),
            ..Batch::default()
        };
        (batch, waiting)
    }
}

fn settle(waiting: Vec<Done>, outcome: Outcome) {
    let error = match outcome {
        Outcome::Applied(applied) => {
            let mut replies = applied.replies.into_iter();
            for done in waiting {
                done(replies.next().ok_or(StoreError::OutcomeUnknown));
            }
            return;
        }
        Outcome::NotLeader(leader) => StoreError::NotLeader { leader },
        Outcome::Unknown => StoreError::OutcomeUnknown,
    };
    for done in waiting {
        done(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn submitted(body: usize, until: Instant) -> Submitted {
        Submitted {
            body: Bytes::from(vec![0; body]),
            done: Box::new(|_| {}),
            until,
        }
    }

    #[test]
    fn the_least_patient_takes_the_others_along() {
        let now = Instant::now();
        let later = now + Duration::from_millis(50);
        let mut company = Company::default();
        company.join(submitted(1, later));
        assert!(!company.goes(now));
        assert!(company.goes(later));
        company.join(submitted(2, now));
        company.join(submitted(3, later));
        assert!(company.goes(now));
        let (batch, waiting) = company.leave();
        assert_eq!((batch.count, batch.body.len(), waiting.len()), (3, 6, 3));
        assert!(!company.goes(later), "nobody is left");
    }

    #[test]
    fn who_does_not_fit_goes_with_the_next_batch() {
        let now = Instant::now();
        let mut company = Company::default();
        company.join(submitted(10, now));
        company.join(submitted(BATCH_BYTES_MAX, now));
        assert_eq!(company.leave().0.count, 1);
        assert!(company.goes(now));
        assert_eq!(company.leave().0.body.len(), BATCH_BYTES_MAX);

        let later = now + Duration::from_millis(50);
        (0..BATCH_REQUESTS_MAX).for_each(|_| company.join(submitted(1, later)));
        assert!(company.goes(now), "there is no room for more");
        assert!(!company.has_room());
    }
}
