//! Disks that fail under running nodes: nothing acknowledged is lost, and nodes come back healed.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raftpbx_store::disk::{Disk, SimulatedDisk};
use raftpbx_store::{Reply, Store, Tuning};
use support::{Cluster, bulk, command, execute, until};

/// A cluster whose logs are on simulated disks.
struct Faulty {
    cluster: Cluster,
    disks: BTreeMap<u64, SimulatedDisk>,
}

impl Faulty {
    async fn start() -> Faulty {
        Self::start_tuned(Tuning::default()).await
    }

    async fn start_tuned(tuning: Tuning) -> Faulty {
        let mut cluster = Cluster::prepare();
        cluster.tuning = tuning;
        let disks = (1..=3).map(|id| (id, SimulatedDisk::new(id))).collect();
        let mut faulty = Faulty { cluster, disks };
        (1..=3).for_each(|id| faulty.open(id));
        faulty.cluster.leader().await;
        faulty
    }

    fn open(&mut self, id: u64) {
        let config = self.cluster.configs[&id].clone();
        let runtime = tokio::runtime::Handle::current();
        let disk = Arc::new(self.disks[&id].clone());
        let store = Store::open_on(config, runtime, self.cluster.tuning, disk);
        self.cluster
            .nodes
            .insert(id, store.expect("the node starts"));
    }

    async fn stop(&mut self, id: u64) {
        self.cluster.stop(id).await;
    }

    fn node(&self, id: u64) -> &Store {
        &self.cluster.nodes[&id]
    }

    fn disk(&self, id: u64) -> &SimulatedDisk {
        &self.disks[&id]
    }

    fn log(&self, id: u64) -> PathBuf {
        self.cluster.configs[&id].directory.join("log")
    }

    fn others(&self, id: u64) -> Vec<u64> {
        (1..=3).filter(|other| *other != id).collect()
    }

    async fn leader_other_than(&self, id: u64) -> u64 {
        let mut found = None;
        until("another leader", || {
            let leading = |other: &u64| self.node(*other).status().leading;
            found = self.others(id).into_iter().find(leading);
            found.is_some()
        })
        .await;
        found.expect("waited for it")
    }

    fn alarms(&self, id: u64) -> Vec<&'static str> {
        let alarms = self.node(id).status().alarms;
        alarms.into_iter().map(|alarm| alarm.code).collect()
    }

    async fn until_alarm(&self, id: u64, code: &'static str, raised: bool) {
        until(code, || self.alarms(id).contains(&code) == raised).await;
    }

    /// Sets keys one after the other through a node; every one is acknowledged.
    async fn write(&self, through: u64, keys: std::ops::Range<u32>) {
        for key in keys {
            let written = execute(self.node(through), &format!("SET key:{key} {key}")).await;
            assert_eq!(written.expect("acknowledged"), Reply::Ok);
        }
    }

    async fn until_all_are_at(&self, id: u64, keys: u32) {
        for key in 0..keys {
            let line = format!("GET key:{key}");
            let expected = bulk(&key.to_string());
            self.cluster.until_read(id, &line, &expected).await;
        }
    }
}

fn segments(disk: &SimulatedDisk, log: &Path) -> Vec<PathBuf> {
    let names = disk.names(log).expect("readable");
    let segments = names.iter().filter(|name| name.ends_with(".wal"));
    segments.map(|name| log.join(name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_whose_flush_fails_is_replaced_and_comes_back() {
    let mut faulty = Faulty::start().await;
    let leader = faulty.cluster.leader().await;
    let witness = faulty.others(leader)[0];
    faulty.write(witness, 0..50).await;
    faulty.disk(leader).fail_syncs(true);
    // Held through the election, if it is the one that meets the failure.
    let outcome = execute(faulty.node(witness), "SET probe 1").await;
    faulty.leader_other_than(leader).await;
    faulty
        .until_alarm(leader, "PBX_STORE_DISK_FAILED", true)
        .await;
    assert_eq!(
        faulty
            .node(leader)
            .lease()
            .load(std::sync::atomic::Ordering::Acquire),
        0
    );
    faulty.write(witness, 50..100).await;
    faulty.until_all_are_at(witness, 100).await;
    // The disk works again, but a failed flush is never trusted: only a start helps.
    faulty.disk(leader).fail_syncs(false);
    assert!(faulty.alarms(leader).contains(&"PBX_STORE_DISK_FAILED"));
    faulty.stop(leader).await;
    faulty.disk(leader).lose_power();
    faulty.open(leader);
    faulty.until_all_are_at(leader, 100).await;
    if outcome.is_ok() {
        faulty
            .cluster
            .until_read(leader, "GET probe", &bulk("1"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_on_a_read_only_disk_stops_and_the_others_go_on() {
    let mut faulty = Faulty::start().await;
    let follower = faulty.cluster.follower().await;
    let leader = faulty.cluster.leader().await;
    faulty.write(leader, 0..5).await;
    faulty.disk(follower).set_read_only(true);
    faulty.write(leader, 5..20).await;
    faulty
        .until_alarm(follower, "PBX_STORE_DISK_FAILED", true)
        .await;
    let alarm = &faulty.node(follower).status().alarms[0];
    assert!(
        alarm.text.contains("Read-only file system"),
        "{}",
        alarm.text
    );
    faulty.disk(follower).set_read_only(false);
    faulty.stop(follower).await;
    faulty.open(follower);
    faulty.until_all_are_at(follower, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flipped_bit_in_the_middle_of_the_log_is_healed_from_the_others() {
    let mut faulty = Faulty::start().await;
    let damaged = faulty.cluster.follower().await;
    let leader = faulty.cluster.leader().await;
    faulty.write(leader, 0..100).await;
    faulty.until_all_are_at(damaged, 100).await;
    faulty.stop(damaged).await;
    let path = segments(faulty.disk(damaged), &faulty.log(damaged)).remove(0);
    faulty.disk(damaged).flip(&path, 3_000, 4).expect("there");
    // Without the others it knows that it lacks something, does not serve and does not vote.
    let [other, _] = faulty.others(damaged)[..] else {
        panic!("three nodes")
    };
    let rest: Vec<_> = faulty.others(damaged);
    for id in &rest {
        faulty.stop(*id).await;
    }
    faulty.open(damaged);
    faulty
        .until_alarm(damaged, "PBX_STORE_RECOVERING", true)
        .await;
    assert!(faulty.node(damaged).read(&command("GET key:1")).is_error());
    // With one other it is two of three, but it must not elect that one.
    faulty.open(other);
    let quiet = tokio::time::timeout(Duration::from_secs(3), faulty.cluster.leader()).await;
    assert!(quiet.is_err(), "a node that may lack entries has voted");
    faulty.open(*rest.last().expect("two"));
    faulty.cluster.leader().await;
    faulty
        .until_alarm(damaged, "PBX_STORE_RECOVERING", false)
        .await;
    faulty.until_all_are_at(damaged, 100).await;
    // It counts again: with one of the others it is a majority.
    let leader = faulty.cluster.leader().await;
    let gone = *faulty
        .others(damaged)
        .iter()
        .find(|id| **id == leader)
        .unwrap_or(&other);
    faulty.stop(gone).await;
    let through = faulty.others(gone)[0];
    faulty.write(through, 100..110).await;
    faulty.until_all_are_at(damaged, 110).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_snapshot_is_fetched_from_the_others() {
    let tuning = Tuning {
        snapshot_entries: 50,
        entries_kept: 5,
        ..Tuning::default()
    };
    let mut faulty = Faulty::start_tuned(tuning).await;
    let damaged = faulty.cluster.follower().await;
    let leader = faulty.cluster.leader().await;
    faulty.write(leader, 0..200).await;
    until("a purge", || faulty.node(damaged).status().purged > 50).await;
    faulty.stop(damaged).await;
    let snapshots = faulty.cluster.configs[&damaged].directory.join("snapshots");
    let files = std::fs::read_dir(&snapshots).expect("readable");
    let files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    let is_snapshot = |file: &&PathBuf| file.extension().is_some_and(|name| name == "snapshot");
    for file in files.iter().filter(is_snapshot) {
        let mut bytes = std::fs::read(file).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, bytes).expect("written");
    }
    faulty.open(damaged);
    faulty
        .until_alarm(damaged, "PBX_STORE_RECOVERING", false)
        .await;
    faulty.until_all_are_at(damaged, 200).await;
    assert!(
        std::fs::read_dir(snapshots.with_file_name("damaged"))
            .expect("kept")
            .count()
            > 0
    );
    let leader = faulty.cluster.leader().await;
    faulty.write(leader, 200..210).await;
    faulty.until_all_are_at(damaged, 210).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_sqlite_file_is_built_anew() {
    let mut faulty = Faulty::start().await;
    let damaged = faulty.cluster.follower().await;
    let leader = faulty.cluster.leader().await;
    let store = faulty.node(leader).clone();
    for request in [
        support::words(&["SQL.MIGRATE", "1", "CREATE TABLE t (a)"]),
        support::words(&["SQL.EXEC", "INSERT INTO t VALUES (?1)", "[7]"]),
    ] {
        let outcome = store.execute(vec![request]).await.remove(0);
        assert!(!outcome.expect("applied").is_error());
    }
    faulty.stop(damaged).await;
    let path = faulty.cluster.configs[&damaged].directory.join("state.db");
    std::fs::write(&path, b"this is no database any more, whatever it was").expect("written");
    faulty.open(damaged);
    until("the table", || {
        let rows = faulty.node(damaged).query("SELECT a FROM t", &[]);
        rows.is_ok_and(|rows| rows.len() == 1 && rows[0]["a"] == 7)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_without_room_gives_leadership_away_until_there_is_room() {
    let faulty = Faulty::start().await;
    let leader = faulty.cluster.leader().await;
    let witness = faulty.others(leader)[0];
    faulty.write(witness, 0..10).await;
    faulty.disk(leader).set_capacity(0);
    faulty.leader_other_than(leader).await;
    faulty
        .until_alarm(leader, "PBX_STORE_DISK_FULL", true)
        .await;
    assert!(!faulty.node(leader).status().leading);
    faulty.write(witness, 10..30).await;
    let refused = faulty.node(leader).transfer_leadership(Some(leader)).await;
    assert!(refused.is_err());
    faulty.disk(leader).set_capacity(u64::MAX);
    faulty
        .until_alarm(leader, "PBX_STORE_DISK_FULL", false)
        .await;
    // What it did not take meanwhile comes without a restart.
    faulty.until_all_are_at(leader, 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_all_disks_are_full_writes_are_refused_and_reads_go_on() {
    let faulty = Faulty::start().await;
    let leader = faulty.cluster.leader().await;
    faulty.write(leader, 0..3).await;
    // The leader last: it finds nobody to hand over to.
    let others = faulty.others(leader);
    for id in others.into_iter().chain([leader]) {
        faulty.disk(id).set_capacity(0);
        faulty.until_alarm(id, "PBX_STORE_DISK_FULL", true).await;
    }
    let refused = execute(faulty.node(leader), "SET late 1").await;
    assert!(refused.is_err(), "{refused:?}");
    let read = faulty
        .node(leader)
        .read_linearizable(command("GET key:2"))
        .await;
    assert_eq!(read.expect("a leader stays"), bulk("2"));
    for disk in faulty.disks.values() {
        disk.set_capacity(u64::MAX);
    }
    for id in 1..=3 {
        faulty.until_alarm(id, "PBX_STORE_DISK_FULL", false).await;
    }
    faulty.cluster.leader().await;
    faulty.write(leader, 3..6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_with_a_slow_disk_hands_over() {
    let faulty = Faulty::start().await;
    let leader = faulty.cluster.leader().await;
    let slow = faulty.disk(leader).clone();
    slow.set_sync_delay(Duration::from_millis(300));
    let mut key = 0;
    let writing = async {
        while faulty.node(leader).status().leading {
            faulty.write(leader, key..key + 1).await;
            key += 1;
        }
    };
    let handed_over = tokio::time::timeout(support::PATIENCE, writing).await;
    handed_over.expect("it hands over in time");
    faulty.leader_other_than(leader).await;
    faulty
        .until_alarm(leader, "PBX_STORE_DISK_SLOW", true)
        .await;
    slow.set_sync_delay(Duration::ZERO);
    let witness = faulty.others(leader)[0];
    faulty.until_all_are_at(witness, key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_of_a_later_format_is_refused() {
    let mut faulty = Faulty::start().await;
    faulty.stop(1).await;
    let config = faulty.cluster.configs[&1].clone();
    std::fs::write(config.directory.join("format"), "99\n").expect("written");
    let runtime = tokio::runtime::Handle::current();
    let error = Store::open(config, runtime)
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("PBX_STORE_FORMAT_NEWER"), "{error}");
}
