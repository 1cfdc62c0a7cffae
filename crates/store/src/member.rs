//! The members of a cluster, and how they are changed.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::PeerAddress;

/// One member as a node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Name of the server; may be empty.
    pub name: String,
    /// Address of its Raft listener.
    pub raft: SocketAddr,
    /// Address of its Redis door.
    pub resp: Option<SocketAddr>,
    /// Whether it votes; a learner only receives the log.
    pub voter: bool,
    /// Whether it leads, as far as this node knows.
    pub leader: bool,
    /// Whether this node has a link to it now (always true for itself).
    pub reachable: bool,
    /// Why this node has no link to it, when the member said so.
    pub problem: Option<String>,
    /// Index of the last entry known to be in its log; only the leader knows.
    pub matched: Option<u64>,
}

/// A change of the members. Each may be repeated: what is done already is not done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum MemberChange {
    /// Adds a node that receives the log and does not vote. It must be running.
    Add {
        /// Its id, never used before.
        id: u64,
        /// How it is reached.
        address: PeerAddress,
    },
    /// Makes a learner a voter, after it has caught up.
    Promote {
        /// The learner.
        id: u64,
    },
    /// Removes a voter or a learner; its id is never used again.
    Remove {
        /// The member.
        id: u64,
    },
    /// Adds `new`, waits until it has the log, and lets it vote in place of `old` in one step.
    Replace {
        /// The voter that leaves, usually dead or wiped.
        old: u64,
        /// The id of the node that takes its place.
        new: u64,
        /// How the new node is reached; where `old` was when this is left away.
        address: Option<PeerAddress>,
    },
}

/// Why a change of the members was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRefusal {
    /// For programs, `PBX_MEMBER_...`.
    pub code: String,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

impl std::fmt::Display for MemberRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.code, self.text, self.fix)
    }
}

impl MemberRefusal {
    /// A refusal.
    pub fn new(code: &str, text: impl Into<String>, fix: impl Into<String>) -> MemberRefusal {
        MemberRefusal {
            code: code.into(),
            text: text.into(),
            fix: fix.into(),
        }
    }
}
