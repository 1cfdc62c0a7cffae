//! Statements that would make servers differ, from every corner of the language, and statements
//! that would take the applier down.

use serde_json::json;

use super::*;
use crate::limits::SQL_STEPS_MAX;

struct Bench {
    _directory: tempfile::TempDir,
    database: Database,
    index: std::cell::Cell<u64>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&directory.path().join("a.db")).expect("opens");
        let bench = Self {
            _directory: directory,
            database,
            index: std::cell::Cell::new(0),
        };
        let table = "CREATE TABLE t (a UNIQUE, b); CREATE TABLE n (i INTEGER PRIMARY KEY)";
        assert_eq!(bench.migrate("1", table), Ok(vec![Reply::Int(1)]));
        bench
    }

    fn request(&self, commands: &[(Sql, Vec<Bytes>)]) -> Outcome {
        let ask = Ask {
            index: self.index.replace(self.index.get() + 1) + 1,
            position: 0,
            clock_ms: 42,
        };
        let commands: Vec<_> = commands
            .iter()
            .map(|(kind, words)| (*kind, words.as_slice()))
            .collect();
        self.database.run(ask, &commands)
    }

    fn migrate(&self, version: &str, sql: &str) -> Outcome {
        let words = ["SQL.MIGRATE", version, sql].map(|word| Bytes::from(word.to_owned()));
        self.request(&[(Sql::Migrate, words.to_vec())])
    }

    fn exec(&self, sql: &str) -> Outcome {
        self.request(&[exec(sql)])
    }

    fn rows(&self, sql: &str) -> serde_json::Value {
        self.database
            .commit()
            .expect("the transaction is still ours");
        json!(self.database.query(sql, &[]).expect("readable"))
    }
}

fn exec(sql: &str) -> (Sql, Vec<Bytes>) {
    let words = ["SQL.EXEC", sql].map(|word| Bytes::from(word.to_owned()));
    (Sql::Exec, words.to_vec())
}

#[test]
fn nothing_that_differs_between_servers_gets_through() {
    let bench = Bench::new();
    for sql in [
        "INSERT INTO t SELECT 1, b FROM t ORDER BY random()",
        "INSERT INTO t VALUES (\"random\"(), 1)",
        "INSERT INTO t VALUES ([randomblob](4), 1)",
        "INSERT INTO t VALUES (random/**/(), 1)",
        "INSERT INTO t VALUES (1, strftime('%s'))",
        "INSERT INTO t VALUES (1, `unixepoch`('subsec'))",
        "INSERT INTO t VALUES (1, last_insert_rowid())",
        "INSERT INTO t VALUES (1, changes())",
        "INSERT INTO t VALUES (1, sqlite_version())",
        "INSERT INTO t VALUES (1, sqlite_source_id())",
        "INSERT INTO t SELECT pgno, pageno FROM dbstat",
        "INSERT INTO t SELECT 1, rootpage FROM sqlite_master",
        "INSERT INTO t SELECT 1, name FROM pragma_table_info('t')",
        "INSERT INTO t SELECT entry, 1 FROM _raftpbx_outcomes",
        "INSERT INTO t SELECT 1, value FROM \"_raftpbx_state\"",
        "CREATE TEMP TABLE x (a)",
        "CREATE TABLE temp.x (a)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
        "CREATE TABLE x (a REFERENCES t DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE _raftpbx_x (a)",
        "CREATE TABLE x (a DEFAULT (random()))",
        "PRAGMA case_sensitive_like = ON",
        "PRAGMA defer_foreign_keys = ON",
        "ATTACH ':memory:' AS x",
        "VACUUM",
        "ANALYZE",
        "SAVEPOINT x",
        "ROLLBACK",
        "SELECT load_extension('x')",
        "INSERT INTO n VALUES (9223372036854775807)",
        "INSERT INTO t VALUES (1, zeroblob(1000000000))",
    ] {
        let outcome = bench.exec(sql);
        assert!(outcome.is_err(), "{sql}: {outcome:?}");
    }
    assert_eq!(bench.rows("SELECT * FROM t"), json!([]));
    assert_eq!(bench.rows("SELECT * FROM n"), json!([]));
}

#[test]
fn what_hides_in_a_schema_fails_when_it_is_reached() {
    let bench = Bench::new();
    let schema = "
        CREATE TABLE d (a, b DEFAULT (\"random\"()));
        CREATE TABLE c (a CHECK (a > [random]()));
        CREATE TABLE e (a, at DEFAULT (entry_time()));";
    // Accepted or not: no row may ever hold what differs.
    let _ = bench.migrate("2", schema);
    let trigger = "CREATE TRIGGER g AFTER INSERT ON t BEGIN
        UPDATE t SET b = \"datetime\"('now') WHERE a = new.a; END";
    let _ = bench.exec(trigger);
    assert!(bench.exec("INSERT INTO d (a) VALUES (1)").is_err());
    assert!(bench.exec("INSERT INTO c VALUES (1)").is_err());
    let _ = bench.exec("INSERT INTO t VALUES (1, 'unchanged')");
    let rows = bench.rows("SELECT b FROM t");
    assert!(
        rows == json!([]) || rows == json!([{"b": "unchanged"}]),
        "{rows}"
    );
}

#[test]
fn the_time_of_the_entry_is_at_hand() {
    let bench = Bench::new();
    assert_eq!(
        bench.exec("INSERT INTO t VALUES (1, entry_time())"),
        Ok(vec![Reply::Int(1)])
    );
    assert_eq!(bench.rows("SELECT b FROM t"), json!([{"b": 42}]));
}

/// A statement may end the whole transaction; what others did in it stays.
#[test]
fn a_statement_that_rolls_everything_back_takes_only_itself_away() {
    let bench = Bench::new();
    bench
        .exec("INSERT INTO t VALUES (1, 'one')")
        .expect("applied");
    bench
        .exec("INSERT INTO t VALUES (2, 'two')")
        .expect("applied");
    bench
        .exec("INSERT OR ROLLBACK INTO t VALUES (3, 'three'), (1, 'again')")
        .expect_err("the key is taken");
    bench
        .exec("INSERT INTO t VALUES (4, 'four')")
        .expect("applied");
    let endless = "WITH RECURSIVE r (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)
        INSERT INTO t SELECT x + 10, 'many' FROM r WHERE x < 0";
    let Err(Reply::Error(text)) = bench.exec(endless) else {
        panic!("an endless statement ended");
    };
    assert!(text.contains(&SQL_STEPS_MAX.to_string()), "{text}");
    bench
        .exec("UPDATE t SET b = 'more' WHERE a = 2")
        .expect("applied");
    let expected = json!([
        {"a": 1, "b": "one"}, {"a": 2, "b": "more"}, {"a": 4, "b": "four"}
    ]);
    assert_eq!(bench.rows("SELECT a, b FROM t ORDER BY a"), expected);
    assert_eq!(bench.database.applied(), bench.index.get());
}

#[test]
fn steps_of_many_small_runs_of_one_statement_do_not_add_up() {
    let bench = Bench::new();
    let insert = "INSERT OR REPLACE INTO t
        WITH RECURSIVE r (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r WHERE x < 20000)
        SELECT 1, count(*) FROM r";
    for _ in 0..40 {
        bench.exec(insert).expect("far below the limit");
    }
}

#[test]
fn a_request_is_all_or_nothing() {
    let bench = Bench::new();
    let both = [
        exec("INSERT INTO t VALUES (1, 1)"),
        exec("INSERT INTO t VALUES (1, 2)"),
    ];
    assert!(bench.request(&both).is_err());
    assert_eq!(bench.rows("SELECT * FROM t"), json!([]));
}

#[test]
fn a_local_read_that_takes_too_long_ends() {
    let bench = Bench::new();
    bench.database.commit().expect("committed");
    let endless = "WITH RECURSIVE r (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)
        SELECT count(*) FROM r";
    let error = bench
        .database
        .query(endless, &[])
        .expect_err("it has no end");
    assert!(error.to_string().contains("2s"), "{error}");
    assert!(bench.database.query("SELECT 1", &[]).is_ok());
}

#[test]
fn outcomes_are_forgotten_bit_by_bit() {
    let bench = Bench::new();
    for _ in 0..600 {
        bench.exec("UPDATE t SET b = 1").expect("applied");
    }
    let count = || bench.rows("SELECT count(*) AS n FROM _raftpbx_outcomes")[0]["n"].clone();
    assert_eq!(count(), json!(601));
    bench.database.forget(599);
    for left in [346, 91, 5] {
        bench.exec("UPDATE t SET b = 1").expect("applied");
        assert_eq!(count(), json!(left));
    }
}
