//! What watchers are told, in log order.

use bytes::Bytes;

/// One event of a watch. All watchers see the same order of changes on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// String keys of the watched prefixes that one or more log entries changed.
    Changed(Vec<Change>),
    /// A snapshot replaced the state: forget everything; `Changed` for all keys follows.
    Reset,
    /// This node leads and has applied its own first entry of this term.
    Leading {
        /// The Raft term.
        term: u64,
    },
    /// This node does not lead, or cannot reach a majority any more.
    Following {
        /// The Raft term.
        term: u64,
        /// The leader, when known.
        leader: Option<u64>,
    },
}

/// The new value of one string key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The value, or `None` when the key was deleted or expired.
    pub value: Option<Bytes>,
}
