//! Bounded bandwidth: whoever copies gigabytes leaves the disk to the log.
//!
//! A file written here goes to the disk piece by piece and leaves the page cache behind it, so
//! that the flush at its end has little to do: on one disk, a flush of hundreds of megabytes
//! would stand in front of the log's own flushes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::limits::{SNAPSHOT_BYTES_PER_SECOND, SNAPSHOT_WRITTEN_BYTES};

/// A shorter wait than this is saved up.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// Time that was not used cannot be saved up for longer than this.
const SAVED_MAX: Duration = Duration::from_millis(100);

/// See the module head.
#[derive(Debug)]
pub struct Pace {
    per_second: u64,
    /// When what was spent so far has taken its time.
    due: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self::of(SNAPSHOT_BYTES_PER_SECOND)
    }
}

impl Pace {
    /// So many bytes a second.
    pub fn of(per_second: u64) -> Self {
        Self {
            per_second: per_second.max(1),
            due: Instant::now(),
        }
    }

    /// Counts bytes and waits when they came too fast. Blocks the thread.
    pub fn spend(&mut self, bytes: u64) {
        let now = Instant::now();
        if let Some(floor) = now.checked_sub(SAVED_MAX) {
            self.due = self.due.max(floor);
        }
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.per_second);
        self.due += Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let ahead = self.due.saturating_duration_since(now);
        if ahead >= WAIT_MIN {
            std::thread::sleep(ahead);
        }
    }
}

/// A new file that is written at a [`Pace`].
pub struct PacedFile {
    file: File,
    pace: Pace,
    written: u64,
    /// Everything before is on its way to the disk.
    started: u64,
}

impl PacedFile {
    /// Writes to an empty file.
    pub fn new(file: File, pace: Pace) -> Self {
        Self {
            file,
            pace,
            written: 0,
            started: 0,
        }
    }

    /// Waits until everything is on the disk.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Starts the piece just written on its way and waits for the one before.
    fn push(&mut self) {
        let piece = SNAPSHOT_WRITTEN_BYTES;
        let start = libc::SYNC_FILE_RANGE_WRITE;
        let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE | start | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        self.sync_range(self.started, self.written - self.started, start);
        if let Some(before) = self.started.checked_sub(piece) {
            self.sync_range(before, piece, wait);
            let (from, length) = (offset(before), offset(piece));
            let fd = self.file.as_raw_fd();
            // SAFETY: the descriptor is open as long as `self.file`; no memory is involved.
            unsafe { libc::posix_fadvise(fd, from, length, libc::POSIX_FADV_DONTNEED) };
        }
        self.started = self.written;
    }

    /// A hint to the kernel: `finish` is what makes the file durable, so a refusal (not every
    /// file system has it) is no error.
    fn sync_range(&self, from: u64, length: u64, flags: libc::c_uint) {
        let fd = self.file.as_raw_fd();
        // SAFETY: the descriptor is open as long as `self.file`; no memory is involved.
        unsafe { libc::sync_file_range(fd, offset(from), offset(length), flags) };
    }
}

fn offset(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Write for PacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        self.pace.spend(written as u64);
        if self.written - self.started >= SNAPSHOT_WRITTEN_BYTES {
            self.push();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("paced");
        let file = File::create(&path).expect("created");
        let started = Instant::now();
        let mut paced = PacedFile::new(file, Pace::of(200 << 20));
        for _ in 0..40 {
            paced.write_all(&[7; 1 << 20]).expect("written");
        }
        paced.finish().expect("flushed");
        assert!(started.elapsed() >= Duration::from_millis(190));
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 40 << 20);
    }
}
