//! Who may do what.

use crate::support::{Client, Cluster, PASSWORD};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_role_gets_what_it_may_have_and_an_error_of_redis_otherwise() {
    let cluster = Cluster::start().await;
    let store = &cluster.nodes[&1];
    let mut node = Client::login(store).await;
    node.ask(&["SET", "call:1", "x"], "+OK\r\n").await;

    let mut operator = Client::login_as(store, "operator").await;
    operator.ask(&["GET", "call:1"], "$1\r\nx\r\n").await;
    operator.ask(&["SET", "mine", "1"], "+OK\r\n").await;
    let no_key = "-NOPERM No permissions to access a key\r\n";
    operator.ask(&["SET", "call:1", "y"], no_key).await;
    let no_command = "-NOPERM User operator has no permissions to run the 'flushall' command\r\n";
    operator.ask(&["FLUSHALL"], no_command).await;
    operator.ask(&["ACL", "WHOAMI"], "$8\r\noperator\r\n").await;
    operator.ask(&["MULTI"], "+OK\r\n").await;
    operator.ask(&["DEL", "call:1"], no_key).await;
    operator.ask_containing(&["EXEC"], "-EXECABORT").await;

    let mut metrics = Client::login_as(store, "metrics").await;
    metrics
        .ask_containing(&["INFO", "replication"], "role:")
        .await;
    let no_get = "-NOPERM User metrics has no permissions to run the 'get' command\r\n";
    metrics.ask(&["GET", "mine"], no_get).await;
    node.ask(&["GET", "call:1"], "$1\r\nx\r\n").await;
    let counted = store.metrics();
    assert!(
        counted.contains("raftpbx_store_commands_forbidden_total 4"),
        "{counted}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accounts_are_shown_but_changed_elsewhere_and_hashes_stay_inside() {
    let cluster = Cluster::start().await;
    let mut client = Client::login(&cluster.nodes[&1]).await;
    client
        .ask(
            &["ACL", "USERS"],
            "*3\r\n$7\r\nmetrics\r\n$4\r\nnode\r\n$8\r\noperator\r\n",
        )
        .await;
    client
        .ask_containing(&["ACL", "LIST"], "user node on ~* &* +@all\r\n")
        .await;
    let shown = client
        .ask_containing(&["ACL", "GETUSER", "node"], "commands")
        .await;
    assert!(!shown.contains("sha256"), "{shown}");
    client.ask(&["ACL", "GETUSER", "nobody"], "$-1\r\n").await;
    client.ask_containing(&["ACL", "CAT"], "read\r\n").await;
    client
        .ask_containing(&["ACL", "CAT", "read"], "get\r\n")
        .await;
    client
        .ask_containing(
            &["ACL", "SETUSER", "me", "on"],
            "configuration file of each Call Manager",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_guesses_passwords_has_to_wait() {
    let cluster = Cluster::start().await;
    let store = &cluster.nodes[&1];
    let mut client = Client::connect(store).await;
    for _ in 0..raftpbx_store::limits::LOGIN_FAILURES_MAX {
        client
            .ask_containing(&["AUTH", "node", "wrong"], "-WRONGPASS")
            .await;
    }
    // The right one, too: otherwise guessing could go on.
    client
        .ask_containing(&["AUTH", "node", PASSWORD], "-ERR too many failed logins")
        .await;
    let counted = store.metrics();
    assert!(
        counted.contains("raftpbx_store_failed_logins_total 10"),
        "{counted}"
    );
    assert!(
        counted.contains("raftpbx_store_throttled_logins_total 1"),
        "{counted}"
    );
}
