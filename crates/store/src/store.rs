//! The handle through which the process uses its store.
//!
//! - [`metrics`]: what it measures, as Prometheus text.
//! - [`reload`]: what changes while it runs.

mod metrics;
mod reload;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::backup::{Backup, RESTORING};
use crate::config::StoreConfig;
use crate::disk::SharedDisk;
use crate::environment::{Environment, randomness};
use crate::error::StoreError;
use crate::event::StoreEvent;
use crate::events::Events;
use crate::format;
use crate::healing;
use crate::limits::{HOLD_MS, WATCHES_MAX};
use crate::machine::{Machine, SharedMachine};
use crate::member::{Member, MemberChange};
use crate::proposer::Proposer;
use crate::raft::{Alarms, Consensus, Leadership, Parts, Tuning};
use crate::reply::{Command, Reply, Request};
use crate::resp::{Door, PubSub, Waiters};
use crate::snapshot::Snapshots;
use crate::status::StoreStatus;

/// Called once with the outcome of a submitted request.
pub type Done = Box<dyn FnOnce(Result<Reply, StoreError>) + Send>;

/// Called with events in log order, always from the same thread; must not block.
pub type Sink = Box<dyn FnMut(Vec<StoreEvent>) + Send>;

/// Pause between two attempts of a read while there is no leader.
const READ_RETRY: Duration = Duration::from_millis(5);

/// How a leader makes sure that it still leads before it answers a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// By its lease, which relies on clocks that run at the same speed within a tenth.
    #[default]
    Lease,
    /// By asking a majority: one more round trip, no reliance on clocks.
    ReadIndex,
}

/// One node of the replicated store. Cheap to clone; all clones are the same node.
#[derive(Clone)]
pub struct Store {
    node: Arc<Node>,
}

/// A handle that does not keep the node open.
#[derive(Clone)]
pub(crate) struct WeakStore {
    node: Weak<Node>,
}

impl WeakStore {
    /// The store, unless it was closed.
    pub fn upgrade(&self) -> Option<Store> {
        self.node.upgrade().map(|node| Store { node })
    }
}

struct Node {
    machine: SharedMachine,
    events: Events,
    consensus: Arc<Consensus>,
    proposer: Proposer,
    door: Option<Door>,
    closed: AtomicBool,
    runtime: tokio::runtime::Handle,
}

impl Store {
    /// Recovers the log, starts the node on `runtime` and returns. Blocks while files are read.
    /// The runtime must be multi-threaded.
    pub fn open(config: StoreConfig, runtime: tokio::runtime::Handle) -> Result<Store, StoreError> {
        Self::open_tuned(config, runtime, Tuning::default())
    }

    /// [`Store::open`] with other thresholds for snapshots; for tests and benchmarks.
    #[doc(hidden)]
    pub fn open_tuned(
        config: StoreConfig,
        runtime: tokio::runtime::Handle,
        tuning: Tuning,
    ) -> Result<Store, StoreError> {
        Self::open_with(Environment::default(), config, runtime, tuning)
    }

    /// [`Store::open_tuned`] with the log on another disk; for tests of disk faults.
    #[doc(hidden)]
    pub fn open_on(
        config: StoreConfig,
        runtime: tokio::runtime::Handle,
        tuning: Tuning,
        disk: SharedDisk,
    ) -> Result<Store, StoreError> {
        let world = Environment {
            disk,
            ..Environment::default()
        };
        Self::open_with(world, config, runtime, tuning)
    }

    fn open_with(
        world: Environment,
        config: StoreConfig,
        runtime: tokio::runtime::Handle,
        tuning: Tuning,
    ) -> Result<Store, StoreError> {
        // A thread of its own: the caller may be inside a runtime, where blocking is refused.
        std::thread::scope(|scope| {
            let handle = runtime.clone();
            let opening =
                scope.spawn(move || handle.block_on(Self::open_in(world, config, tuning)));
            opening.join().unwrap_or_else(|_| Err(StoreError::Closed))
        })
    }

    /// [`Store::open`] in another world, on the runtime that is current; for the simulator.
    #[doc(hidden)]
    pub async fn open_in(
        environment: Environment,
        config: StoreConfig,
        tuning: Tuning,
    ) -> Result<Store, StoreError> {
        config.validate()?;
        std::fs::create_dir_all(&config.directory)?;
        let lock = DirectoryLock::take(&config.directory)?;
        format::check(&config.directory)?;
        if config.directory.join(RESTORING).exists() {
            return Err(StoreError::Backup {
                code: "PBX_RESTORE_UNFINISHED",
                text: "a restore was interrupted here; run it again with --replace".into(),
            });
        }
        open(environment, config, tuning, lock).await
    }

    /// Proposes a request; `done` runs after it was applied here or on the leader. Never blocks.
    ///
    /// A follower forwards to the leader. A request is held through an election for at most
    /// [`HOLD_MS`]. Requests of one process are applied in the order of submission.
    pub fn submit(&self, request: Request, done: Done) {
        self.node.proposer.submit(&request, done);
    }

    /// [`Store::submit`] for a caller that keeps the request.
    pub(crate) fn submit_borrowed(&self, request: &Request, done: Done) {
        self.node.proposer.submit(request, done);
    }

    /// Submits all requests and waits for all answers, in order.
    pub async fn execute(&self, requests: Vec<Request>) -> Vec<Result<Reply, StoreError>> {
        let waiting: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let (told, answer) = oneshot::channel();
                self.submit(request, Box::new(move |outcome| drop(told.send(outcome))));
                answer
            })
            .collect();
        let mut outcomes = Vec::with_capacity(waiting.len());
        for answer in waiting {
            outcomes.push(answer.await.unwrap_or(Err(StoreError::Closed)));
        }
        outcomes
    }

    /// Like [`Store::submit`] but fails at once when this node does not lead. It may wait for
    /// `patience`, 100 ms at most, for others to share its entry with; whatever was submitted
    /// here before it is committed before it or together with it.
    pub fn submit_as_leader(&self, request: Request, patience: Duration, done: Done) {
        self.node
            .proposer
            .submit_as_leader(&request, patience, done);
    }

    /// Reads this node's state, which may be stale.
    pub fn read(&self, command: &Command) -> Reply {
        if self.node.consensus.is_recovering() {
            return Reply::error("LOADING this node is re-syncing after damage to its disk");
        }
        self.node.machine.read(command)
    }

    /// Reads the leader's state under its lease.
    pub async fn read_linearizable(&self, command: Command) -> Result<Reply, StoreError> {
        self.read_confirmed(command, ReadMode::Lease).await
    }

    /// Reads the leader's state, and says how the leader makes sure that it still leads.
    pub async fn read_confirmed(
        &self,
        command: Command,
        mode: ReadMode,
    ) -> Result<Reply, StoreError> {
        let consensus = &self.node.consensus;
        let leadership = consensus.leadership();
        let traffic = self.node.proposer.traffic();
        let began = Instant::now();
        let deadline = began + Duration::from_millis(HOLD_MS);
        let mut held = false;
        loop {
            let now = *leadership.borrow();
            let reply = match now.leader {
                Some(leader) if leader == consensus.id => match mode {
                    ReadMode::Lease => consensus.read_as_leader(&command),
                    ReadMode::ReadIndex => consensus.read_index(&command).await,
                },
                Some(leader) => {
                    traffic.forwarded_reads.add(1);
                    consensus.read_remote(leader, &command, mode).await
                }
                None => None,
            };
            if let Some(reply) = reply {
                if held {
                    traffic.released(began.elapsed());
                }
                return Ok(reply);
            }
            if self.node.closed.load(Ordering::Acquire) {
                return Err(StoreError::Closed);
            }
            if Instant::now() >= deadline {
                let error = StoreError::Unavailable { held_ms: HOLD_MS };
                traffic.released(began.elapsed());
                traffic.failed(&error);
                return Err(error);
            }
            held = true;
            tokio::time::sleep(READ_RETRY).await;
        }
    }

    /// The members as this node knows them.
    pub fn members(&self) -> Vec<Member> {
        self.node.consensus.members()
    }

    /// Changes the members, here or on the leader; safe to repeat.
    pub async fn change_members(&self, change: MemberChange) -> Result<(), StoreError> {
        let changed = self.node.consensus.change_members(change).await;
        changed.map_err(StoreError::Member)
    }

    /// A handle that does not keep the node open.
    pub(crate) fn downgrade(&self) -> WeakStore {
        WeakStore {
            node: Arc::downgrade(&self.node),
        }
    }

    /// [`Store::read_linearizable`] when it can be answered here and now.
    pub(crate) fn read_now(&self, command: &Command) -> Option<Reply> {
        self.node.consensus.read_as_leader(command)
    }

    /// What needs a person.
    pub(crate) fn alarms(&self) -> Arc<Alarms> {
        self.node.consensus.alarms()
    }

    /// Who leads, as it changes.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.node.consensus.leadership()
    }

    /// Whether this node leads and has applied an entry of its own term.
    pub(crate) fn is_leading(&self) -> bool {
        self.node.consensus.is_leading()
    }

    /// Waits until somebody leads, at most so long.
    pub(crate) async fn await_leader(&self, longest: Duration) {
        let mut leadership = self.leadership();
        let led = leadership.wait_for(|now| now.leader.is_some());
        let _ = tokio::time::timeout(longest, led).await;
    }

    /// String keys with a prefix, in order, beginning behind `after`; at most `limit`.
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Bytes, Bytes)> {
        self.node
            .machine
            .state
            .read()
            .space
            .scan_prefix(prefix, after, limit)
    }

    /// Number of keys with a prefix.
    pub fn count_prefix(&self, prefix: &[u8]) -> usize {
        self.node.machine.state.read().space.count_prefix(prefix)
    }

    /// Reads this node's SQLite file.
    pub fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Map<String, Value>>, StoreError> {
        self.node.machine.database.query(sql, args)
    }

    /// A number that grows with every change of an SQL table: after the change can be read here
    /// and before it is acknowledged here, and when a snapshot replaces the table. Who reads the
    /// number and then the table has a copy that is good until the number grows. `None` when
    /// [`SQL_TABLES_FOLLOWED_MAX`](crate::limits::SQL_TABLES_FOLLOWED_MAX) others are followed.
    pub fn follow_table(&self, table: &str) -> Option<Arc<AtomicU64>> {
        self.node.machine.database.follow(table)
    }

    /// Watches string keys by prefix. The sink is first told the present leadership and every
    /// existing matching key, then every change in log order. A node serves at most
    /// [`WATCHES_MAX`] watches.
    pub fn watch(&self, prefixes: Vec<Bytes>, sink: Sink) {
        if !self.node.events.watch(prefixes, sink) {
            tracing::error!(
                limit = WATCHES_MAX,
                "a watch was refused, there are too many"
            );
        }
    }

    /// End of this node's leader lease in `CLOCK_BOOTTIME` nanoseconds, 0 when it has none.
    pub fn lease(&self) -> Arc<AtomicU64> {
        self.node.consensus.lease()
    }

    /// State of this node now.
    pub fn status(&self) -> StoreStatus {
        let mut status = self.node.consensus.status();
        let state = self.node.machine.state.read();
        status.keys = state.space.len() as u64;
        status.clock_ms = state.space.clock_ms();
        drop(state);
        status.resp_addresses = self
            .node
            .door
            .as_ref()
            .map(Door::addresses)
            .unwrap_or_default();
        status
    }

    /// Hands leadership to `to`, or to the most up-to-date voter.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<(), StoreError> {
        self.node.consensus.transfer(to).await
    }

    /// Begins a backup of what this node has applied, while it goes on serving. Blocks for some
    /// milliseconds; one at a time.
    pub fn backup(&self) -> Result<Backup, StoreError> {
        self.node.consensus.backup()
    }

    /// Takes a snapshot now and purges the log behind it.
    pub async fn snapshot(&self) -> Result<(), StoreError> {
        self.node.consensus.snapshot().await
    }

    /// Index of the last applied entry and a checksum of the state after it; for the simulator.
    #[doc(hidden)]
    pub fn state_digest(&self) -> Result<(u64, u64), StoreError> {
        let state = self.node.machine.state.read();
        let digest = state
            .digest()
            .map_err(|error| StoreError::Storage(error.to_string()))?;
        Ok((state.applied, digest))
    }

    /// Stops the node: listeners close, the log is flushed. Calling it twice does no harm.
    pub async fn shutdown(&self) {
        if !self.node.closed.swap(true, Ordering::AcqRel) {
            if let Some(door) = &self.node.door {
                door.close().await;
            }
            self.node.consensus.shutdown().await;
        }
    }
}

impl Drop for Node {
    /// A node whose last handle is gone stops like one that was shut down.
    fn drop(&mut self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            let consensus = self.consensus.clone();
            self.runtime
                .spawn(async move { consensus.shutdown().await });
        }
    }
}

async fn open(
    environment: Environment,
    config: StoreConfig,
    tuning: Tuning,
    lock: DirectoryLock,
) -> Result<Store, StoreError> {
    let database = healing::open_database(&config.directory)?;
    let snapshots = Snapshots::open(&config.directory.join("snapshots"))?;
    let machine = Arc::new(Machine::new(database));
    let pubsub = PubSub::default();
    let publisher = pubsub.clone();
    let publish = Box::new(move |messages: &[_]| publisher.publish(messages));
    let waiters = Waiters::default();
    let events = Events::start(
        machine.clone(),
        publish,
        waiters.clone(),
        &environment.workers,
    )?;
    let parts = Parts {
        machine: machine.clone(),
        snapshots,
        events: events.clone(),
        tuning,
        lock,
        environment,
    };
    // Before anything runs that would have to be stopped again.
    let door = match &config.resp {
        Some(resp) => Some(Door::bind(resp, (pubsub, waiters)).await?),
        None => None,
    };
    let consensus = Consensus::start(&config, parts).await?;
    let proposer = Proposer::start(consensus.clone(), new_origin());
    let node = Node {
        machine,
        events,
        consensus,
        proposer,
        door,
        closed: AtomicBool::new(false),
        runtime: tokio::runtime::Handle::current(),
    };
    let store = Store {
        node: Arc::new(node),
    };
    if let Some(door) = &store.node.door {
        door.serve(&store);
    }
    Ok(store)
}

/// A number no other process life has used: 64 random bits.
fn new_origin() -> u64 {
    randomness::bits().max(1)
}

/// Keeps a second process out of a node's directory.
pub(crate) struct DirectoryLock {
    _file: std::fs::File,
}

impl DirectoryLock {
    pub(crate) fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("lock");
        let file = std::fs::File::create(&path)?;
        file.try_lock().map_err(|error| {
            StoreError::Storage(format!("{} is in use: {error}", directory.display()))
        })?;
        Ok(Self { _file: file })
    }
}
