//! Snapshots: the state machine as one file.
//!
//! ```text
//!  magic | head length u32 | head | (record length u32 | record)* | crc32c u32
//! ```
//!
//! The head says how many records follow; the checksum covers everything before it. A file is
//! written under another name, flushed, and renamed: a snapshot with its final name is whole. The
//! newest one is kept.
//!
//! The SQLite file is not in it. It is durable by itself and knows its own index; a snapshot only
//! notes which index it must have at least. It may be ahead of the keys: replaying the log behind
//! the snapshot skips what it has. Only a node that receives a snapshot receives a copy of the
//! SQLite file as well, `INDEX.sqlite` beside `INDEX.snapshot`, until it has taken its place.

mod file;
mod pace;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::keyspace::{Dump, Keyspace};
use crate::origins::Origins;
use crate::sql::copy::Moment;
use crate::sql::{self, Database};

pub use file::{MAGIC, Writing, check_record, encode_record, encoding, verify};
pub use pace::{Pace, PacedFile};

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
    /// Index the SQLite file has at least.
    pub sql_index: u64,
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
    /// The SQLite file that was received with it.
    pub sqlite: Option<PathBuf>,
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
            sqlite: None,
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
    /// Index of the SQLite file at that moment.
    pub sql_index: u64,
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
            let belongs = match path.extension().and_then(|extension| extension.to_str()) {
                Some("snapshot") => true,
                Some("sqlite") => path.with_extension("snapshot").exists(),
                _ => false,
            };
            if !belongs {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Snapshots {
            directory: directory.to_owned(),
        })
    }

    /// Writes a snapshot and gives it its final name; older ones are removed.
    pub fn write(&self, frozen: &Frozen, database: &Database) -> Result<SnapshotFile, StoreError> {
        // Before the snapshot counts, and with it the log behind it goes.
        database.sync()?;
        let partial = self.scratch("partial");
        if let Err(error) = file::write(&partial, frozen) {
            let _ = std::fs::remove_file(&partial);
            return Err(error);
        }
        let snapshot = self.publish(&partial, None, frozen.index)?;
        database.forget(frozen.index);
        Ok(snapshot)
    }

    /// New names for a snapshot that is being received and for its SQLite file.
    pub fn incoming(&self) -> (PathBuf, PathBuf) {
        (self.scratch("incoming"), self.scratch("incoming"))
    }

    /// A copy of the SQLite file as it is now, for another node. Its name is gone already: the
    /// space is free again when nobody reads it any more. Blocks for as long as the copy takes.
    pub fn copy_sqlite(&self, database: &Database) -> Result<SnapshotFile, StoreError> {
        self.copy_moment(&database.ready()?.look()?)
    }

    /// [`Snapshots::copy_sqlite`] of a moment that was fixed before.
    pub fn copy_moment(&self, moment: &Moment) -> Result<SnapshotFile, StoreError> {
        let (index, bytes) = (moment.applied, moment.bytes()?);
        tracing::info!(index, bytes, "the SQLite file is being copied");
        let path = self.scratch("copy");
        let copied = moment.copy_to(&path, &mut Pace::default());
        let opened = copied.and_then(|()| SnapshotFile::open(&path));
        sql::remove(&path)?;
        opened
    }

    /// Reads a whole snapshot back: the head and the keys.
    pub fn load(&self, snapshot: &SnapshotFile) -> Result<Loaded, StoreError> {
        let (head, space) = file::read(&snapshot.path)?;
        let sqlite = snapshot.path.with_extension("sqlite");
        Ok(Loaded {
            head,
            space,
            sqlite: sqlite.exists().then_some(sqlite),
        })
    }

    /// Gives a checked file its final name, and the SQLite file that came with it.
    pub fn publish(
        &self,
        partial: &Path,
        sqlite: Option<&Path>,
        index: u64,
    ) -> Result<SnapshotFile, StoreError> {
        let name = self.directory.join(format!("{index:020}.snapshot"));
        if let Some(sqlite) = sqlite {
            std::fs::rename(sqlite, name.with_extension("sqlite"))?;
        }
        std::fs::rename(partial, &name)?;
        File::open(&self.directory)?.sync_all()?;
        for (other, path) in self.list()? {
            if other < index {
                sql::remove(&path.with_extension("sqlite"))?;
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
    /// The SQLite file that was received with it and has not taken its place yet.
    sqlite: Option<PathBuf>,
}

impl Loaded {
    /// Lets the SQLite file that came with the snapshot take its place, unless it has already.
    pub fn restore_sql(&self, database: &Database) -> Result<(), StoreError> {
        let (present, wanted) = (database.applied(), self.head.sql_index);
        match &self.sqlite {
            Some(sqlite) if present < wanted => database.replace(sqlite)?,
            Some(sqlite) => sql::remove(sqlite)?,
            None if present < wanted => {
                return Err(StoreError::Storage(format!(
                    "state.db has entry {present} and the snapshot needs {wanted}: the file was \
                     lost or replaced; this node must rejoin with an empty directory"
                )));
            }
            None => {}
        }
        database.forget(self.head.index);
        Ok(())
    }
}
