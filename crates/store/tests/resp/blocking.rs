//! Commands that wait.

use std::time::{Duration, Instant};

use crate::support::{Client, Cluster, until};

/// Waits until so many clients of a node are blocked.
async fn blocked(cluster: &Cluster, id: u64, number: u64) {
    let line = format!("raftpbx_store_blocked_clients {number}\n");
    until("blocked clients", || {
        cluster.nodes[&id].metrics().contains(&line)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_of_every_node_are_served_in_the_order_in_which_they_came() {
    let cluster = Cluster::start().await;
    for (id, store) in &cluster.nodes {
        let mut waiting = Vec::new();
        for place in 1..=3 {
            let mut client = Client::login(store).await;
            client.send(&["BLPOP", "other", "line", "0"]).await;
            blocked(&cluster, *id, place).await;
            waiting.push(client);
        }
        let mut pusher = Client::login(&cluster.nodes[&1]).await;
        pusher.ask(&["RPUSH", "line", "a", "b"], ":2\r\n").await;
        for (client, value) in waiting.iter_mut().zip(["a", "b", "c"]) {
            if value == "c" {
                pusher.ask(&["RPUSH", "other", "c"], ":1\r\n").await;
                client.expect("*2\r\n$5\r\nother\r\n$1\r\nc\r\n").await;
            } else {
                let answer = format!("*2\r\n$4\r\nline\r\n$1\r\n{value}\r\n");
                client.expect(&answer).await;
            }
        }
        blocked(&cluster, *id, 0).await;
        pusher.ask(&["EXISTS", "line", "other"], ":0\r\n").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_time_is_kept_and_the_reply_says_that_there_was_nothing() {
    let cluster = Cluster::start().await;
    let mut client = Client::login(&cluster.nodes[&cluster.follower().await]).await;
    let began = Instant::now();
    client.ask(&["BLPOP", "k", "0.3"], "*-1\r\n").await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_millis(900), "{took:?}");
    client
        .ask(&["BLMOVE", "a", "b", "LEFT", "RIGHT", "0.01"], "$-1\r\n")
        .await;
    client.ask(&["BZPOPMIN", "a", "0.01"], "*-1\r\n").await;
    client
        .ask(&["BLPOP", "k", "-1"], "-ERR timeout is negative\r\n")
        .await;
    // A transaction does not wait.
    client.ask(&["MULTI"], "+OK\r\n").await;
    client.ask(&["BLPOP", "k", "0"], "+QUEUED\r\n").await;
    client.ask(&["EXEC"], "*1\r\n*-1\r\n").await;
    // A key of another kind is an error at once, and no reason to stop waiting later.
    client.ask(&["SET", "k", "x"], "+OK\r\n").await;
    client
        .ask_containing(&["BLPOP", "k", "0"], "-WRONGTYPE")
        .await;
    let mut other = Client::login(&cluster.nodes[&1]).await;
    client.send(&["BZPOPMIN", "z", "0"]).await;
    blocked(&cluster, cluster.follower().await, 1).await;
    other.ask(&["RPUSH", "z", "list"], ":1\r\n").await;
    other.ask(&["DEL", "z"], ":1\r\n").await;
    other.ask(&["ZADD", "z", "1.5", "m"], ":1\r\n").await;
    client
        .expect("*3\r\n$1\r\nz\r\n$1\r\nm\r\n$3\r\n1.5\r\n")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocked_client_can_be_let_go_or_leave() {
    let cluster = Cluster::start().await;
    let (store, mut friend) = (&cluster.nodes[&1], Client::login(&cluster.nodes[&1]).await);
    let mut client = Client::login(store).await;
    client.send(&["CLIENT", "ID"]).await;
    let id = client.expect_containing("\r\n").await;
    let id = id.trim().trim_start_matches(':').to_owned();
    friend.ask(&["CLIENT", "UNBLOCK", &id], ":0\r\n").await;
    client.send(&["BLPOP", "k", "0"]).await;
    blocked(&cluster, 1, 1).await;
    friend
        .ask(&["CLIENT", "UNBLOCK", &id, "ERROR"], ":1\r\n")
        .await;
    client
        .expect("-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")
        .await;
    blocked(&cluster, 1, 0).await;
    client.send(&["BLPOP", "k", "0"]).await;
    blocked(&cluster, 1, 1).await;
    drop(client);
    blocked(&cluster, 1, 0).await;
    // Nobody takes it any more.
    friend.ask(&["RPUSH", "k", "v"], ":1\r\n").await;
    friend.ask(&["LLEN", "k"], ":1\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocked_client_waits_through_a_change_of_leader() {
    let mut cluster = Cluster::start().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let mut client = Client::login(&cluster.nodes[&follower]).await;
    client.send(&["BLPOP", "k", "0"]).await;
    blocked(&cluster, follower, 1).await;
    cluster.stop(leader).await;
    cluster.leader().await;
    let mut pusher = Client::login(&cluster.nodes[&follower]).await;
    pusher.ask(&["RPUSH", "k", "v"], ":1\r\n").await;
    client.expect("*2\r\n$1\r\nk\r\n$1\r\nv\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_a_stream_are_all_told() {
    let cluster = Cluster::start().await;
    let follower = cluster.follower().await;
    let mut readers = Vec::new();
    let mut writer = Client::login(&cluster.nodes[&1]).await;
    writer
        .ask(&["XADD", "s", "1-1", "old", "1"], "$3\r\n1-1\r\n")
        .await;
    for number in 1..=2 {
        let mut client = Client::login(&cluster.nodes[&follower]).await;
        client
            .send(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"])
            .await;
        blocked(&cluster, follower, number).await;
        readers.push(client);
    }
    // Both have asked for the last id once they are marked as blocked in the list.
    let mut friend = Client::login(&cluster.nodes[&follower]).await;
    loop {
        friend.send(&["CLIENT", "LIST"]).await;
        let list = friend.expect_containing("\n\r\n").await;
        if list.matches("flags=b").count() == 2 {
            break;
        }
    }
    writer
        .ask(&["XADD", "s", "2-1", "new", "2"], "$3\r\n2-1\r\n")
        .await;
    for reader in &mut readers {
        let text = reader.expect_containing("$1\r\n2\r\n").await;
        assert!(text.contains("2-1") && !text.contains("1-1"), "{text}");
    }
}
