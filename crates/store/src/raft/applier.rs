//! The Raft library's state machine on top of [`crate::machine`].

use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;

use super::types::{LogId, Membership, Snapshot, SnapshotMeta, Types};
use crate::batch::Applied;
use crate::environment::workers::Workers;
use crate::error::StoreError;
use crate::events::Events;
use crate::keyspace::Effects;
use crate::limits::APPLY_CHUNK_ENTRIES;
use crate::machine::SharedMachine;
use crate::snapshot::{Frozen, SnapshotFile, Snapshots};

fn io_error(error: StoreError) -> io::Error {
    io::Error::other(error.to_string())
}

/// What the Raft library must find again beside the state.
#[derive(Debug, Clone, Default)]
struct Position {
    last: Option<LogId>,
    membership: Membership,
}

/// Applies committed entries and makes snapshots.
#[derive(Clone)]
pub struct Applier {
    machine: SharedMachine,
    snapshots: Snapshots,
    events: Events,
    workers: Workers,
    /// Changes only while the machine's state is locked for writing.
    position: Arc<Mutex<Position>>,
    current: Arc<Mutex<Option<(SnapshotMeta, SnapshotFile)>>>,
}

impl Applier {
    /// Restores the newest snapshot, if there is one.
    pub fn open(
        machine: SharedMachine,
        snapshots: Snapshots,
        events: Events,
        workers: Workers,
    ) -> Result<Applier, StoreError> {
        let newest = snapshots.newest()?;
        let applier = Applier {
            machine,
            snapshots,
            events,
            workers,
            position: Arc::default(),
            current: Arc::default(),
        };
        if let Some(snapshot) = newest {
            applier.restore(&snapshot)?;
        }
        Ok(applier)
    }

    /// Index of the newest snapshot, 0 without one.
    pub fn snapshot_index(&self) -> u64 {
        let current = self.current.lock();
        let last = current.as_ref().and_then(|(meta, _)| meta.last_log_id);
        last.map_or(0, |last| last.index)
    }

    /// When the newest snapshot was written, Unix milliseconds; 0 without one.
    pub fn snapshot_at_ms(&self) -> u64 {
        let current = self.current.lock();
        let file = current.as_ref().map(|(_, snapshot)| &snapshot.file);
        let written = file.and_then(|file| file.metadata().ok()?.modified().ok());
        let since = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// Replaces the state by a snapshot. SQL first: a crash between the two is repaired at the
    /// next start, because the file with the higher index wins.
    fn restore(&self, snapshot: &SnapshotFile) -> Result<SnapshotMeta, StoreError> {
        let loaded = self.snapshots.load(snapshot)?;
        let meta: SnapshotMeta = postcard::from_bytes(&loaded.head.raft)
            .map_err(|error| StoreError::Storage(format!("snapshot meta: {error}")))?;
        loaded.restore_sql(&self.machine.database)?;
        let mut state = self.machine.state.write();
        state.space = loaded.space;
        state.origins = loaded.head.origins;
        state.applied = loaded.head.index;
        *self.position.lock() = Position {
            last: meta.last_log_id,
            membership: meta.last_membership.clone(),
        };
        drop(state);
        *self.current.lock() = Some((meta.clone(), snapshot.clone()));
        Ok(meta)
    }

    /// Applies some entries under one lock and one SQL transaction, then answers them.
    fn apply_chunk(&self, chunk: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let mut effects = Effects::default();
        let mut answers = Vec::with_capacity(chunk.len());
        let started = Instant::now();
        let mut state = self.machine.state.write();
        let mut last = None;
        for (entry, responder) in chunk {
            let applied = match &entry.payload {
                EntryPayload::Normal(batch) => {
                    let database = &self.machine.database;
                    state.apply(entry.log_id.index, batch, database, &mut effects)
                }
                EntryPayload::Blank => Applied::default(),
                EntryPayload::Membership(membership) => {
                    let membership = Membership::new(Some(entry.log_id), membership.clone());
                    self.position.lock().membership = membership;
                    Applied::default()
                }
            };
            state.applied = entry.log_id.index;
            last = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, applied)));
        }
        self.machine.database.commit().map_err(io_error)?;
        if last.is_some() {
            self.position.lock().last = last;
        }
        let index = state.applied;
        drop(state);
        self.machine.timings.apply.since(started);
        self.events.ready(&effects.ready);
        self.events
            .applied(index, effects.changes, effects.messages);
        for (responder, applied) in answers {
            responder.send(applied);
        }
        Ok(())
    }

    fn freeze(&self) -> Result<(SnapshotMeta, Frozen), StoreError> {
        let state = self.machine.state.read();
        let position = self.position.lock().clone();
        let meta = SnapshotMeta {
            last_log_id: position.last,
            last_membership: position.membership,
        };
        let raft = postcard::to_stdvec(&meta)
            .map_err(|error| StoreError::Storage(format!("snapshot meta: {error}")))?;
        let frozen = Frozen {
            dump: state.space.dump(),
            origins: state.origins.clone(),
            index: position.last.map_or(0, |last| last.index),
            raft,
            sql_index: self.machine.database.applied(),
        };
        Ok((meta, frozen))
    }
}

impl RaftSnapshotBuilder<Types> for Applier {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let applier = self.clone();
        let work = move || {
            let started = Instant::now();
            let (meta, frozen) = applier.freeze()?;
            let stalled = started.elapsed();
            applier.machine.timings.freeze.record(stalled);
            let snapshot = applier
                .snapshots
                .write(&frozen, &applier.machine.database)?;
            applier.machine.timings.snapshot.since(started);
            tracing::info!(
                index = frozen.index,
                bytes = snapshot.bytes,
                stalled_us = stalled.as_micros(),
                took_ms = started.elapsed().as_millis(),
                "a snapshot was written"
            );
            *applier.current.lock() = Some((meta.clone(), snapshot.clone()));
            Ok(Snapshot { meta, snapshot })
        };
        self.workers.blocking(work).await?.map_err(io_error)
    }
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        let position = self.position.lock();
        Ok((position.last, position.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_CHUNK_ENTRIES);
        while let Some(chunk) = chunks.next().await {
            self.apply_chunk(chunk.into_iter().collect::<Result<_, _>>()?)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let applier = self.clone();
        let index = meta.last_log_id.map_or(0, |last| last.index);
        let work = move || {
            let started = Instant::now();
            let sqlite = snapshot.sqlite.as_deref();
            let snapshot = applier.snapshots.publish(&snapshot.path, sqlite, index)?;
            applier.restore(&snapshot)?;
            applier.machine.timings.install.since(started);
            Ok(snapshot.bytes)
        };
        let bytes = self.workers.blocking(work).await?.map_err(io_error)?;
        tracing::info!(index, bytes, "a snapshot was installed");
        self.events.reset();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let current = self.current.lock().clone();
        Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}
