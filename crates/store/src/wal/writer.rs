//! The writer: the only code that writes records.
//!
//! [`Writer::serve`] writes one group of jobs and [`Writer::report`] tells their owners. A thread
//! calls both in [`Writer::run`]; a simulation calls them from a task.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::Duration;

use super::group::{self, GROUP_BYTES, Group};
use super::preparer::{Ahead, Order, Preparer};
use super::recovery::Recovered;
use super::{Carry, Flushed, Job, WalStats, record, segment, votes};
use crate::disk::{Disk, DiskFile, SharedDisk};
use crate::limits::FLUSH_BYTES_MAX;
use crate::mutations;

/// When nothing follows a flush for so long, an empty group proves that it was complete.
const PROOF_AFTER: Duration = Duration::from_millis(50);

/// What became of a group, and who wants to know.
pub struct Served {
    outcome: io::Result<()>,
    waiting: Vec<Flushed>,
}

pub struct Writer {
    disk: SharedDisk,
    directory: PathBuf,
    segment_bytes: u64,
    stats: Arc<WalStats>,
    file: Box<dyn DiskFile>,
    number: u64,
    nonce: u64,
    at: u64,
    /// Everything of the segment before this place is on disk.
    synced: u64,
    /// Of the last group.
    sequence: u64,
    /// Whether a group follows that proves everything written.
    proven: bool,
    /// The group that is gathered: room for its head, then records.
    buffer: Vec<u8>,
    /// Highest index appended to the segment in use.
    highest: u64,
    /// Older segments with the highest index in each, oldest first.
    older: VecDeque<(u64, u64)>,
    carry: Vec<Carry>,
    votes: Box<dyn DiskFile>,
    /// A vote that is in the group and not yet in its own file.
    new_vote: Option<Vec<u8>>,
    purged_to: u64,
    /// What a crash cannot take back of `purged_to`: the log on disk says so.
    purged_durably_to: u64,
    preparer: Preparer,
    threads: bool,
    failed: Option<String>,
}

/// How a writer is set up.
pub struct Setting {
    pub disk: SharedDisk,
    pub directory: PathBuf,
    pub segment_bytes: u64,
    pub stats: Arc<WalStats>,
    /// Whether threads may be used.
    pub threads: bool,
}

/// Writes what was read from the last segment once more and flushes it. Until then it may only be
/// in the page cache, and after a flush that failed in an earlier life no later one saves it.
fn write_again(disk: &dyn Disk, path: &Path, file: &dyn DiskFile, end: u64) -> io::Result<()> {
    let mut bytes = disk.read(path)?;
    bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    file.write_all_at(&bytes, 0)?;
    file.sync()
}

impl Writer {
    /// Continues behind the recovered records, or begins segment 1.
    pub fn open(setting: Setting, recovered: &Recovered) -> io::Result<Writer> {
        let Setting {
            disk,
            directory,
            segment_bytes,
            stats,
            threads,
        } = setting;
        let mut older: VecDeque<_> = recovered.segments.iter().copied().collect();
        let (number, highest, file, at, nonce) = match older.pop_back() {
            Some((number, highest)) => {
                let path = segment::path(&directory, number);
                let file = disk.open(&path)?;
                write_again(disk.as_ref(), &path, file.as_ref(), recovered.end)?;
                (number, highest, file, recovered.end, recovered.nonce)
            }
            None => {
                let file = segment::prepare(disk.as_ref(), &directory, segment_bytes)?;
                let head = segment::Head::new(1, disk.random()?);
                segment::adopt(disk.as_ref(), &directory, file.as_ref(), &head)?;
                (1, 0, file, head.bytes(), head.nonce)
            }
        };
        let votes = votes::open(disk.as_ref(), &directory)?;
        let order = Order {
            disk: disk.clone(),
            directory: directory.clone(),
            bytes: segment_bytes,
            stats: stats.clone(),
        };
        let preparer = if threads {
            Preparer::Thread(Ahead::start(order)?)
        } else {
            Preparer::Inline(order)
        };
        let at = group::start_behind(at);
        let mut writer = Writer {
            disk,
            directory,
            segment_bytes,
            stats,
            file,
            number,
            nonce,
            at,
            synced: at,
            sequence: recovered.sequence,
            proven: true,
            buffer: Vec::new(),
            highest,
            older,
            carry: recovered.carry.clone(),
            votes,
            new_vote: None,
            purged_to: recovered.purged.as_ref().map_or(0, |(index, _)| *index),
            purged_durably_to: 0,
            preparer,
            threads,
            failed: None,
        };
        writer.count_segments();
        if recovered.cut {
            // The group that was cut must not look torn again once more segments follow.
            writer.begin_group();
            writer.write(true)?;
            writer.proven = true;
        }
        Ok(writer)
    }

    /// Serves jobs until the queue is closed.
    pub fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let first = if self.proven {
                queue
                    .recv()
                    .map_err(|RecvError| RecvTimeoutError::Disconnected)
            } else {
                queue.recv_timeout(PROOF_AFTER)
            };
            match first {
                Ok(first) => {
                    let served = self.serve(first, queue);
                    self.report(served);
                }
                Err(RecvTimeoutError::Timeout) => self.prove(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.prove();
                    return;
                }
            }
        }
    }

    /// Writes a job and what waits behind it, with one flush.
    pub fn serve(&mut self, first: Job, queue: &Receiver<Job>) -> Served {
        let mut waiting = Vec::new();
        let mut outcome = self.take(first, &mut waiting);
        while outcome.is_ok() && self.buffer.len() < FLUSH_BYTES_MAX {
            match queue.try_recv() {
                Ok(job) => outcome = self.take(job, &mut waiting),
                Err(_) => break,
            }
        }
        let outcome = outcome.and_then(|()| self.write(!waiting.is_empty()));
        self.buffer.clear();
        Served { outcome, waiting }
    }

    /// Tells the owners of the jobs, then deletes what is not needed any more.
    pub fn report(&mut self, served: Served) {
        let failed = match served.outcome {
            Ok(()) => None,
            Err(error) => {
                self.fail(&error);
                self.failed.clone()
            }
        };
        for done in served.waiting {
            let outcome = failed
                .clone()
                .map_or(Ok(()), |text| Err(io::Error::other(text)));
            done(outcome);
        }
        self.delete_purged();
    }

    /// Writes an empty group, so that damage to what was written can be told from a torn write.
    pub fn prove(&mut self) {
        let room = self.at + GROUP_BYTES as u64 <= self.segment_bytes;
        if self.proven || self.failed.is_some() || !room {
            self.proven = true;
            return;
        }
        self.begin_group();
        if let Err(error) = self.write(true) {
            self.fail(&error);
        }
        self.proven = true;
    }

    fn fail(&mut self, error: &io::Error) {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        if self.failed.is_none() {
            tracing::error!(%error, "the log cannot be written, this node stops");
            self.failed = Some(error.to_string());
            *self.stats.failed.lock() = Some(error.to_string());
        }
    }

    /// Adds a job to the group; begins a segment first when it would not fit.
    fn take(&mut self, job: Job, waiting: &mut Vec<Flushed>) -> io::Result<()> {
        waiting.extend(job.done);
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.clone()));
        }
        let size = self.buffer.len().max(GROUP_BYTES) + job.bytes.len();
        let used = self.at > segment::HEAD_BYTES || !self.buffer.is_empty();
        if used && self.at + size as u64 > self.segment_bytes {
            self.write(true)?;
            self.roll_over()?;
        }
        if self.buffer.is_empty() {
            self.begin_group();
        }
        self.buffer.extend_from_slice(&job.bytes);
        for carry in job.note.carry {
            if carry.kind == record::VOTE && !job.note.keeps_votes {
                self.new_vote = Some(carry.bytes.clone());
            }
            self.carry.retain(|present| present.kind != carry.kind);
            self.carry.push(carry);
        }
        if let Some(index) = job.note.last_index {
            self.highest = self.highest.max(index);
        }
        if let Some(index) = job.note.purge_to {
            self.purged_to = self.purged_to.max(index);
        }
        Ok(())
    }

    fn begin_group(&mut self) {
        self.buffer.clear();
        self.buffer.resize(GROUP_BYTES, 0);
    }

    /// Writes the gathered group, if there is one, and flushes when asked to.
    fn write(&mut self, flush: bool) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.sequence += 1;
            let records = self.buffer.len() - GROUP_BYTES;
            let mut group = Group {
                sequence: self.sequence,
                nonce: self.nonce,
                at: self.at,
                synced: self.synced,
                bytes: u32::try_from(records).map_err(io::Error::other)?,
                empty_sectors: 0,
            };
            group.put(&mut self.buffer);
            group.empty_sectors = group::empty_sectors(&self.buffer, self.at);
            if group.empty_sectors > 0 {
                group.put(&mut self.buffer);
            }
            self.file.write_all_at(&self.buffer, self.at)?;
            self.at = group::start_behind(self.at + self.buffer.len() as u64);
            self.proven = false;
            let written = self.buffer.len() as u64;
            self.stats.bytes.fetch_add(written, Ordering::Relaxed);
            self.buffer.clear();
        }
        if flush {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stats.flush_begins();
        let flushed = if mutations::skips_flush() {
            Ok(())
        } else {
            self.file.sync()
        };
        if self.threads {
            let delay = self.disk.take_delay();
            if !delay.is_zero() {
                std::thread::sleep(delay);
            }
        }
        let vote = self.new_vote.take();
        let flushed = flushed.and_then(|()| match vote {
            Some(vote) => votes::write(self.votes.as_ref(), &vote),
            None => Ok(()),
        });
        self.stats.flush_ends();
        flushed?;
        self.synced = self.at;
        self.purged_durably_to = self.purged_to;
        Ok(())
    }

    /// Begins the next segment with the carried records. Everything before is flushed already.
    fn roll_over(&mut self) -> io::Result<()> {
        let file = self.preparer.take()?;
        let head = segment::Head::new(self.number + 1, self.disk.random()?);
        segment::adopt(self.disk.as_ref(), &self.directory, file.as_ref(), &head)?;
        self.preparer.order();
        self.older.push_back((self.number, self.highest));
        self.number += 1;
        self.nonce = head.nonce;
        self.file = file;
        self.at = head.bytes();
        self.synced = self.at;
        self.count_segments();
        self.begin_group();
        for carry in &self.carry {
            self.buffer.extend_from_slice(&carry.bytes);
        }
        Ok(())
    }

    fn count_segments(&self) {
        let count = self.older.len() as u64 + 1;
        self.stats.segments.store(count, Ordering::Relaxed);
    }

    /// Deletes the oldest segments while all their entries are purged. Only when the purge itself
    /// was flushed: after a crash, a log that lacks entries without saying so is of no use.
    fn delete_purged(&mut self) {
        let mut deleted = false;
        while let Some((number, highest)) = self.older.front().copied() {
            if self.failed.is_some() || highest > self.purged_durably_to {
                break;
            }
            let path = segment::path(&self.directory, number);
            if let Err(error) = self.disk.remove(&path) {
                tracing::warn!(%error, path = %path.display(), "a purged segment stays");
                break;
            }
            self.older.pop_front();
            deleted = true;
        }
        if deleted {
            self.count_segments();
            if let Err(error) = self.disk.sync_directory(&self.directory) {
                tracing::warn!(%error, "deleted segments may come back after a power cut");
            }
        }
    }
}
