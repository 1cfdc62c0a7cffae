//! What statements of requests may not do, because servers would then differ from each other.
//!
//! Four nets, each for what slips through the one before:
//!
//! 1. The text check finds forbidden names where they stand, with the clearest refusal.
//! 2. The authorizer sees every function, table and action while a statement is prepared. It knows
//!    which functions are *allowed*: what a later SQLite adds is refused until someone looked.
//! 3. The forbidden functions are replaced by ones that fail: defaults, checks and triggers reach
//!    functions that nobody asked the authorizer about.
//! 4. A hook sees every row: the highest row id there can be makes SQLite choose at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{Action, AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};

use super::tables::Asked;
use crate::limits::{SQL_STEPS_MAX, SQL_VALUE_BYTES_MAX};

/// Functions whose result depends on the moment, the connection, the file, the version or chance.
const FORBIDDEN: &[&str] = &[
    "random",
    "randomblob",
    "last_insert_rowid",
    "changes",
    "total_changes",
    "date",
    "time",
    "datetime",
    "julianday",
    "strftime",
    "unixepoch",
    "timediff",
    "load_extension",
    "current_timestamp",
    "current_date",
    "current_time",
    "sqlite_version",
    "sqlite_source_id",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "sqlite_offset",
    "sqlite_log",
    "fts3_tokenizer",
    "fts5_source_id",
];

/// Functions that give the same result on every server, sorted.
const ALLOWED: &[&str] = &[
    "->",
    "->>",
    "abs",
    "avg",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "dense_rank",
    "entry_time",
    "first_value",
    "format",
    "glob",
    "group_concat",
    "hex",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_each",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_tree",
    "json_type",
    "json_valid",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "lower",
    "ltrim",
    "max",
    "min",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "printf",
    "quote",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "total",
    "trim",
    "typeof",
    "unhex",
    "unicode",
    "unlikely",
    "upper",
    "zeroblob",
];

/// What SQLite itself calls while it alters a table; statements cannot.
const INTERNAL: &[&str] = &[
    "sqlite_rename_",
    "sqlite_drop_",
    "sqlite_add_",
    "sqlite_find_",
];

/// Names that mean a function, or a check at COMMIT, even without parentheses.
const BARE: &[&str] = &[
    "current_timestamp",
    "current_date",
    "current_time",
    "deferred",
];

/// Tables made of the file's layout or of this process, which every server has its own of.
const LOCAL_TABLES: &[&str] = &[
    "dbstat",
    "sqlite_stmt",
    "sqlite_dbpage",
    "sqlite_memstat",
    "bytecode",
    "tables_used",
];

/// Tables that belong to the applier.
const OWN_PREFIX: &str = "_raftpbx_";

/// What the guard and the applier tell each other.
#[derive(Debug, Default)]
pub struct Watch {
    /// Whether the statement being prepared or run comes from a request.
    pub foreign: AtomicBool,
    /// Whether its steps are counted.
    pub limited: AtomicBool,
    /// Whether a row got the highest row id there can be.
    pub highest_row: AtomicBool,
    /// What `entry_time()` answers: the logical clock of the entry, Unix milliseconds.
    pub entry_time: AtomicI64,
    /// What was asked since the statement of a request began.
    pub asked: Mutex<Asked>,
}

/// Watches every statement of a connection while [`Watch::foreign`] is set.
pub fn install(connection: &mut Connection, watch: &Arc<Watch>) -> rusqlite::Result<()> {
    let seen = watch.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        // The keyword TEMP is an action of its own, the database of that name is not.
        let temporary = context.database_name == Some("temp");
        if seen.foreign.load(Ordering::Relaxed) {
            seen.asked.lock().note(&context.action);
        }
        if seen.foreign.load(Ordering::Relaxed) && (temporary || refused(&context.action)) {
            Authorization::Deny
        } else {
            Authorization::Allow
        }
    }))?;
    let seen = watch.clone();
    connection.update_hook(Some(move |action: Action, _: &str, _: &str, row: i64| {
        if row == i64::MAX && action != Action::SQLITE_DELETE {
            seen.highest_row.store(true, Ordering::Relaxed);
        }
    }))?;
    let seen = watch.clone();
    let steps = i32::try_from(SQL_STEPS_MAX).unwrap_or(i32::MAX);
    connection.progress_handler(steps, Some(move || seen.limited.load(Ordering::Relaxed)))?;
    let longest = i32::try_from(SQL_VALUE_BYTES_MAX).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    for name in FORBIDDEN {
        let text = differs(name);
        connection.create_scalar_function(
            *name,
            -1,
            FunctionFlags::SQLITE_UTF8,
            move |_| -> rusqlite::Result<i64> {
                Err(rusqlite::Error::UserFunctionError(text.clone().into()))
            },
        )?;
    }
    let seen = watch.clone();
    connection.create_scalar_function("entry_time", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        Ok(seen.entry_time.load(Ordering::Relaxed))
    })
}

fn refused(action: &AuthAction<'_>) -> bool {
    let own = |table: &str| table.starts_with(OWN_PREFIX);
    match action {
        AuthAction::Function { function_name } => !is_allowed(function_name),
        AuthAction::Read {
            table_name,
            column_name,
        } => own(table_name) || is_local(table_name) || *column_name == "rootpage",
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::CreateTable { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::AlterTable { table_name, .. } => own(table_name),
        AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::Reindex { .. }
        | AuthAction::Recursive
        | AuthAction::Select => false,
        // Pragmas, attachments, transactions, temporary and virtual tables, statistics, and
        // whatever a later SQLite adds.
        _ => true,
    }
}

fn is_allowed(function: &str) -> bool {
    let name = function.to_ascii_lowercase();
    ALLOWED.binary_search(&name.as_str()).is_ok()
        || INTERNAL.iter().any(|prefix| name.starts_with(prefix))
}

fn is_local(table: &str) -> bool {
    let name = table.to_ascii_lowercase();
    LOCAL_TABLES.contains(&name.as_str()) || name.starts_with("pragma_")
}

fn differs(name: &str) -> String {
    format!(
        "{name} gives another result on every server; bind the value instead, \
         or use entry_time() for the time of the entry in Unix milliseconds"
    )
}

/// The text of a failed statement, with the reason when a guard refused it.
pub fn explain(error: &rusqlite::Error) -> String {
    let text = error.to_string();
    let code = error.sqlite_error_code();
    if code == Some(ErrorCode::OperationInterrupted) {
        return format!(
            "the statement needs more than {SQL_STEPS_MAX} steps; divide it, or give it an index"
        );
    }
    let refused =
        code == Some(ErrorCode::AuthorizationForStatementDenied) || text.contains("not authorized");
    if refused {
        format!(
            "{text}: statements run on every server and must give the same result; \
                 bind times and random values as arguments, and leave transactions, pragmas, \
                 attachments, temporary and virtual tables to the store"
        )
    } else {
        text
    }
}

/// Whether an error is this server's own (its disk, its memory) and not the statement's: then the
/// server must stop, because the others did not have it.
pub fn is_ours(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::OutOfMemory
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::InternalMalfunction
                | ErrorCode::NoLargeFileSupport
                | ErrorCode::PermissionDenied
        )
    )
}

/// Refuses a statement that names something forbidden outside of strings and comments.
pub fn check_text(sql: &str) -> Result<(), String> {
    // Also inside of strings: the applier's own statements wait in the cache of prepared ones,
    // where the authorizer is not asked again.
    if sql.to_ascii_lowercase().contains(OWN_PREFIX) {
        return Err(format!("names beginning with {OWN_PREFIX} are the store's"));
    }
    let bytes = sql.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => at = behind(bytes, at + 1, &[quote]),
            b'[' => at = behind(bytes, at + 1, b"]"),
            b'-' if bytes[at..].starts_with(b"--") => at = behind(bytes, at + 2, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => at = behind(bytes, at + 2, b"*/"),
            first if first.is_ascii_alphabetic() || first == b'_' => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|byte| is_name(**byte))
                    .count();
                let name = sql[at..at + length].to_ascii_lowercase();
                at += length;
                let called = sql[at..].trim_start().starts_with('(');
                let name = name.as_str();
                if name == "deferred" {
                    return Err("checks that wait for COMMIT are refused".into());
                }
                if BARE.contains(&name) || (called && FORBIDDEN.contains(&name)) {
                    return Err(differs(name));
                }
            }
            _ => at += 1,
        }
    }
    Ok(())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The place behind the next occurrence of `end`.
fn behind(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let found = bytes[from.min(bytes.len())..]
        .windows(end.len())
        .position(|part| part == end);
    found.map_or(bytes.len(), |position| from + position + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_names_are_found_where_they_count() {
        assert!(ALLOWED.is_sorted());
        for bad in [
            "INSERT INTO t VALUES (random())",
            "CREATE TABLE t (at TEXT DEFAULT CURRENT_TIMESTAMP)",
            "UPDATE t SET at = datetime ('now')",
            "select 'a''b', RANDOMBLOB(1)",
            "CREATE TABLE t (a REFERENCES u INITIALLY DEFERRED)",
            "DELETE FROM \"_RaftPBX_state\"",
        ] {
            assert!(check_text(bad).is_err(), "{bad}");
        }
        for good in [
            "INSERT INTO t VALUES ('random()')",
            "CREATE TABLE t (date TEXT, time TEXT)",
            "SELECT a -- random()\n FROM t",
            "SELECT /* now() random() */ \"current_date\" FROM t",
            "INSERT INTO t (random_number) VALUES (1)",
            "SELECT 'unterminated",
        ] {
            assert!(check_text(good).is_ok(), "{good}");
        }
    }
}
