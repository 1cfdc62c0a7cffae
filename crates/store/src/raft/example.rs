//! Entries for the tests of this folder.
use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, RaftTypeConfig};

use super::types::{Entry, LogId, Types};
use crate::batch::Batch;

type LeaderId = <Types as RaftTypeConfig>::LeaderId;

/// An entry of node 1 in its term 3.
pub fn log_id(index: u64) -> LogId {
    let leader_id = LeaderId {
        term: 3,
        node_id: 1,
    };
    LogId {
        leader_id: leader_id.to_committed(),
        index,
    }
}

/// The entry without anything in it.
pub fn blank(index: u64) -> Entry {
    Entry::new(log_id(index), EntryPayload::Blank)
}

/// The entry with so many bytes.
pub fn of_bytes(index: u64, bytes: usize) -> Entry {
    let batch = Batch {
        body: Bytes::from(vec![7; bytes]),
        ..Batch::default()
    };
    Entry::new(log_id(index), EntryPayload::Normal(batch))
}
