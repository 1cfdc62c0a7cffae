//! `SENTINEL`: every node is a Sentinel of one master, the leader.
//!
//! The master answers to two names: `raftpbx`, and `mymaster`, which is what most clients ask for
//! when nobody has told them otherwise. Clients that subscribe to `+switch-master` at a node are
//! told when the leader changes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::Shared;
use super::local::unknown_verb;
use super::session::{Session, Step};
use super::topology::{self, NodeView};
use crate::keyspace::Message;
use crate::raft::Leadership;
use crate::reply::{Command, Reply};
use crate::store::{Store, WeakStore};

/// Names of the one master.
pub const MASTER_NAMES: [&str; 2] = ["raftpbx", "mymaster"];

const NO_SUCH: &str = "ERR No such master with that name";

fn known(name: &Bytes) -> Option<&'static str> {
    let same = |known: &&str| known.as_bytes() == name.as_ref();
    MASTER_NAMES.into_iter().find(|known| same(known))
}

/// `SENTINEL verb ...`. `held`: there was time for a leader to appear.
pub fn sentinel(session: &Session, command: &Command, store: &Store, held: bool) -> Step {
    let verb = String::from_utf8_lossy(&command[1]).to_ascii_uppercase();
    let rest = &command[2..];
    let nodes = topology::nodes(session, store);
    let leader = nodes.iter().find(|node| node.leads);
    let needs_leader = matches!(
        verb.as_str(),
        "GET-MASTER-ADDR-BY-NAME" | "MASTERS" | "MASTER" | "REPLICAS" | "SLAVES"
    );
    if needs_leader && leader.is_none() && !held {
        return Step::WhenLed(command.clone());
    }
    let named = |make: &dyn Fn(&'static str) -> Reply| match rest {
        [name] => known(name).map_or_else(|| Reply::error(NO_SUCH), make),
        _ => Reply::error(format!(
            "ERR wrong number of arguments for 'sentinel|{}' command",
            verb.to_ascii_lowercase()
        )),
    };
    Step::Answer(match verb.as_str() {
        "GET-MASTER-ADDR-BY-NAME" => match (rest, leader) {
            ([name], Some(leader)) if known(name).is_some() => Reply::Array(vec![
                Reply::text(leader.ip()),
                Reply::text(leader.address.port().to_string()),
            ]),
            _ => Reply::NilArray,
        },
        "MASTERS" => Reply::Array(
            leader
                .iter()
                .map(|it| master(MASTER_NAMES[0], it, &nodes))
                .collect(),
        ),
        "MASTER" => named(&|name| match leader {
            Some(leader) => master(name, leader, &nodes),
            None => Reply::error(NO_SUCH),
        }),
        "REPLICAS" | "SLAVES" => named(&|_| replicas(leader, &nodes)),
        "SENTINELS" => named(&|_| sentinels(&nodes)),
        "CKQUORUM" => named(&|_| quorum(store, leader)),
        "MYID" => Reply::text(format!("{:040x}", store.status().id)),
        "FAILOVER" | "MONITOR" | "REMOVE" | "SET" | "RESET" | "FLUSHCONFIG" | "CONFIG" => {
            Reply::error("ERR the cluster elects its leader itself; SENTINEL changes nothing")
        }
        _ => unknown_verb("SENTINEL", &verb),
    })
}

fn quorum(store: &Store, leader: Option<&NodeView>) -> Reply {
    let voters = topology::voters(store);
    match leader {
        Some(_) => Reply::Simple(format!(
            "OK {voters} usable Sentinels. Quorum and failover authorization can be reached"
        )),
        None => {
            Reply::error("NOQUORUM no leader: fewer than a majority of the voters is reachable")
        }
    }
}

fn fields(pairs: Vec<(&str, String)>) -> Reply {
    let pairs = pairs.into_iter();
    Reply::Map(
        pairs
            .map(|(name, value)| (Reply::text(name), Reply::text(value)))
            .collect(),
    )
}

fn place(node: &NodeView, name: String, flags: &str) -> Vec<(&'static str, String)> {
    vec![
        ("name", name),
        ("ip", node.ip()),
        ("port", node.address.port().to_string()),
        ("runid", node.name()),
        ("flags", flags.to_owned()),
        ("link-pending-commands", "0".into()),
        ("last-ok-ping-reply", "0".into()),
        ("last-ping-reply", "0".into()),
        ("down-after-milliseconds", "1000".into()),
    ]
}

fn master(name: &str, leader: &NodeView, nodes: &[NodeView]) -> Reply {
    let others = nodes.len().saturating_sub(1).to_string();
    let mut pairs = place(leader, name.to_owned(), "master");
    pairs.extend([
        ("role-reported", "master".to_owned()),
        ("config-epoch", "0".into()),
        ("num-slaves", others.clone()),
        ("num-other-sentinels", others),
        ("quorum", (nodes.len() / 2 + 1).to_string()),
        ("failover-timeout", "1000".into()),
        ("parallel-syncs", "1".into()),
    ]);
    fields(pairs)
}

fn replicas(leader: Option<&NodeView>, nodes: &[NodeView]) -> Reply {
    let view = |node: &NodeView| {
        let flags = if node.is_silent {
            "s_down,slave"
        } else {
            "slave"
        };
        let mut pairs = place(
            node,
            format!("{}:{}", node.ip(), node.address.port()),
            flags,
        );
        let (host, port) = leader.map_or_else(
            || ("?".to_owned(), 0),
            |leader| (leader.ip(), leader.address.port()),
        );
        pairs.extend([
            ("role-reported", "slave".to_owned()),
            (
                "master-link-status",
                if leader.is_some() { "ok" } else { "err" }.into(),
            ),
            ("master-host", host),
            ("master-port", port.to_string()),
            ("slave-priority", "100".into()),
            ("slave-repl-offset", node.offset.to_string()),
        ]);
        fields(pairs)
    };
    Reply::Array(nodes.iter().filter(|node| !node.leads).map(view).collect())
}

fn sentinels(nodes: &[NodeView]) -> Reply {
    let others = nodes.iter().filter(|node| !node.is_here);
    let view = |node: &NodeView| fields(place(node, node.name(), "sentinel"));
    Reply::Array(others.map(view).collect())
}

fn address(store: &WeakStore, id: u64) -> Option<SocketAddr> {
    let members = store.upgrade()?.members();
    members.into_iter().find(|member| member.id == id)?.resp
}

/// Publishes `+switch-master` at this node whenever the leader changes, until `stop` does.
pub async fn announce(
    shared: Arc<Shared>,
    store: WeakStore,
    mut leadership: watch::Receiver<Leadership>,
    mut stop: watch::Receiver<bool>,
) {
    let mut last: Option<SocketAddr> = None;
    loop {
        let leader = leadership.borrow_and_update().leader;
        let now = leader.and_then(|leader| address(&store, leader));
        if let (Some(before), Some(now)) = (last, now)
            && before != now
        {
            shared.pubsub.publish(&switch(before, now));
        }
        last = now.or(last);
        tokio::select! {
            _ = stop.changed() => return,
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}

fn switch(before: SocketAddr, now: SocketAddr) -> Vec<Message> {
    let message = |name: &&str| Message {
        channel: Bytes::from_static(b"+switch-master"),
        payload: Bytes::from(format!(
            "{name} {} {} {} {}",
            before.ip(),
            before.port(),
            now.ip(),
            now.port()
        )),
    };
    MASTER_NAMES.iter().map(message).collect()
}
