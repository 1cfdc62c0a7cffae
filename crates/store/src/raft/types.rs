//! The types this store instantiates the Raft library with.

use openraft::type_config::alias;

use super::applier::Applier;
use super::runtime::Runtime;
use crate::batch::{Applied, Batch};

openraft::declare_raft_types!(
    /// Entries are batches, replies are what applying them gave.
    pub Types: D = Batch, R = Applied, AsyncRuntime = Runtime
);

pub type Raft = openraft::Raft<Types, Applier>;
pub type Entry = alias::EntryOf<Types>;
pub type LogId = alias::LogIdOf<Types>;
pub type LeaderId = alias::LeaderIdOf<Types>;
pub type Vote = alias::VoteOf<Types>;
pub type Membership = alias::StoredMembershipOf<Types>;
pub type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub type Snapshot = alias::SnapshotOf<Types, crate::snapshot::SnapshotFile>;
pub type Metrics = openraft::RaftMetrics<Types>;
