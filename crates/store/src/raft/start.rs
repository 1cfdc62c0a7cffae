//! Starting consensus: files, links, the library, and the tasks around it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::{BasicNode, Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::alarms::Alarms;
use super::applier::Applier;
use super::candidacy::{Bar, Candidacy};
use super::leadership::{Leadership, LeadershipView, Observer};
use super::log_store::LogStore;
use super::network::{Links, Network};
use super::transfer::Source;
use super::transport::Lane;
use super::transport::link::{Link, Target};
use super::transport::tls::Security;
use super::types::Raft;
use super::{Consensus, Counters, server};
use crate::config::{StoreConfig, Timing};
use crate::disk::SharedDisk;
use crate::environment::Environment;
use crate::error::StoreError;
use crate::events::Events;
use crate::healing;
use crate::limits::{
    APPEND_ENTRIES_MAX, DISK_RESERVE_BYTES, ENTRIES_KEPT, SNAPSHOT_LOG_BYTES, SNAPSHOT_LOG_ENTRIES,
    SQL_WAL_BYTES, TICK_INTERVAL,
};
use crate::machine::SharedMachine;
use crate::snapshot::Snapshots;
use crate::store::DirectoryLock;
use crate::wal;

/// When snapshots are taken and how much log stays behind them.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Entries since the last snapshot.
    pub snapshot_entries: u64,
    /// Bytes of log since the last snapshot.
    pub snapshot_bytes: u64,
    /// Entries kept behind a snapshot.
    pub entries_kept: u64,
    /// Bytes that must be free for this node to lead.
    pub disk_reserve: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            snapshot_entries: SNAPSHOT_LOG_ENTRIES,
            snapshot_bytes: SNAPSHOT_LOG_BYTES,
            entries_kept: ENTRIES_KEPT,
            disk_reserve: DISK_RESERVE_BYTES,
        }
    }
}

/// How often SQLite's own log is looked at.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);

/// How long a node waits for one with a lower id to initialise the cluster, times its rank.
const INITIALISE_STEP: Duration = Duration::from_millis(400);

fn network_error(error: std::io::Error) -> StoreError {
    StoreError::Network(error.to_string())
}

/// Our timing in the library's terms. It counts twice: voters refuse other candidates for its
/// `election_timeout_max` after a heartbeat, and a candidacy begins between its minimum and its
/// maximum after *that*. Half of our maximum for both makes the sum end at our maximum.
fn library_config(timing: &Timing, tuning: &Tuning) -> Result<Config, StoreError> {
    let refusal = timing.vote_refusal_ms();
    let earliest = timing.election_min_ms.saturating_sub(refusal);
    // Never below half a refusal: it is also the time a vote request may take.
    let earliest = earliest.max(refusal / 2).max(timing.heartbeat_ms + 1);
    let config = Config {
        cluster_name: "raftpbx".into(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: earliest.min(refusal - 1),
        election_timeout_max: refusal,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        enable_elect: false,
        max_payload_entries: APPEND_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: tuning.entries_kept,
        replication_lag_threshold: u64::MAX / 2,
        // A node whose log was damaged comes back with less than it had. It does not vote until it
        // has caught up (`question`), and one that lost everything is not let in at all.
        allow_log_reversion: Some(true),
        install_snapshot_timeout: 60_000,
        ..Config::default()
    };
    config
        .validate()
        .map_err(|error| StoreError::Config(error.to_string()))
}

/// What a start needs beside the configuration.
pub struct Parts {
    pub machine: SharedMachine,
    pub snapshots: Snapshots,
    pub events: Events,
    pub tuning: Tuning,
    /// Held as long as the node may write.
    pub lock: DirectoryLock,
    pub environment: Environment,
}

impl Consensus {
    /// Opens the log and starts the node. Runs inside the runtime.
    pub async fn start(config: &StoreConfig, parts: Parts) -> Result<Arc<Consensus>, StoreError> {
        let Parts {
            machine,
            snapshots,
            events,
            tuning,
            lock,
            environment,
        } = parts;
        let security = Security::open(config.tls.as_ref())?;
        let listener = environment.network.listen(config.raft_listen);
        let listener = listener.map_err(network_error)?;
        let address = listener.address().map_err(network_error)?;
        let disk = environment.disk.clone();
        let applier = open_applier(config, &disk, &machine, || {
            let (snapshots, events) = (snapshots.clone(), events.clone());
            Applier::open(machine.clone(), snapshots, events, environment.workers)
        })?;
        let threads = environment.workers.may_block();
        let log = LogStore::open(disk, &config.directory.join("log"), threads)?;
        let candidacy = Candidacy::new(log.recovering().is_some());
        let quiet = Duration::from_millis(config.timing.vote_refusal_ms());
        let votes_from = Instant::now() + if log.is_used() { quiet } else { Duration::ZERO };
        let (stop, stopped) = watch::channel(false);
        let links = open_links(config, &security, &environment, &stopped);
        let library = Arc::new(library_config(&config.timing, &tuning)?);
        let source = Source::of(&machine, &snapshots, environment.workers);
        let network = Network::new(links.clone(), source);
        let raft = Raft::new(config.id, library, network, log.clone(), applier.clone())
            .await
            .map_err(|error| StoreError::Storage(error.to_string()))?;
        let view = Arc::new(LeadershipView::new(environment.clock.clone()));
        let (told, leadership) = watch::channel(Leadership::default());
        let consensus = Arc::new(Consensus {
            id: config.id,
            raft: raft.clone(),
            machine,
            snapshots,
            applier,
            log,
            links,
            peers: config.peers.clone(),
            view: view.clone(),
            leadership,
            holding: AtomicBool::new(false),
            candidacy,
            takes_entries: AtomicBool::new(true),
            alarms: Alarms::default(),
            votes_from,
            address,
            counters: Counters::default(),
            stop,
            backing_up: Arc::default(),
            environment,
            lock: Mutex::new(Some(lock)),
        });
        let observer = Observer {
            id: config.id,
            timing: config.timing,
            raft,
            view,
            told,
            events,
            stop: stopped.clone(),
        };
        tokio::spawn(observer.run());
        let serving = server::serve(listener, security, consensus.clone(), stopped.clone());
        tokio::spawn(serving);
        consensus.keep(tuning, &stopped);
        Ok(consensus)
    }

    /// Starts what goes on as long as the node does.
    fn keep(self: &Arc<Self>, tuning: Tuning, stop: &watch::Receiver<bool>) {
        if let Some(why) = self.log.recovering() {
            self.raise_recovering(why);
        }
        tokio::spawn(self.clone().begin(stop.clone()));
        tokio::spawn(self.clone().rejoin(stop.clone()));
        let reserve = tuning.disk_reserve;
        tokio::spawn(self.clone().watch_disk(reserve, stop.clone()));
        tokio::spawn(self.clone().keep_clock(stop.clone()));
        tokio::spawn(self.clone().keep_database(stop.clone()));
        tokio::spawn(self.clone().keep_snapshots(tuning, stop.clone()));
    }

    /// Lets this node stand for election as soon as it may, and initialises a new cluster.
    async fn begin(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let work = async {
            tokio::time::sleep_until(self.votes_from).await;
            self.candidacy.set(&self.raft, Bar::Starting, false);
            if self.candidacy.has(Bar::Recovering) {
                return;
            }
            let rank = self.peers.keys().filter(|id| **id < self.id).count();
            tokio::time::sleep(INITIALISE_STEP * u32::try_from(rank).unwrap_or(0)).await;
            match self.raft.is_initialized().await {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
            let node = |peer: &crate::config::PeerAddress| BasicNode::new(peer.raft.to_string());
            let voters: BTreeMap<_, _> = self
                .peers
                .iter()
                .map(|(id, peer)| (*id, node(peer)))
                .collect();
            if let Err(error) = self.raft.initialize(voters).await {
                tracing::debug!(%error, "the cluster was initialised by another node meanwhile");
            }
        };
        tokio::select! {
            biased;
            _ = stop.changed() => {}
            () = work => {}
        }
    }

    /// The leader proposes an empty entry when the time of a key is over and nobody else writes.
    async fn keep_clock(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(TICK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                _ = interval.tick() => {}
            }
            let due = || self.machine.state.read().space.next_deadline_ms();
            if self.is_leading() && due().is_some_and(|at| at <= self.environment.clock.wall_ms()) {
                self.tick().await;
            }
        }
    }

    /// Moves SQLite's own log into its file beside the applier, which would otherwise do it
    /// between two commits, flushes included.
    async fn keep_database(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(CHECKPOINT_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                _ = interval.tick() => {}
            }
            if self.machine.database.wal_bytes() < SQL_WAL_BYTES {
                continue;
            }
            let machine = self.machine.clone();
            let work = move || machine.database.checkpoint();
            match self.environment.workers.blocking(work).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "SQLite's log stays long"),
                Err(_) => return,
            }
        }
    }

    /// Takes a snapshot when enough was written since the last one.
    async fn keep_snapshots(self: Arc<Self>, tuning: Tuning, mut stop: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(Duration::from_millis(250));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut asked_at, mut bytes_then) = (self.applier.snapshot_index(), 0);
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                _ = interval.tick() => {}
            }
            let applied = self.machine.state.read().applied;
            let written = self.log.wal().stats().bytes.load(Ordering::Relaxed);
            let base = asked_at.max(self.applier.snapshot_index());
            let entries = applied.saturating_sub(base);
            let due = entries >= tuning.snapshot_entries
                || (entries > 0 && written - bytes_then >= tuning.snapshot_bytes);
            if due && self.snapshot().await.is_ok() {
                (asked_at, bytes_then) = (applied, written);
            }
        }
    }
}

/// Restores the newest snapshot. One that is damaged, or whose SQLite file is lost, is put aside,
/// and with it the log behind it, which is of no use without: the leader sends a whole state.
fn open_applier(
    config: &StoreConfig,
    disk: &SharedDisk,
    machine: &SharedMachine,
    open: impl Fn() -> Result<Applier, StoreError>,
) -> Result<Applier, StoreError> {
    open().or_else(|error| {
        let Some(why) = healing::put_snapshot_aside(&config.directory, machine.database.applied())?
        else {
            return Err(error);
        };
        wal::discard(disk.as_ref(), &config.directory.join("log"), &why)?;
        open()
    })
}

fn open_links(
    config: &StoreConfig,
    security: &Security,
    environment: &Environment,
    stop: &watch::Receiver<bool>,
) -> Links {
    let others = config.peers.iter().filter(|(id, _)| **id != config.id);
    let ends = others.flat_map(|(id, peer)| Lane::ALL.map(|lane| (*id, lane, peer.raft)));
    let links = ends.map(|(to, lane, address)| {
        let target = Target {
            from: config.id,
            to,
            address,
            security: security.clone(),
            network: environment.network.clone(),
        };
        ((to, lane), Link::start(target, stop.clone()))
    });
    Arc::new(links.collect())
}
