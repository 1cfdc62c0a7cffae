//! The write-ahead log: what this server has promised, on disk.
//!
//! ```text
//!  append/vote/... --> job queue --> writer thread: write, fdatasync, report
//!                                       |  rollover
//!                      preparer thread: next segment, zero-filled and synced
//! ```
//!
//! Segments are filled with zeros before use, so that a flush changes no file metadata. Many jobs
//! share one flush (group commit). Every record carries its length and a CRC-32C.
//!
//! Invariants:
//! 1. A job is reported as done only after its bytes and all bytes before them are on disk.
//! 2. After the first failed write nothing is ever reported as done again.
//! 3. A segment receives its first record only after everything before it was flushed, so only
//!    the last used segment can have a torn tail.
//! 4. Each segment begins with the vote, committed and purge records in force, so that older
//!    segments can be deleted when their entries are purged.
//!
//! The log knows indexes and bytes; what they mean is `raft`'s business.

mod record;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

pub use record::{Record, encode};
pub use recovery::Recovered;

use crate::histogram::Histogram;
use crate::limits::SEGMENT_BYTES;
use writer::Writer;

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
}

/// The log of one node.
pub struct Wal {
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stats: Arc<WalStats>,
}

impl Wal {
    /// Opens or creates the log in `directory` and reads everything that is in it.
    ///
    /// A torn tail is cut off. Damage anywhere else is an error: an acknowledged record is gone,
    /// and this node must not go on as if it had never been.
    pub fn open(directory: &Path) -> io::Result<(Wal, Recovered)> {
        Self::open_sized(directory, SEGMENT_BYTES)
    }

    fn open_sized(directory: &Path, segment_bytes: u64) -> io::Result<(Wal, Recovered)> {
        std::fs::create_dir_all(directory)?;
        let recovered = recovery::recover(directory, segment_bytes)?;
        let stats = Arc::new(WalStats::default());
        let writer = Writer::open(directory, segment_bytes, &recovered, stats.clone())?;
        let (jobs, queue): (_, Receiver<Job>) = sync_channel(JOBS_MAX);
        let thread = std::thread::Builder::new()
            .name("store-wal".into())
            .spawn(move || writer.run(&queue))?;
        let wal = Wal {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            stats,
        };
        Ok((wal, recovered))
    }

    /// Queues a job. Blocks while the queue is full.
    pub fn submit(&self, job: Job) -> io::Result<()> {
        let jobs = self.jobs.lock().clone();
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed");
        jobs.ok_or_else(closed)?.send(job).map_err(|_| closed())
    }

    /// Counters.
    pub fn stats(&self) -> &WalStats {
        &self.stats
    }

    /// Writes what is queued and stops the writer.
    pub fn close(&self) {
        drop(self.jobs.lock().take());
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
