//! The write-ahead log: what this server has promised, on disk.
//!
//! ```text
//!  append/vote/... --> job queue --> writer thread: write, fdatasync, report
//!                                       |  rollover
//!                      preparer thread: next segment, zero-filled and synced
//! ```
//!
//! Segments are filled with zeros before use, so that a flush changes no file metadata. Many jobs
//! share one flush (group commit). Every record carries its length and a CRC-32C; every flush
//! begins with a head that proves the flushes before it (`group`).
//!
//! Invariants:
//! 1. A job is reported as done only after its bytes and all bytes before them are on disk.
//! 2. After the first failed write nothing is ever reported as done again, and no flush is tried
//!    again: what a failed flush left behind may look clean and be lost.
//! 3. A segment receives its first record only after everything before it was flushed, so only
//!    the last used segment can have a torn tail.
//! 4. Each segment begins with the vote, committed and purge records in force, so that older
//!    segments can be deleted when their entries are purged.
//! 5. A vote is also in a file of its own, twice, before it is reported (`votes`), unless the job
//!    says that the one there will do.
//!
//! The log knows indexes and bytes; what they mean is `raft`'s business. Why it is made like this:
//! `docs/internals/store-log.md`.

mod damage;
mod driver;
mod fuzzing;
mod group;
mod preparer;
mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod votes;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use damage::keep_file;
pub use driver::Driver;
pub use fuzzing::fuzz_recovery;
pub use record::{Record, encode};
pub use recovery::Recovered;

use crate::clock::Clock;
use crate::disk::{Disk, SharedDisk};
use crate::histogram::Histogram;
use crate::limits::SEGMENT_BYTES;
use writer::{Setting, Writer};

/// Jobs waiting for the writer; a full queue holds the Raft core back.
const JOBS_MAX: usize = 1_024;

/// Called with the outcome of a flush.
pub type Flushed = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Bytes to write and whom to tell.
pub struct Job {
    /// Encoded records, from [`encode`].
    pub bytes: Vec<u8>,
    /// What the records mean for the bookkeeping of segments.
    pub note: Note,
    /// Told after the flush; a job without it does not ask for a flush of its own.
    pub done: Option<Flushed>,
}

/// What the writer has to know about the records of a job.
#[derive(Debug, Clone, Default)]
pub struct Note {
    /// Highest index appended.
    pub last_index: Option<u64>,
    /// Records to repeat at the beginning of each new segment.
    pub carry: Vec<Carry>,
    /// Entries up to this index are not needed any more.
    pub purge_to: Option<u64>,
    /// The vote among the records adds nothing that its own file would need.
    pub keeps_votes: bool,
}

/// A record that must outlive its segment; a later one of the same kind replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carry {
    /// Kind of the record.
    pub kind: u8,
    /// The record, encoded.
    pub bytes: Vec<u8>,
}

/// Counters for metrics.
#[derive(Debug, Default)]
pub struct WalStats {
    /// How long flushes to disk took.
    pub flush: Histogram,
    /// Bytes of records written.
    pub bytes: AtomicU64,
    /// Segments on disk.
    pub segments: AtomicU64,
    /// Failed writes.
    pub failures: AtomicU64,
    /// The first failure; the log is dead since.
    pub failed: Mutex<Option<String>>,
    /// Whether there was no room for the next segment.
    pub full: AtomicBool,
    /// When the flush began that is going on, `CLOCK_BOOTTIME` ns; 0 when there is none.
    pub flushing_since: AtomicU64,
    /// Nanoseconds of the longest flush since it was last asked for.
    pub flush_ns_max: AtomicU64,
    clock: Clock,
}

impl WalStats {
    fn flush_begins(&self) {
        self.flushing_since
            .store(self.clock.boot_ns(), Ordering::Release);
    }

    fn flush_ends(&self) {
        let since = self.flushing_since.swap(0, Ordering::AcqRel);
        let spent = self.clock.boot_ns().saturating_sub(since);
        self.flush_took(Duration::from_nanos(spent));
    }

    fn flush_took(&self, spent: Duration) {
        let ns = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.flush_ns_max.fetch_max(ns, Ordering::Relaxed);
        self.flush.record(spent);
    }

    /// The longest flush that ended since the last call, nanoseconds; 0 when none did.
    pub fn take_longest_flush_ns(&self) -> u64 {
        self.flush_ns_max.swap(0, Ordering::Relaxed)
    }

    /// For how long the flush goes on that has not ended, nanoseconds; 0 when there is none.
    pub fn flushing_ns(&self) -> u64 {
        match self.flushing_since.load(Ordering::Acquire) {
            0 => 0,
            since => self.clock.boot_ns().saturating_sub(since),
        }
    }
}

/// Puts the whole log aside, because the snapshot it continues is lost: the node begins with an
/// empty log, keeps its vote, and recovers. A log that goes back to the first entry stays.
pub fn discard(disk: &dyn Disk, directory: &Path, why: &str) -> io::Result<()> {
    let recovered = recovery::recover(disk, directory, SEGMENT_BYTES)?;
    let first = recovered.entries.front().map_or(0, |(index, _)| *index);
    if recovered.purged.is_none() && first <= 1 {
        return Ok(());
    }
    recovery::check_vote(&recovered)?;
    damage::write_mark(disk, directory, why)?;
    for number in segment::list(disk, directory)? {
        damage::keep_file(disk, directory, &segment::path(directory, number))?;
    }
    Ok(())
}

/// The log of one node.
pub struct Wal {
    disk: SharedDisk,
    directory: PathBuf,
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Set when a task drives the writer.
    wake: Option<Arc<Notify>>,
    stats: Arc<WalStats>,
}

impl Wal {
    /// Opens or creates the log in `directory` and reads everything that is in it.
    ///
    /// A torn tail is cut off. Damage is put aside; what is left may lack entries that this node
    /// acknowledged, which [`Recovered::recovering`] says.
    ///
    /// # Errors
    /// A file that cannot be read or written, a format of a later version, a vote that is lost.
    pub fn open_sized(
        disk: SharedDisk,
        directory: &Path,
        segment_bytes: u64,
    ) -> io::Result<(Wal, Recovered)> {
        let (mut wal, recovered, writer, queue) =
            Self::open_parts(disk, directory, segment_bytes, None)?;
        let thread = std::thread::Builder::new()
            .name("store-wal".into())
            .spawn(move || writer.run(&queue))?;
        wal.thread = Mutex::new(Some(thread));
        Ok((wal, recovered))
    }

    /// [`Wal::open_sized`] without threads: a task of the caller has to run the [`Driver`].
    /// Flushes are measured with `clock`.
    pub fn open_driven(
        disk: SharedDisk,
        directory: &Path,
        segment_bytes: u64,
        clock: Clock,
    ) -> io::Result<(Wal, Recovered, Driver)> {
        let (mut wal, recovered, writer, queue) =
            Self::open_parts(disk.clone(), directory, segment_bytes, Some(clock))?;
        let wake = Arc::new(Notify::new());
        wal.wake = Some(wake.clone());
        let driver = Driver::new(disk, writer, queue, wake, wal.stats.clone());
        Ok((wal, recovered, driver))
    }

    fn open_parts(
        disk: SharedDisk,
        directory: &Path,
        segment_bytes: u64,
        driven: Option<Clock>,
    ) -> io::Result<(Wal, Recovered, Writer, Receiver<Job>)> {
        disk.create_directory(directory)?;
        let recovered = recovery::recover(disk.as_ref(), directory, segment_bytes)?;
        let threads = driven.is_none();
        let stats = Arc::new(WalStats {
            clock: driven.unwrap_or_default(),
            ..WalStats::default()
        });
        let setting = Setting {
            disk: disk.clone(),
            directory: directory.to_owned(),
            segment_bytes,
            stats: stats.clone(),
            threads,
        };
        let writer = Writer::open(setting, &recovered)?;
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let wal = Wal {
            disk,
            directory: directory.to_owned(),
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(None),
            wake: None,
            stats,
        };
        Ok((wal, recovered, writer, queue))
    }

    /// Bytes that can still be written to the disk of the log.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.directory)
    }

    /// The node has everything again that it may have acknowledged.
    pub fn recovered(&self) -> io::Result<()> {
        damage::remove_mark(self.disk.as_ref(), &self.directory)
    }

    /// Queues a job. Blocks while the queue is full; without threads it is refused then.
    pub fn submit(&self, job: Job) -> io::Result<()> {
        let jobs = self.jobs.lock().clone();
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed");
        let jobs = jobs.ok_or_else(closed)?;
        let Some(wake) = &self.wake else {
            return jobs.send(job).map_err(|_| closed());
        };
        let sent = jobs.try_send(job);
        wake.notify_one();
        sent.map_err(|error| match error {
            TrySendError::Full(_) => io::Error::other("too many jobs wait for the log"),
            TrySendError::Disconnected(_) => closed(),
        })
    }

    /// Counters.
    pub fn stats(&self) -> &WalStats {
        &self.stats
    }

    /// Writes what is queued and stops the writer.
    pub fn close(&self) {
        drop(self.jobs.lock().take());
        if let Some(wake) = &self.wake {
            wake.notify_one();
        }
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            self.stats.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}
