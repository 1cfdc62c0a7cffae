//! The SQLite file: a second state fed by the same log.
//!
//! The Raft log is the durable truth, so the file runs in WAL mode with `synchronous=NORMAL`: a
//! power cut may lose its last transactions but never tears it. The index of the last applied
//! entry is written in the same transaction as the entry's changes; a replay skips what the file
//! already has and answers with the outcomes that were stored beside it.
//!
//! Snapshots hold no copy of the file: they make it durable ([`Database::sync`]) and note its
//! index. A copy is made when another node needs one, or a backup ([`Copy`]).
//!
//! Statements must give the same result on every server: see [`guard`].
//!
//! - [`Database`]: writes from the log, reads.
//! - [`copy`]: the file as of one moment.
//! - `guard`: what statements may not do.
//! - `tables`: which of them change.
//! - `values`: JSON to SQL and back.

pub mod copy;
mod guard;
#[cfg(test)]
mod guard_tests;
mod tables;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};

use crate::clock::boot_ns;
use crate::error::StoreError;
use crate::keyspace::Sql;
use crate::limits::{SQL_READ_MAX, SQL_READERS_MAX, SQL_TEXT_MAX};
use crate::reply::Reply;
use tables::{Tables, Written};
use values::Failure;
use writer::Writer;

/// Steps of SQLite's machine between two looks at the clock: about a millisecond.
const READ_LOOK_STEPS: i32 = 50_000;

pub(crate) fn wrong(error: impl std::fmt::Display) -> StoreError {
    StoreError::Sql(error.to_string())
}

/// Where in the log a request stands, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Index of the entry.
    pub index: u64,
    /// Position of the request's first SQL command among those of the entry.
    pub position: u32,
    /// The logical clock, Unix milliseconds.
    pub clock_ms: u64,
}

/// One reply a command; or the first failure, then none of them changed anything.
pub type Outcome = Result<Vec<Reply>, Reply>;

/// A connection that reads, with the time at which it gives up, `CLOCK_BOOTTIME` nanoseconds.
struct Reader {
    connection: Connection,
    until: Arc<AtomicU64>,
    /// The number of the file it reads.
    file: u64,
}

/// Connections that wait for somebody to read.
#[derive(Default)]
struct Readers {
    idle: Vec<Reader>,
    /// How often the file was replaced: a connection to an older one reads what is gone.
    file: u64,
}

impl Readers {
    fn replaced(&mut self) {
        self.idle.clear();
        self.file += 1;
    }
}

/// The SQLite file of one node.
pub struct Database {
    path: PathBuf,
    /// `None` only while the file is being replaced, or after that failed.
    writer: Mutex<Option<Writer>>,
    readers: Mutex<Readers>,
    tables: Tables,
    /// Outcomes up to this entry are not needed any more: a snapshot has them.
    forget: AtomicU64,
}

impl Database {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Database, StoreError> {
        let writer = Writer::open(path)?;
        Ok(Database {
            path: path.to_owned(),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
            tables: Tables::default(),
            forget: AtomicU64::new(0),
        })
    }

    /// Index of the last entry whose changes are in the file.
    pub fn applied(&self) -> u64 {
        let writer = self.writer.lock();
        writer.as_ref().map_or(0, |writer| writer.applied)
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Runs the SQL commands of one request inside the open transaction, all or nothing.
    pub fn run(&self, ask: Ask, commands: &[(Sql, &[Bytes])]) -> Outcome {
        match self.writer.lock().as_mut() {
            Some(writer) => writer.run(ask, commands),
            None => Err(Reply::error("ERR the SQLite file is not open")),
        }
    }

    /// Commits what was run since the last commit. An error here must stop the node: its file
    /// would fall behind the log it acknowledges.
    pub fn commit(&self) -> Result<(), StoreError> {
        let forget = self.forget.load(Ordering::Relaxed);
        let mut writer = self.writer.lock();
        if let Some(writer) = writer.as_mut() {
            self.tables.changed(&writer.commit(forget)?);
        }
        Ok(())
    }

    /// A number that grows when a table changes, before the change is acknowledged here, and when
    /// the file is replaced. It may grow for a change that was refused. `None` when too many
    /// tables are followed.
    pub fn follow(&self, table: &str) -> Option<Arc<AtomicU64>> {
        self.tables.follow(table)
    }

    /// No replay begins before this entry any more.
    pub fn forget(&self, index: u64) {
        self.forget.fetch_max(index, Ordering::Relaxed);
    }

    /// Makes everything committed so far durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        for suffix in ["-wal", ""] {
            match std::fs::File::open(beside(&self.path, suffix)) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Moves committed pages from SQLite's own log to the file, without holding up the applier;
    /// answers how many are left.
    pub fn checkpoint(&self) -> Result<u64, StoreError> {
        let connection = Connection::open(&self.path).map_err(wrong)?;
        let left = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
        });
        left.map(|left| u64::try_from(left).unwrap_or(0))
            .map_err(wrong)
    }

    /// Bytes of SQLite's own log.
    pub fn wal_bytes(&self) -> u64 {
        std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |metadata| metadata.len())
    }

    /// Reads with bound arguments; every row is an object.
    pub fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Map<String, Value>>, StoreError> {
        if sql.len() > SQL_TEXT_MAX {
            return Err(wrong(format!(
                "the statement is longer than {SQL_TEXT_MAX} bytes"
            )));
        }
        let (reader, file) = {
            let mut readers = self.readers.lock();
            (readers.idle.pop(), readers.file)
        };
        let reader = match reader {
            Some(reader) => reader,
            None => self.open_reader(file)?,
        };
        let most = u64::try_from(SQL_READ_MAX.as_nanos()).unwrap_or(u64::MAX);
        reader.until.store(boot_ns() + most, Ordering::Relaxed);
        let rows = values::rows(&reader.connection, sql, args);
        let mut readers = self.readers.lock();
        if reader.file == readers.file && readers.idle.len() < SQL_READERS_MAX {
            readers.idle.push(reader);
        }
        rows.map_err(|failure| match failure {
            Failure::Refused(text) => wrong(text),
            Failure::Sqlite(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) =>
            {
                wrong(format!(
                    "the statement took more than {SQL_READ_MAX:?}; give it an index or read in \
                     pages"
                ))
            }
            Failure::Sqlite(error) => wrong(error),
        })
    }

    fn open_reader(&self, file: u64) -> Result<Reader, StoreError> {
        let mut connection = read_only(&self.path)?;
        let until = Arc::new(AtomicU64::new(u64::MAX));
        let end = until.clone();
        let look = move || boot_ns() > end.load(Ordering::Relaxed);
        connection
            .progress_handler(READ_LOOK_STEPS, Some(look))
            .map_err(wrong)?;
        Ok(Reader {
            connection,
            until,
            file,
        })
    }

    /// Replaces the content by another file, which is consumed.
    pub fn replace(&self, other: &Path) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        *writer = None;
        self.readers.lock().replaced();
        for suffix in ["-wal", "-shm"] {
            remove_if_there(&beside(&self.path, suffix))?;
        }
        std::fs::rename(other, &self.path)?;
        // Those that were opened meanwhile read the file that is gone.
        self.readers.lock().replaced();
        self.tables.changed(&Written::Everything);
        *writer = Some(Writer::open(&self.path)?);
        Ok(())
    }
}

fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    connection
        .busy_timeout(std::time::Duration::from_secs(1))
        .map_err(wrong)?;
    Ok(connection)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Removes an SQLite file and what lies beside it.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    ["", "-wal", "-shm"]
        .iter()
        .try_for_each(|suffix| remove_if_there(&beside(path, suffix)))
}

/// Refuses a file that SQLite finds damaged.
pub fn check(path: &Path) -> Result<(), StoreError> {
    let connection = Connection::open(path).map_err(wrong)?;
    let sql = "PRAGMA quick_check(1)";
    let found = connection.query_row(sql, [], |row| row.get::<_, String>(0));
    match found.map_err(wrong)?.as_str() {
        "ok" => Ok(()),
        text => Err(wrong(format!("the SQLite file is damaged: {text}"))),
    }
}

/// The index stored in a file, without keeping it open.
pub fn applied_in(path: &Path) -> Result<u64, StoreError> {
    let connection = Connection::open(path).map_err(wrong)?;
    writer::state(&connection, "applied").map_err(wrong)
}
