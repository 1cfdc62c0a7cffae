//! The types this store instantiates the Raft library with.

use std::net::SocketAddr;

use openraft::type_config::alias;
use serde::{Deserialize, Serialize};

use super::applier::Applier;
use super::runtime::Runtime;
use crate::batch::{Applied, Batch};

/// What the log remembers of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Name of the server, for people.
    pub name: String,
    /// Address of its Raft listener.
    pub raft: SocketAddr,
    /// Address of its Redis door.
    pub resp: Option<SocketAddr>,
    /// Incarnation of its directory (see `identity`).
    pub incarnation: u64,
    /// The cluster, the same for all members: chosen at random when it was initialised.
    pub cluster: u64,
}

openraft::declare_raft_types!(
    /// Entries are batches, replies are what applying them gave.
    pub Types: D = Batch, R = Applied, Node = Node, AsyncRuntime = Runtime
);

pub type Raft = openraft::Raft<Types, Applier>;
pub type Entry = alias::EntryOf<Types>;
pub type LogId = alias::LogIdOf<Types>;
pub type LeaderId = alias::LeaderIdOf<Types>;
pub type Vote = alias::VoteOf<Types>;
pub type Membership = alias::StoredMembershipOf<Types>;
pub type Members = openraft::Membership<u64, Node>;
pub type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub type Snapshot = alias::SnapshotOf<Types, crate::snapshot::SnapshotFile>;
pub type Metrics = openraft::RaftMetrics<Types>;
