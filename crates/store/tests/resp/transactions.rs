//! `MULTI`, `EXEC` and `WATCH`: one entry of the log or nothing.

use crate::support::{Client, Cluster};

const ABORTED: &str = "*-1\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watched_key_that_changes_ends_the_transaction_at_every_node() {
    let cluster = Cluster::start().await;
    for store in cluster.nodes.values() {
        let (mut one, mut other) = (Client::login(store).await, Client::login(store).await);
        one.ask(&["SET", "k", "1"], "+OK\r\n").await;
        one.ask(&["WATCH", "k", "absent", "k"], "+OK\r\n").await;
        one.ask(&["MULTI"], "+OK\r\n").await;
        one.ask(&["INCR", "k"], "+QUEUED\r\n").await;
        one.ask(&["PING"], "+QUEUED\r\n").await;
        one.ask(&["EXEC"], "*2\r\n:2\r\n+PONG\r\n").await;

        one.ask(&["WATCH", "k"], "+OK\r\n").await;
        other.ask(&["INCR", "k"], ":3\r\n").await;
        one.ask(&["MULTI"], "+OK\r\n").await;
        one.ask(&["SET", "k", "lost"], "+QUEUED\r\n").await;
        one.ask(&["EXEC"], ABORTED).await;
        one.ask(&["GET", "k"], "$1\r\n3\r\n").await;

        // An empty transaction looks at its keys, too.
        one.ask(&["WATCH", "absent"], "+OK\r\n").await;
        other.ask(&["SET", "absent", "x"], "+OK\r\n").await;
        one.ask(&["MULTI"], "+OK\r\n").await;
        one.ask(&["EXEC"], ABORTED).await;
        one.ask(&["WATCH", "absent"], "+OK\r\n").await;
        one.ask(&["MULTI"], "+OK\r\n").await;
        one.ask(&["EXEC"], "*0\r\n").await;
        one.ask(&["DEL", "absent", "k"], ":2\r\n").await;

        // One that came and went meanwhile has changed.
        one.ask(&["WATCH", "absent"], "+OK\r\n").await;
        other.ask(&["SET", "absent", "x"], "+OK\r\n").await;
        other.ask(&["DEL", "absent"], ":1\r\n").await;
        one.ask(&["MULTI"], "+OK\r\n").await;
        one.ask(&["SET", "absent", "lost"], "+QUEUED\r\n").await;
        one.ask(&["EXEC"], ABORTED).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_ends_a_watch_and_what_spoils_a_transaction_is_as_in_redis() {
    let cluster = Cluster::start().await;
    let store = &cluster.nodes[&1];
    let (mut one, mut other) = (Client::login(store).await, Client::login(store).await);
    for end in [&["UNWATCH"][..], &["MULTI", "DISCARD"]] {
        one.ask(&["WATCH", "k"], "+OK\r\n").await;
        other.ask_containing(&["INCR", "k"], ":").await;
        for word in end {
            one.ask(&[word], "+OK\r\n").await;
        }
        one.ask(&["MULTI"], "+OK\r\n").await;
        one.ask(&["SET", "k", "0"], "+QUEUED\r\n").await;
        one.ask(&["EXEC"], "*1\r\n+OK\r\n").await;
    }
    one.ask(&["DISCARD"], "-ERR DISCARD without MULTI\r\n")
        .await;
    one.ask(&["EXEC"], "-ERR EXEC without MULTI\r\n").await;
    let arity = "-ERR wrong number of arguments for 'watch' command\r\n";
    one.ask(&["WATCH"], arity).await;
    one.ask(&["MULTI"], "+OK\r\n").await;
    one.ask(&["MULTI"], "-ERR MULTI calls can not be nested\r\n")
        .await;
    one.ask(
        &["WATCH", "k"],
        "-ERR WATCH inside MULTI is not allowed\r\n",
    )
    .await;
    one.ask_containing(
        &["SUBSCRIBE", "a"],
        "-ERR Command not allowed inside a transaction",
    )
    .await;
    one.ask_containing(&["EXEC"], "-EXECABORT").await;
    // A command that fails when it is applied does not undo the others.
    one.ask(&["MULTI"], "+OK\r\n").await;
    one.ask(&["SET", "s", "text"], "+QUEUED\r\n").await;
    one.ask(&["INCR", "s"], "+QUEUED\r\n").await;
    one.ask(&["SADD", "s", "x"], "+QUEUED\r\n").await;
    one.send(&["EXEC"]).await;
    one.expect("*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n")
        .await;
    one.expect_containing("-WRONGTYPE").await;
    // The commands between nodes and the log are not for clients.
    one.ask_containing(&["WATCHED", "k", "1"], "-ERR unknown command")
        .await;
    one.ask_containing(&["VERSIONS", "k"], "-ERR unknown command")
        .await;
}
