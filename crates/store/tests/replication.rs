//! Three nodes agree, go on without one, and come back.

mod support;

use std::time::Duration;

use raftpbx_store::{Reply, StoreError, StoreEvent};
use support::{Cluster, bulk, command, execute, request, until, watch, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_node_writes_every_node_reads() {
    let cluster = Cluster::start().await;
    for (id, store) in &cluster.nodes {
        let reply = execute(store, &format!("SET from:{id} {id}")).await;
        assert_eq!(reply.expect("written"), Reply::Ok);
    }
    for (id, store) in &cluster.nodes {
        for writer in 1..=3 {
            let line = format!("GET from:{writer}");
            let expected = bulk(&writer.to_string());
            let read = store.read_linearizable(command(&line)).await;
            assert_eq!(read.expect("readable"), expected);
            cluster.until_read(*id, &line, &expected).await;
        }
        assert_eq!(store.count_prefix(b"from:"), 3);
        assert_eq!(store.scan_prefix(b"from:", Some(b"from:1"), 9).len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_one_node_are_applied_in_order_and_together() {
    let cluster = Cluster::start().await;
    let follower = &cluster.nodes[&cluster.follower().await];
    let appends = (0..500).map(|number| request(&format!("APPEND log {},", number % 10)));
    let replies = follower.execute(appends.collect()).await;
    assert!(replies.iter().all(Result::is_ok));
    let expected: String = (0..500).map(|number| format!("{},", number % 10)).collect();
    let read = follower.read_linearizable(command("GET log")).await;
    assert_eq!(read.expect("readable"), bulk(&expected));
    let both = execute(follower, "INCR a;INCR a;GET a")
        .await
        .expect("applied");
    assert_eq!(
        both,
        Reply::Array(vec![Reply::Int(1), Reply::Int(2), bulk("2")])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_cluster_goes_on_without_its_leader() {
    let mut cluster = Cluster::start().await;
    let first = cluster.leader().await;
    execute(&cluster.nodes[&first], "SET a 1")
        .await
        .expect("written");
    let survivor = cluster.follower().await;
    cluster.stop(first).await;
    // The request is held through the election.
    let held = execute(&cluster.nodes[&survivor], "INCR a").await;
    assert_eq!(held.expect("held through the election"), Reply::Int(2));
    assert_ne!(cluster.leader().await, first);
    cluster.open(first);
    cluster.until_read(first, "GET a", &bulk("2")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_majority_nothing_is_acknowledged() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let mut events = watch(&cluster.nodes[&leader], "");
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.stop(id).await;
    }
    let outcome = execute(&cluster.nodes[&leader], "SET a 1").await;
    assert!(
        matches!(
            outcome,
            Err(StoreError::OutcomeUnknown | StoreError::Unavailable { .. })
        ),
        "{outcome:?}"
    );
    let lost = |event: &StoreEvent| matches!(event, StoreEvent::Following { .. });
    support::event_where(&mut events, lost).await;
    assert_eq!(cluster.leases(), 0);
    let read = cluster.nodes[&leader]
        .read_linearizable(command("GET a"))
        .await;
    assert!(
        matches!(read, Err(StoreError::Unavailable { .. })),
        "{read:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_node_has_left_its_addresses() {
    let mut cluster = Cluster::start().await;
    for _ in 0..50 {
        cluster.stop(1).await;
        let peer = &cluster.configs[&1].peers[&1];
        for address in peer.resp.into_iter().chain([peer.raft]) {
            std::net::TcpListener::bind(address).expect("nobody has it any more");
        }
        cluster.open(1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_comes_back_after_all_nodes_were_stopped() {
    let mut cluster = Cluster::start().await;
    let store = cluster.nodes[&2].clone();
    execute(&store, "SET a 1;HSET h f v;ZADD z 1 m")
        .await
        .expect("written");
    let migrate = words(&[
        "SQL.MIGRATE",
        "1",
        "CREATE TABLE cdrs (id TEXT PRIMARY KEY)",
    ]);
    let insert = words(&["SQL.EXEC", "INSERT INTO cdrs VALUES (?1)", r#"["one"]"#]);
    let replies = store.execute(vec![migrate, insert.clone(), insert]).await;
    assert_eq!(replies[1].as_ref().expect("applied"), &Reply::Int(1));
    assert!(replies[2].as_ref().expect("applied").is_error());
    drop(store);
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    (1..=3).for_each(|id| cluster.open(id));
    let store = &cluster.nodes[&1];
    for (line, expected) in [("GET a", bulk("1")), ("HGET h f", bulk("v"))] {
        let read = store.read_linearizable(command(line)).await;
        assert_eq!(read.expect("readable"), expected);
    }
    let rows = |store: &raftpbx_store::Store| store.query("SELECT count(*) AS n FROM cdrs", &[]);
    until("the row on every node", || {
        cluster
            .nodes
            .values()
            .all(|store| rows(store).is_ok_and(|rows| rows[0]["n"] == 1))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_the_leader_takes_requests_that_must_not_be_forwarded() {
    let cluster = Cluster::start().await;
    let ask = async |id: u64| {
        let (told, answer) = tokio::sync::oneshot::channel();
        let done = Box::new(move |outcome| drop(told.send(outcome)));
        cluster.nodes[&id].submit_as_leader(request("INCR a"), Duration::ZERO, done);
        answer.await.expect("answered")
    };
    let leader = cluster.leader().await;
    assert_eq!(ask(leader).await.expect("applied"), Reply::Int(1));
    let refused = ask(cluster.follower().await).await;
    assert!(
        matches!(refused, Err(StoreError::NotLeader { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patient_requests_of_the_leader_keep_their_order() {
    let cluster = Cluster::start().await;
    let leader = &cluster.nodes[&cluster.leader().await];
    let submit = |patience| {
        let (told, answer) = tokio::sync::oneshot::channel();
        let done = Box::new(move |outcome| drop(told.send(outcome)));
        leader.submit_as_leader(request("INCR a"), patience, done);
        answer
    };
    let patience = Duration::from_millis(100);
    let answers = [submit(patience), submit(patience), submit(Duration::ZERO)];
    for (answer, expected) in answers.into_iter().zip(1..) {
        let reply = answer.await.expect("answered").expect("applied");
        assert_eq!(reply, Reply::Int(expected));
    }

    let alone = submit(patience).await.expect("answered");
    assert_eq!(alone.expect("applied"), Reply::Int(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_of_another_authority_is_not_let_in() {
    let mut cluster = Cluster::start().await;
    let other = Cluster::prepare();
    let strange = other.configs[&3].tls.clone();
    cluster.stop(3).await;
    cluster.configs.get_mut(&3).expect("three nodes").tls = strange;
    cluster.open(3);
    execute(&cluster.nodes[&1], "SET a 1")
        .await
        .expect("two of three agree");
    cluster.until_read(2, "GET a", &bulk("1")).await;
    assert_eq!(cluster.nodes[&3].read(&command("GET a")), Reply::Nil);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_serves_one_process_at_a_time() {
    let mut cluster = Cluster::prepare();
    cluster.open(1);
    let runtime = tokio::runtime::Handle::current();
    let second = raftpbx_store::Store::open(cluster.configs[&1].clone(), runtime);
    assert!(matches!(second, Err(StoreError::Storage(_))));
}
