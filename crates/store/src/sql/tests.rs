//! The SQL applier against replays, failures and statements that would make servers differ.

use super::*;
use crate::limits::{SQL_STATEMENTS_MAX, SQL_TABLES_FOLLOWED_MAX};
use serde_json::json;

fn command(words: &[&str]) -> Vec<Bytes> {
    words
        .iter()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

/// One request of one command.
fn run(database: &Database, index: u64, kind: Sql, command: &[Bytes]) -> Reply {
    let ask = Ask {
        index,
        position: 0,
        clock_ms: 1_700_000_000_123,
    };
    match database.run(ask, &[(kind, command)]) {
        Ok(mut replies) => replies.remove(0),
        Err(reply) => reply,
    }
}

struct Bench {
    directory: tempfile::TempDir,
    database: Database,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&directory.path().join("a.db")).expect("opens");
        let bench = Self {
            directory,
            database,
        };
        let schema = "CREATE TABLE users (name TEXT PRIMARY KEY, age INTEGER)";
        assert_eq!(
            bench.run(1, Sql::Migrate, &["SQL.MIGRATE", "1", schema]),
            Reply::Int(1)
        );
        bench.database.commit().expect("committed");
        bench
    }

    fn run(&self, index: u64, kind: Sql, words: &[&str]) -> Reply {
        run(&self.database, index, kind, &command(words))
    }

    fn exec(&self, index: u64, sql: &str, args: &str) -> Reply {
        self.run(index, Sql::Exec, &["SQL.EXEC", sql, args])
    }

    fn count(&self) -> Value {
        let rows = self
            .database
            .query("SELECT count(*) AS n FROM users", &[])
            .expect("readable");
        rows[0]["n"].clone()
    }
}

const INSERT: &str = "INSERT INTO users VALUES (?1, ?2)";

#[test]
fn a_replay_skips_what_the_file_has_and_repeats_its_replies() {
    let bench = Bench::new();
    assert_eq!(bench.exec(2, INSERT, r#"["ann", 7]"#), Reply::Int(1));
    let duplicate = bench.exec(3, INSERT, r#"["ann", 8]"#);
    assert!(duplicate.is_error());
    bench.database.commit().expect("committed");
    assert_eq!(bench.database.applied(), 3);

    let path = bench.directory.path().join("a.db");
    let again = Database::open(&path).expect("opens");
    assert_eq!(again.applied(), 3);
    let words = command(&["SQL.EXEC", INSERT, r#"["ann", 7]"#]);
    assert_eq!(run(&again, 2, Sql::Exec, &words), Reply::Int(1));
    assert_eq!(run(&again, 3, Sql::Exec, &words), duplicate);
    assert_eq!(
        run(
            &again,
            4,
            Sql::Exec,
            &command(&["SQL.EXEC", INSERT, r#"["bob", 1]"#])
        ),
        Reply::Int(1)
    );
    again.commit().expect("committed");
    assert_eq!(bench.count(), json!(2));
}

#[test]
fn what_was_not_committed_is_applied_again_after_a_crash() {
    let bench = Bench::new();
    assert_eq!(bench.exec(2, INSERT, r#"["ann", 7]"#), Reply::Int(1));
    let path = bench.directory.path().join("a.db");
    drop(bench.database);
    let again = Database::open(&path).expect("opens");
    assert_eq!(again.applied(), 1);
    let words = command(&["SQL.EXEC", INSERT, r#"["ann", 7]"#]);
    assert_eq!(run(&again, 2, Sql::Exec, &words), Reply::Int(1));
}

#[test]
fn a_failing_statement_changes_nothing_of_itself() {
    let bench = Bench::new();
    assert_eq!(bench.exec(2, INSERT, r#"["ann", 7]"#), Reply::Int(1));
    let both = "INSERT INTO users VALUES ('bob', 1), ('ann', 2)";
    assert!(bench.exec(3, both, "[]").is_error());
    let half = "CREATE TABLE a (x); CREATE TABLE a (x)";
    assert!(
        bench
            .run(4, Sql::Migrate, &["SQL.MIGRATE", "2", half])
            .is_error()
    );
    assert_eq!(bench.exec(5, INSERT, r#"["cid", null]"#), Reply::Int(1));
    bench.database.commit().expect("committed");
    assert_eq!(bench.count(), json!(2));
    assert!(bench.database.query("SELECT * FROM a", &[]).is_err());
}

#[test]
fn migrations_are_applied_once_and_in_order() {
    let bench = Bench::new();
    let add = "ALTER TABLE users ADD COLUMN mail TEXT";
    assert_eq!(
        bench.run(2, Sql::Migrate, &["SQL.MIGRATE", "1", add]),
        Reply::Int(0)
    );
    assert!(
        bench
            .run(3, Sql::Migrate, &["SQL.MIGRATE", "3", add])
            .is_error()
    );
    assert_eq!(
        bench.run(4, Sql::Migrate, &["SQL.MIGRATE", "2", add]),
        Reply::Int(1)
    );
    assert_eq!(
        bench.run(5, Sql::Migrate, &["SQL.MIGRATE", "2", add]),
        Reply::Int(0)
    );
}

#[test]
fn statements_that_would_make_servers_differ_are_refused() {
    let bench = Bench::new();
    for sql in [
        "INSERT INTO users VALUES ('x', random())",
        "INSERT INTO users VALUES (datetime('now'), 1)",
        "INSERT INTO users VALUES (CURRENT_TIMESTAMP, 1)",
        "INSERT INTO users VALUES ('x', \"random\"())",
        "PRAGMA user_version = 3",
        "ATTACH ':memory:' AS other",
        "COMMIT",
        "BEGIN",
        "DELETE FROM _raftpbx_state",
        "SELECT 1",
        "not sql",
    ] {
        let reply = bench.exec(2, sql, "[]");
        assert!(reply.is_error(), "{sql}: {reply:?}");
    }
    assert!(bench.exec(2, INSERT, r#"{"not": "an array"}"#).is_error());
    assert!(bench.exec(2, INSERT, r#"[["nested"], 1]"#).is_error());
    assert!(bench.exec(2, INSERT, r#"["too few"]"#).is_error());
    assert_eq!(bench.exec(3, INSERT, r#"["ann", 1.5]"#), Reply::Int(1));
    bench
        .database
        .commit()
        .expect("the transaction is still ours");
    assert_eq!(bench.count(), json!(1));
}

#[test]
fn readers_cannot_write_and_see_committed_rows() {
    let bench = Bench::new();
    bench.exec(2, INSERT, r#"["ann", 7]"#);
    assert_eq!(bench.count(), json!(0));
    bench.database.commit().expect("committed");
    let rows = bench
        .database
        .query("SELECT * FROM users WHERE name = ?1", &[json!("ann")]);
    assert_eq!(
        rows.expect("readable"),
        vec![
            json!({"name": "ann", "age": 7})
                .as_object()
                .expect("an object")
                .clone()
        ]
    );
    assert!(bench.database.query("DELETE FROM users", &[]).is_err());
    let reply = bench.run(3, Sql::Query, &["SQL.QUERY", "SELECT age FROM users"]);
    assert_eq!(reply, Reply::text(r#"[{"age":7}]"#));
}

#[test]
fn a_copy_replaces_another_file() {
    let (one, two) = (Bench::new(), Bench::new());
    one.exec(9, INSERT, r#"["ann", 7]"#);
    one.database.commit().expect("committed");
    let copy = one.directory.path().join("copy.db");
    let moment = one
        .database
        .ready()
        .and_then(|ready| ready.look())
        .expect("looked");
    one.exec(10, INSERT, r#"["later", 7]"#);
    one.database.commit().expect("committed");
    let size = moment.bytes().expect("known");
    moment
        .copy_to(&copy, &mut crate::snapshot::Pace::default())
        .expect("copied");
    assert_eq!(
        (
            moment.applied,
            std::fs::metadata(&copy).expect("there").len()
        ),
        (9, size)
    );
    assert_eq!(applied_in(&copy).expect("readable"), 9);
    two.database.replace(&copy).expect("replaced");
    assert_eq!(two.database.applied(), 9);
    assert_eq!(two.count(), json!(1));
}

fn number(of: &Arc<AtomicU64>) -> u64 {
    of.load(Ordering::Acquire)
}

#[test]
fn the_number_of_a_table_grows_with_what_writes_it_and_with_nothing_else() {
    let bench = Bench::new();
    let users = bench.database.follow("users").expect("room");
    let calls = "CREATE TABLE calls (id TEXT PRIMARY KEY) WITHOUT ROWID;
                 CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID";
    bench.run(2, Sql::Migrate, &["SQL.MIGRATE", "2", calls]);
    bench.database.commit().expect("committed");
    let mut seen = number(&users);
    assert_eq!(seen, 1, "a migration may change everything");
    let mut index = 2;
    let mut grows = |sql: &str, args: &str| {
        index += 1;
        bench.exec(index, sql, args);
        assert_eq!(number(&users), seen, "not before it can be read");
        bench.database.commit().expect("committed");
        let grew = number(&users) > seen;
        seen = number(&users);
        grew
    };
    let call = "INSERT INTO calls VALUES (?1)";
    assert!(!grows(call, r#"["a"]"#));
    assert!(!grows(call, r#"["b"]"#), "as a statement that is kept");
    assert!(grows(INSERT, r#"["ann", 7]"#));
    assert!(
        grows(INSERT, r#"["bob", 7]"#),
        "as a statement that is kept"
    );
    assert!(grows("DELETE FROM users", "[]"));
    // What is written by others: the authorizer is told of them, too.
    let trigger = "CREATE TRIGGER copies AFTER INSERT ON calls BEGIN
                   INSERT INTO users VALUES (new.id, 1); END";
    assert!(grows(trigger, "[]"), "a new schema may change everything");
    assert!(grows(call, r#"["c"]"#));
    assert!(grows("DROP TRIGGER copies", "[]"));
    assert!(!grows(call, r#"["d"]"#));
    // More statements than are kept: what is forgotten of one is asked of SQLite again.
    for turn in 0..2 * SQL_STATEMENTS_MAX {
        assert!(!grows(
            &format!("INSERT INTO names VALUES (?1 || {turn})"),
            r#"["n"]"#
        ));
    }
    assert!(!grows(call, r#"["e"]"#));
    assert!(grows(INSERT, r#"["eve", 7]"#));
}

#[test]
fn the_number_of_a_table_grows_when_the_file_is_replaced() {
    let bench = Bench::new();
    bench.exec(2, INSERT, r#"["ann", 7]"#);
    bench.database.commit().expect("committed");
    let users = bench.database.follow("users").expect("room");
    let other = Bench::new();
    other.exec(2, INSERT, r#"["bob", 7]"#);
    other.exec(3, INSERT, r#"["eve", 7]"#);
    other.database.commit().expect("committed");
    other.database.checkpoint().expect("moved to the file");
    assert_eq!(bench.count(), json!(1));
    bench
        .database
        .replace(&other.directory.path().join("a.db"))
        .expect("replaced");
    assert_eq!((number(&users), bench.count()), (1, json!(2)));
    // A statement that was kept for the old file says nothing about the new one.
    bench.exec(4, INSERT, r#"["ann", 7]"#);
    bench.database.commit().expect("committed");
    assert_eq!(number(&users), 2);
}

#[test]
fn only_so_many_tables_are_followed() {
    let bench = Bench::new();
    let follow = |turn: usize| bench.database.follow(&format!("t{turn}"));
    assert!((0..SQL_TABLES_FOLLOWED_MAX).all(|turn| follow(turn).is_some()));
    assert!(follow(SQL_TABLES_FOLLOWED_MAX).is_none());
    assert!(follow(0).is_some(), "one that is followed already");
}
