//! Requests that only this node, as leader, may propose: never forwarded, never sent twice.
//!
//! The SIP engine uses them: when this node does not lead any more, its machines are about to be
//! dropped and another node's take over, so nobody must act for them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::Submitted;
use crate::batch::{Batch, NO_ORIGIN};
use crate::error::StoreError;
use crate::limits::{BATCH_BYTES_MAX, BATCH_REQUESTS_MAX, BATCHES_IN_FLIGHT_MAX};
use crate::raft::{Consensus, Outcome};
use crate::store::Done;

/// Gathers what is queued into batches and proposes them in order.
pub async fn run(consensus: Arc<Consensus>, mut queue: mpsc::UnboundedReceiver<Submitted>) {
    let mut sent: FuturesUnordered<BoxFuture<'static, (Vec<Done>, Outcome)>> =
        FuturesUnordered::new();
    let mut next = None;
    loop {
        let may_send = sent.len() < BATCHES_IN_FLIGHT_MAX;
        tokio::select! {
            biased;
            Some((waiting, outcome)) = sent.next(), if !sent.is_empty() => settle(waiting, outcome),
            first = take(&mut next, &mut queue), if may_send => {
                let Some(first) = first else { break };
                let (batch, waiting, left) = gather(first, &mut queue);
                next = left;
                let proposed = consensus.propose(batch).await;
                sent.push(Box::pin(async move { (waiting, proposed.outcome().await) }));
            }
        }
    }
    while let Some((waiting, outcome)) = sent.next().await {
        settle(waiting, outcome);
    }
}

async fn take(
    next: &mut Option<Submitted>,
    queue: &mut mpsc::UnboundedReceiver<Submitted>,
) -> Option<Submitted> {
    match next.take() {
        Some(submitted) => Some(submitted),
        None => queue.recv().await,
    }
}

/// A batch of what is queued by now, and the request that did not fit.
fn gather(
    first: Submitted,
    queue: &mut mpsc::UnboundedReceiver<Submitted>,
) -> (Batch, Vec<Done>, Option<Submitted>) {
    let mut body = BytesMut::from(Bytes::as_ref(&first.body));
    let mut waiting = vec![first.done];
    let mut left = None;
    while waiting.len() < BATCH_REQUESTS_MAX {
        let Ok(submitted) = queue.try_recv() else {
            break;
        };
        if body.len() + submitted.body.len() > BATCH_BYTES_MAX {
            left = Some(submitted);
            break;
        }
        body.extend_from_slice(&submitted.body);
        waiting.push(submitted.done);
    }
    let count = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
    let batch = Batch {
        origin: NO_ORIGIN,
        count,
        body: body.freeze(),
        ..Batch::default()
    };
    (batch, waiting, left)
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
