//! The disk as the log and the files beside it see it.
//!
//! - `real`: the operating system.
//! - `simulated`: in memory, with a seed and faults: power loss, errors, a full disk, flipped bits.
//!
//! Owner: whoever opens a file; the trait keeps no state. Invariant: nothing counts as durable
//! before [`DiskFile::sync`] (content) or [`Disk::sync_directory`] (names) has returned `Ok`.

mod real;
mod simulated;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use real::RealDisk;
pub use simulated::{SECTOR_BYTES, SimulatedDisk};

/// Written at once while a file is filled.
const ZEROS: usize = 1 << 20;

/// A disk in the hands of several owners.
pub type SharedDisk = Arc<dyn Disk>;

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all bytes at an offset.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Fills the buffer from an offset; an error when the file is too short.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;

    /// Makes everything that was written durable. After an error nothing may be assumed about
    /// what was written, and trying again proves nothing.
    fn sync(&self) -> io::Result<()>;
}

/// Files and directories. Paths are used as they are given.
pub trait Disk: Send + Sync {
    /// Creates a directory and its parents, unless they exist.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Names of the files in a directory, sorted.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Whether a file of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Creates an empty file; an existing one is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Gives a file another name; a file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Bytes that can still be written by this process.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;

    /// A number that nobody else has.
    fn random(&self) -> io::Result<u64>;

    /// Virtual time that finished calls should have taken; zero on a real disk. The driver of a
    /// simulation waits so long before it reports what was written.
    fn take_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// Creates a durable file of zeros. Later writes inside it change no metadata.
    fn create_filled(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = self.create(path)?;
        let zeros = vec![0; ZEROS.min(usize::try_from(bytes).unwrap_or(ZEROS))];
        let mut at = 0;
        while at < bytes {
            let piece = usize::try_from(bytes - at)
                .unwrap_or(ZEROS)
                .min(zeros.len());
            file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        file.sync()?;
        Ok(file)
    }

    /// Puts content under a name so that a crash leaves the old or the new one.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = Path::new(&partial);
        let file = self.create(partial)?;
        file.write_all_at(content, 0)?;
        file.sync()?;
        self.rename(partial, path)?;
        self.sync_directory(path.parent().unwrap_or(Path::new(".")))
    }
}

/// The operating system's disk.
pub fn real() -> SharedDisk {
    Arc::new(RealDisk)
}

/// Whether an error says that the disk is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
