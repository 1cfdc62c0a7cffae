//! The requests of this process that are not answered yet, as a pure machine.
//!
//! ```text
//!   base            next_unsent           end
//!    | sent, waiting     | waiting to be sent |
//! ```
//!
//! Sequence numbers are consecutive. After any failure everything from `base` is sent again, in
//! order: the state machine recognises what it has applied (see `crate::origins`).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::limits::{BATCH_BYTES_MAX, BATCH_REQUESTS_MAX, HOLD_MS};
use crate::reply::Reply;

/// A request and whom to tell.
pub struct Pending<D> {
    /// The request, encoded.
    pub body: Bytes,
    /// Told once; `None` when it was.
    pub done: Option<D>,
    /// After this moment the request is given up.
    pub deadline: Instant,
    /// Attempts that are on their way or whose outcome is unknown.
    attempts: u32,
    /// Since when it waits for a leader; `None` when it never had to.
    held: Option<Instant>,
}

/// See the module head.
pub struct Window<D> {
    origin: u64,
    base: u64,
    next_unsent: u64,
    /// Counts the times everything had to be sent again.
    generation: u64,
    pending: VecDeque<Pending<D>>,
    /// How long those were held that were answered since [`Window::held`] was asked.
    held: Vec<Duration>,
}

/// Which requests a batch carried, and when.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    generation: u64,
    first: u64,
    count: u64,
}

impl<D> Window<D> {
    /// An empty window of a new origin.
    pub fn new(origin: u64) -> Self {
        Self {
            origin,
            base: 1,
            next_unsent: 1,
            generation: 0,
            pending: VecDeque::new(),
            held: Vec::new(),
        }
    }

    /// Adds a request at the end; `held` is now when nobody leads.
    pub fn push(&mut self, body: Bytes, done: D, deadline: Instant, held: Option<Instant>) {
        self.pending.push_back(Pending {
            body,
            done: Some(done),
            deadline,
            attempts: 0,
            held,
        });
    }

    /// Number of requests that wait to be sent.
    pub fn unsent(&self) -> usize {
        let sent = usize::try_from(self.next_unsent - self.base).unwrap_or(usize::MAX);
        self.pending.len().saturating_sub(sent)
    }

    /// When the oldest request is given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.deadline)
    }

    fn position(&self, sequence: u64) -> Option<usize> {
        let position = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        (position < self.pending.len()).then_some(position)
    }

    /// The next batch to send.
    pub fn take(&mut self) -> Option<(Ticket, Batch)> {
        let start = self.position(self.next_unsent)?;
        let (mut count, mut bytes) = (0, 0);
        for pending in self.pending.range(start..).take(BATCH_REQUESTS_MAX) {
            if count > 0 && bytes + pending.body.len() > BATCH_BYTES_MAX {
                break;
            }
            bytes += pending.body.len();
            count += 1;
        }
        let mut body = BytesMut::with_capacity(bytes);
        for pending in self.pending.range_mut(start..start + count) {
            pending.attempts += 1;
            body.extend_from_slice(&pending.body);
        }
        let first = self.next_unsent;
        self.next_unsent += count as u64;
        let ticket = Ticket {
            generation: self.generation,
            first,
            count: count as u64,
        };
        let batch = Batch {
            now_ms: 0,
            origin: self.origin,
            first,
            floor: self.base,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            body: body.freeze(),
        };
        Some((ticket, batch))
    }

    /// The batch was applied; answers whom to tell what.
    pub fn applied(
        &mut self,
        ticket: Ticket,
        replies: Vec<Reply>,
        now: Instant,
    ) -> Vec<(D, Reply)> {
        let mut told = Vec::with_capacity(replies.len());
        for (sequence, reply) in (ticket.first..ticket.first + ticket.count).zip(replies) {
            let Some(position) = self.position(sequence) else {
                continue;
            };
            let pending = &mut self.pending[position];
            let since = pending.held.take();
            self.held
                .extend(since.map(|since| now.saturating_duration_since(since)));
            told.extend(pending.done.take().map(|done| (done, reply)));
        }
        self.drop_answered();
        told
    }

    /// The batch was not accepted (`certain`), or nobody knows; sends everything again.
    /// Answers whether that is news: a failure of an earlier round is not.
    pub fn failed(&mut self, ticket: Ticket, certain: bool, now: Instant) -> bool {
        if certain {
            for sequence in ticket.first..ticket.first + ticket.count {
                if let Some(position) = self.position(sequence) {
                    self.pending[position].attempts -= 1;
                }
            }
        }
        if ticket.generation != self.generation {
            return false;
        }
        self.generation += 1;
        self.next_unsent = self.base;
        for pending in &mut self.pending {
            if pending.done.is_some() {
                pending.held.get_or_insert(now);
            }
        }
        true
    }

    /// Gives up what has waited too long.
    pub fn expire(&mut self, now: Instant) -> Vec<(D, StoreError)> {
        let mut given_up = Vec::new();
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.deadline <= now)
        {
            given_up.extend(self.pop(now));
        }
        self.drop_answered();
        given_up
    }

    /// How long those were held that ended since this was asked last.
    pub fn held(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.held)
    }

    /// Gives up everything.
    pub fn close(&mut self) -> Vec<D> {
        let pending = std::mem::take(&mut self.pending);
        pending
            .into_iter()
            .filter_map(|pending| pending.done)
            .collect()
    }

    fn pop(&mut self, now: Instant) -> Option<(D, StoreError)> {
        let pending = self.pending.pop_front()?;
        let held = pending
            .held
            .map(|since| now.saturating_duration_since(since));
        self.held.extend(held);
        self.base += 1;
        self.next_unsent = self.next_unsent.max(self.base);
        let error = if pending.attempts > 0 {
            StoreError::OutcomeUnknown
        } else {
            StoreError::Unavailable { held_ms: HOLD_MS }
        };
        pending.done.map(|done| (done, error))
    }

    fn drop_answered(&mut self) {
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.done.is_none())
        {
            self.pending.pop_front();
            self.base += 1;
        }
        self.next_unsent = self.next_unsent.max(self.base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(count: u64) -> Window<u64> {
        let mut window = Window::new(7);
        let later = Instant::now() + Duration::from_secs(60);
        (1..=count).for_each(|number| window.push(Bytes::from_static(b"x"), number, later, None));
        window
    }

    fn replies(count: i64) -> Vec<Reply> {
        (0..count).map(Reply::Int).collect()
    }

    #[test]
    fn batches_follow_each_other() {
        let mut window = window(1_500);
        let (one, first) = window.take().expect("something to send");
        let (two, second) = window.take().expect("something to send");
        assert_eq!((first.first, first.count, first.floor), (1, 1_024, 1));
        assert_eq!((second.first, second.count, second.floor), (1_025, 476, 1));
        assert!(window.take().is_none());
        assert_eq!(
            window.applied(one, replies(1_024), Instant::now()).len(),
            1_024
        );
        window.push(Bytes::new(), 9, Instant::now(), None);
        assert_eq!(window.take().expect("one more").1.floor, 1_025);
        assert_eq!(window.applied(two, replies(476), Instant::now()).len(), 476);
    }

    #[test]
    fn a_failure_sends_everything_again_in_order() {
        let mut window = window(2_000);
        let (one, _) = window.take().expect("something to send");
        let (two, _) = window.take().expect("something to send");
        assert!(window.failed(one, false, Instant::now()));
        assert!(
            !window.failed(two, false, Instant::now()),
            "it belongs to the round that failed already"
        );
        let (again, batch) = window.take().expect("something to send");
        assert_eq!(batch.first, 1);
        // The first round's second batch was applied after all.
        assert_eq!(window.applied(two, replies(976), Instant::now()).len(), 976);
        assert_eq!(
            window.applied(again, replies(1_024), Instant::now()).len(),
            1_024
        );
        assert_eq!(window.unsent(), 0);
        assert!(window.deadline().is_none());
    }

    #[test]
    fn giving_up_says_whether_the_outcome_is_known() {
        let mut window: Window<u64> = Window::new(7);
        let now = Instant::now();
        window.push(Bytes::new(), 1, now, None);
        let (ticket, _) = window.take().expect("something to send");
        window.push(Bytes::new(), 2, now, None);
        window.push(Bytes::new(), 3, now + Duration::from_secs(60), None);
        let given_up = window.expire(now);
        assert!(matches!(given_up[0], (1, StoreError::OutcomeUnknown)));
        assert!(matches!(given_up[1], (2, StoreError::Unavailable { .. })));
        assert_eq!(given_up.len(), 2);
        assert!(window.applied(ticket, replies(1), now).is_empty());
        assert_eq!(window.take().expect("the third").1.floor, 3);
    }

    #[test]
    fn the_time_without_a_leader_is_told_once_for_each_request() {
        let mut window: Window<u64> = Window::new(7);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        window.push(Bytes::new(), 1, at(2_000), Some(start));
        window.push(Bytes::new(), 2, at(2_000), None);
        let (ticket, _) = window.take().expect("something to send");
        assert!(window.failed(ticket, true, at(100)));
        window.push(Bytes::new(), 3, at(2_000), None);
        let (ticket, _) = window.take().expect("all of them");
        assert_eq!(window.applied(ticket, replies(3), at(400)).len(), 3);
        let held = window.held();
        assert_eq!(held, [400, 300].map(Duration::from_millis));
        assert!(window.held().is_empty());
    }

    #[test]
    fn a_certain_refusal_leaves_the_outcome_known() {
        let mut window: Window<u64> = Window::new(7);
        let now = Instant::now();
        window.push(Bytes::new(), 1, now, None);
        let (ticket, _) = window.take().expect("something to send");
        assert!(window.failed(ticket, true, now));
        assert!(matches!(
            window.expire(now)[0],
            (1, StoreError::Unavailable { .. })
        ));
    }
}
