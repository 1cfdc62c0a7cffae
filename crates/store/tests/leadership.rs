//! Who leads: events, leases, transfers, and what survives a change of leaders.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use raftpbx_store::{Reply, Store, StoreError, StoreEvent};
use support::{Cluster, bulk, command, event_where, execute, request, until, watch};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watchers_hear_of_leadership_and_of_every_change_in_order() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    execute(&cluster.nodes[&leader], "SET call:0 there")
        .await
        .expect("written");
    cluster
        .until_read(cluster.follower().await, "GET call:0", &bulk("there"))
        .await;
    let mut watches: Vec<_> = cluster
        .nodes
        .iter()
        .map(|(id, store)| (*id, watch(store, "call:")))
        .collect();
    for number in 1..=50 {
        let line = format!("SET call:{number} {number};SET other:{number} x");
        execute(&cluster.nodes[&leader], &line)
            .await
            .expect("written");
    }
    execute(&cluster.nodes[&leader], "DEL call:7")
        .await
        .expect("deleted");
    for (id, events) in &mut watches {
        let first = support::next_event(events).await;
        let leads = matches!(first, StoreEvent::Leading { .. });
        assert_eq!(leads, *id == leader, "{first:?}");
        let mut seen = Vec::new();
        while seen.len() < 52 {
            if let StoreEvent::Changed(changes) = support::next_event(events).await {
                seen.extend(changes);
            }
        }
        let keys: Vec<_> = seen
            .iter()
            .map(|change| String::from_utf8_lossy(&change.key).into_owned())
            .collect();
        let expected: Vec<_> = (0..=50).chain([7]).map(|n| format!("call:{n}")).collect();
        assert_eq!(keys, expected);
        assert_eq!(seen[51].value, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_end_on_every_node_without_any_traffic() {
    let cluster = Cluster::start().await;
    let follower = cluster.follower().await;
    let mut events = watch(&cluster.nodes[&follower], "lease");
    execute(&cluster.nodes[&follower], "SET lease x PX 150")
        .await
        .expect("written");
    let ended = |event: &StoreEvent| {
        matches!(event, StoreEvent::Changed(changes)
            if changes.iter().any(|change| change.value.is_none()))
    };
    event_where(&mut events, ended).await;
    for id in 1..=3 {
        cluster.until_read(id, "EXISTS lease", &Reply::Int(0)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leadership_is_handed_over_and_both_sides_are_told() {
    let cluster = Cluster::start().await;
    let (old, new) = (cluster.leader().await, cluster.follower().await);
    let mut old_events = watch(&cluster.nodes[&old], "");
    let mut new_events = watch(&cluster.nodes[&new], "");
    execute(&cluster.nodes[&old], "SET a 1")
        .await
        .expect("written");
    cluster.nodes[&old]
        .transfer_leadership(Some(new))
        .await
        .expect("handed over");
    event_where(&mut old_events, |event| {
        matches!(event, StoreEvent::Following { .. })
    })
    .await;
    event_where(&mut new_events, |event| {
        matches!(event, StoreEvent::Leading { .. })
    })
    .await;
    assert_eq!(cluster.leader().await, new);
    assert_eq!(
        execute(&cluster.nodes[&old], "INCR a")
            .await
            .expect("forwarded"),
        Reply::Int(2)
    );
    let refused = cluster.nodes[&old].transfer_leadership(None).await;
    assert!(
        matches!(refused, Err(StoreError::NotLeader { .. })),
        "{refused:?}"
    );
}

/// With fewer looks nothing would be shown.
const LOOKS_MIN: u64 = 1_000;

/// Looks at the leases of all nodes without pause and counts the looks that saw two holders.
fn guard_leases(cluster: &Cluster, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<(u64, u64)> {
    let leases: Vec<Arc<AtomicU64>> = cluster.nodes.values().map(Store::lease).collect();
    let stop = stop.clone();
    std::thread::spawn(move || {
        let (mut looks, mut doubles) = (0, 0);
        while !stop.load(Ordering::Relaxed) || looks <= LOOKS_MIN {
            let ends: Vec<_> = leases
                .iter()
                .map(|lease| lease.load(Ordering::Acquire))
                .collect();
            // The clock is read last: a lease that is over by then does not count.
            let now = raftpbx_store::clock::boot_ns();
            let held = ends.iter().filter(|end| **end > now).count();
            looks += 1;
            doubles += u64::from(held > 1);
            std::thread::yield_now();
        }
        (looks, doubles)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_never_hold_a_lease_at_once() {
    let mut cluster = Cluster::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let guard = guard_leases(&cluster, &stop);
    for _ in 0..3 {
        let (old, new) = (cluster.leader().await, cluster.follower().await);
        // A transfer may fail on a busy machine; the guard is what this test is about.
        let _ = cluster.nodes[&old].transfer_leadership(Some(new)).await;
        execute(&cluster.nodes[&new], "INCR a")
            .await
            .expect("somebody leads");
    }
    let leader = cluster.leader().await;
    cluster.stop(leader).await;
    until("a new leader", || {
        cluster.nodes.values().any(|node| node.status().leading)
    })
    .await;
    until("a lease", || cluster.leases() == 1).await;
    stop.store(true, Ordering::Relaxed);
    let (looks, doubles) = guard.join().expect("the guard ends");
    assert!(looks > LOOKS_MIN);
    assert_eq!(doubles, 0);
}

/// Increments one key until told to stop; answers how many outcomes are unknown.
async fn count_up(store: Store, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicI64>) -> i64 {
    let mut unknown = 0;
    while !stop.load(Ordering::Relaxed) {
        for outcome in store.execute(vec![request("INCR total"); 20]).await {
            match outcome {
                Ok(Reply::Int(_)) => {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(StoreError::OutcomeUnknown) => unknown += 1,
                Err(StoreError::Unavailable { .. }) => {}
                other => panic!("unexpected outcome {other:?}"),
            }
        }
    }
    unknown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_leaders_lose_and_repeat_nothing() {
    let mut cluster = Cluster::start().await;
    let client = cluster.follower().await;
    let store = cluster.nodes[&client].clone();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicI64::new(0));
    let counting = tokio::spawn(count_up(store, stop.clone(), acknowledged.clone()));
    for _ in 0..2 {
        let leader = cluster.leader().await;
        if leader == client {
            let _ = cluster.nodes[&leader].transfer_leadership(None).await;
        } else {
            cluster.stop(leader).await;
            until("a new leader", || {
                cluster.nodes.values().any(|node| node.status().leading)
            })
            .await;
            cluster.open(leader);
        }
        let before = acknowledged.load(Ordering::Relaxed);
        until("more writes", || {
            acknowledged.load(Ordering::Relaxed) > before + 40
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    let unknown = counting.await.expect("the counter ends");
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    let total = cluster.nodes[&client]
        .read_linearizable(command("GET total"))
        .await;
    let Reply::Bulk(total) = total.expect("readable") else {
        panic!("no total")
    };
    let total: i64 = String::from_utf8_lossy(&total).parse().expect("a number");
    assert!(
        (acknowledged..=acknowledged + unknown).contains(&total),
        "{acknowledged} acknowledged, {unknown} unknown, but {total} applied"
    );
}
