//! How clients find the leader: Cluster, Sentinel, `ROLE` and `INFO`.

use std::time::Instant;

use crate::support::{Client, Cluster, PATIENCE, bulk, until};

fn resp_port(cluster: &Cluster, id: u64) -> String {
    let address = cluster.configs[&1].peers[&id].resp.expect("configured");
    address.port().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_in_cluster_mode_are_moved_and_plain_ones_are_served() {
    let cluster = Cluster::start().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let port = resp_port(&cluster, leader);
    let mut client = Client::login(&cluster.nodes[&follower]).await;
    client.ask(&["SET", "foo", "1"], "+OK\r\n").await;
    // Keys of slots are read where the client is.
    cluster.until_read(follower, "GET foo", &bulk("1")).await;
    client
        .ask_containing(&["INFO", "cluster"], "cluster_enabled:0")
        .await;
    client
        .ask(&["CLUSTER", "KEYSLOT", "foo"], ":12182\r\n")
        .await;
    client
        .ask(&["CLUSTER", "COUNTKEYSINSLOT", "12182"], ":1\r\n")
        .await;
    client
        .ask(
            &["CLUSTER", "GETKEYSINSLOT", "12182", "5"],
            "*1\r\n$3\r\nfoo\r\n",
        )
        .await;
    client
        .ask_containing(&["CLUSTER", "INFO"], "cluster_state:ok")
        .await;
    let start = format!("*1\r\n*5\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
    client.ask_containing(&["CLUSTER", "SLOTS"], &start).await;
    client
        .ask_containing(&["CLUSTER", "SHARDS"], "replica")
        .await;
    client
        .ask_containing(&["CLUSTER", "NODES"], "connected 0-16383")
        .await;
    client
        .ask_containing(&["INFO", "cluster"], "cluster_enabled:1")
        .await;
    let moved = format!("-MOVED 12182 127.0.0.1:{port}\r\n");
    client.ask(&["GET", "foo"], &moved).await;
    client.ask(&["SET", "foo", "2"], &moved).await;
    client.ask(&["PING"], "+PONG\r\n").await;
    client.ask(&["READONLY"], "+OK\r\n").await;
    client.ask(&["GET", "foo"], "$1\r\n1\r\n").await;
    client.ask(&["SET", "foo", "2"], &moved).await;
    client.ask(&["RESET"], "+RESET\r\n").await;
    let mut plain = Client::login(&cluster.nodes[&follower]).await;
    plain.ask(&["GET", "foo"], "$1\r\n1\r\n").await;
    let mut here = Client::login(&cluster.nodes[&leader]).await;
    here.ask_containing(&["CLUSTER", "SLOTS"], &start).await;
    here.ask(&["SET", "foo", "2"], "+OK\r\n").await;
    here.ask_containing(
        &["CLUSTER", "MEET", "a", "1"],
        "-ERR the cluster is changed in",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_node_is_a_sentinel_that_announces_the_next_leader() {
    let mut cluster = Cluster::start().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let port = resp_port(&cluster, leader);
    let mut client = Client::login(&cluster.nodes[&follower]).await;
    let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    for name in ["raftpbx", "mymaster"] {
        client
            .ask(&["SENTINEL", "get-master-addr-by-name", name], &answer)
            .await;
    }
    client
        .ask(&["SENTINEL", "get-master-addr-by-name", "no"], "*-1\r\n")
        .await;
    client
        .ask(
            &["SENTINEL", "master", "no"],
            "-ERR No such master with that name\r\n",
        )
        .await;
    client
        .ask_containing(&["SENTINEL", "masters"], "num-slaves")
        .await;
    client
        .ask_containing(&["SENTINEL", "replicas", "raftpbx"], "slave-priority")
        .await;
    client
        .ask_containing(&["SENTINEL", "sentinels", "raftpbx"], "sentinel")
        .await;
    client
        .ask_containing(&["SENTINEL", "ckquorum", "raftpbx"], "+OK 3 usable")
        .await;
    client
        .ask_containing(&["SENTINEL", "failover", "raftpbx"], "-ERR")
        .await;
    let mut listener = Client::login(&cluster.nodes[&follower]).await;
    listener.send(&["SUBSCRIBE", "+switch-master"]).await;
    listener.expect_containing(":1\r\n").await;
    cluster.stop(leader).await;
    let next = resp_port(&cluster, cluster.leader().await);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Held while there is none; the old one until its silence is noticed.
        client
            .send(&["SENTINEL", "get-master-addr-by-name", "raftpbx"])
            .await;
        if client
            .expect_containing("*2\r\n$9\r\n127.0.0.1\r\n")
            .await
            .contains(&next)
        {
            break;
        }
        assert!(Instant::now() < deadline, "the next leader is never told");
    }
    let text = format!("raftpbx 127.0.0.1 {port} 127.0.0.1 {next}");
    listener.expect_containing(&text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn info_has_sections_and_role_names_the_leader() {
    let cluster = Cluster::start().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut client = Client::login(&cluster.nodes[&follower]).await;
    let port = resp_port(&cluster, leader);
    let store = &cluster.nodes[&follower];
    until("the follower knows its leader", || {
        store.status().leader == Some(leader)
    })
    .await;
    let text = client
        .ask_containing(&["INFO", "replication"], &format!("master_port:{port}"))
        .await;
    assert!(
        text.contains("# Replication") && !text.contains("# Server"),
        "{text}"
    );
    let text = client
        .ask_containing(&["INFO", "everything"], "# Keyspace")
        .await;
    assert!(
        text.contains("# Raft") && text.contains("redis_mode:standalone"),
        "{text}"
    );
    // ioredis in Sentinel mode reads all of it as one table, and goes away unless it is a master.
    assert_eq!(text.matches("\r\nrole:").count(), 1, "{text}");
    client.ask(&["INFO", "nothing"], "$0\r\n\r\n").await;
    client.ask_containing(&["ROLE"], "slave").await;
    let mut there = Client::login(&cluster.nodes[&leader]).await;
    there.ask_containing(&["ROLE"], "master").await;
    there
        .ask_containing(&["INFO", "replication"], "connected_slaves:2")
        .await;
    there.ask(&["WAIT", "2", "100"], ":1\r\n").await;
}
