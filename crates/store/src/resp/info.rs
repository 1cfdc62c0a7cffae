//! `INFO` and `ROLE`: what this node says about itself.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::session::Session;
use super::topology;
use crate::keyspace::matches;
use crate::limits::CLIENTS_MAX;
use crate::reply::Reply;
use crate::status::StoreStatus;
use crate::store::Store;

/// The version of Redis whose behaviour and error texts are followed.
pub const REDIS_VERSION: &str = "7.2.0";

/// Bytes of a page of memory.
const PAGE_BYTES: u64 = 4_096;

/// `master` or `replica`, as `HELLO` says it.
pub fn role(store: &Store) -> &'static str {
    if store.is_leading() {
        "master"
    } else {
        "replica"
    }
}

/// Resident memory of this process; 0 when the system does not tell.
pub fn resident_bytes() -> u64 {
    let statistics = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statistics.split_whitespace().nth(1);
    pages.and_then(|pages| pages.parse().ok()).unwrap_or(0) * PAGE_BYTES
}

struct View<'a> {
    session: &'a Session,
    store: &'a Store,
    status: StoreStatus,
}

type Lines = Vec<(&'static str, String)>;
type Section = fn(&View) -> Lines;

/// Sections in the order of Redis, and whether `INFO` alone shows them.
const SECTIONS: [(&str, Section); 11] = [
    ("server", server),
    ("clients", clients),
    ("memory", memory),
    ("persistence", persistence),
    ("stats", stats),
    ("replication", replication),
    ("cpu", cpu),
    ("modules", |_| Lines::new()),
    ("cluster", cluster),
    ("raft", raft),
    ("keyspace", keyspace),
];

/// `INFO [section ...]`
pub fn info(session: &Session, store: &Store, wanted: &[Bytes]) -> Reply {
    let view = View {
        session,
        store,
        status: store.status(),
    };
    let all = wanted.is_empty()
        || wanted.iter().any(|word| {
            ["all", "default", "everything"]
                .iter()
                .any(|all| word.eq_ignore_ascii_case(all.as_bytes()))
        });
    let asked = |name: &str| {
        wanted
            .iter()
            .any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    let mut text = String::new();
    for (name, make) in SECTIONS.iter().filter(|(name, _)| all || asked(name)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let title = format!("{}{}", name[..1].to_ascii_uppercase(), &name[1..]);
        text.push_str(&format!("# {title}\r\n"));
        for (key, value) in make(&view) {
            text.push_str(&format!("{key}:{value}\r\n"));
        }
    }
    Reply::Verbatim(text)
}

fn server(view: &View) -> Lines {
    let uptime = view.session.shared.started.elapsed().as_secs();
    let mode = if view.session.in_cluster_mode {
        "cluster"
    } else {
        "standalone"
    };
    vec![
        ("redis_version", REDIS_VERSION.into()),
        ("redis_mode", mode.into()),
        ("server_name", "raftpbx".into()),
        ("raftpbx_version", env!("CARGO_PKG_VERSION").into()),
        ("os", std::env::consts::OS.into()),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("run_id", format!("{:040x}", view.status.id)),
        ("tcp_port", view.session.entry.local.port().to_string()),
        ("uptime_in_seconds", uptime.to_string()),
        ("uptime_in_days", (uptime / 86_400).to_string()),
    ]
}

fn clients(view: &View) -> Lines {
    let shared = &view.session.shared;
    let all = shared.list.all();
    let pubsub = all.iter().filter(|entry| entry.kind() == "pubsub").count();
    vec![
        ("connected_clients", shared.connected().to_string()),
        ("maxclients", CLIENTS_MAX.to_string()),
        ("blocked_clients", shared.list.blocked().to_string()),
        ("pubsub_clients", pubsub.to_string()),
        ("tracking_clients", "0".into()),
    ]
}

fn memory(_: &View) -> Lines {
    let resident = resident_bytes().to_string();
    vec![
        ("used_memory", resident.clone()),
        ("used_memory_rss", resident),
        ("maxmemory", "0".into()),
        ("maxmemory_policy", "noeviction".into()),
    ]
}

fn persistence(view: &View) -> Lines {
    vec![
        ("loading", "0".into()),
        ("aof_enabled", "1".into()),
        ("log_bytes", view.status.log_bytes.to_string()),
        ("rdb_bgsave_in_progress", "0".into()),
        ("rdb_last_bgsave_status", "ok".into()),
        (
            "aof_last_write_status",
            if view.status.stopped.is_none() {
                "ok"
            } else {
                "err"
            }
            .into(),
        ),
    ]
}

fn stats(view: &View) -> Lines {
    let shared = &view.session.shared;
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed).to_string();
    let counters = &shared.counters;
    let (channels, patterns) = shared.pubsub.numbers();
    vec![
        ("total_connections_received", count(&counters.accepted)),
        ("total_commands_processed", count(&counters.commands)),
        ("rejected_connections", count(&counters.refused)),
        ("pubsub_channels", channels.to_string()),
        ("pubsub_patterns", patterns.to_string()),
        ("acl_access_denied_auth", count(&shared.accounts.failed)),
        ("acl_access_denied_cmd", count(&counters.forbidden)),
        ("slow_commands", shared.slow_log.seen().to_string()),
    ]
}

fn replication(view: &View) -> Lines {
    let nodes = topology::nodes(view.session, view.store);
    let leads = view.status.leading;
    let offset = view.status.applied.to_string();
    let mut lines = vec![("role", if leads { "master" } else { "slave" }.to_owned())];
    if !leads {
        let leader = nodes.iter().find(|node| node.leads);
        let up = if view.status.leader.is_some() {
            "up"
        } else {
            "down"
        };
        lines.extend([
            (
                "master_host",
                leader.map_or_else(String::new, |leader| leader.ip()),
            ),
            (
                "master_port",
                leader.map_or(0, |leader| leader.address.port()).to_string(),
            ),
            ("master_link_status", up.to_owned()),
            ("slave_read_only", "0".to_owned()),
            ("slave_repl_offset", offset.clone()),
        ]);
    }
    let replicas = if leads { view.status.peers.len() } else { 0 };
    lines.push(("connected_slaves", replicas.to_string()));
    // Redis numbers these lines; clients look for the first few.
    const NAMES: [&str; 8] = [
        "slave0", "slave1", "slave2", "slave3", "slave4", "slave5", "slave6", "slave7",
    ];
    let others = nodes.iter().filter(|node| leads && !node.leads);
    lines.extend(NAMES.into_iter().zip(others).map(|(name, node)| {
        let state = if node.is_silent {
            "wait_bgsave"
        } else {
            "online"
        };
        let (ip, port, offset) = (node.ip(), node.address.port(), node.offset);
        (
            name,
            format!("ip={ip},port={port},state={state},offset={offset},lag=0"),
        )
    }));
    lines.extend([
        ("master_replid", format!("{:040x}", view.status.term)),
        ("master_repl_offset", offset),
        ("second_repl_offset", "-1".into()),
    ]);
    lines
}

fn cpu(_: &View) -> Lines {
    // Ticks of 10 ms: fields 14 and 15 of proc(5), counted from behind the name.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| {
        let field = behind_name.split_whitespace().nth(at);
        field
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 100.0
    };
    vec![
        ("used_cpu_sys", format!("{:.2}", ticks(12))),
        ("used_cpu_user", format!("{:.2}", ticks(11))),
    ]
}

/// Clients that ask for slots want to hear that there is a cluster; others refuse to use
/// transactions or `SELECT 0` when there is one.
fn cluster(view: &View) -> Lines {
    vec![(
        "cluster_enabled",
        u8::from(view.session.in_cluster_mode).to_string(),
    )]
}

fn raft(view: &View) -> Lines {
    let status = &view.status;
    let leader = status
        .leader
        .map_or_else(String::new, |leader| leader.to_string());
    vec![
        ("id", status.id.to_string()),
        ("leader", leader),
        // Clients that read all of INFO as one table must find `role` of the replication.
        ("raft_role", status.role.clone()),
        ("term", status.term.to_string()),
        ("last_log", status.last_log.to_string()),
        ("committed", status.committed.to_string()),
        ("applied", status.applied.to_string()),
        ("snapshot", status.snapshot.to_string()),
        ("snapshots_begun", status.snapshots_begun.to_string()),
        ("snapshots_taken", status.snapshots_taken.to_string()),
        (
            "snapshot_stall_us_max",
            status.snapshot_stall_us_max.to_string(),
        ),
    ]
}

fn keyspace(view: &View) -> Lines {
    match view.status.keys {
        0 => Lines::new(),
        keys => vec![("db0", format!("keys={keys},expires=0,avg_ttl=0"))],
    }
}

/// `ROLE`
pub fn replication_role(session: &Session, store: &Store) -> Reply {
    let status = store.status();
    let offset = Reply::Int(i64::try_from(status.applied).unwrap_or(i64::MAX));
    let nodes = topology::nodes(session, store);
    if status.leading {
        let others = nodes.iter().filter(|node| !node.leads).map(|node| {
            Reply::Array(vec![
                Reply::text(node.ip()),
                Reply::text(node.address.port().to_string()),
                Reply::text(node.offset.to_string()),
            ])
        });
        let others = Reply::Array(others.collect());
        return Reply::Array(vec![Reply::text("master"), offset, others]);
    }
    let leader = nodes.iter().find(|node| node.leads);
    let state = if status.leader.is_some() {
        "connected"
    } else {
        "connect"
    };
    Reply::Array(vec![
        Reply::text("slave"),
        Reply::text(leader.map_or_else(String::new, |leader| leader.ip())),
        Reply::Int(i64::from(leader.map_or(0, |leader| leader.address.port()))),
        Reply::text(state),
        offset,
    ])
}

/// `CONFIG GET` shows what tools ask for; nothing of it is changed by commands.
pub fn settings(session: &Session, patterns: &[Bytes]) -> Reply {
    let idle = session.shared.idle.map_or(0, |idle| idle.as_secs());
    let shown: [(&str, String); 17] = [
        ("appendfsync", "always".into()),
        ("appendonly", "yes".into()),
        ("bind", session.entry.local.ip().to_string()),
        ("client-output-buffer-limit", output_limits()),
        ("cluster-enabled", "no".into()),
        ("databases", "1".into()),
        ("lfu-decay-time", "1".into()),
        ("maxclients", CLIENTS_MAX.to_string()),
        ("maxmemory", "0".into()),
        ("maxmemory-policy", "noeviction".into()),
        ("notify-keyspace-events", String::new()),
        ("port", session.entry.local.port().to_string()),
        ("proto-max-bulk-len", crate::limits::BULK_MAX.to_string()),
        ("save", String::new()),
        (
            "slowlog-log-slower-than",
            crate::limits::SLOW_COMMAND.as_micros().to_string(),
        ),
        (
            "slowlog-max-len",
            crate::limits::SLOW_COMMANDS_MAX.to_string(),
        ),
        ("timeout", idle.to_string()),
    ];
    let asked = |name: &str| {
        patterns
            .iter()
            .any(|pattern| matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
    };
    let shown = shown.into_iter().filter(|(name, _)| asked(name));
    Reply::Map(
        shown
            .map(|(name, value)| (Reply::text(name), Reply::text(value)))
            .collect(),
    )
}

fn output_limits() -> String {
    use crate::limits::{
        CLIENT_MESSAGE_BYTES_MAX, CLIENT_MESSAGE_BYTES_SOFT, CLIENT_MESSAGE_SOFT_TIME,
        REPLY_BYTES_MAX,
    };
    let soft_s = CLIENT_MESSAGE_SOFT_TIME.as_secs();
    format!(
        "normal {REPLY_BYTES_MAX} 0 0 slave 0 0 0 \
         pubsub {CLIENT_MESSAGE_BYTES_MAX} {CLIENT_MESSAGE_BYTES_SOFT} {soft_s}"
    )
}
