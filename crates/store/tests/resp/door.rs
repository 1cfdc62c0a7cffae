//! The Redis protocol door as clients see it.

use crate::support::{Client, Cluster, PASSWORD, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_gets_in_without_a_password() {
    let cluster = Cluster::start().await;
    let mut client = Client::connect(&cluster.nodes[&1]).await;
    client.send(&["GET", "a"]).await;
    client.expect("-NOAUTH Authentication required.\r\n").await;
    client.send(&["AUTH", "node", "wrong"]).await;
    client.expect_containing("-WRONGPASS").await;
    client.send(&["AUTH", PASSWORD]).await;
    client.expect_containing("-WRONGPASS").await;
    client.send(&["HELLO", "3"]).await;
    client.expect_containing("-NOAUTH").await;
    client
        .send(&["HELLO", "3", "AUTH", "node", PASSWORD, "SETNAME", "me"])
        .await;
    client
        .expect_containing("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
        .await;
    client.send(&["CLIENT", "GETNAME"]).await;
    client.expect("$2\r\nme\r\n").await;
    client.send(&["RESET"]).await;
    client.expect("+RESET\r\n").await;
    client.send(&["PING"]).await;
    client.expect("-NOAUTH Authentication required.\r\n").await;
    client.send(&["QUIT"]).await;
    client.expect("+OK\r\n").await;
    client.expect_end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_node_serves_writes_reads_and_transactions() {
    let cluster = Cluster::start().await;
    for store in cluster.nodes.values() {
        let mut client = Client::login(store).await;
        // One pipeline: the read sees the writes before it.
        for words in [
            &["SET", "a", "1"][..],
            &["INCR", "a"],
            &["GET", "a"],
            &["NOPE", "a", "1"],
        ] {
            client.send(words).await;
        }
        client
            .expect("+OK\r\n:2\r\n$1\r\n2\r\n-ERR unknown command 'NOPE', ")
            .await;
        client.expect_containing("'a' '1' \r\n").await;
        for words in [&["MULTI"][..], &["INCR", "a"], &["GET", "a"], &["EXEC"]] {
            client.send(words).await;
        }
        client
            .expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:3\r\n$1\r\n3\r\n")
            .await;
        for words in [&["MULTI"][..], &["NOPE"], &["EXEC"], &["EXEC"]] {
            client.send(words).await;
        }
        client
            .expect_containing("-EXECABORT Transaction discarded")
            .await;
        // A node tells what it has applied: one that follows hears of commits a little later.
        until("the key to be everywhere", || store.status().keys > 0).await;
        client.send(&["INFO"]).await;
        client.expect_containing("db0:keys=").await;
        client.send(&["ROLE"]).await;
        client.expect_containing("127.0.0.1").await;
        client.send(&["SELECT", "1"]).await;
        client.expect("-ERR DB index is out of range\r\n").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_reach_subscribers_of_every_node() {
    let cluster = Cluster::start().await;
    let mut subscribers = Vec::new();
    for store in cluster.nodes.values() {
        let mut client = Client::login(store).await;
        client.send(&["SUBSCRIBE", "news"]).await;
        client
            .expect("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
            .await;
        client.send(&["PSUBSCRIBE", "n*"]).await;
        client
            .expect("*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:2\r\n")
            .await;
        client.send(&["GET", "a"]).await;
        client.expect_containing("-ERR Can't execute 'get'").await;
        subscribers.push(client);
    }
    let mut publisher = Client::login(&cluster.nodes[&2]).await;
    publisher.send(&["PUBLISH", "news", "hello"]).await;
    // A channel and a pattern of the client at the same node.
    publisher.expect(":2\r\n").await;
    for client in &mut subscribers {
        client
            .expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n")
            .await;
        client
            .expect("*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n")
            .await;
        client.send(&["UNSUBSCRIBE"]).await;
        client
            .expect("*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:1\r\n")
            .await;
        client.send(&["PING"]).await;
        client.expect("*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn malformed_input_ends_the_connection_with_a_reason() {
    let cluster = Cluster::start().await;
    let mut client = Client::connect(&cluster.nodes[&1]).await;
    client.send(&["SET", "a", &"x".repeat(2_000)]).await;
    client
        .expect_containing("-ERR Protocol error: invalid bulk length")
        .await;
    client.expect_end().await;
    let mut client = Client::login(&cluster.nodes[&1]).await;
    client.send(&["SET", "a", &"x".repeat(1 << 20)]).await;
    client.expect("+OK\r\n").await;
    client
        .send_bytes("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1048577\r\n")
        .await;
    client
        .expect_containing("-ERR Protocol error: invalid bulk length")
        .await;
}
