//! Damaged files beside the log: put aside at the start, made anew from what is left.
//!
//! - The SQLite file: an empty one takes its place. The log fills it when it goes back to the first
//!   entry; otherwise the snapshot is of no use without it.
//! - A snapshot: the others have one, with a copy of the SQLite file. Without it the log is of no
//!   use either, unless it goes back to the first entry (see [`crate::wal::discard`]).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::disk::RealDisk;
use crate::error::StoreError;
use crate::limits::SQL_CHECK_BYTES_MAX;
use crate::snapshot::{MAGIC as SNAPSHOT_MAGIC, Snapshots, verify};
use crate::sql::Database;
use crate::wal::keep_file;

/// Opens the SQLite file of a node; a damaged one is put aside and an empty one takes its place.
pub fn open_database(directory: &Path) -> Result<Database, StoreError> {
    let path = directory.join("state.db");
    if let Some(why) = damage(&path) {
        tracing::error!(why, "the SQLite file is damaged, it is built anew");
        for suffix in ["", "-wal", "-shm"] {
            let mut beside = path.clone().into_os_string();
            beside.push(suffix);
            if Path::new(&beside).exists() {
                keep_file(&RealDisk, directory, Path::new(&beside))?;
            }
        }
    }
    Database::open(&path)
}

/// What is wrong with a SQLite file, if anything is.
fn damage(path: &Path) -> Option<String> {
    let size = std::fs::metadata(path).ok()?.len();
    let checked = || -> rusqlite::Result<Option<String>> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
        if size > SQL_CHECK_BYTES_MAX {
            return Ok(None);
        }
        let check = "PRAGMA quick_check(1)";
        let found: String = connection.query_row(check, [], |row| row.get(0))?;
        Ok((found != "ok").then_some(found))
    };
    match checked() {
        Ok(found) => found,
        Err(rusqlite::Error::SqliteFailure(error, text))
            if matches!(
                error.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
            ) =>
        {
            Some(text.unwrap_or_else(|| error.to_string()))
        }
        // Whatever else is wrong: opening it for good says so.
        Err(_) => None,
    }
}

/// A snapshot of another version is not damaged, and nothing here may be thrown away for it.
fn refuse_other_format(path: &Path) -> Result<(), StoreError> {
    let mut magic = [0; 8];
    if File::open(path)?.read_exact(&mut magic).is_err() {
        // Too short or unreadable: damaged.
        return Ok(());
    }
    let version = magic[7];
    if magic[..7] != SNAPSHOT_MAGIC[..7] || version == SNAPSHOT_MAGIC[7] {
        return Ok(());
    }
    Err(StoreError::Storage(format!(
        "[PBX_STORE_FORMAT_OTHER] {} has format {version}, this program reads format {}; start the \
         program version that wrote it",
        path.display(),
        SNAPSHOT_MAGIC[7]
    )))
}

/// Puts the newest snapshot aside when it is damaged, or when it needs more than the SQLite file
/// has; answers what is wrong with it. `applied` is the index of the SQLite file.
pub fn put_snapshot_aside(directory: &Path, applied: u64) -> Result<Option<String>, StoreError> {
    let Some(newest) = Snapshots::open(&directory.join("snapshots"))?.newest()? else {
        return Ok(None);
    };
    refuse_other_format(&newest.path)?;
    let wrong = match verify(&newest.path) {
        Err(error) => error.to_string(),
        Ok(head) if head.sql_index > applied => {
            format!("it needs entry {} in state.db", head.sql_index)
        }
        Ok(_) => return Ok(None),
    };
    let why = format!("{}: {wrong}", newest.path.display());
    tracing::error!(why, "a snapshot cannot be used; the others have one");
    keep_file(&RealDisk, directory, &newest.path)?;
    Ok(Some(why))
}
