//! A node's view of itself and its cluster, for status pages and metrics.

use std::net::SocketAddr;

use serde::Serialize;

/// State of a node at one moment.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// This node.
    pub id: u64,
    /// The leader as far as this node knows.
    pub leader: Option<u64>,
    /// When this node heard that the leader leads, Unix milliseconds of its clock; 0 without one.
    pub leader_since_ms: u64,
    /// The Raft term.
    pub term: u64,
    /// `leader`, `candidate`, `follower`, `learner` or `stopped`.
    pub role: String,
    /// Whether this node leads, has applied its own first entry and holds a lease.
    pub leading: bool,
    /// Index of the last entry in this node's log.
    pub last_log: u64,
    /// Index of the last entry known to be committed.
    pub committed: u64,
    /// Index of the last entry applied here.
    pub applied: u64,
    /// Index of the last entry in the newest snapshot.
    pub snapshot: u64,
    /// When it was written, Unix milliseconds; 0 without one.
    pub snapshot_at_ms: u64,
    /// Snapshots begun since the start of the process; more than were written while one is.
    pub snapshots_begun: u64,
    /// Snapshots written since the start of the process.
    pub snapshots_taken: u64,
    /// The longest time that one of them held up readers and entries, microseconds.
    pub snapshot_stall_us_max: u64,
    /// Index of the last entry purged from the log.
    pub purged: u64,
    /// Remaining leader lease in milliseconds, 0 when not held.
    pub lease_remaining_ms: u64,
    /// What the leader knows of the other voters; empty on followers.
    pub peers: Vec<PeerStatus>,
    /// Bytes of log kept on disk since the last purge.
    pub log_bytes: u64,
    /// 99 of 100 flushes to disk took at most so many microseconds since the start.
    pub fsync_p99_us: u64,
    /// 99 of 100 batches this node proposed were applied within so many microseconds.
    pub commit_p99_us: u64,
    /// Bytes of the SQLite file.
    pub sql_bytes: u64,
    /// Keys in the keyspace.
    pub keys: u64,
    /// The logical clock, Unix milliseconds.
    pub clock_ms: u64,
    /// The real address of the Raft listener.
    pub raft_address: Option<SocketAddr>,
    /// The real addresses of the Redis door.
    pub resp_addresses: Vec<SocketAddr>,
    /// Why the node stopped, when it did (for example a disk error).
    pub stopped: Option<String>,
    /// What needs a person, by code.
    pub alarms: Vec<Alarm>,
}

/// Something that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// For programs, `PBX_STORE_...`.
    pub code: &'static str,
    /// What happened.
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

/// What a leader knows of one voter.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// The voter.
    pub id: u64,
    /// Index of the last entry known to be in its log.
    pub matched: Option<u64>,
    /// Milliseconds since it last acknowledged anything.
    pub last_ack_ms: Option<u64>,
}
