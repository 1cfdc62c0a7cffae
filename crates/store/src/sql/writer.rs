//! The one connection that writes, driven by log entries.
//!
//! Invariant: one transaction is open from the first SQL request behind a commit until the next
//! commit; each request is between savepoints in it, all or nothing. A statement may end the
//! whole transaction (`INSERT OR ROLLBACK`, too many steps): then what was in it is run again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, StatementStatus, params};
use serde::{Deserialize, Serialize};

use super::guard::{self, Watch};
use super::tables::{Asked, Statements, Written};
use super::values::{self, Failure};
use super::{Ask, Outcome, wrong};
use crate::error::StoreError;
use crate::keyspace::Sql;
use crate::limits::{SQL_FORGOTTEN_AT_ONCE, SQL_STATEMENTS_MAX, SQL_TEXT_MAX, SQL_WAL_PAGES_MAX};
use crate::reply::Reply;

/// Our own bookkeeping: the applied index, the schema version, outcomes for replay.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS _raftpbx_state (
        name TEXT PRIMARY KEY, value INTEGER NOT NULL
    ) WITHOUT ROWID;
    DROP TABLE IF EXISTS _raftpbx_replies;
    CREATE TABLE IF NOT EXISTS _raftpbx_outcomes (
        entry INTEGER NOT NULL, position INTEGER NOT NULL, outcome BLOB NOT NULL,
        PRIMARY KEY (entry, position)
    ) WITHOUT ROWID;";

pub struct Writer {
    connection: Connection,
    watch: Arc<Watch>,
    /// Index of the last entry that is committed in the file.
    pub applied: u64,
    /// Index of the last entry of the open transaction.
    open: Option<u64>,
    /// What the open transaction consists of.
    ran: Vec<Ran>,
    /// Outcomes of entries up to this index are forgotten.
    forgotten: u64,
    /// Why this file can not follow the log any more.
    broken: Option<String>,
    statements: Statements,
    /// What the open transaction has written.
    written: Written,
}

/// A request of the open transaction. Its bytes are shared with the log entry.
struct Ran {
    ask: Ask,
    commands: Vec<(Sql, Vec<Bytes>)>,
    outcome: Outcome,
}

/// What is stored of an outcome; replies of reads are not.
#[derive(Serialize, Deserialize)]
enum Stored {
    Done(Vec<Option<Reply>>),
    Failed(Reply),
}

impl Writer {
    pub fn open(path: &Path) -> Result<Writer, StoreError> {
        let mut connection = Connection::open(path).map_err(wrong)?;
        for (pragma, value) in [
            ("journal_mode", "WAL"),
            ("synchronous", "NORMAL"),
            ("foreign_keys", "ON"),
        ] {
            connection
                .pragma_update(None, pragma, value)
                .map_err(wrong)?;
        }
        connection
            .pragma_update(None, "wal_autocheckpoint", SQL_WAL_PAGES_MAX)
            .map_err(wrong)?;
        connection.set_prepared_statement_cache_capacity(SQL_STATEMENTS_MAX);
        connection.execute_batch(SCHEMA).map_err(wrong)?;
        let watch = Arc::new(Watch::default());
        guard::install(&mut connection, &watch).map_err(wrong)?;
        let applied = state(&connection, "applied").map_err(wrong)?;
        Ok(Writer {
            connection,
            watch,
            applied,
            open: None,
            ran: Vec::new(),
            forgotten: 0,
            broken: None,
            statements: Statements::default(),
            written: Written::Nothing,
        })
    }

    /// Runs the SQL commands of one request, all or nothing; or answers what they answered when
    /// the file has them already.
    pub fn run(&mut self, ask: Ask, commands: &[(Sql, &[Bytes])]) -> Outcome {
        if ask.index <= self.applied {
            return self.recall(ask, commands.len());
        }
        if let Err(error) = self.begin(ask.index) {
            return Err(Reply::Error(format!("ERR SQL {error}")));
        }
        let outcome = self.attempt(ask, commands);
        if self.connection.is_autocommit() {
            self.run_again();
        }
        self.keep(ask, commands, &outcome);
        let owned = commands.iter().map(|(kind, words)| (*kind, words.to_vec()));
        self.ran.push(Ran {
            ask,
            commands: owned.collect(),
            outcome: outcome.clone(),
        });
        outcome
    }

    fn begin(&mut self, index: u64) -> rusqlite::Result<()> {
        if self.open.is_none() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        self.open = Some(index);
        Ok(())
    }

    /// Runs the commands between savepoints, so that a failure leaves nothing of any of them.
    fn attempt(&mut self, ask: Ask, commands: &[(Sql, &[Bytes])]) -> Outcome {
        self.watch
            .entry_time
            .store(signed(ask.clock_ms), Ordering::Relaxed);
        self.housekeeping("SAVEPOINT request")?;
        let mut replies = Vec::with_capacity(commands.len());
        for (kind, command) in commands {
            let outcome = match kind {
                Sql::Exec => self.exec(command),
                Sql::Query => self.query(command),
                Sql::Migrate => self.migrate(command),
            };
            match outcome {
                Ok(reply) => replies.push(reply),
                Err(text) => {
                    if !self.connection.is_autocommit() {
                        self.housekeeping("ROLLBACK TO request; RELEASE request")?;
                    }
                    return Err(Reply::Error(format!("ERR SQL {text}")));
                }
            }
        }
        self.housekeeping("RELEASE request")?;
        Ok(replies)
    }

    fn housekeeping(&mut self, sql: &str) -> Result<(), Reply> {
        let done = self.connection.execute_batch(sql);
        done.map_err(|error| Reply::Error(format!("ERR SQL {}", self.failed(&error))))
    }

    /// Notes an error that only this server has; answers the text.
    fn failed(&mut self, error: &rusqlite::Error) -> String {
        if guard::is_ours(error) && self.broken.is_none() {
            self.broken = Some(error.to_string());
        }
        guard::explain(error)
    }

    /// The transaction is gone with everything in it: does all of it once more.
    fn run_again(&mut self) {
        if let Err(error) = self.connection.execute_batch("BEGIN IMMEDIATE") {
            self.broken = Some(error.to_string());
            return;
        }
        let ran = std::mem::take(&mut self.ran);
        for one in &ran {
            if one.outcome.is_ok() {
                let commands: Vec<_> = one
                    .commands
                    .iter()
                    .map(|(kind, words)| (*kind, words.as_slice()))
                    .collect();
                if self.attempt(one.ask, &commands) != one.outcome {
                    self.broken = Some("a statement did not repeat its result".into());
                }
            }
            self.store(one.ask, &one.commands, &one.outcome);
        }
        self.ran = ran;
    }

    fn exec(&mut self, command: &[Bytes]) -> Result<Reply, String> {
        let (sql, args) = statement(command)?;
        guard::check_text(&sql)?;
        if self.statements.is_full() {
            self.connection.flush_prepared_statement_cache();
            self.statements.clear();
        }
        let outcome = self.guarded(true, |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            statement.reset_status(StatementStatus::VmStep);
            let changed = statement.execute(rusqlite::params_from_iter(args.iter()))?;
            Ok(Reply::Int(i64::try_from(changed).unwrap_or(i64::MAX)))
        });
        let asked = std::mem::take(&mut *self.watch.asked.lock());
        self.statements.ran(&sql, asked, &mut self.written);
        outcome
    }

    fn query(&mut self, command: &[Bytes]) -> Result<Reply, String> {
        let (sql, args) = parts(command)?;
        guard::check_text(&sql)?;
        self.guarded(true, |connection| {
            match values::rows(connection, &sql, &args) {
                Ok(rows) => {
                    let text = serde_json::to_vec(&rows);
                    Ok(text.map_err(|error| error.to_string()))
                }
                Err(Failure::Refused(text)) => Ok(Err(text)),
                Err(Failure::Sqlite(error)) => Err(error),
            }
        })?
        .map(|text| Reply::Bulk(Bytes::from(text)))
    }

    /// `SQL.MIGRATE version statements`: applied once; versions follow each other. Its steps are
    /// not counted: an index on millions of rows is made once, when someone expects it.
    fn migrate(&mut self, command: &[Bytes]) -> Result<Reply, String> {
        let version = std::str::from_utf8(&command[1])
            .ok()
            .and_then(|text| text.parse().ok());
        let version: u64 = version.ok_or("the version must be a number")?;
        let sql = text(&command[2])?;
        guard::check_text(&sql)?;
        let present = state(&self.connection, "schema").map_err(|error| self.failed(&error))?;
        if version <= present {
            return Ok(Reply::Int(0));
        }
        if version != present + 1 {
            return Err(format!(
                "the schema has version {present}, {version} does not follow it"
            ));
        }
        self.written = Written::Everything;
        self.guarded(false, |connection| connection.execute_batch(&sql))?;
        let stored = set_state(&self.connection, "schema", version);
        stored.map_err(|error| self.failed(&error))?;
        Ok(Reply::Int(1))
    }

    /// Runs a statement of a request under the guard's eyes.
    fn guarded<T>(
        &mut self,
        limited: bool,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, String> {
        let Watch {
            foreign,
            limited: counted,
            highest_row,
            asked,
            ..
        } = &*self.watch;
        *asked.lock() = Asked::default();
        highest_row.store(false, Ordering::Relaxed);
        counted.store(limited, Ordering::Relaxed);
        foreign.store(true, Ordering::Relaxed);
        let outcome = run(&self.connection);
        foreign.store(false, Ordering::Relaxed);
        counted.store(false, Ordering::Relaxed);
        if highest_row.load(Ordering::Relaxed) {
            let text = format!(
                "row id {} is refused: SQLite would choose all later ones at random",
                i64::MAX
            );
            return Err(text);
        }
        outcome.map_err(|error| self.failed(&error))
    }

    /// Keeps an outcome for a replay that finds its changes in the file already.
    fn keep(&mut self, ask: Ask, commands: &[(Sql, &[Bytes])], outcome: &Outcome) {
        let kinds: Vec<_> = commands.iter().map(|(kind, _)| (*kind, ())).collect();
        self.store(ask, &kinds, outcome);
    }

    fn store<T>(&mut self, ask: Ask, commands: &[(Sql, T)], outcome: &Outcome) {
        let stored = match outcome {
            Err(reply) => Stored::Failed(reply.clone()),
            Ok(replies) => {
                let kinds = commands.iter().map(|(kind, _)| *kind != Sql::Query);
                let kept = kinds.zip(replies);
                Stored::Done(
                    kept.map(|(kept, reply)| kept.then(|| reply.clone()))
                        .collect(),
                )
            }
        };
        let insert = || -> Result<(), StoreError> {
            let bytes = postcard::to_stdvec(&stored).map_err(wrong)?;
            let sql = "INSERT OR REPLACE INTO _raftpbx_outcomes VALUES (?1, ?2, ?3)";
            let mut insert = self.connection.prepare_cached(sql).map_err(wrong)?;
            let row = params![signed(ask.index), ask.position, bytes];
            insert.execute(row).map(drop).map_err(wrong)
        };
        // Without it a replay could decide differently: this server must not go on.
        if let Err(error) = insert() {
            self.broken.get_or_insert(error.to_string());
        }
    }

    fn recall(&self, ask: Ask, count: usize) -> Outcome {
        let sql = "SELECT outcome FROM _raftpbx_outcomes WHERE entry = ?1 AND position = ?2";
        let stored = self.connection.prepare_cached(sql).and_then(|mut select| {
            let row = params![signed(ask.index), ask.position];
            select
                .query_row(row, |row| row.get::<_, Vec<u8>>(0))
                .optional()
        });
        let unknown = || Reply::error("ERR applied, but its reply is not kept");
        let stored = stored.ok().flatten();
        match stored.and_then(|bytes| postcard::from_bytes(&bytes).ok()) {
            Some(Stored::Failed(reply)) => Err(reply),
            Some(Stored::Done(replies)) => {
                let replies = replies.into_iter();
                Ok(replies.map(|reply| reply.unwrap_or_else(unknown)).collect())
            }
            None => Ok((0..count).map(|_| unknown()).collect()),
        }
    }

    /// Commits the open transaction together with the applied index; outcomes of entries up to
    /// `forget`, which no replay can reach, are removed bit by bit. Answers what it wrote.
    pub fn commit(&mut self, forget: u64) -> Result<Written, StoreError> {
        if let Some(broken) = &self.broken {
            return Err(wrong(broken));
        }
        let Some(index) = self.open.take() else {
            return Ok(Written::Nothing);
        };
        self.ran.clear();
        set_state(&self.connection, "applied", index).map_err(wrong)?;
        if forget > self.forgotten {
            self.forget(forget).map_err(wrong)?;
        }
        self.connection.execute_batch("COMMIT").map_err(wrong)?;
        self.applied = index;
        Ok(std::mem::take(&mut self.written))
    }

    fn forget(&mut self, forget: u64) -> rusqlite::Result<()> {
        let sql = "SELECT max(entry), count(*) FROM (SELECT entry FROM _raftpbx_outcomes
                   WHERE entry <= ?1 ORDER BY entry LIMIT ?2)";
        let mut select = self.connection.prepare_cached(sql)?;
        let (last, count): (Option<i64>, u32) = select
            .query_row(params![signed(forget), SQL_FORGOTTEN_AT_ONCE], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        if let Some(last) = last {
            let sql = "DELETE FROM _raftpbx_outcomes WHERE entry <= ?1";
            self.connection.prepare_cached(sql)?.execute([last])?;
        }
        if count < SQL_FORGOTTEN_AT_ONCE {
            self.forgotten = forget;
        }
        Ok(())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub fn state(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
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
