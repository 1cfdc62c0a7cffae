//! Which tables change: a number for each table that somebody keeps a copy of.
//!
//! What a statement writes is known when SQLite prepares it: the authorizer is asked about every
//! table, those of triggers and foreign keys too. (The hook for rows is not called for tables
//! without row ids.) Prepared statements are kept, so what each of them writes is kept with its
//! text; a text that is not known counts as writing everything.
//!
//! Invariant: a number grows after a change can be read and before anybody is told that it was
//! made. So who reads the number, then the table, holds a copy that is good as long as the number
//! stays; it may be newer than its number says, never older.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::hooks::AuthAction;

use crate::limits::{SQL_STATEMENTS_MAX, SQL_TABLES_FOLLOWED_MAX};

/// What the authorizer was asked while one statement was prepared.
#[derive(Debug, Default)]
pub struct Asked {
    /// It was asked at all: the statement was not prepared before.
    any: bool,
    tables: Vec<String>,
}

impl Asked {
    /// Notes a question of SQLite.
    pub fn note(&mut self, action: &AuthAction<'_>) {
        self.any = true;
        if let AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } = action
            && !self.tables.iter().any(|known| known == table_name)
        {
            self.tables.push((*table_name).to_owned());
        }
    }
}

/// Tables that were written since the last commit, perhaps in vain.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// None.
    #[default]
    Nothing,
    /// These.
    Tables(Vec<String>),
    /// Nobody knows.
    Everything,
}

impl Written {
    /// Adds what one statement writes.
    pub fn add(&mut self, tables: &[String]) {
        match self {
            Written::Everything => {}
            Written::Nothing if tables.is_empty() => {}
            Written::Nothing => *self = Written::Tables(tables.to_vec()),
            Written::Tables(known) => {
                for table in tables {
                    if !known.contains(table) {
                        known.push(table.clone());
                    }
                }
            }
        }
    }

    fn has(&self, table: &str) -> bool {
        match self {
            Written::Nothing => false,
            Written::Tables(tables) => tables.iter().any(|one| one.eq_ignore_ascii_case(table)),
            Written::Everything => true,
        }
    }
}

/// What the statements write that SQLite keeps prepared.
#[derive(Debug, Default)]
pub struct Statements {
    known: HashMap<String, Vec<String>>,
}

impl Statements {
    /// Whether there is no room for one more: the prepared ones have to be forgotten first.
    pub fn is_full(&self) -> bool {
        self.known.len() >= SQL_STATEMENTS_MAX
    }

    /// Forgets all, together with the prepared statements.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Adds to `written` what a statement writes that was just run.
    pub fn ran(&mut self, sql: &str, asked: Asked, written: &mut Written) {
        // Tables that are made, renamed or dropped by a statement: it changes the schema.
        if asked.tables.iter().any(|table| table == "sqlite_master") {
            *written = Written::Everything;
        }
        if asked.any {
            written.add(&asked.tables);
            self.known.insert(sql.to_owned(), asked.tables);
        } else if let Some(tables) = self.known.get(sql) {
            written.add(tables);
        } else {
            *written = Written::Everything;
        }
    }
}

/// The numbers.
#[derive(Debug, Default)]
pub struct Tables {
    followed: Mutex<Vec<(String, Arc<AtomicU64>)>>,
}

impl Tables {
    /// The number of a table, which need not exist yet; `None` when too many are followed.
    pub fn follow(&self, table: &str) -> Option<Arc<AtomicU64>> {
        let mut followed = self.followed.lock();
        if let Some((_, number)) = followed.iter().find(|(name, _)| name == table) {
            return Some(number.clone());
        }
        if followed.len() == SQL_TABLES_FOLLOWED_MAX {
            return None;
        }
        let number = Arc::new(AtomicU64::new(0));
        followed.push((table.to_owned(), number.clone()));
        Some(number)
    }

    /// What was written can be read now.
    pub fn changed(&self, written: &Written) {
        if *written == Written::Nothing {
            return;
        }
        for (table, number) in self.followed.lock().iter() {
            if written.has(table) {
                number.fetch_add(1, Ordering::Release);
            }
        }
    }
}
