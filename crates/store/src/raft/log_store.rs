//! The Raft library's log on top of the write-ahead log.
//!
//! Entries since the last purge are also kept in memory (`present`): replication and apply read
//! them from there. Snapshots that `start` triggers bound them, and `LOG_BYTES_MAX` when those
//! do not keep up.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::Mutex;

use super::present::Present;
use super::types::{Entry, LogId, Types, Vote};
use crate::environment::Environment;
use crate::limits::APPEND_BYTES_MAX;
use crate::wal::{Carry, Flushed, Job, Note, Record, Recovered, Wal, encode};

/// The log of one node.
#[derive(Clone)]
pub struct LogStore {
    present: Arc<Mutex<Present>>,
    wal: Arc<Wal>,
    recovering: Option<Arc<str>>,
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(io::Error::other)
}

fn write<T: serde::Serialize>(value: &T) -> io::Result<Bytes> {
    postcard::to_stdvec(value)
        .map(Bytes::from)
        .map_err(io::Error::other)
}

impl LogStore {
    /// Opens the log and reads what is in it.
    ///
    /// Without threads a task of the present runtime does the writing.
    pub fn open(
        environment: &Environment,
        directory: &Path,
        segment_bytes: u64,
    ) -> io::Result<LogStore> {
        let disk = environment.disk.clone();
        if environment.workers.may_block() {
            let (wal, recovered) = Wal::open_sized(disk, directory, segment_bytes)?;
            return Self::new(wal, recovered);
        }
        let (wal, recovered, driver) =
            Wal::open_driven(disk, directory, segment_bytes, environment.clock.clone())?;
        tokio::spawn(driver.run());
        Self::new(wal, recovered)
    }

    fn new(wal: Wal, recovered: Recovered) -> io::Result<LogStore> {
        let in_log: Option<Vote> = recovered.vote.as_deref().map(read).transpose()?;
        let mut present = Present::default();
        present.vote = in_log;
        present.committed = recovered.committed.as_deref().map(read).transpose()?;
        for copy in &recovered.vote_copies.payloads {
            let copy: Vote = read(copy)?;
            if present.vote.is_none_or(|vote| vote < copy) {
                present.vote = Some(copy);
            }
        }
        if let Some((_, payload)) = &recovered.purged {
            present.purged = Some(read(payload)?);
        }
        for (_, payload) in &recovered.entries {
            present.push(read(payload)?);
        }
        tracing::info!(
            entries = present.len(),
            first = present.first(),
            torn_bytes = recovered.torn_bytes,
            "the log was read"
        );
        let vote = present.vote;
        let store = LogStore {
            present: Arc::new(Mutex::new(present)),
            wal: Arc::new(wal),
            recovering: recovered.recovering.map(Into::into),
        };
        if let Some(vote) = vote.filter(|vote| in_log.as_ref() != Some(vote)) {
            // The log forgot it; new segments would begin with the old one.
            store.wal.submit(carried(&Record::Vote(write(&vote)?))?)?;
        }
        Ok(store)
    }

    /// Lets the log begin behind what is applied, when entries before it are missing.
    ///
    /// Damage can take the record of a purge while the segments that it let go are gone: the log
    /// then says that it begins where it did before. A purge never goes beyond what is applied.
    pub async fn close_gap(&mut self, applied: Option<LogId>) -> io::Result<()> {
        let has_gap = self.present.lock().has_gap();
        let Some(applied) = applied.filter(|_| has_gap) else {
            return Ok(());
        };
        tracing::warn!(%applied, "the log begins behind what is applied: a purge was forgotten");
        self.purge(applied).await
    }

    /// Why this node may lack what it acknowledged before it was started.
    pub fn recovering(&self) -> Option<&str> {
        self.recovering.as_deref()
    }

    /// Whether this node has ever taken part.
    pub fn is_used(&self) -> bool {
        self.present.lock().vote.is_some()
    }

    /// Bytes of the entries since the last purge.
    pub fn bytes(&self) -> u64 {
        self.present.lock().bytes()
    }

    /// Bytes of the entries behind an index.
    pub fn bytes_behind(&self, index: u64) -> u64 {
        self.present.lock().bytes_behind(index)
    }

    /// The last entry that may go so that those from there up to `index` have at most `kept` bytes.
    pub fn surplus(&self, index: u64, kept: u64) -> Option<u64> {
        self.present.lock().surplus(index, kept)
    }

    /// The write-ahead log, for its counters and for closing it.
    pub fn wal(&self) -> &Arc<Wal> {
        &self.wal
    }
}

/// A job with one record that is repeated in new segments.
fn carried(record: &Record) -> io::Result<Job> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes)?;
    let carry = Carry {
        kind: record.kind(),
        bytes: bytes.clone(),
    };
    let purge_to = match record {
        Record::Purge { index, .. } => Some(*index),
        _ => None,
    };
    let note = Note {
        carry: vec![carry],
        purge_to,
        ..Note::default()
    };
    Ok(Job {
        bytes,
        note,
        done: None,
    })
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.present.lock().range(from, to, usize::MAX))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.present.lock().range(start, end, APPEND_BYTES_MAX))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.present.lock().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let present = self.present.lock();
        Ok(LogState {
            last_purged_log_id: present.purged,
            last_log_id: present.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut job = carried(&Record::Vote(write(vote)?))?;
        let known = self.present.lock().vote;
        if known.is_some_and(|known| known.leader_id == vote.leader_id) {
            // That a candidate has won, which a crash may take back: nobody can have been given
            // this vote but the node that has it already, and it stands again in a later term.
            job.note.keeps_votes = true;
            self.wal.submit(job)?;
        } else {
            let (told, flushed) = tokio::sync::oneshot::channel();
            job.done = Some(Box::new(move |outcome| {
                // The receiver is gone only when the node is shutting down.
                let _ = told.send(outcome);
            }));
            self.wal.submit(job)?;
            flushed.await.map_err(io::Error::other)??;
        }
        self.present.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Written with the next entries: a job of its own for each commit would double the work
        // of the writer, and an older value on disk only makes a restarted node wait for a leader
        // before it applies the rest.
        let mut present = self.present.lock();
        present.committed_unwritten |= present.committed != committed;
        present.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        // A crash can leave a commit record on disk whose entries were not flushed with it.
        let present = self.present.lock();
        Ok(present.committed.min(present.last()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut bytes = Vec::new();
        let mut note = Note::default();
        let mut new = Vec::new();
        for entry in entries {
            let index = entry.index();
            encode(
                &Record::Append {
                    index,
                    payload: write(&entry)?,
                },
                &mut bytes,
            )?;
            note.last_index = Some(index);
            new.push(entry);
        }
        {
            let mut present = self.present.lock();
            new.into_iter().for_each(|entry| present.push(entry));
            if std::mem::take(&mut present.committed_unwritten)
                && let Some(committed) = present.committed
            {
                let record = Record::Committed(write(&committed)?);
                let start = bytes.len();
                encode(&record, &mut bytes)?;
                let carried = bytes[start..].to_vec();
                note.carry.push(Carry {
                    kind: record.kind(),
                    bytes: carried,
                });
            }
        }
        let done: Flushed = Box::new(move |outcome| callback.io_completed(outcome));
        self.wal.submit(Job {
            bytes,
            note,
            done: Some(done),
        })
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        self.present.lock().truncate_from(from);
        let mut bytes = Vec::new();
        encode(&Record::Truncate { from }, &mut bytes)?;
        // Flushed with the entries that replace the truncated ones.
        self.wal.submit(Job {
            bytes,
            note: Note::default(),
            done: None,
        })
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        {
            let mut present = self.present.lock();
            present.purge_to(log_id.index);
            present.purged = Some(log_id);
        }
        let record = Record::Purge {
            index: log_id.index,
            payload: write(&log_id)?,
        };
        self.wal.submit(carried(&record)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{log_id, of_bytes};
    use super::*;
    use crate::limits::SEGMENT_BYTES;

    /// Twenty entries in small segments, those up to 12 purged, with segments before it gone.
    async fn purged(directory: &Path, environment: &Environment) -> LogId {
        let mut log = LogStore::open(environment, directory, 4096).expect("opened");
        for index in 0..20 {
            let appended = log.append([of_bytes(index, 700)], IOFlushed::noop()).await;
            appended.expect("taken");
            // Waits for its flush, so the entry is in a group of its own.
            let vote = Vote::new(index + 1, 1);
            log.save_vote(&vote).await.expect("saved");
        }
        let last = log_id(12);
        log.purge(last).await.expect("purged");
        // The segments go when the record is on disk.
        log.save_vote(&Vote::new(30, 1)).await.expect("saved");
        log.wal.close();
        last
    }

    #[tokio::test]
    async fn a_purge_that_damage_took_leaves_a_log_behind_what_is_applied() {
        let directory = tempfile::tempdir().expect("a directory");
        let environment = Environment::default();
        let last = purged(directory.path(), &environment).await;
        let purge = Record::Purge {
            index: last.index,
            payload: write(&last).expect("encodes"),
        };
        let mut wanted = Vec::new();
        encode(&purge, &mut wanted).expect("encodes");
        flip(directory.path(), &wanted);

        let mut log = LogStore::open(&environment, directory.path(), 4096).expect("opened");
        assert!(log.recovering().is_some(), "the damage was seen");
        let state = log.get_log_state().await.expect("readable");
        assert_eq!(state.last_purged_log_id, None, "the purge is forgotten");
        assert!(log.present.lock().first() > 0, "its segments are gone");
        log.close_gap(Some(last)).await.expect("closed");
        let state = log.get_log_state().await.expect("readable");
        assert_eq!(state.last_purged_log_id, Some(last));
        let rest = log.try_get_log_entries(13..20).await.expect("readable");
        assert_eq!(rest.len(), 7, "what follows is there");
    }

    /// Flips a bit of these bytes in the first segment that has them.
    fn flip(directory: &Path, wanted: &[u8]) {
        let mut segments: Vec<_> = std::fs::read_dir(directory)
            .expect("readable")
            .map(|file| file.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|it| it == "wal"))
            .collect();
        segments.sort();
        for path in &segments {
            let mut bytes = std::fs::read(path).expect("readable");
            let found = bytes.windows(wanted.len()).position(|it| it == wanted);
            if let Some(at) = found {
                bytes[at + wanted.len() - 1] ^= 1;
                return std::fs::write(path, bytes).expect("written");
            }
        }
        panic!("no segment has the record");
    }

    #[tokio::test]
    async fn a_vote_that_has_won_waits_for_no_flush_and_a_new_one_does() {
        let directory = tempfile::tempdir().expect("a directory");
        let votes = || std::fs::read(directory.path().join("votes")).expect("readable");
        let open = || {
            let environment = Environment::default();
            LogStore::open(&environment, directory.path(), SEGMENT_BYTES).expect("opened")
        };
        let mut log = open();
        log.save_vote(&Vote::new(1, 1)).await.expect("saved");
        let asked = votes();
        log.save_vote(&Vote::new_committed(1, 1))
            .await
            .expect("saved");
        log.wal.close();
        assert_eq!(votes(), asked, "its own file needs nothing new");
        drop(log);

        let mut log = open();
        let read = log.read_vote().await.expect("readable");
        assert_eq!(read, Some(Vote::new_committed(1, 1)));
        // Of a leader this node did not vote for: its answers depend on it.
        log.save_vote(&Vote::new_committed(2, 3))
            .await
            .expect("saved");
        assert_ne!(votes(), asked, "on disk before anybody is told");
    }
}
