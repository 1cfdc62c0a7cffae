//! `CLUSTER`: one shard with all slots, its master is the leader.

use std::fmt::Write;

use bytes::Bytes;

use super::local::{integer, unknown_verb};
use super::session::{Session, Step, refuse};
use super::topology::{self, NodeView};
use crate::keyspace::{SLOTS, slot_of};
use crate::reply::{Command, Reply};
use crate::store::Store;

const NO_LEADER: &str = "CLUSTERDOWN no leader is known, or it has no Redis address";

fn number(value: u64) -> Reply {
    Reply::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `CLUSTER verb ...`. `held`: there was time for a leader to appear.
pub fn cluster(session: &mut Session, command: &Command, store: &Store, held: bool) -> Step {
    let verb = String::from_utf8_lossy(&command[1]).to_ascii_uppercase();
    let rest = &command[2..];
    if matches!(verb.as_str(), "SLOTS" | "SHARDS" | "NODES") {
        session.in_cluster_mode = true;
        let nodes = topology::nodes(session, store);
        if !nodes.iter().any(|node| node.leads) {
            return if held {
                refuse(NO_LEADER)
            } else {
                Step::WhenLed(command.clone())
            };
        }
        return Step::Answer(match verb.as_str() {
            "SLOTS" => slots(&nodes),
            "SHARDS" => shards(&nodes),
            _ => Reply::Verbatim(table(&nodes, store.status().term)),
        });
    }
    Step::Answer(match (verb.as_str(), rest) {
        ("INFO", []) => Reply::Verbatim(info(session, store)),
        ("MYID", []) => Reply::text(format!("{:040x}", store.status().id)),
        ("MYSHARDID", []) => Reply::text(format!("{:040x}", 0)),
        ("KEYSLOT", [key]) => Reply::Int(i64::from(slot_of(key))),
        ("COUNTKEYSINSLOT", [slot]) => match keys_in(store, slot, usize::MAX) {
            Ok(keys) => number(keys.len() as u64),
            Err(refusal) => refusal,
        },
        ("GETKEYSINSLOT", [slot, limit]) => {
            match integer(limit).and_then(|limit| usize::try_from(limit).ok()) {
                Some(limit) => keys_in(store, slot, limit).map_or_else(|e| e, Reply::Array),
                None => Reply::error("ERR Invalid number of keys"),
            }
        }
        ("LINKS", []) => Reply::Array(Vec::new()),
        (
            "RESET" | "FAILOVER" | "MEET" | "FORGET" | "REPLICATE" | "ADDSLOTS" | "DELSLOTS"
            | "SETSLOT" | "ADDSLOTSRANGE" | "DELSLOTSRANGE" | "FLUSHSLOTS" | "BUMPEPOCH"
            | "SAVECONFIG" | "SET-CONFIG-EPOCH",
            _,
        ) => {
            Reply::error("ERR the cluster is changed in its configuration, not by CLUSTER commands")
        }
        _ => unknown_verb("CLUSTER", &verb),
    })
}

fn keys_in(store: &Store, slot: &Bytes, limit: usize) -> Result<Vec<Reply>, Reply> {
    let slot = integer(slot).and_then(|slot| u16::try_from(slot).ok());
    let slot = slot
        .filter(|slot| *slot < SLOTS)
        .ok_or_else(|| Reply::error("ERR Invalid or out of range slot"))?;
    let everything = store.read(&vec![Bytes::from_static(b"KEYS"), Bytes::from_static(b"*")]);
    let Reply::Array(keys) = everything else {
        return Err(everything);
    };
    let inside = |key: &Reply| matches!(key, Reply::Bulk(key) if slot_of(key) == slot);
    Ok(keys.into_iter().filter(inside).take(limit).collect())
}

/// The leader first.
fn ordered(nodes: &[NodeView]) -> impl Iterator<Item = &NodeView> {
    let leads = nodes.iter().filter(|node| node.leads);
    leads.chain(nodes.iter().filter(|node| !node.leads))
}

fn slots(nodes: &[NodeView]) -> Reply {
    let mut range = vec![Reply::Int(0), Reply::Int(i64::from(SLOTS) - 1)];
    range.extend(ordered(nodes).map(|node| {
        Reply::Array(vec![
            Reply::text(node.ip()),
            Reply::Int(i64::from(node.address.port())),
            Reply::text(node.name()),
            Reply::Array(Vec::new()),
        ])
    }));
    Reply::Array(vec![Reply::Array(range)])
}

fn shards(nodes: &[NodeView]) -> Reply {
    let pair = |name: &str, value: Reply| (Reply::text(name), value);
    let views = ordered(nodes).map(|node| {
        let role = if node.leads { "master" } else { "replica" };
        let health = if node.is_silent { "failed" } else { "online" };
        Reply::Map(vec![
            pair("id", Reply::text(node.name())),
            pair("port", Reply::Int(i64::from(node.address.port()))),
            pair("ip", Reply::text(node.ip())),
            pair("endpoint", Reply::text(node.ip())),
            pair("role", Reply::text(role)),
            pair("replication-offset", number(node.offset)),
            pair("health", Reply::text(health)),
        ])
    });
    let all = vec![Reply::Int(0), Reply::Int(i64::from(SLOTS) - 1)];
    Reply::Array(vec![Reply::Map(vec![
        pair("slots", Reply::Array(all)),
        pair("nodes", Reply::Array(views.collect())),
    ])])
}

fn table(nodes: &[NodeView], term: u64) -> String {
    let master = nodes.iter().find(|node| node.leads).map(NodeView::name);
    let mut text = String::new();
    for node in nodes {
        let flags = [
            node.is_here.then_some("myself"),
            Some(if node.leads { "master" } else { "slave" }),
            node.is_silent.then_some("fail?"),
        ];
        let flags: Vec<&str> = flags.into_iter().flatten().collect();
        let of = match &master {
            Some(master) if !node.leads => master.as_str(),
            _ => "-",
        };
        let (name, ip, port) = (node.name(), node.ip(), node.address.port());
        let slots = if node.leads { " 0-16383" } else { "" };
        let _infallible = writeln!(
            text,
            "{name} {ip}:{port}@{port} {} {of} 0 0 {term} connected{slots}",
            flags.join(",")
        );
    }
    text
}

fn info(session: &Session, store: &Store) -> String {
    let led = store.status().leader.is_some();
    let (state, term) = (if led { "ok" } else { "fail" }, store.status().term);
    let nodes = topology::nodes(session, store).len();
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{nodes}\r\n\
         cluster_size:1\r\ncluster_current_epoch:{term}\r\ncluster_my_epoch:{term}\r\n"
    )
}
