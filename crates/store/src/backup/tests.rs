//! Backups of a running node: what is read back, and what is refused.

use bytes::Bytes;

use super::*;
use crate::keyspace::Sql;
use crate::machine::Machine;
use crate::snapshot::Snapshots;
use crate::sql::{Ask, Database};

fn words(line: &str) -> Vec<Bytes> {
    let words = line.split(' ');
    words.map(|word| Bytes::from(word.to_owned())).collect()
}

/// A backup of two keys and a table, whole.
fn sample() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(&directory.path().join("a.db")).expect("opens");
    let table = ["SQL.MIGRATE", "1", "CREATE TABLE t (a)"].map(Bytes::from);
    let ask = Ask {
        index: 3,
        position: 0,
        clock_ms: 1,
    };
    database
        .run(ask, &[(Sql::Migrate, &table)])
        .expect("applied");
    database.commit().expect("committed");
    let machine = std::sync::Arc::new(Machine::new(database));
    let mut state = machine.state.write();
    for line in ["SET a 1", "ZADD z 1 m"] {
        let line = words(line);
        let spec = crate::keyspace::find(&line).expect("known");
        state
            .space
            .run(spec, &line, &mut crate::keyspace::Effects::default());
    }
    state.applied = 5;
    drop(state);
    let busy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let origin = || Origin {
        machine: machine.clone(),
        snapshots: Snapshots::open(&directory.path().join("snapshots")).expect("opens"),
        node: 2,
        term: 7,
        now_ms: 9,
        busy: std::sync::Arc::clone(&busy),
    };
    assert!(Backup::start(origin()).is_err(), "one at a time");
    busy.store(false, std::sync::atomic::Ordering::Release);
    let mut backup = Backup::start(origin()).expect("begun");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("built");
    let mut bytes = Vec::new();
    runtime.block_on(async {
        while let Some(piece) = backup.next().await {
            bytes.extend_from_slice(&piece.expect("readable"));
        }
    });
    bytes
}

fn read(bytes: &[u8], step: usize) -> Result<(Head, End), StoreError> {
    let mut reading = Reading::default();
    for piece in bytes.chunks(step) {
        reading.feed(piece, &mut |_| Ok(()))?;
    }
    reading.finish()
}

#[test]
fn a_backup_is_read_whatever_the_pieces_and_never_when_damaged() {
    let whole = sample();
    for step in [1, 7, 1 << 20] {
        let (head, end) = read(&whole, step).expect("whole");
        assert_eq!((head.index, head.node, head.term), (5, 2, 7));
        assert!(end.records >= 2 && end.sql_bytes > 0);
    }
    for cut in [0, 5, whole.len() / 2, whole.len() - 1] {
        assert!(read(&whole[..cut], 1 << 20).is_err(), "cut at {cut}");
    }
    for at in (0..whole.len()).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(read(&flipped, 1 << 20).is_err(), "byte {at}");
    }
    let mut more = whole.clone();
    more.extend_from_slice(&whole[8..]);
    assert!(read(&more, 1 << 20).is_err());
}

#[test]
fn a_restore_changes_nothing_unless_it_is_whole() {
    let whole = sample();
    let directory = tempfile::tempdir().expect("a directory");
    let config = |replace| RestoreConfig {
        directory: directory.path().to_owned(),
        peers: std::iter::once((
            1,
            crate::PeerAddress {
                name: String::new(),
                raft: "127.0.0.1:1".parse().expect("an address"),
                resp: None,
            },
        ))
        .collect(),
        replace,
    };
    let mut cut = Restore::begin(config(false)).expect("empty");
    let second = Restore::begin(config(false)).err().expect("in use");
    assert!(
        second.to_string().starts_with("PBX_RESTORE_RUNNING"),
        "{second}"
    );
    cut.feed(&whole[..whole.len() - 3]).expect("so far");
    let error = cut.finish().expect_err("cut");
    assert!(
        error.to_string().starts_with("PBX_BACKUP_DAMAGED"),
        "{error}"
    );
    let left = |name: &str| directory.path().join(name).exists();
    assert!(!left("restoring") && !left("state.db"));

    let mut restore = Restore::begin(config(false)).expect("still empty");
    restore.feed(&whole).expect("whole");
    let (head, _, aside) = restore.finish().expect("restored");
    assert_eq!((head.index, aside), (5, None));
    assert!(left("state.db") && !left("restoring"));
    let again = Restore::begin(config(false)).err().expect("not empty");
    assert!(
        again.to_string().starts_with("PBX_RESTORE_NOT_EMPTY"),
        "{again}"
    );
    let mut restore = Restore::begin(config(true)).expect("replaces");
    restore.feed(&whole).expect("whole");
    let (_, _, aside) = restore.finish().expect("restored");
    assert!(aside.expect("moved").join("state.db").exists());
    assert!(left("state.db"));
}
