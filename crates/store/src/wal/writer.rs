//! The writer thread: the only code that writes records.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::recovery::Recovered;
use super::{Carry, Flushed, Job, WalStats, segment};
use crate::limits::FLUSH_BYTES_MAX;
use crate::mutations;

pub struct Writer {
    directory: PathBuf,
    segment_bytes: u64,
    stats: Arc<WalStats>,
    file: File,
    number: u64,
    at: u64,
    /// Highest index appended to the segment in use.
    highest: u64,
    /// Older segments with the highest index in each, oldest first.
    older: VecDeque<(u64, u64)>,
    carry: Vec<Carry>,
    purged_to: u64,
    preparer: Preparer,
    failed: Option<String>,
}

impl Writer {
    /// Continues behind the recovered records, or begins segment 1.
    pub fn open(
        directory: &Path,
        segment_bytes: u64,
        recovered: &Recovered,
        stats: Arc<WalStats>,
    ) -> io::Result<Writer> {
        let mut older: VecDeque<_> = recovered.segments.iter().copied().collect();
        let (number, highest, file, at) = match older.pop_back() {
            Some((number, highest)) => {
                let path = segment::path(directory, number);
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                (number, highest, file, recovered.end)
            }
            None => {
                let file = segment::prepare(directory, segment_bytes)?;
                segment::adopt(directory, &file, 1)?;
                (1, 0, file, segment::HEAD_BYTES)
            }
        };
        let preparer = Preparer::start(directory, segment_bytes)?;
        stats
            .segments
            .store(older.len() as u64 + 1, Ordering::Relaxed);
        Ok(Writer {
            directory: directory.to_owned(),
            segment_bytes,
            stats,
            file,
            number,
            at,
            highest,
            older,
            carry: recovered.carry.clone(),
            purged_to: recovered.purged.as_ref().map_or(0, |(index, _)| *index),
            preparer,
            failed: None,
        })
    }

    /// Serves jobs until the queue is closed.
    pub fn run(mut self, queue: &Receiver<Job>) {
        let mut buffer = Vec::new();
        while let Ok(first) = queue.recv() {
            let mut waiting = Vec::new();
            let mut outcome = self.take(first, &mut buffer, &mut waiting);
            while outcome.is_ok() && buffer.len() < FLUSH_BYTES_MAX {
                match queue.try_recv() {
                    Ok(job) => outcome = self.take(job, &mut buffer, &mut waiting),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            let outcome = outcome.and_then(|()| self.write(&mut buffer, !waiting.is_empty()));
            buffer.clear();
            self.report(outcome, waiting);
            self.delete_purged();
        }
    }

    /// Adds a job to the batch; rolls over first when it would not fit into the segment.
    fn take(
        &mut self,
        job: Job,
        buffer: &mut Vec<u8>,
        waiting: &mut Vec<Flushed>,
    ) -> io::Result<()> {
        waiting.extend(job.done);
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.clone()));
        }
        let size = buffer.len() + job.bytes.len();
        let used = self.at > segment::HEAD_BYTES || !buffer.is_empty();
        if used && self.at + size as u64 > self.segment_bytes {
            self.write(buffer, true)?;
            self.roll_over(buffer)?;
        }
        buffer.extend_from_slice(&job.bytes);
        for carry in job.note.carry {
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

    fn write(&mut self, buffer: &mut Vec<u8>, flush: bool) -> io::Result<()> {
        self.file.write_all_at(buffer, self.at)?;
        self.at += buffer.len() as u64;
        self.stats
            .bytes
            .fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.clear();
        if flush {
            let started = Instant::now();
            if !mutations::skips_flush() {
                self.file.sync_data()?;
            }
            self.stats.flush.since(started);
        }
        Ok(())
    }

    /// Begins the next segment with the carried records. Everything before is flushed already.
    fn roll_over(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let file = self.preparer.take()?;
        segment::adopt(&self.directory, &file, self.number + 1)?;
        self.preparer.order();
        self.older.push_back((self.number, self.highest));
        self.number += 1;
        self.file = file;
        self.at = segment::HEAD_BYTES;
        self.stats
            .segments
            .store(self.older.len() as u64 + 1, Ordering::Relaxed);
        for carry in &self.carry {
            buffer.extend_from_slice(&carry.bytes);
        }
        Ok(())
    }

    fn report(&mut self, outcome: io::Result<()>, waiting: Vec<Flushed>) {
        let failed = match outcome {
            Ok(()) => None,
            Err(error) => {
                self.stats.failures.fetch_add(1, Ordering::Relaxed);
                if self.failed.is_none() {
                    tracing::error!(%error, "the log cannot be written, this node stops");
                    self.failed = Some(error.to_string());
                }
                self.failed.clone()
            }
        };
        for done in waiting {
            done(
                failed
                    .as_ref()
                    .map_or(Ok(()), |text| Err(io::Error::other(text.clone()))),
            );
        }
    }

    /// Deletes the oldest segments while all their entries are purged.
    fn delete_purged(&mut self) {
        let mut deleted = false;
        while let Some((number, highest)) = self.older.front().copied() {
            if self.failed.is_some() || highest > self.purged_to {
                break;
            }
            let path = segment::path(&self.directory, number);
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "a purged segment stays");
                break;
            }
            self.older.pop_front();
            deleted = true;
        }
        if deleted {
            self.stats
                .segments
                .store(self.older.len() as u64 + 1, Ordering::Relaxed);
            if let Err(error) = segment::sync_directory(&self.directory) {
                tracing::warn!(%error, "deleted segments may come back after a power cut");
            }
        }
    }
}

/// The thread that keeps one filled segment ready, so that rollover costs a rename.
struct Preparer {
    orders: Option<SyncSender<()>>,
    prepared: Receiver<io::Result<File>>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    fn start(directory: &Path, bytes: u64) -> io::Result<Preparer> {
        let (orders, queue) = sync_channel::<()>(2);
        let (ready, prepared) = sync_channel(1);
        let directory = directory.to_owned();
        let name = "store-wal-prepare".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            while queue.recv().is_ok() {
                if ready.send(segment::prepare(&directory, bytes)).is_err() {
                    break;
                }
            }
        })?;
        let preparer = Preparer {
            orders: Some(orders),
            prepared,
            thread: Some(thread),
        };
        preparer.order();
        Ok(preparer)
    }

    /// Asks for the next segment. A full queue means that it was ordered already.
    fn order(&self) {
        if let Some(orders) = &self.orders {
            let _ = orders.try_send(());
        }
    }

    fn take(&self) -> io::Result<File> {
        let prepared = self.prepared.recv();
        prepared.map_err(|_| io::Error::other("the segment preparer has ended"))?
    }
}

impl Drop for Preparer {
    /// Waits for the thread: another log may be opened in this directory next.
    fn drop(&mut self) {
        drop(self.orders.take());
        while self.prepared.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_failed_write_is_reported_to_everyone_who_waits_and_for_ever() {
        let directory = tempfile::tempdir().expect("a directory");
        let stats = Arc::new(WalStats::default());
        let recovered = Recovered::default();
        let mut writer = Writer::open(directory.path(), 1 << 16, &recovered, stats.clone())
            .expect("a new log opens");
        // A file that cannot be written stands for a broken disk.
        writer.file = File::open(segment::path(directory.path(), 1)).expect("opened for reading");
        let (jobs, queue) = sync_channel(8);
        let refused = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let refused = refused.clone();
            let done: Flushed = Box::new(move |outcome| {
                refused.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed);
            });
            let job = Job {
                bytes: vec![1; 100],
                note: super::super::Note::default(),
                done: Some(done),
            };
            jobs.send(job).expect("the queue has room");
        }
        drop(jobs);
        writer.run(&queue);
        assert_eq!(refused.load(Ordering::Relaxed), 3);
        assert!(stats.failures.load(Ordering::Relaxed) > 0);
    }
}
