//! Brings requests into the log: numbers them, gathers them into batches, sends the batches to
//! whoever leads, and holds them while nobody does.
//!
//! ```text
//!  submit --> queue --> task { window } --> propose here | forward to the leader
//! ```
//!
//! - [`window`]: what is not answered yet; a pure machine.
//! - [`reunion`]: when the next batch is large enough.
//! - [`direct`]: requests that only this node, as leader, may propose.
//! - [`traffic`]: what became of requests, counted.

mod direct;
mod reunion;
mod traffic;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::batch;
use crate::error::StoreError;
use crate::limits::{BATCHES_IN_FLIGHT_MAX, HOLD_MS, PENDING_BYTES_MAX, PENDING_MAX};
use crate::raft::{Consensus, Leadership, Outcome};
use crate::reply::Request;
use crate::store::Done;
pub use traffic::Traffic;

use reunion::Reunion;
use window::{Ticket, Window};

/// Pause before a refused batch is sent again to the same leader.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Requests taken from the queue at once.
const TAKE_MAX: usize = 1_024;

/// How long a request may wait for company.
const PATIENCE_MAX: Duration = Duration::from_millis(100);

/// Times the other tasks are let run before a batch is closed.
const GATHER_ROUNDS_MAX: usize = 8;

struct Submitted {
    body: Bytes,
    done: Done,
    /// When it is given up; of a request for this node alone: when it goes, with or without
    /// company.
    until: Instant,
}

/// What waits, for the bounds.
#[derive(Default)]
struct Load {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// The entrance for requests of this process.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::UnboundedSender<Submitted>,
    direct: mpsc::UnboundedSender<Submitted>,
    consensus: Arc<Consensus>,
    load: Arc<Load>,
    traffic: Arc<Traffic>,
}

impl Proposer {
    /// Starts the tasks; `origin` must be unused by any other life of any process.
    pub fn start(consensus: Arc<Consensus>, origin: u64) -> Proposer {
        let (queue, submitted) = mpsc::unbounded_channel();
        let (direct, as_leader) = mpsc::unbounded_channel();
        let traffic = Arc::<Traffic>::default();
        let driver = Driver {
            leadership: consensus.leadership(),
            consensus: consensus.clone(),
            window: Window::new(origin),
            sent: FuturesUnordered::new(),
            retry_at: None,
            reunion: None,
            traffic: traffic.clone(),
        };
        tokio::spawn(driver.run(submitted));
        tokio::spawn(direct::run(consensus.clone(), as_leader));
        Proposer {
            queue,
            direct,
            consensus,
            load: Arc::default(),
            traffic,
        }
    }

    /// Queues a request; it is held through an election.
    pub fn submit(&self, request: &Request, done: Done) {
        let until = Instant::now() + Duration::from_millis(HOLD_MS);
        self.enqueue(&self.queue, request, until, done);
    }

    /// Queues a request that fails at once unless this node leads. It may wait for `patience` so
    /// that others share its entry; requests are committed in the order they came in all the same.
    pub fn submit_as_leader(&self, request: &Request, patience: Duration, done: Done) {
        if self.consensus.is_leading() {
            self.enqueue(
                &self.direct,
                request,
                Instant::now() + patience.min(PATIENCE_MAX),
                done,
            );
        } else {
            let leader = self.consensus.leadership().borrow().leader;
            done(Err(StoreError::NotLeader { leader }));
        }
    }

    fn enqueue(
        &self,
        queue: &mpsc::UnboundedSender<Submitted>,
        request: &Request,
        until: Instant,
        done: Done,
    ) {
        let body = match batch::encode(request) {
            Ok(body) => body,
            Err(error) => return done(Err(error)),
        };
        let size = body.len();
        let requests = self.load.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = self.load.bytes.fetch_add(size, Ordering::Relaxed);
        let load = self.load.clone();
        let done: Done = Box::new(move |outcome| {
            load.requests.fetch_sub(1, Ordering::Relaxed);
            load.bytes.fetch_sub(size, Ordering::Relaxed);
            done(outcome);
        });
        if requests >= PENDING_MAX || bytes >= PENDING_BYTES_MAX {
            let error = StoreError::Overloaded { limit: PENDING_MAX };
            self.traffic.failed(&error);
            return done(Err(error));
        }
        if let Err(refused) = queue.send(Submitted { body, done, until }) {
            (refused.0.done)(Err(StoreError::Closed));
        }
    }

    /// Requests that are not answered yet.
    pub fn pending(&self) -> usize {
        self.load.requests.load(Ordering::Relaxed)
    }

    /// What became of requests.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

struct Driver {
    consensus: Arc<Consensus>,
    leadership: watch::Receiver<Leadership>,
    window: Window<Done>,
    sent: FuturesUnordered<BoxFuture<'static, (Ticket, Outcome)>>,
    retry_at: Option<Instant>,
    reunion: Option<Reunion>,
    traffic: Arc<Traffic>,
}

impl Driver {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Submitted>) {
        let mut taken = Vec::new();
        loop {
            self.send().await;
            let reunion = self.reunion.as_ref().map(|reunion| reunion.until);
            let wake = [self.window.deadline(), self.retry_at, reunion]
                .into_iter()
                .flatten()
                .min();
            let wake = wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
            tokio::select! {
                // Answers first: the bound on pending requests ends any flood of the queue.
                biased;
                Some((ticket, outcome)) = self.sent.next(), if !self.sent.is_empty() => {
                    self.settle(ticket, outcome);
                }
                changed = self.leadership.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.retry_at = None;
                }
                number = queue.recv_many(&mut taken, TAKE_MAX) => {
                    if number == 0 {
                        break;
                    }
                    self.accept(&mut taken);
                    self.gather(&mut queue, &mut taken).await;
                }
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    self.retry_at = self.retry_at.filter(|at| *at > now);
                    for (done, error) in self.window.expire(now) {
                        self.traffic.failed(&error);
                        done(Err(error));
                    }
                    self.count_held();
                }
            }
        }
        self.window
            .close()
            .into_iter()
            .for_each(|done| done(Err(StoreError::Closed)));
    }

    fn count_held(&mut self) {
        for held in self.window.held() {
            self.traffic.released(held);
        }
    }

    fn accept(&mut self, taken: &mut Vec<Submitted>) {
        let unled = self.leadership.borrow().leader.is_none();
        let held = unled.then(Instant::now);
        for Submitted { body, done, until } in taken.drain(..) {
            self.window.push(body, done, until, held);
        }
    }

    /// Lets the tasks that are ready to run submit first: an entry costs every node a flush and a
    /// dozen switches between threads, however many requests are in it.
    async fn gather(
        &mut self,
        queue: &mut mpsc::UnboundedReceiver<Submitted>,
        taken: &mut Vec<Submitted>,
    ) {
        for _ in 0..GATHER_ROUNDS_MAX {
            tokio::task::yield_now().await;
            if queue.is_empty() {
                break;
            }
            queue.recv_many(taken, TAKE_MAX).await;
            self.accept(taken);
        }
    }

    /// Sends what may be sent now.
    async fn send(&mut self) {
        if let Some(reunion) = &self.reunion {
            if !reunion.is_over(self.window.unsent(), Instant::now()) {
                return;
            }
            self.reunion = None;
        }
        while self.window.unsent() > 0
            && self.sent.len() < BATCHES_IN_FLIGHT_MAX
            && self.retry_at.is_none()
        {
            let now = *self.leadership.borrow_and_update();
            let Some(leader) = now.leader else { return };
            let Some((ticket, batch)) = self.window.take() else {
                return;
            };
            let outcome: BoxFuture<'static, Outcome> = if leader == self.consensus.id {
                Box::pin(self.consensus.propose(batch).await.outcome())
            } else {
                self.traffic.forwarded_writes.add(u64::from(batch.count));
                Box::pin(self.consensus.forward(leader, &batch))
            };
            self.sent
                .push(Box::pin(async move { (ticket, outcome.await) }));
        }
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        let certain = match outcome {
            Outcome::Applied(applied) if !applied.gap => {
                let now = Instant::now();
                let told = self.window.applied(ticket, applied.replies, now);
                let unsent = self.window.unsent();
                self.reunion = Some(Reunion::of(told.len(), unsent, now));
                for (done, reply) in told {
                    done(Ok(reply));
                }
                self.count_held();
                return;
            }
            Outcome::Applied(_) | Outcome::NotLeader(_) => true,
            Outcome::Unknown => false,
        };
        let now = Instant::now();
        if self.window.failed(ticket, certain, now) {
            self.retry_at = Some(now + RETRY_PAUSE);
        }
    }
}
