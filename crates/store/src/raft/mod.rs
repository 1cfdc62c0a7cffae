//! Consensus: the only place that knows the Raft library.
//!
//! The rest of the crate sees [`Consensus`]: propose a batch, read under the lease, who leads,
//! hand leadership over. Replacing the library means rewriting this directory.
//!
//! - `types`, `log_store`, `present`, `applier`, `network`: what the library asks for.
//! - `transport`, `server`: frames between nodes; `roster`: the links of this node.
//! - `sanity`: what no honest node sends.
//! - `identity`, `standing`, `formation`: who this node is to the others, and how clusters begin.
//! - `members`: changes of the membership.
//! - `leadership`: lease and events; `acks`: the times the lease follows from.
//! - `candidacy`, `question`, `disk_watch`: who may lead and vote after and during disk trouble.
//! - `alarms`: what needs a person; `status`: the node's view of itself.

mod acks;
mod alarms;
mod applier;
mod candidacy;
mod commits;
mod disk_watch;
#[cfg(test)]
mod example;
mod formation;
mod fuzzing;
mod identity;
mod leadership;
mod log_store;
mod members;
mod network;
mod present;
mod question;
mod refusals;
mod roster;
mod runtime;
mod sanity;
mod server;
mod standing;
mod start;
mod status;
mod transfer;
mod transport;
mod types;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::backup::{Backup, Origin};
use crate::batch::{Applied, Batch, NO_ORIGIN};
use crate::config::{PeerAddress, Timing};
use crate::environment::Environment;
use crate::error::StoreError;
use crate::limits::FORWARD_TIMEOUT;
use crate::machine::SharedMachine;
use crate::mutations;
use crate::reply::{Command, Reply};
use crate::snapshot::Snapshots;
use crate::store::{DirectoryLock, ReadMode};

pub use alarms::Alarms;
pub use fuzzing::fuzz_frame;
pub use leadership::Leadership;
pub use start::{Parts, Tuning};

use leadership::LeadershipView;
use log_store::LogStore;
use roster::Roster;
use standing::Standing;
use transport::Lane;
use transport::frame::{self, Kind};
use types::{Raft, Types};

/// What the Raft library finds in a node that begins with a state as of entry `index`: nobody's
/// term, before every election, and all peers as voters.
pub fn first_meta(index: u64, peers: &BTreeMap<u64, PeerAddress>) -> Result<Vec<u8>, StoreError> {
    use openraft::vote::RaftLeaderId;
    let leader_id = types::LeaderId::new(0, 0).to_committed();
    let last = types::LogId { leader_id, index };
    // The first leader fills in what is not known yet (`Consensus::complete_nodes`).
    let node = |peer: &PeerAddress| types::Node {
        name: peer.name.clone(),
        raft: peer.raft,
        resp: peer.resp,
        incarnation: 0,
        cluster: 0,
    };
    let nodes: BTreeMap<_, _> = peers.iter().map(|(id, peer)| (*id, node(peer))).collect();
    let voters = peers.keys().copied().collect();
    let members = openraft::Membership::new(vec![voters], nodes)
        .map_err(|error| StoreError::Config(error.to_string()))?;
    let meta = types::SnapshotMeta {
        last_log_id: Some(last),
        last_membership: types::Membership::new(Some(last), members),
    };
    postcard::to_stdvec(&meta).map_err(|error| StoreError::Storage(error.to_string()))
}

/// How long a transfer of leadership waits for the target to have the whole log.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// How long a transfer of leadership may take after that.
const TRANSFER_MAX: Duration = Duration::from_secs(2);

/// What became of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Outcome {
    /// It was committed and applied.
    Applied(Applied),
    /// It was not accepted, because this node does not lead; nothing was changed.
    NotLeader(Option<u64>),
    /// It may or may not be applied later.
    Unknown,
}

/// A batch on its way.
pub enum Proposed {
    /// Refused at once.
    Refused(Outcome),
    /// In the log of this node.
    Waiting {
        answer: oneshot::Receiver<ClientWriteResult<Types>>,
        since: std::time::Instant,
        machine: SharedMachine,
    },
}

impl Proposed {
    /// Waits for the outcome.
    pub async fn outcome(self) -> Outcome {
        match self {
            Proposed::Refused(outcome) => outcome,
            Proposed::Waiting {
                answer,
                since,
                machine,
            } => match answer.await {
                Ok(Ok(response)) => {
                    machine.timings.commit.since(since);
                    Outcome::Applied(response.data)
                }
                Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                    Outcome::NotLeader(forward.leader_id)
                }
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            },
        }
    }
}

/// A counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What consensus counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches proposed here.
    pub proposed: Counter,
    /// Links refused because there are too many.
    pub links_refused: Counter,
    /// Batches and appends refused because the log in memory is full.
    pub log_full: Counter,
}

/// Consensus of one node.
pub struct Consensus {
    /// This node.
    pub id: u64,
    raft: Raft,
    machine: SharedMachine,
    snapshots: Snapshots,
    applier: applier::Applier,
    log: LogStore,
    log_bytes_max: u64,
    roster: Arc<Roster>,
    standing: Arc<Standing>,
    security: transport::tls::Security,
    /// The configured nodes.
    peers: BTreeMap<u64, PeerAddress>,
    /// Never found a cluster.
    join: bool,
    timing: Timing,
    /// Held while the members are changed.
    changing: tokio::sync::Mutex<()>,
    view: Arc<LeadershipView>,
    leadership: watch::Receiver<Leadership>,
    /// Proposals are refused while leadership is being handed over.
    holding: AtomicBool,
    /// Why this node must not lead.
    candidacy: candidacy::Candidacy,
    /// Whether there is room for entries of other leaders.
    takes_entries: AtomicBool,
    alarms: Arc<Alarms>,
    /// Before this moment this node does not vote.
    votes_from: Instant,
    address: SocketAddr,
    /// What is counted.
    pub counters: Counters,
    stop: watch::Sender<bool>,
    /// A backup is being taken.
    backing_up: Arc<AtomicBool>,
    environment: Environment,
    lock: Mutex<Option<DirectoryLock>>,
    /// Has the listener.
    serving: tokio::sync::Mutex<tokio::task::JoinSet<()>>,
}

impl Consensus {
    /// Who leads; changes are seen after the events of watchers were queued.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// What needs a person.
    pub fn alarms(&self) -> Arc<Alarms> {
        self.alarms.clone()
    }

    /// End of this node's lease, `CLOCK_BOOTTIME` ns, 0 = none.
    pub fn lease(&self) -> Arc<AtomicU64> {
        self.view.lease.clone()
    }

    /// Whether this node leads and has applied an entry of its own term.
    pub fn is_leading(&self) -> bool {
        self.view.leading.load(Ordering::Acquire)
    }

    /// Stamps and proposes a batch. Batches of one task keep their order.
    pub async fn propose(&self, mut batch: Batch) -> Proposed {
        let full = self.candidacy.has(candidacy::Bar::Full);
        if !self.is_leading() || self.holding.load(Ordering::Acquire) || full {
            return Proposed::Refused(Outcome::NotLeader(self.other_leader()));
        }
        if self.log_is_full() {
            // The proposer tries again until the requests in it have waited too long.
            return Proposed::Refused(Outcome::NotLeader(None));
        }
        batch.now_ms = self.environment.clock.wall_ms();
        let (responder, answer) = ProgressResponder::complete_only();
        self.counters.proposed.add(1);
        let since = std::time::Instant::now();
        match self.raft.client_write_ff(batch, Some(responder)).await {
            Ok(()) => Proposed::Waiting {
                answer,
                since,
                machine: self.machine.clone(),
            },
            Err(_) => Proposed::Refused(Outcome::NotLeader(None)),
        }
    }

    /// Whether snapshots have not kept up with what is written; counted.
    fn log_is_full(&self) -> bool {
        let full = self.log.bytes() >= self.log_bytes_max;
        self.counters.log_full.add(u64::from(full));
        full
    }

    fn other_leader(&self) -> Option<u64> {
        self.leadership
            .borrow()
            .leader
            .filter(|leader| *leader != self.id)
    }

    /// Sends a batch to the leader. Batches of one task keep their order.
    pub fn forward(
        &self,
        leader: u64,
        batch: &Batch,
    ) -> impl Future<Output = Outcome> + Send + 'static + use<> {
        let link = self.roster.link(leader, Lane::Client);
        let call = link.map(|link| frame::encode(batch).map(|body| link.call(Kind::Forward, body)));
        let deposed = self.deposed(leader);
        async move {
            let Some(Ok(call)) = call else {
                return Outcome::NotLeader(None);
            };
            let answer = tokio::select! {
                answer = tokio::time::timeout(FORWARD_TIMEOUT, call) => answer,
                () = deposed => return Outcome::Unknown,
            };
            let body = match answer {
                Ok(Ok(Ok(body))) => body,
                // The link says so itself: the batch was never sent.
                Ok(Ok(Err(_))) => return Outcome::NotLeader(None),
                Ok(Err(_)) | Err(_) => return Outcome::Unknown,
            };
            match frame::decode::<Result<Outcome, String>>(&body) {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            }
        }
    }

    /// Reads this node's state if it leads with a valid lease; `None` otherwise.
    pub fn read_as_leader(&self, command: &Command) -> Option<Reply> {
        let reply = self.machine.read(command);
        (self.view.holds_lease() || mutations::reads_locally()).then_some(reply)
    }

    /// Reads this node's state after a majority has confirmed that it leads; `None` otherwise.
    pub async fn read_index(&self, command: &Command) -> Option<Reply> {
        let confirmed = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        let confirmed = tokio::time::timeout(FORWARD_TIMEOUT, confirmed).await;
        confirmed.ok()?.ok()?;
        Some(self.machine.read(command))
    }

    /// Asks the leader to read; `None` when it could not.
    pub async fn read_remote(
        &self,
        leader: u64,
        command: &Command,
        mode: ReadMode,
    ) -> Option<Reply> {
        let link = self.roster.link(leader, Lane::Client)?;
        let body = frame::encode(command).ok()?;
        let kind = match mode {
            ReadMode::Lease => Kind::Read,
            ReadMode::ReadIndex => Kind::ReadIndex,
        };
        let answer = tokio::select! {
            answer = link.request(kind, body, FORWARD_TIMEOUT) => answer.ok()?,
            () = self.deposed(leader) => return None,
        };
        frame::decode::<Result<Option<Reply>, String>>(&answer)
            .ok()?
            .ok()?
    }

    /// Ends when this node knows another leader. One that was cut off does not answer and does not
    /// refuse: whoever waits for it then asks the other one, instead of waiting to the end.
    fn deposed(&self, leader: u64) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut leadership = self.leadership();
        async move {
            let another = leadership.wait_for(|now| now.leader.is_some_and(|now| now != leader));
            if another.await.is_err() {
                // This node is closing; the caller's own limits end the wait.
                std::future::pending().await
            }
        }
    }

    /// Proposes an empty entry, so that the logical clock moves.
    pub async fn tick(&self) {
        let batch = Batch {
            origin: NO_ORIGIN,
            body: Bytes::new(),
            ..Batch::default()
        };
        self.propose(batch).await.outcome().await;
    }

    /// Hands leadership to `to`, or to the voter with the longest log.
    pub async fn transfer(&self, to: Option<u64>) -> Result<(), StoreError> {
        if !self.is_leading() {
            return Err(StoreError::NotLeader {
                leader: self.other_leader(),
            });
        }
        let target = match to {
            Some(to) if to == self.id => return Ok(()),
            Some(to) if self.is_voter(to) => to,
            Some(to) => return Err(StoreError::Refused(format!("node {to} is not a voter"))),
            None => self
                .most_up_to_date()
                .ok_or(StoreError::Unavailable { held_ms: 0 })?,
        };
        self.holding.store(true, Ordering::Release);
        let outcome = self.transfer_to(target).await;
        self.holding.store(false, Ordering::Release);
        outcome
    }

    async fn transfer_to(&self, target: u64) -> Result<(), StoreError> {
        let unavailable = |limit: Duration| StoreError::Unavailable {
            held_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        };
        let mut metrics = self.raft.metrics();
        let caught_up = async {
            loop {
                let done = {
                    let metrics = metrics.borrow_watched();
                    let matched = metrics
                        .replication
                        .as_ref()
                        .and_then(|peers| peers.get(&target));
                    let matched = matched.copied().flatten().map(|log_id| log_id.index);
                    matched.is_some() && matched == metrics.last_log_index
                };
                if done || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let caught_up = tokio::time::timeout(CATCH_UP_MAX, caught_up).await;
        caught_up.map_err(|_| unavailable(CATCH_UP_MAX))?;
        let term = self.leadership.borrow().term;
        // The lease ends, and everyone in this process knows it, before another node may lead.
        self.view.renounce(term);
        let mut leadership = self.leadership.clone();
        let stepped_down = leadership.wait_for(|now| !now.leading);
        let _ = tokio::time::timeout(CATCH_UP_MAX, stepped_down).await;
        let trigger = self.raft.trigger().transfer_leader(target).await;
        trigger.map_err(|error| StoreError::Storage(error.to_string()))?;
        let taken = leadership.wait_for(|now| now.term > term && now.leader.is_some());
        let taken = tokio::time::timeout(TRANSFER_MAX, taken).await;
        taken
            .map_err(|_| unavailable(TRANSFER_MAX))?
            .map_err(|_| StoreError::Closed)?;
        Ok(())
    }

    fn is_voter(&self, id: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut voters = metrics.membership_config.membership().voter_ids();
        voters.any(|voter| voter == id)
    }

    fn most_up_to_date(&self) -> Option<u64> {
        self.voters_by_log().first().copied()
    }

    /// The other voters, the one with the longest log first.
    fn voters_by_log(&self) -> Vec<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        let peers = metrics.replication.iter().flatten();
        let mut others: Vec<_> = peers
            .filter(|(id, _)| **id != self.id && voters.contains(id))
            .map(|(id, matched)| (*matched, *id))
            .collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        others.into_iter().map(|(_, id)| id).collect()
    }

    fn link(&self, node: u64, lane: Lane) -> Option<transport::link::Link> {
        self.roster.link(node, lane)
    }

    /// Begins a backup of what this node has applied. Blocks for some milliseconds.
    pub fn backup(&self) -> Result<Backup, StoreError> {
        Backup::start(Origin {
            machine: self.machine.clone(),
            snapshots: self.snapshots.clone(),
            node: self.id,
            term: self.leadership.borrow().term,
            now_ms: self.environment.clock.wall_ms(),
            busy: self.backing_up.clone(),
        })
    }

    /// Takes a snapshot now; the log behind it is purged.
    pub async fn snapshot(&self) -> Result<(), StoreError> {
        let triggered = self.raft.trigger().snapshot().await;
        triggered.map_err(|error| StoreError::Storage(error.to_string()))
    }

    /// Stops everything and flushes the log.
    pub async fn shutdown(&self) {
        self.view.lease.store(0, Ordering::Release);
        self.stop.send_replace(true);
        while self.serving.lock().await.join_next().await.is_some() {}
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(?error, "the Raft library did not end well");
        }
        let wal = self.log.wal().clone();
        let _ = self.environment.workers.blocking(move || wal.close()).await;
        drop(self.lock.lock().take());
    }
}
