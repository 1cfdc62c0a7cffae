//! A follower that was away too long is given a snapshot.

mod support;

use raftpbx_store::{Reply, Store, StoreError, StoreEvent, Tuning};
use support::{Cluster, bulk, command, execute, request, until, watch, words};

/// Three hundred entries and a table that live in the snapshot only.
async fn write_and_purge(cluster: &Cluster) {
    let leader = cluster.leader().await;
    let store = cluster.nodes[&leader].clone();
    let table = words(&["SQL.MIGRATE", "1", "CREATE TABLE t (a)"]);
    store.execute(vec![table]).await.remove(0).expect("applied");
    for number in 0..300 {
        // One at a time, so that each becomes an entry.
        execute(&store, &format!("SET key:{number} {number}"))
            .await
            .expect("written");
    }
    let insert = words(&["SQL.EXEC", "INSERT INTO t VALUES (?1)", "[7]"]);
    store
        .execute(vec![insert, request("DEL key:old")])
        .await
        .remove(0)
        .expect("applied");
    store.snapshot().await.expect("asked for");
    until("the log to be purged", || store.status().purged > 290).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lagging_follower_is_given_a_snapshot_and_its_watchers_start_anew() {
    let mut cluster = Cluster::prepare();
    cluster.tuning = Tuning {
        // Only the one that is asked for: while one is written, another is not begun.
        snapshot_entries: u64::MAX,
        entries_kept: 5,
        ..Tuning::default()
    };
    (1..=3).for_each(|id| cluster.open(id));
    let away = cluster.follower().await;
    execute(&cluster.nodes[&away], "SET key:old 1")
        .await
        .expect("written");
    cluster.until_read(away, "GET key:old", &bulk("1")).await;
    cluster.stop(away).await;
    write_and_purge(&cluster).await;

    cluster.open(away);
    let mut events = watch(&cluster.nodes[&away], "key:");
    cluster.until_read(away, "GET key:299", &bulk("299")).await;
    assert_eq!(
        cluster.nodes[&away].read(&command("EXISTS key:old")),
        Reply::Int(0)
    );
    until("the snapshot to show", || {
        cluster.nodes[&away].status().snapshot > 290
    })
    .await;
    let rows = cluster.nodes[&away]
        .query("SELECT a FROM t", &[])
        .expect("readable");
    assert_eq!(rows[0]["a"], 7);
    // Whatever the watcher was told before, in the end it knows the 300 keys and no other.
    let mut known = std::collections::BTreeSet::new();
    while known.len() != 300 {
        match support::next_event(&mut events).await {
            StoreEvent::Reset => known.clear(),
            StoreEvent::Changed(changes) => {
                for change in changes {
                    match change.value {
                        Some(_) => known.insert(change.key),
                        None => known.remove(&change.key),
                    };
                }
            }
            _ => {}
        }
    }
    // The node goes on from the snapshot, also after another start.
    execute(&cluster.nodes[&away], "SET key:299 new")
        .await
        .expect("written");
    cluster.stop(away).await;
    cluster.open(away);
    cluster.until_read(away, "GET key:299", &bulk("new")).await;
    assert_eq!(cluster.nodes[&away].count_prefix(b"key:"), 300);
}

/// A metric of a node without labels.
fn metric(store: &Store, name: &str) -> u64 {
    let text = store.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok())
        .expect("a metric")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_that_fills_the_memory_holds_writes_until_a_snapshot() {
    const LOG_BYTES_MAX: u64 = 64 << 10;
    let mut cluster = Cluster::prepare();
    cluster.tuning = Tuning {
        snapshot_entries: u64::MAX,
        snapshot_bytes: u64::MAX,
        bytes_kept: 0,
        log_bytes_max: LOG_BYTES_MAX,
        ..Tuning::default()
    };
    (1..=3).for_each(|id| cluster.open(id));
    let leader = cluster.leader().await;
    let store = cluster.nodes[&leader].clone();
    let value = "v".repeat(4 << 10);
    let set = words(&["SET", "key", &value]);
    let mut written: u32 = 0;
    let refused = loop {
        match store.execute(vec![set.clone()]).await.remove(0) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Unavailable { .. }));
    assert_eq!(written, 16, "the bound is what it says");
    assert!(metric(&store, "raftpbx_store_log_full_total") > 0);
    for node in cluster.nodes.values() {
        node.snapshot().await.expect("asked for");
    }
    until("the log to be purged", || store.status().log_bytes == 0).await;
    let again = store.execute(vec![set]).await.remove(0);
    assert_eq!(again.expect("written"), Reply::Ok);
}
