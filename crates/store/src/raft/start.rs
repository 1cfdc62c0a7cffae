//! Starting consensus: files, links, the library, and the tasks around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use openraft::storage::RaftStateMachine as _;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::acks::Acks;
use super::alarms::Alarms;
use super::applier::Applier;
use super::candidacy::Candidacy;
use super::identity::Identity;
use super::leadership::{Leadership, LeadershipView, Observer};
use super::log_store::LogStore;
use super::network::Network;
use super::roster::Roster;
use super::standing::Standing;
use super::transfer::Source;
use super::transport::tls::Security;
use super::types::Raft;
use super::{Consensus, Counters, server};
use crate::config::{StoreConfig, Timing};
use crate::disk::SharedDisk;
use crate::environment::Environment;
use crate::environment::network::Listener;
use crate::error::StoreError;
use crate::events::Events;
use crate::healing;
use crate::limits::{
    APPEND_ENTRIES_MAX, CERTIFICATES_LOOK_INTERVAL, DISK_RESERVE_BYTES, ENTRIES_KEPT,
    LOG_BYTES_KEPT, LOG_BYTES_MAX, SEGMENT_BYTES, SNAPSHOT_LOG_BYTES, SNAPSHOT_LOG_ENTRIES,
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
    /// Bytes of entries kept behind a snapshot.
    pub bytes_kept: u64,
    /// Bytes of entries in memory with which no more are taken.
    pub log_bytes_max: u64,
    /// Bytes that must be free for this node to lead.
    pub disk_reserve: u64,
    /// Size of a log segment.
    pub segment_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            snapshot_entries: SNAPSHOT_LOG_ENTRIES,
            snapshot_bytes: SNAPSHOT_LOG_BYTES,
            entries_kept: ENTRIES_KEPT,
            bytes_kept: LOG_BYTES_KEPT,
            log_bytes_max: LOG_BYTES_MAX,
            disk_reserve: DISK_RESERVE_BYTES,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// How often SQLite's own log is looked at.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);

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

/// What was read and opened before the node takes part.
struct Opened {
    security: Security,
    listener: Box<dyn Listener>,
    address: SocketAddr,
    log: LogStore,
    applier: Applier,
    alarms: Arc<Alarms>,
    standing: Arc<Standing>,
    roster: Arc<Roster>,
    acks: Arc<Acks>,
    raft: Raft,
}

impl Opened {
    async fn open(
        config: &StoreConfig,
        parts: &Parts,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Opened, StoreError> {
        let environment = &parts.environment;
        let security = Security::open(config.tls.as_ref())?;
        let listener = environment.network.listen(config.raft_listen);
        let listener = listener.map_err(network_error)?;
        let address = listener.address().map_err(network_error)?;
        let disk = environment.disk.clone();
        let mut applier = open_applier(config, &disk, &parts.machine, || {
            let (snapshots, events) = (parts.snapshots.clone(), parts.events.clone());
            Applier::open(
                parts.machine.clone(),
                snapshots,
                events,
                environment.workers,
            )
        })?;
        let directory = config.directory.join("log");
        let mut log = LogStore::open(environment, &directory, parts.tuning.segment_bytes)?;
        let (applied, _) = applier.applied_state().await?;
        log.close_gap(applied).await?;
        // A log that was put aside because it was damaged is no lost directory.
        let used = log.is_used() || log.recovering().is_some();
        let identity = Identity::open(&config.directory, config.id, used)?;
        let alarms = Arc::<Alarms>::default();
        let standing = Arc::new(Standing::new(config.id, identity, alarms.clone()));
        if standing.cluster() != 0 && !used {
            standing.bar();
        }
        let configured = config.peers.iter().map(|(id, peer)| (*id, peer.raft));
        let roster = Arc::new(Roster::new(
            standing.clone(),
            security.clone(),
            environment.network.clone(),
            configured.collect(),
            stopped.clone(),
        ));
        let library = Arc::new(library_config(&config.timing, &parts.tuning)?);
        let source = Source::of(&parts.machine, &parts.snapshots, environment.workers);
        let acks = Arc::new(Acks::default());
        let network = Network::new(roster.clone(), source, acks.clone());
        let failed = |error: String| StoreError::Storage(error);
        let raft = Raft::new(config.id, library, network, log.clone(), applier.clone())
            .await
            .map_err(|error| failed(error.to_string()))?;
        // Before anybody is greeted: the log says who is who.
        let state = raft.with_raft_state(|state| state.membership_state.effective().clone());
        let members = state.await.map_err(|error| failed(error.to_string()))?;
        standing.learn(members.membership());
        roster.open();
        Ok(Opened {
            security,
            listener,
            address,
            log,
            applier,
            alarms,
            standing,
            roster,
            acks,
            raft,
        })
    }
}

impl Consensus {
    /// Opens the log and starts the node. Runs inside the runtime.
    pub async fn start(config: &StoreConfig, parts: Parts) -> Result<Arc<Consensus>, StoreError> {
        let (stop, stopped) = watch::channel(false);
        let opened = Opened::open(config, &parts, &stopped).await?;
        let (log, raft) = (opened.log, opened.raft);
        let candidacy = Candidacy::new(log.recovering().is_some());
        let quiet = Duration::from_millis(config.timing.vote_refusal_ms());
        let votes_from = Instant::now() + if log.is_used() { quiet } else { Duration::ZERO };
        let view = Arc::new(LeadershipView::new(parts.environment.clock.clone()));
        let (told, leadership) = watch::channel(Leadership::default());
        let observer = Observer {
            id: config.id,
            timing: config.timing,
            raft: raft.clone(),
            view: view.clone(),
            acks: opened.acks,
            alarms: opened.alarms.clone(),
            told,
            events: parts.events,
            stop: stopped.clone(),
        };
        let consensus = Arc::new(Consensus {
            id: config.id,
            raft,
            machine: parts.machine,
            snapshots: parts.snapshots,
            applier: opened.applier,
            log,
            log_bytes_max: parts.tuning.log_bytes_max,
            roster: opened.roster,
            standing: opened.standing,
            security: opened.security.clone(),
            peers: config.peers.clone(),
            join: config.join,
            timing: config.timing,
            changing: tokio::sync::Mutex::new(()),
            view,
            leadership,
            holding: AtomicBool::new(false),
            candidacy,
            takes_entries: AtomicBool::new(true),
            alarms: opened.alarms,
            votes_from,
            address: opened.address,
            counters: Counters::default(),
            stop,
            backing_up: Arc::default(),
            environment: parts.environment,
            lock: Mutex::new(Some(parts.lock)),
            serving: tokio::sync::Mutex::default(),
        });
        tokio::spawn(observer.run());
        let (listener, security) = (opened.listener, opened.security);
        let serving = server::serve(listener, security, consensus.clone(), stopped.clone());
        consensus.serving.lock().await.spawn(serving);
        consensus.spawn_tasks(parts.tuning, &stopped);
        Ok(consensus)
    }

    fn spawn_tasks(self: &Arc<Self>, tuning: Tuning, stopped: &watch::Receiver<bool>) {
        if let Some(why) = self.log.recovering() {
            self.raise_recovering(why);
        }
        tokio::spawn(self.clone().follow_members(stopped.clone()));
        tokio::spawn(self.clone().finish_changes(stopped.clone()));
        tokio::spawn(self.clone().begin(stopped.clone()));
        tokio::spawn(self.clone().rejoin(stopped.clone()));
        let reserve = tuning.disk_reserve;
        tokio::spawn(self.clone().watch_disk(reserve, stopped.clone()));
        tokio::spawn(self.clone().keep_certificates(stopped.clone()));
        tokio::spawn(self.clone().keep_clock(stopped.clone()));
        tokio::spawn(self.clone().keep_database(stopped.clone()));
        tokio::spawn(self.clone().keep_snapshots(tuning, stopped.clone()));
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

    /// Takes changed certificate files into use.
    async fn keep_certificates(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(CERTIFICATES_LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                _ = interval.tick() => {}
            }
            // Files that are being replaced do not fit together for a moment; it is logged once.
            let _ = self.reload_certificates().await;
        }
    }

    /// Reads the certificate files again; whether they had changed. New links use the new ones,
    /// and this node's own links are opened again without a gap.
    pub async fn reload_certificates(&self) -> Result<bool, StoreError> {
        let security = self.security.clone();
        let read = self.environment.workers.blocking(move || security.reload());
        let outcome = read.await.unwrap_or(Err(StoreError::Closed));
        match &outcome {
            Ok(true) => {
                tracing::info!("new certificates are in use");
                self.roster.renew();
                self.alarms.clear("PBX_STORE_CERTIFICATES");
            }
            Ok(false) => self.alarms.clear("PBX_STORE_CERTIFICATES"),
            Err(error) => self.alarms.raise(
                "PBX_STORE_CERTIFICATES",
                format!("changed certificate files are not used: {error}"),
                "write certificate, key and authority that fit together; the old ones stay in use",
            ),
        }
        outcome
    }

    /// Takes a snapshot when enough was written since the last one, and lets the log behind it go.
    async fn keep_snapshots(self: Arc<Self>, tuning: Tuning, mut stop: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(Duration::from_millis(250));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut asked_at = self.applier.snapshot_index();
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                _ = interval.tick() => {}
            }
            let applied = self.machine.state.read().applied;
            let taken = self.applier.snapshot_index();
            if let Some(upto) = self.log.surplus(taken, tuning.bytes_kept) {
                // Asked again at the next look when the library is just sending these entries.
                let _ = self.raft.trigger().purge_log(upto).await;
            }
            let base = asked_at.max(taken);
            let entries = applied.saturating_sub(base);
            let due = entries >= tuning.snapshot_entries
                || (entries > 0 && self.log.bytes_behind(base) >= tuning.snapshot_bytes);
            if due && self.snapshot().await.is_ok() {
                asked_at = applied;
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
