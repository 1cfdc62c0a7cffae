//! The SQLite file: a second state fed by the same log.
//!
//! The Raft log is the durable truth, so the file runs in WAL mode with `synchronous=NORMAL`: a
//! power cut may lose its last transactions but never tears it. The index of the last applied
//! entry is written in the same transaction as the entry's changes; a replay skips what the file
//! already has and answers with the replies that were stored beside it.
//!
//! Statements must give the same result on every server: see [`guard`].
//!
//! - [`Database`]: writes from the log, reads, copies for snapshots.
//! - `guard`: what statements may not do.
//! - `values`: JSON to SQL and back.

mod guard;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};

use crate::error::StoreError;
use crate::keyspace::Sql;
use crate::limits::{SQL_READERS_MAX, SQL_TEXT_MAX};
use crate::reply::Reply;
use writer::Writer;

pub(crate) fn wrong(error: impl std::fmt::Display) -> StoreError {
    StoreError::Sql(error.to_string())
}

/// The SQLite file of one node.
pub struct Database {
    path: PathBuf,
    /// `None` only while the file is being replaced, or after that failed.
    writer: Mutex<Option<Writer>>,
    readers: Mutex<Vec<Connection>>,
}

impl Database {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Database, StoreError> {
        let writer = Writer::open(path)?;
        Ok(Database {
            path: path.to_owned(),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
        })
    }

    /// Index of the last entry whose changes are in the file.
    pub fn applied(&self) -> u64 {
        self.writer
            .lock()
            .as_ref()
            .map_or(0, |writer| writer.applied)
    }

    /// Runs the SQL command at `position` of entry `index`, inside the open transaction.
    pub fn run(&self, index: u64, position: u32, kind: Sql, command: &[Bytes]) -> Reply {
        match self.writer.lock().as_mut() {
            Some(writer) => writer.run(index, position, kind, command),
            None => Reply::error("ERR the SQLite file is not open"),
        }
    }

    /// Commits what was run since the last commit. An error here must stop the node: its file
    /// would fall behind the log it acknowledges.
    pub fn commit(&self) -> Result<(), StoreError> {
        self.writer.lock().as_mut().map_or(Ok(()), Writer::commit)
    }

    /// Reads with bound arguments; every row is an object.
    pub fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Map<String, Value>>, StoreError> {
        if sql.len() > SQL_TEXT_MAX {
            return Err(wrong(format!(
                "the statement is longer than {SQL_TEXT_MAX} bytes"
            )));
        }
        let reader = self.readers.lock().pop();
        let reader = match reader {
            Some(reader) => reader,
            None => self.open_reader()?,
        };
        let rows = values::rows(&reader, sql, args);
        let mut readers = self.readers.lock();
        if readers.len() < SQL_READERS_MAX {
            readers.push(reader);
        }
        rows
    }

    fn open_reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&self.path, flags).map_err(wrong)?;
        reader
            .busy_timeout(std::time::Duration::from_secs(1))
            .map_err(wrong)?;
        Ok(reader)
    }

    /// Copies the committed content to a new file while reads and writes go on.
    pub fn copy_to(&self, target: &Path) -> Result<(), StoreError> {
        let source = self.open_reader()?;
        let mut copy = Connection::open(target).map_err(wrong)?;
        let backup = rusqlite::backup::Backup::new(&source, &mut copy).map_err(wrong)?;
        backup.step(-1).map_err(wrong)?;
        Ok(())
    }

    /// Replaces the content by another file, which is consumed.
    pub fn replace(&self, other: &Path) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        *writer = None;
        self.readers.lock().clear();
        for suffix in ["-wal", "-shm"] {
            let mut beside = self.path.clone().into_os_string();
            beside.push(suffix);
            match std::fs::remove_file(&beside) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        std::fs::rename(other, &self.path)?;
        *writer = Some(Writer::open(&self.path)?);
        self.readers.lock().clear();
        Ok(())
    }
}

/// The index stored in a file, without keeping it open.
pub fn applied_in(path: &Path) -> Result<u64, StoreError> {
    Writer::open(path).map(|writer| writer.applied)
}
