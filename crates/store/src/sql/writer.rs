//! The one connection that writes, driven by log entries.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::{guard, values, wrong};
use crate::error::StoreError;
use crate::keyspace::Sql;
use crate::limits::{SQL_REPLIES_KEPT, SQL_TEXT_MAX};
use crate::reply::Reply;

/// Our own bookkeeping: the applied index, the schema version, replies for replay.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS _raftpbx_state (
        name TEXT PRIMARY KEY, value INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS _raftpbx_replies (
        entry INTEGER NOT NULL, position INTEGER NOT NULL, reply BLOB NOT NULL,
        PRIMARY KEY (entry, position)
    ) WITHOUT ROWID;";

pub struct Writer {
    connection: Connection,
    /// Whether the statement being prepared comes from a request.
    foreign: Arc<AtomicBool>,
    /// Index of the last entry that is committed in the file.
    pub applied: u64,
    /// Index of the last entry of the open transaction.
    open: Option<u64>,
}

impl Writer {
    pub fn open(path: &Path) -> Result<Writer, StoreError> {
        let mut connection = Connection::open(path).map_err(wrong)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(wrong)?;
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(wrong)?;
        connection
            .pragma_update(None, "foreign_keys", "ON")
            .map_err(wrong)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(SCHEMA).map_err(wrong)?;
        let foreign = Arc::new(AtomicBool::new(false));
        guard::install(&mut connection, foreign.clone()).map_err(wrong)?;
        let applied = state(&connection, "applied").map_err(wrong)?;
        Ok(Writer {
            connection,
            foreign,
            applied,
            open: None,
        })
    }

    /// Runs one command, or answers what it answered when the file has it already.
    pub fn run(&mut self, index: u64, position: u32, kind: Sql, command: &[Bytes]) -> Reply {
        if index <= self.applied {
            return self.stored_reply(index, position);
        }
        if let Err(error) = self.begin(index) {
            return Reply::Error(format!("ERR SQL {error}"));
        }
        let reply = match self.attempt(kind, command) {
            Ok(reply) => reply,
            Err(text) => Reply::Error(format!("ERR SQL {text}")),
        };
        if kind != Sql::Query {
            let stored = self.store_reply(index, position, &reply);
            if let Err(error) = stored {
                tracing::warn!(%error, index, "a reply is not kept for replay");
            }
        }
        reply
    }

    fn begin(&mut self, index: u64) -> rusqlite::Result<()> {
        if self.open.is_none() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        self.open = Some(index);
        Ok(())
    }

    /// Runs the command between savepoints, so that a failure leaves nothing of itself.
    fn attempt(&mut self, kind: Sql, command: &[Bytes]) -> Result<Reply, String> {
        let connection = &self.connection;
        connection
            .execute_batch("SAVEPOINT command")
            .map_err(|error| error.to_string())?;
        let outcome = match kind {
            Sql::Exec => self.exec(command),
            Sql::Query => self.query(command),
            Sql::Migrate => self.migrate(command),
        };
        let end = match outcome {
            Ok(_) => "RELEASE command",
            Err(_) => "ROLLBACK TO command; RELEASE command",
        };
        self.connection
            .execute_batch(end)
            .map_err(|error| error.to_string())?;
        outcome
    }

    fn exec(&self, command: &[Bytes]) -> Result<Reply, String> {
        let (sql, args) = statement(command)?;
        guard::check_text(&sql)?;
        self.guarded(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let changed = statement.execute(rusqlite::params_from_iter(args.iter()))?;
            Ok(Reply::Int(i64::try_from(changed).unwrap_or(i64::MAX)))
        })
    }

    fn query(&self, command: &[Bytes]) -> Result<Reply, String> {
        let (sql, args) = parts(command)?;
        self.foreign.store(true, Ordering::Relaxed);
        let rows = values::rows(&self.connection, &sql, &args);
        self.foreign.store(false, Ordering::Relaxed);
        let rows = rows.map_err(|error| error.to_string())?;
        let text = serde_json::to_vec(&rows).map_err(|error| error.to_string())?;
        Ok(Reply::Bulk(Bytes::from(text)))
    }

    /// `SQL.MIGRATE version statements`: applied once; versions follow each other.
    fn migrate(&self, command: &[Bytes]) -> Result<Reply, String> {
        let version = std::str::from_utf8(&command[1])
            .ok()
            .and_then(|text| text.parse().ok());
        let version: u64 = version.ok_or("the version must be a number")?;
        let sql = text(&command[2])?;
        guard::check_text(&sql)?;
        let present = state(&self.connection, "schema").map_err(|error| error.to_string())?;
        if version <= present {
            return Ok(Reply::Int(0));
        }
        if version != present + 1 {
            return Err(format!(
                "the schema has version {present}, {version} does not follow it"
            ));
        }
        self.guarded(|connection| {
            connection.execute_batch(&sql)?;
            Ok(())
        })?;
        set_state(&self.connection, "schema", version).map_err(|error| error.to_string())?;
        Ok(Reply::Int(1))
    }

    /// Runs a statement of a request under the authorizer's eyes.
    fn guarded<T>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, String> {
        self.foreign.store(true, Ordering::Relaxed);
        let outcome = run(&self.connection);
        self.foreign.store(false, Ordering::Relaxed);
        outcome.map_err(|error| guard::explain(&error))
    }

    fn store_reply(&self, index: u64, position: u32, reply: &Reply) -> Result<(), StoreError> {
        let bytes = postcard::to_stdvec(reply).map_err(wrong)?;
        let sql = "INSERT OR REPLACE INTO _raftpbx_replies VALUES (?1, ?2, ?3)";
        let mut insert = self.connection.prepare_cached(sql).map_err(wrong)?;
        insert
            .execute(params![signed(index), position, bytes])
            .map_err(wrong)?;
        Ok(())
    }

    fn stored_reply(&self, index: u64, position: u32) -> Reply {
        let sql = "SELECT reply FROM _raftpbx_replies WHERE entry = ?1 AND position = ?2";
        let stored = self.connection.prepare_cached(sql).and_then(|mut select| {
            let row = params![signed(index), position];
            select
                .query_row(row, |row| row.get::<_, Vec<u8>>(0))
                .optional()
        });
        let reply = stored
            .ok()
            .flatten()
            .and_then(|bytes| postcard::from_bytes(&bytes).ok());
        reply.unwrap_or_else(|| Reply::error("ERR applied, but its reply is not kept any more"))
    }

    /// Commits the open transaction together with the applied index.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let Some(index) = self.open.take() else {
            return Ok(());
        };
        set_state(&self.connection, "applied", index).map_err(wrong)?;
        let sql = "DELETE FROM _raftpbx_replies WHERE entry < ?1";
        let oldest = signed(index.saturating_sub(SQL_REPLIES_KEPT));
        let mut delete = self.connection.prepare_cached(sql).map_err(wrong)?;
        delete.execute([oldest]).map_err(wrong)?;
        self.connection.execute_batch("COMMIT").map_err(wrong)?;
        self.applied = index;
        Ok(())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn state(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT value FROM _raftpbx_state WHERE name = ?1";
    let value = connection
        .query_row(sql, [name], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(u64::try_from(value.unwrap_or(0)).unwrap_or(0))
}

fn set_state(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO _raftpbx_state VALUES (?1, ?2)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection
        .prepare_cached(sql)?
        .execute(params![name, signed(value)])?;
    Ok(())
}

fn text(bytes: &Bytes) -> Result<String, String> {
    if bytes.len() > SQL_TEXT_MAX {
        return Err(format!("the text is longer than {SQL_TEXT_MAX} bytes"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| "the text is not UTF-8".into())
}

/// `[command, statement, arguments as a JSON array]`
fn parts(command: &[Bytes]) -> Result<(String, Vec<serde_json::Value>), String> {
    let sql = text(command.get(1).ok_or("a statement is missing")?)?;
    let args = match command.get(2) {
        None => Vec::new(),
        Some(json) => serde_json::from_str(&text(json)?)
            .map_err(|error| format!("the arguments must be a JSON array: {error}"))?,
    };
    Ok((sql, args))
}

fn statement(command: &[Bytes]) -> Result<(String, Vec<rusqlite::types::Value>), String> {
    let (sql, args) = parts(command)?;
    let args = args
        .iter()
        .map(values::bind)
        .collect::<Result<Vec<_>, _>>()?;
    Ok((sql, args))
}
