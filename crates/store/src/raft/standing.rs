//! What a node says about itself to others, and what it thinks of what they say.
//!
//! Every link begins with a greeting that names cluster, node and incarnation of both ends. Whoever
//! knows one of them otherwise refuses, and says why: two clusters never mix, and a node that lost
//! its directory neither votes nor stands for election under its old id.
//!
//! [`judge`] is pure; [`Standing`] holds what it needs and what was learned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::alarms::Alarms;
use super::identity::Identity;
use super::types::Members;

/// Version of the protocol between nodes.
pub const VERSION: u32 = 3;

/// Another member has lost its directory.
const MEMBER_WIPED: &str = "PBX_STORE_MEMBER_WIPED";

/// Who calls whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`VERSION`].
    pub version: u32,
    /// The caller.
    pub from: u64,
    /// Whom the caller means.
    pub to: u64,
    /// The caller's cluster, 0 = none yet.
    pub cluster: u64,
    /// The caller's incarnation.
    pub incarnation: u64,
    /// The incarnation of the called node as the caller's cluster knows it, 0 = unknown.
    pub expects: u64,
}

/// What the called node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its cluster, 0 = none yet.
    pub cluster: u64,
    /// Its incarnation.
    pub incarnation: u64,
    /// The caller's incarnation as its cluster knows it, 0 = not a member.
    pub knows: u64,
}

/// Why a link was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another version of the protocol between nodes: what the called node speaks.
    Version(u32),
    /// The called node has another id.
    NotMe(u64),
    /// The nodes belong to different clusters.
    OtherCluster,
    /// The caller has lost its directory since the cluster met it.
    CallerWiped,
    /// The called node has lost its directory since the caller's cluster met it.
    CalledWiped,
    /// The caller's certificate is not that of the node it says it is.
    Certificate,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Version(theirs) => write!(f, "it speaks protocol version {theirs}"),
            Refusal::NotMe(id) => write!(f, "it is node {id}"),
            Refusal::OtherCluster => f.write_str("it belongs to another cluster"),
            Refusal::CallerWiped => f.write_str("this node has lost its directory since they met"),
            Refusal::CalledWiped => f.write_str("it has lost its directory"),
            Refusal::Certificate => f.write_str("the certificate is not that of this node id"),
        }
    }
}

/// What one side of a greeting knows.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    pub id: u64,
    pub cluster: u64,
    pub incarnation: u64,
    /// Incarnations of the members, as the log says.
    pub members: &'a BTreeMap<u64, u64>,
}

/// Whether a greeting is welcome.
pub fn judge(own: Own<'_>, greeting: &Greeting) -> Result<Welcome, Refusal> {
    if greeting.version != VERSION {
        return Err(Refusal::Version(VERSION));
    }
    if greeting.to != own.id {
        return Err(Refusal::NotMe(own.id));
    }
    if own.cluster != 0 && greeting.cluster != 0 && own.cluster != greeting.cluster {
        return Err(Refusal::OtherCluster);
    }
    if greeting.expects != 0 && greeting.expects != own.incarnation {
        return Err(Refusal::CalledWiped);
    }
    let knows = own.members.get(&greeting.from).copied().unwrap_or(0);
    if knows != 0 && knows != greeting.incarnation {
        return Err(Refusal::CallerWiped);
    }
    Ok(Welcome {
        cluster: own.cluster,
        incarnation: own.incarnation,
        knows,
    })
}

/// The standing of this node among the others.
pub struct Standing {
    /// This node.
    pub id: u64,
    /// Its directory.
    pub identity: Identity,
    cluster: AtomicU64,
    members: RwLock<BTreeMap<u64, u64>>,
    barred: AtomicBool,
    alarms: Arc<Alarms>,
    met: watch::Sender<BTreeMap<u64, Result<Welcome, Refusal>>>,
}

impl Standing {
    /// A node that has met nobody.
    pub fn new(id: u64, identity: Identity, alarms: Arc<Alarms>) -> Standing {
        Standing {
            id,
            cluster: AtomicU64::new(identity.cluster()),
            identity,
            members: RwLock::default(),
            barred: AtomicBool::new(false),
            alarms,
            met: watch::Sender::default(),
        }
    }

    /// This node's cluster, 0 = none yet.
    pub fn cluster(&self) -> u64 {
        self.cluster.load(Ordering::Acquire)
    }

    /// Takes over what the log says about the members.
    pub fn learn(&self, members: &Members) {
        let known = members.nodes().map(|(id, node)| (*id, node.incarnation));
        *self.members.write() = known.collect();
        self.alarms.keep_about(|id| members.get_node(&id).is_some());
        if let Some((_, node)) = members.nodes().next() {
            self.cluster.store(node.cluster, Ordering::Release);
        }
    }

    /// What this node says to `to`.
    pub fn greeting(&self, to: u64) -> Greeting {
        Greeting {
            version: VERSION,
            from: self.id,
            to,
            cluster: self.cluster(),
            incarnation: self.identity.incarnation,
            expects: self.members.read().get(&to).copied().unwrap_or(0),
        }
    }

    /// Answers a greeting, and draws conclusions from it.
    pub fn answer(&self, greeting: &Greeting) -> Result<Welcome, Refusal> {
        let verdict = {
            let members = self.members.read();
            let own = Own {
                id: self.id,
                cluster: self.cluster(),
                incarnation: self.identity.incarnation,
                members: &members,
            };
            judge(own, greeting)
        };
        match &verdict {
            Err(Refusal::CalledWiped) => self.bar(),
            Err(Refusal::CallerWiped) => self.member_wiped(greeting.from),
            Err(Refusal::OtherCluster) => self.other_cluster(greeting.from),
            _ => {}
        }
        verdict
    }

    /// Takes note of how `to` answered.
    pub fn answered(&self, to: u64, answer: &Result<Welcome, Refusal>) {
        let noted = answer.clone();
        self.met.send_modify(|met| {
            met.insert(to, noted);
        });
        match answer {
            Err(Refusal::CallerWiped) => self.bar(),
            Err(Refusal::CalledWiped) => self.member_wiped(to),
            Err(Refusal::OtherCluster) => self.other_cluster(to),
            Ok(_) => self.alarms.clear_about(to, MEMBER_WIPED),
            Err(_) => {}
        }
    }

    /// Forgets what `to` answered, because the link to it is down.
    pub fn lost(&self, to: u64) {
        self.met.send_if_modified(|met| met.remove(&to).is_some());
    }

    /// What the nodes answered that can be reached now.
    pub fn met(&self) -> watch::Receiver<BTreeMap<u64, Result<Welcome, Refusal>>> {
        self.met.subscribe()
    }

    /// From now on this node neither votes nor stands for election.
    pub fn bar(&self) {
        if self.barred.swap(true, Ordering::AcqRel) {
            return;
        }
        let id = self.id;
        self.alarms.raise(
            "PBX_STORE_WIPED",
            format!(
                "the cluster knows node {id}, but this directory is not the one it knows: its log \
                 and votes are lost, so this node does not vote and does not serve"
            ),
            format!(
                "put the lost directory back, or let this server rejoin: give it an unused id in \
                 place of {id} (and a certificate for that id), start it, then run 'raftpbx member \
                 rejoin {id} NEW-ID'"
            ),
        );
    }

    /// Whether this node must not vote.
    pub fn is_barred(&self) -> bool {
        self.barred.load(Ordering::Acquire)
    }

    /// Says what the wiped node itself says, where people look: at the cluster that still works.
    fn member_wiped(&self, id: u64) {
        // Held until the alarm is there: a member that leaves meanwhile takes it along.
        let members = self.members.read();
        if !members.contains_key(&id) {
            return;
        }
        self.alarms.raise_about(
            id,
            MEMBER_WIPED,
            format!("node {id} has lost its directory: it does not vote and has no copy"),
            format!(
                "put the lost directory back, or give that server an unused id in place of {id} \
                 and a certificate for it, start it, then run 'raftpbx member rejoin {id} NEW-ID'"
            ),
        );
    }

    fn other_cluster(&self, other: u64) {
        self.alarms.raise(
            "PBX_STORE_OTHER_CLUSTER",
            format!("node {other} at a configured address belongs to another cluster"),
            "correct the addresses in 'peers' so that each cluster knows its own nodes only",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INCARNATIONS: [(u64, u64); 3] = [(1, 11), (2, 22), (3, 33)];

    fn greeting() -> Greeting {
        Greeting {
            version: VERSION,
            from: 2,
            to: 1,
            cluster: 9,
            incarnation: 22,
            expects: 11,
        }
    }

    fn judged(change: impl FnOnce(&mut Greeting)) -> Result<Welcome, Refusal> {
        let members = BTreeMap::from(INCARNATIONS);
        let own = Own {
            id: 1,
            cluster: 9,
            incarnation: 11,
            members: &members,
        };
        let mut greeting = greeting();
        change(&mut greeting);
        judge(own, &greeting)
    }

    #[test]
    fn members_welcome_each_other() {
        let welcome = Welcome {
            cluster: 9,
            incarnation: 11,
            knows: 22,
        };
        assert_eq!(judged(|_| {}), Ok(welcome));
    }

    #[test]
    fn a_node_without_a_cluster_is_welcome_unless_its_id_is_taken() {
        let fresh = |greeting: &mut Greeting| {
            (greeting.cluster, greeting.incarnation, greeting.expects) = (0, 99, 0);
        };
        assert_eq!(judged(fresh), Err(Refusal::CallerWiped));
        let stranger = judged(|greeting| {
            fresh(greeting);
            greeting.from = 4;
        });
        assert_eq!(stranger.map(|welcome| welcome.knows), Ok(0));
    }

    #[test]
    fn everything_that_differs_is_refused() {
        let refusals = [
            (judged(|it| it.version = 1), Refusal::Version(VERSION)),
            (judged(|it| it.to = 3), Refusal::NotMe(1)),
            (judged(|it| it.cluster = 8), Refusal::OtherCluster),
            (judged(|it| it.expects = 12), Refusal::CalledWiped),
            (judged(|it| it.incarnation = 23), Refusal::CallerWiped),
        ];
        for (judged, expected) in refusals {
            assert_eq!(judged, Err(expected));
        }
    }
}
