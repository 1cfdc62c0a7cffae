//! Snapshots: the state machine as one file.
//!
//! ```text
//!  magic | head length u32 | head | (record length u32 | record)* | SQLite file | crc32c u32
//! ```
//!
//! The head says how many records and SQLite bytes follow; the checksum covers everything before
//! it. A file is written under another name, flushed, and renamed: a snapshot with its final name
//! is whole. The newest one is kept.
//!
//! The SQLite part may be ahead of the keyspace part (it knows its own index); replaying the log
//! behind the snapshot skips what it has.

mod file;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::keyspace::{Dump, Keyspace};
use crate::origins::Origins;
use crate::sql::{self, Database};

pub use file::verify;

/// Everything of a snapshot but the keys and the SQLite file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Head {
    /// Index of the last entry in the snapshot.
    pub index: u64,
    /// What the Raft library wants back, in its own encoding.
    pub raft: Vec<u8>,
    /// The logical clock.
    pub clock_ms: u64,
    /// Number of expired keys.
    pub expired: u64,
    /// Number of records.
    pub records: u64,
    /// Bytes of the SQLite file.
    pub sql_bytes: u64,
    /// Duplicate detection.
    pub origins: Origins,
}

/// A snapshot file that is open: it can be read to the end even after its name is gone.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// The file.
    pub file: Arc<File>,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

impl SnapshotFile {
    /// Opens a file that has been checked or will be.
    pub fn open(path: &Path) -> Result<SnapshotFile, StoreError> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(SnapshotFile {
            file: Arc::new(file),
            path: path.to_owned(),
            bytes,
        })
    }
}

/// The state as of one entry, ready to be written.
pub struct Frozen {
    /// Keys.
    pub dump: Dump,
    /// Duplicate detection.
    pub origins: Origins,
    /// Index of the last entry.
    pub index: u64,
    /// What the Raft library wants back.
    pub raft: Vec<u8>,
}

/// Where snapshots live.
#[derive(Debug, Clone)]
pub struct Snapshots {
    directory: PathBuf,
}

impl Snapshots {
    /// Prepares the directory and removes what a crash left half done.
    pub fn open(directory: &Path) -> Result<Snapshots, StoreError> {
        std::fs::create_dir_all(directory)?;
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension != "snapshot")
            {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Snapshots {
            directory: directory.to_owned(),
        })
    }

    /// Writes a snapshot and gives it its final name; older ones are removed.
    pub fn write(&self, frozen: &Frozen, database: &Database) -> Result<SnapshotFile, StoreError> {
        let copy = self.scratch("sqlite");
        database.copy_to(&copy)?;
        let partial = self.scratch("partial");
        let written = file::write(&partial, frozen, &copy);
        std::fs::remove_file(&copy)?;
        written?;
        self.publish(&partial, frozen.index)
    }

    /// A new file for a snapshot that is being received.
    pub fn incoming(&self) -> PathBuf {
        self.scratch("incoming")
    }

    /// Reads a whole snapshot back: the head, the keys and a new SQLite file.
    pub fn load(&self, snapshot: &SnapshotFile) -> Result<Loaded, StoreError> {
        let sqlite = self.scratch("sqlite");
        let (head, space) = file::read(&snapshot.path, &sqlite)?;
        Ok(Loaded {
            head,
            space,
            sqlite,
        })
    }

    /// Renames a checked file to its final name.
    pub fn publish(&self, partial: &Path, index: u64) -> Result<SnapshotFile, StoreError> {
        let name = self.directory.join(format!("{index:020}.snapshot"));
        std::fs::rename(partial, &name)?;
        File::open(&self.directory)?.sync_all()?;
        for (other, path) in self.list()? {
            if other < index {
                std::fs::remove_file(path)?;
            }
        }
        SnapshotFile::open(&name)
    }

    /// The newest snapshot.
    pub fn newest(&self) -> Result<Option<SnapshotFile>, StoreError> {
        self.list()?
            .pop()
            .map(|(_, path)| SnapshotFile::open(&path))
            .transpose()
    }

    fn list(&self) -> Result<Vec<(u64, PathBuf)>, StoreError> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let index = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            if path
                .extension()
                .is_some_and(|extension| extension == "snapshot")
            {
                found.extend(index.map(|index| (index, path)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// A name nobody uses, with an extension that is removed at the next start.
    fn scratch(&self, extension: &str) -> PathBuf {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{number}.{extension}"))
    }
}

/// A snapshot that was read back.
pub struct Loaded {
    /// Everything but keys and SQL.
    pub head: Head,
    /// The keys.
    pub space: Keyspace,
    /// The SQLite file, to be consumed by [`Database::replace`].
    pub sqlite: PathBuf,
}

impl Loaded {
    /// Replaces the SQL file when it is behind the snapshot's, and removes the copy.
    pub fn restore_sql(&self, database: &Database) -> Result<(), StoreError> {
        if sql::applied_in(&self.sqlite)? > database.applied() {
            return database.replace(&self.sqlite);
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.sqlite.clone().into_os_string();
            path.push(suffix);
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}
