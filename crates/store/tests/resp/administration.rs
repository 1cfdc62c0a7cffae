//! What an operator asks for, and what is refused.

use std::time::Duration;

use crate::support::{Client, Cluster, PASSWORD, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_are_listed_named_and_killed() {
    let cluster = Cluster::start().await;
    let store = &cluster.nodes[&1];
    let (mut one, mut two) = (
        Client::login(store).await,
        Client::login_as(store, "operator").await,
    );
    two.ask(&["CLIENT", "SETNAME", "second"], "+OK\r\n").await;
    two.ask(&["CLIENT", "SETINFO", "LIB-NAME", "test"], "+OK\r\n")
        .await;
    two.ask_containing(&["CLIENT", "SETNAME", "a b"], "-ERR Client names cannot")
        .await;
    let list = one.ask_containing(&["CLIENT", "LIST"], "name=second").await;
    assert!(
        list.contains("user=operator") && list.contains("lib-name=test"),
        "{list}"
    );
    one.ask_containing(&["CLIENT", "INFO"], "user=node").await;
    one.ask(&["CLIENT", "KILL", "1.2.3.4:5"], "-ERR No such client\r\n")
        .await;
    one.ask(&["CLIENT", "KILL", "USER", "operator"], ":1\r\n")
        .await;
    two.expect_end().await;
    one.ask(&["CLIENT", "KILL", "USER", "node"], ":0\r\n").await;
    one.ask(
        &["CLIENT", "KILL", "USER", "node", "SKIPME", "no"],
        ":1\r\n",
    )
    .await;
    one.expect_end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replies_can_be_switched_off() {
    let cluster = Cluster::start().await;
    let mut client = Client::login(&cluster.nodes[&1]).await;
    for words in [
        &["CLIENT", "REPLY", "SKIP"][..],
        &["SET", "a", "1"],
        &["GET", "a"],
        &["CLIENT", "REPLY", "OFF"],
        &["GET", "a"],
        &["NOPE"],
        &["CLIENT", "REPLY", "ON"],
        &["ECHO", "here"],
    ] {
        client.send(words).await;
    }
    client.expect("$1\r\n1\r\n+OK\r\n$4\r\nhere\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_would_harm_is_refused_with_a_reason() {
    let cluster = Cluster::start().await;
    let mut client = Client::login(&cluster.nodes[&1]).await;
    for (words, text) in [
        (
            &["MONITOR"][..],
            "-ERR MONITOR is refused: it would show secrets",
        ),
        (&["DEBUG", "SLEEP", "1"], "-ERR DEBUG command not allowed"),
        (&["EVAL", "return 1", "0"], "-ERR scripts are not supported"),
        (
            &["CONFIG", "SET", "save", "1"],
            "-ERR the configuration is the file of each server",
        ),
        (&["CLIENT", "PAUSE", "1"], "-ERR clients cannot be paused"),
        (
            &["CLIENT", "TRACKING", "ON"],
            "-ERR client-side caching is not supported",
        ),
        (
            &["CLIENT", "NOPE"],
            "-ERR unknown subcommand or wrong number of arguments for 'NOPE'",
        ),
        (
            &["REPLICAOF", "NO", "ONE"],
            "-ERR replication is the cluster's own",
        ),
        (
            &["SELECT", "x"],
            "-ERR value is not an integer or out of range",
        ),
        (
            &["PING", "a", "b"],
            "-ERR wrong number of arguments for 'ping' command",
        ),
        (
            &["NOPE", "a"],
            "-ERR unknown command 'NOPE', with args beginning with: 'a'",
        ),
        (&["CONFIG", "GET", "maxmemory*"], "noeviction"),
        (
            &["CONFIG", "GET", "save", "databases"],
            "databases\r\n$1\r\n1\r\n",
        ),
        (&["MEMORY", "DOCTOR"], "INFO memory"),
        (&["LATENCY", "LATEST"], "*0\r\n"),
        (&["SLOWLOG", "LEN"], ":"),
        (
            &["COMMAND", "GETKEYS", "SET", "k", "v"],
            "*1\r\n$1\r\nk\r\n",
        ),
        (&["PUBSUB", "NUMPAT"], ":0\r\n"),
    ] {
        client.ask_containing(words, text).await;
    }
    client.send_bytes("  PING   inline \r\n").await;
    client.expect("$6\r\ninline\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_without_majority_is_slow_and_remembered() {
    let mut cluster = Cluster::prepare();
    cluster.open(1);
    let store = &cluster.nodes[&1];
    let mut client = Client::login(store).await;
    client.ask_containing(&["SET", "k", "v"], "-TRYAGAIN").await;
    client.ask(&["SLOWLOG", "LEN"], ":1\r\n").await;
    let text = client
        .ask_containing(&["SLOWLOG", "GET"], "127.0.0.1:")
        .await;
    assert!(text.contains("$3\r\nSET\r\n$1\r\nk\r\n"), "{text}");
    assert!(!text.contains(PASSWORD));
    client.ask(&["SLOWLOG", "RESET"], "+OK\r\n").await;
    client.ask(&["SLOWLOG", "GET"], "*0\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn silent_clients_are_disconnected_and_those_who_listen_are_not() {
    let mut cluster = Cluster::prepare();
    let resp = cluster
        .configs
        .get_mut(&1)
        .and_then(|config| config.resp.as_mut());
    resp.expect("configured").idle = Some(Duration::from_millis(200));
    cluster.open(1);
    let store = &cluster.nodes[&1];
    let mut listener = Client::login(store).await;
    listener
        .ask(
            &["SUBSCRIBE", "a"],
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        )
        .await;
    Client::login(store).await.expect_end().await;
    until("the silent one is counted", || {
        store
            .metrics()
            .contains("raftpbx_store_clients_idle_total 1\n")
    })
    .await;
    listener
        .ask(&["PING"], "*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shard_channels_patterns_and_numbers_are_those_of_this_node() {
    let cluster = Cluster::start().await;
    let store = &cluster.nodes[&1];
    let (mut one, mut two) = (Client::login(store).await, Client::login(store).await);
    one.ask(
        &["SSUBSCRIBE", "s"],
        "*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n",
    )
    .await;
    two.ask(&["SPUBLISH", "s", "x"], ":1\r\n").await;
    one.expect("*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$1\r\nx\r\n")
        .await;
    one.ask(
        &["SUBSCRIBE", "c"],
        "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
    )
    .await;
    two.ask(&["PUBSUB", "CHANNELS"], "*1\r\n$1\r\nc\r\n").await;
    two.ask(
        &["PUBSUB", "NUMSUB", "c", "d"],
        "*4\r\n$1\r\nc\r\n:1\r\n$1\r\nd\r\n:0\r\n",
    )
    .await;
    one.ask(&["RESET"], "+RESET\r\n").await;
    two.ask(&["PUBSUB", "CHANNELS"], "*0\r\n").await;
    two.ask(&["PUBLISH", "c", "x"], ":0\r\n").await;
}
