//! Snapshots: what is written is read back, and damage is noticed.

use bytes::Bytes;

use super::*;
use crate::keyspace::Effects;
use crate::reply::Reply;

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

struct Bench {
    directory: tempfile::TempDir,
    database: Database,
    snapshots: Snapshots,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(&directory.path().join("a.db")).expect("opens");
        let snapshots = Snapshots::open(&directory.path().join("snapshots")).expect("opens");
        Self {
            directory,
            database,
            snapshots,
        }
    }

    fn write(&self, index: u64, lines: &[&str]) -> SnapshotFile {
        let mut space = Keyspace::default();
        space.advance(1_000, &mut Effects::default());
        for line in lines {
            space.apply(&words(line), &mut Effects::default());
        }
        let mut origins = Origins::default();
        origins.begin(7, 1, 1, index);
        origins.keep(7, &Reply::Int(5));
        let frozen = Frozen {
            dump: space.dump(),
            origins,
            index,
            raft: vec![1, 2, 3],
            sql_index: self.database.applied(),
        };
        self.snapshots
            .write(&frozen, &self.database)
            .expect("written")
    }
}

#[test]
fn a_snapshot_is_read_back_whole() {
    let bench = Bench::new();
    let lines = ["SET a 1 PX 500", "HSET h f v", "ZADD z 1.5 m", "SADD s x y"];
    let written = bench.write(42, &lines);
    let loaded = bench.snapshots.load(&written).expect("readable");
    assert_eq!(
        (loaded.head.index, loaded.head.raft.as_slice()),
        (42, &[1u8, 2, 3][..])
    );
    assert_eq!(loaded.space.clock_ms(), 1_000);
    assert_eq!(loaded.space.read(&words("PTTL a")), Reply::Int(500));
    assert_eq!(loaded.space.read(&words("ZSCORE z m")), Reply::Double(1.5));
    assert_eq!(loaded.space.len(), 4);
    loaded
        .restore_sql(&bench.database)
        .expect("nothing to restore");
}

#[test]
fn only_the_newest_is_kept_and_leftovers_are_removed() {
    let bench = Bench::new();
    bench.write(1, &["SET a 1"]);
    bench.write(9, &["SET a 2"]);
    let directory = bench.directory.path().join("snapshots");
    std::fs::write(directory.join("5.partial"), b"half").expect("written");
    let again = Snapshots::open(&directory).expect("opens");
    let names: Vec<_> = std::fs::read_dir(&directory).expect("readable").collect();
    assert_eq!(names.len(), 1);
    let newest = again.newest().expect("readable").expect("there is one");
    assert_eq!(verify(&newest.path).expect("whole").index, 9);
}

#[test]
fn damage_anywhere_is_noticed() {
    let bench = Bench::new();
    let path = bench.write(1, &["SET a 1"]).path;
    let whole = std::fs::read(&path).expect("readable");
    for at in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        std::fs::write(&path, flipped).expect("written");
        assert!(verify(&path).is_err(), "byte {at}");
    }
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    assert!(verify(&path).is_err());
    std::fs::write(&path, b"").expect("written");
    assert!(verify(&path).is_err());
}

#[test]
fn an_sqlite_file_that_came_with_a_snapshot_takes_its_place_even_after_a_crash() {
    let (source, target) = (Bench::new(), Bench::new());
    let table = words("SQL.MIGRATE 1 CREATE");
    let table = [
        table[0].clone(),
        table[1].clone(),
        Bytes::from("CREATE TABLE t (a)"),
    ];
    let ask = crate::sql::Ask {
        index: 7,
        position: 0,
        clock_ms: 0,
    };
    let migrate = crate::keyspace::Sql::Migrate;
    let outcome = source.database.run(ask, &[(migrate, table.as_slice())]);
    assert_eq!(outcome, Ok(vec![Reply::Int(1)]));
    source.database.commit().expect("committed");
    let mut sent = source.write(9, &["SET a 1"]);
    assert_eq!(verify(&sent.path).expect("whole").sql_index, 7);
    let copied = source
        .snapshots
        .copy_sqlite(&source.database)
        .expect("copied");

    let (state, sqlite) = target.snapshots.incoming();
    std::fs::copy(&sent.path, &state).expect("received");
    std::io::copy(
        &mut copied.file.as_ref(),
        &mut File::create(&sqlite).expect("created"),
    )
    .expect("received");
    sent = target
        .snapshots
        .publish(&state, Some(&sqlite), 9)
        .expect("published");
    // A crash here: the next start finds both.
    let again = Snapshots::open(&target.directory.path().join("snapshots")).expect("opens");
    for _ in 0..2 {
        let loaded = again.load(&sent).expect("readable");
        loaded.restore_sql(&target.database).expect("replaced");
        assert_eq!(target.database.applied(), 7);
    }
    assert!(target.database.query("SELECT a FROM t", &[]).is_ok());
    // Without the file the node says so instead of going on with half of the state.
    let lost = Bench::new();
    let loaded = lost.snapshots.load(&sent).expect("readable");
    assert!(loaded.restore_sql(&lost.database).is_err());
}
