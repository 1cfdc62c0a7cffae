//! A backup of a busy cluster becomes a new cluster, which has what was acknowledged before it.

mod support;

use raftpbx_store::backup::{Restore, RestoreConfig};
use support::{Cluster, bulk, execute, request, until, words};

async fn take(cluster: &Cluster, id: u64) -> Vec<u8> {
    let mut backup = cluster.nodes[&id].backup().expect("begun");
    let mut bytes = Vec::new();
    while let Some(piece) = backup.next().await {
        bytes.extend_from_slice(&piece.expect("readable"));
    }
    bytes
}

fn restore(cluster: &Cluster, id: u64, bytes: &[u8], replace: bool) -> Result<u64, String> {
    let config = &cluster.configs[&id];
    let begun = Restore::begin(RestoreConfig {
        directory: config.directory.clone(),
        peers: config.peers.clone(),
        replace,
    });
    let mut restore = begun.map_err(|error| error.to_string())?;
    for piece in bytes.chunks(10_000) {
        restore.feed(piece).map_err(|error| error.to_string())?;
    }
    let (head, _, _) = restore.finish().map_err(|error| error.to_string())?;
    Ok(head.index)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_of_a_follower_becomes_a_new_cluster() {
    let mut cluster = Cluster::start().await;
    let follower = cluster.follower().await;
    let store = cluster.nodes[&follower].clone();
    let table = words(&["SQL.MIGRATE", "1", "CREATE TABLE t (a)"]);
    store.execute(vec![table]).await.remove(0).expect("applied");
    for number in 0..200 {
        let insert = words(&[
            "SQL.EXEC",
            "INSERT INTO t VALUES (?1)",
            &format!("[{number}]"),
        ]);
        let set = request(&format!("SET key:{number} {number}"));
        let both = vec![[insert, set].concat()];
        store.execute(both).await.remove(0).expect("applied");
    }
    // A follower gives what it has applied, which is a moment behind what was acknowledged.
    cluster
        .until_read(follower, "GET key:199", &bulk("199"))
        .await;
    // Writes go on meanwhile; what comes after the moment of the backup is not in it.
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..200 {
                execute(&store, &format!("SET late:{number} x"))
                    .await
                    .expect("written");
            }
        })
    };
    let bytes = take(&cluster, follower).await;
    writer.await.expect("no panic");
    let running = restore(&cluster, follower, &bytes, true).expect_err("it runs");
    assert!(running.starts_with("PBX_RESTORE_RUNNING"), "{running}");
    drop(store);
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    let full = restore(&cluster, 1, &bytes, false).expect_err("not empty");
    assert!(full.starts_with("PBX_RESTORE_NOT_EMPTY"), "{full}");
    for id in 1..=3 {
        restore(&cluster, id, &bytes, true).expect("restored");
        cluster.open(id);
    }
    let leader = cluster.leader().await;
    let late: usize = {
        let store = &cluster.nodes[&leader];
        execute(store, "SET after 1")
            .await
            .expect("it takes writes");
        let rows = store
            .query("SELECT count(*) AS n FROM t", &[])
            .expect("readable");
        assert_eq!(rows[0]["n"], 200);
        store.count_prefix(b"late:")
    };
    for id in 1..=3 {
        cluster.until_read(id, "GET after", &bulk("1")).await;
        cluster.until_read(id, "GET key:199", &bulk("199")).await;
        let same = || cluster.nodes[&id].count_prefix(b"late:") == late;
        until("the same keys everywhere", same).await;
    }
    restart(&mut cluster).await;
}

/// The new cluster goes on after a restart like any other.
async fn restart(cluster: &mut Cluster) {
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    (1..=3).for_each(|id| cluster.open(id));
    cluster.leader().await;
    cluster.until_read(1, "GET after", &bulk("1")).await;
}
