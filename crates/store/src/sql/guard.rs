//! What statements of requests may not do, because servers would then differ from each other.
//!
//! Two nets: the authorizer refuses functions, pragmas, attachments and transactions while a
//! statement is prepared; the text check also finds names the authorizer is not asked about, for
//! example `CURRENT_TIMESTAMP` as the default of a column.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Functions whose result depends on the moment, the connection or chance.
const FUNCTIONS: &[&str] = &[
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
];

/// Names that mean a function even without parentheses.
const BARE: &[&str] = &["current_timestamp", "current_date", "current_time"];

/// Tables that belong to the applier.
const OWN_PREFIX: &str = "_raftpbx_";

/// Watches every statement that is prepared while `foreign` is set.
pub fn install(connection: &mut Connection, foreign: Arc<AtomicBool>) -> rusqlite::Result<()> {
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if foreign.load(Ordering::Relaxed) && refused(&context.action) {
            Authorization::Deny
        } else {
            Authorization::Allow
        }
    }))
}

fn refused(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Function { function_name } => FUNCTIONS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(function_name)),
        AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::Pragma { .. }
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. } => true,
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::AlterTable { table_name, .. } => table_name.starts_with(OWN_PREFIX),
        _ => false,
    }
}

/// The text of a failed statement, with the reason when the authorizer refused it.
pub fn explain(error: &rusqlite::Error) -> String {
    let text = error.to_string();
    let refused = error.sqlite_error_code()
        == Some(rusqlite::ErrorCode::AuthorizationForStatementDenied)
        || text.contains("not authorized");
    if refused {
        format!(
            "{text}: statements run on every server and must give the same result; \
                 bind times and random values as arguments, and leave transactions, pragmas and \
                 attachments to the store"
        )
    } else {
        text
    }
}

/// Refuses a statement that names a forbidden function outside of strings and comments.
pub fn check_text(sql: &str) -> Result<(), String> {
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
                if BARE.contains(&name) || (called && FUNCTIONS.contains(&name)) {
                    return Err(format!(
                        "{name} gives another result on every server; bind the value instead"
                    ));
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
    use super::check_text;

    #[test]
    fn forbidden_names_are_found_where_they_count() {
        for bad in [
            "INSERT INTO t VALUES (random())",
            "CREATE TABLE t (at TEXT DEFAULT CURRENT_TIMESTAMP)",
            "UPDATE t SET at = datetime ('now')",
            "select 'a''b', RANDOMBLOB(1)",
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
