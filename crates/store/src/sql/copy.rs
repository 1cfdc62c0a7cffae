//! The SQLite file as of one moment, copied while reads and writes go on.
//!
//! A read transaction that stays open is the moment; what is committed later goes to SQLite's own
//! log and is not seen. The price: that log grows as long as the copy takes.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{Database, read_only, writer, wrong};
use crate::error::StoreError;
use crate::snapshot::Pace;

/// Pages copied before anybody else may run: 256 KiB, well below a millisecond.
const PAGES_AT_ONCE: i32 = 64;

/// Pause when SQLite says that the file is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// How often the file may be busy without a page being copied.
const BUSY_MAX: u32 = 5_000;

/// A connection that is ready to look.
pub struct Ready {
    connection: Connection,
}

/// The file as of one moment.
pub struct Moment {
    connection: Connection,
    /// Index of the last entry whose changes are in it.
    pub applied: u64,
}

impl Database {
    /// The slow part of [`Ready::look`], to be done before the state is held still.
    pub fn ready(&self) -> Result<Ready, StoreError> {
        let connection = read_only(&self.path)?;
        // Reads the schema once, so that the look itself is a few microseconds.
        writer::state(&connection, "applied").map_err(wrong)?;
        Ok(Ready { connection })
    }
}

impl Ready {
    /// Fixes the moment. The caller keeps the applier still if it must match something else.
    pub fn look(self) -> Result<Moment, StoreError> {
        self.connection.execute_batch("BEGIN").map_err(wrong)?;
        let applied = writer::state(&self.connection, "applied").map_err(wrong)?;
        Ok(Moment {
            connection: self.connection,
            applied,
        })
    }
}

impl Moment {
    /// Bytes the copy will have.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        let pragma = |name: &str| {
            let sql = format!("PRAGMA {name}");
            self.connection
                .query_row(&sql, [], |row| row.get::<_, i64>(0))
        };
        let pages = pragma("page_count").map_err(wrong)?;
        let size = pragma("page_size").map_err(wrong)?;
        Ok(u64::try_from(pages * size).unwrap_or(0))
    }

    /// Writes the copy, as fast as `pace` allows. Not flushed: whoever keeps it does that.
    pub fn copy_to(&self, target: &Path, pace: &mut Pace) -> Result<(), StoreError> {
        let mut copy = Connection::open(target).map_err(wrong)?;
        // The copy is whole or thrown away.
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            .map_err(wrong)?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(wrong)?;
        let mut busy = 0;
        loop {
            match backup.step(PAGES_AT_ONCE).map_err(wrong)? {
                StepResult::Done => return Ok(()),
                StepResult::More => {
                    busy = 0;
                    pace.spend(u64::from(PAGES_AT_ONCE.unsigned_abs()) * 4_096);
                }
                _ if busy < BUSY_MAX => {
                    busy += 1;
                    std::thread::sleep(BUSY_PAUSE);
                }
                _ => return Err(wrong("the file stays locked")),
            }
        }
    }
}
