//! Commands about the connection and the server, answered without the keyspace.

use bytes::Bytes;

use super::session::{Session, Step, name_of};
use super::{acl, client_commands, cluster, info, sentinel, topology};
use crate::keyspace::{arity_refusal, describe};
use crate::reply::{Command, Reply};
use crate::store::Store;

const NO_SCRIPTS: &str = "ERR scripts are not supported; use MULTI";

/// An integer argument.
pub fn integer(text: &Bytes) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The error for a second word that a command does not have.
pub fn unknown_verb(name: &str, verb: &str) -> Reply {
    let shown: String = verb.chars().take(128).collect();
    Reply::Error(format!(
        "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try {name} HELP."
    ))
}

/// Whether this module answers a command.
pub fn knows(name: &str) -> bool {
    matches!(
        name,
        "PING"
            | "ECHO"
            | "SELECT"
            | "READONLY"
            | "READWRITE"
            | "CLIENT"
            | "COMMAND"
            | "CONFIG"
            | "INFO"
            | "ROLE"
            | "ACL"
            | "CLUSTER"
            | "SENTINEL"
            | "SLOWLOG"
            | "LATENCY"
            | "MEMORY"
            | "PUBSUB"
            | "WAIT"
            | "MONITOR"
            | "DEBUG"
            | "UNWATCH"
            | "ASKING"
            | "MODULE"
            | "REPLICAOF"
            | "SLAVEOF"
            | "SAVE"
            | "BGSAVE"
            | "BGREWRITEAOF"
            | "LASTSAVE"
            | "SHUTDOWN"
            | "FAILOVER"
            | "SWAPDB"
            | "MOVE"
            | "WAITAOF"
            | "EVAL"
            | "EVALSHA"
            | "EVAL_RO"
            | "EVALSHA_RO"
            | "FCALL"
            | "FCALL_RO"
            | "SCRIPT"
            | "FUNCTION"
            | "PSYNC"
            | "SYNC"
            | "REPLCONF"
            | "MIGRATE"
            | "LOLWUT"
    )
}

/// Answers a command of this module; `None` when it belongs to the keyspace.
pub fn answer(session: &mut Session, name: &str, words: &Command, store: &Store) -> Option<Step> {
    if !knows(name) {
        return None;
    }
    let arguments = &words[1..];
    let verb = arguments.first().map(|verb| String::from_utf8_lossy(verb));
    let verb = verb.unwrap_or_default().to_ascii_uppercase();
    if let (Some(rest), true) = (arguments.get(1..), has_verbs(name)) {
        return Some(with_verb(
            session,
            name,
            (verb.as_str(), rest),
            words,
            store,
        ));
    }
    let reply = match (name, arguments) {
        ("PING", []) if session.is_resp2_listener() => {
            Reply::Array(vec![Reply::text("pong"), Reply::text("")])
        }
        ("PING", []) => Reply::Simple("PONG".into()),
        ("PING", [text]) if session.is_resp2_listener() => {
            Reply::Array(vec![Reply::text("pong"), Reply::Bulk(text.clone())])
        }
        ("PING" | "ECHO", [text]) => Reply::Bulk(text.clone()),
        ("SELECT", [number]) => select(number),
        ("READONLY" | "READWRITE", []) => {
            session.read_only = name == "READONLY";
            Reply::Ok
        }
        ("ASKING" | "UNWATCH", []) => Reply::Ok,
        ("COMMAND", _) => describe(words),
        ("INFO", sections) => info::info(session, store, sections),
        ("ROLE", []) => info::replication_role(session, store),
        ("WAIT", [replicas, timeout]) => wait(store, replicas, timeout),
        _ => refused(name).unwrap_or_else(|| arity_refusal(&name.to_ascii_lowercase()).into()),
    };
    Some(Step::Answer(reply))
}

fn has_verbs(name: &str) -> bool {
    matches!(
        name,
        "CLIENT"
            | "CONFIG"
            | "ACL"
            | "CLUSTER"
            | "SENTINEL"
            | "SLOWLOG"
            | "LATENCY"
            | "MEMORY"
            | "PUBSUB"
    )
}

fn with_verb(
    session: &mut Session,
    name: &str,
    (verb, rest): (&str, &[Bytes]),
    words: &Command,
    store: &Store,
) -> Step {
    if verb == "HELP" {
        let text = format!("{name} is described in docs/operating/store-clients.md");
        return Step::Answer(Reply::Array(vec![Reply::Simple(text)]));
    }
    Step::Answer(match name {
        "CLIENT" => return client_commands::client(session, verb, rest),
        "CLUSTER" => return cluster::cluster(session, words, store, false),
        "SENTINEL" => return sentinel::sentinel(session, words, store, false),
        "ACL" => acl::acl(session, verb, rest),
        "SLOWLOG" => session.shared.slow_log.answer(verb, rest),
        "PUBSUB" => session.shared.pubsub.answer(verb, rest),
        "CONFIG" => match (verb, rest) {
            ("GET", [_, ..]) => info::settings(session, rest),
            ("SET" | "REWRITE" | "RESETSTAT", _) => Reply::error(
                "ERR the configuration is the file of each server; it is not changed by commands",
            ),
            _ => unknown_verb(name, verb),
        },
        "LATENCY" => latency(verb, rest),
        _ => memory(verb, rest),
    })
}

/// Answers a command that had to wait for somebody to lead.
pub fn led(session: &mut Session, command: &Command, store: &Store) -> Reply {
    let step = match name_of(command).as_str() {
        "CLUSTER" => cluster::cluster(session, command, store, true),
        _ => sentinel::sentinel(session, command, store, true),
    };
    match step {
        Step::Answer(reply) => reply,
        _ => Reply::error("CLUSTERDOWN no leader is known"),
    }
}

fn select(number: &Bytes) -> Reply {
    match integer(number) {
        Some(0) => Reply::Ok,
        Some(_) => Reply::error("ERR DB index is out of range"),
        None => Reply::error("ERR value is not an integer or out of range"),
    }
}

/// Everything this connection was answered has been committed by a majority: so many followers
/// have it at least, whatever was asked for.
fn wait(store: &Store, replicas: &Bytes, timeout: &Bytes) -> Reply {
    match (integer(replicas), integer(timeout)) {
        (None, _) => Reply::error("ERR value is not an integer or out of range"),
        (_, None) => Reply::error("ERR timeout is not an integer or out of range"),
        (_, Some(timeout)) if timeout < 0 => Reply::error("ERR timeout is negative"),
        _ => {
            let followers = topology::voters(store) / 2;
            Reply::Int(i64::try_from(followers).unwrap_or(i64::MAX))
        }
    }
}

fn latency(verb: &str, rest: &[Bytes]) -> Reply {
    match (verb, rest) {
        ("LATEST", []) | ("HISTORY", [_]) => Reply::Array(Vec::new()),
        ("RESET", _) => Reply::Int(0),
        ("HISTOGRAM", _) => Reply::Map(Vec::new()),
        ("DOCTOR", []) => Reply::Verbatim(
            "Latencies are histograms under /metrics; slow commands are in SLOWLOG GET.".into(),
        ),
        _ => unknown_verb("LATENCY", verb),
    }
}

fn memory(verb: &str, rest: &[Bytes]) -> Reply {
    match (verb, rest) {
        ("DOCTOR", []) => {
            Reply::Verbatim("Nothing is evicted. Resident memory is in INFO memory.".into())
        }
        ("STATS", []) => {
            let resident = i64::try_from(info::resident_bytes()).unwrap_or(i64::MAX);
            Reply::Map(vec![(Reply::text("total.allocated"), Reply::Int(resident))])
        }
        ("PURGE", []) => Reply::Ok,
        ("USAGE", [_, ..]) => Reply::error(
            "ERR the size of one key is not measured; INFO memory has the size of the process",
        ),
        _ => unknown_verb("MEMORY", verb),
    }
}

/// What Redis has and this store does not, with the reason.
fn refused(name: &str) -> Option<Reply> {
    let text = match name {
        "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" | "SCRIPT"
        | "FUNCTION" => NO_SCRIPTS,
        "MONITOR" => {
            "ERR MONITOR is refused: it would show secrets of calls and slow every client down; \
             use SLOWLOG or /metrics"
        }
        "DEBUG" => "ERR DEBUG command not allowed: it would stop or crash the node",
        "MODULE" => "ERR modules are not supported",
        "REPLICAOF" | "SLAVEOF" | "FAILOVER" | "PSYNC" | "SYNC" | "REPLCONF" => {
            "ERR replication is the cluster's own; use raftpbx to change it"
        }
        "SAVE" | "BGSAVE" | "BGREWRITEAOF" | "LASTSAVE" => {
            "ERR every acknowledged write is on disk already; use raftpbx backup for a copy"
        }
        "SHUTDOWN" => "ERR a node is stopped by its service, not by a client",
        "SWAPDB" | "MOVE" | "MIGRATE" => "ERR there is one database",
        "WAITAOF" => "ERR every acknowledged write is on the disks of a majority already",
        "LOLWUT" => "ERR no pictures here",
        _ => return None,
    };
    Some(Reply::error(text))
}
