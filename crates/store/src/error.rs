//! What can go wrong, for callers.

use thiserror::Error;

/// Errors of the store. A command that was refused by the keyspace is not one of these: it is a
/// [`crate::Reply::Error`].
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The configuration cannot work.
    #[error("configuration: {0}")]
    Config(String),
    /// A file could not be read or written. The node stops acknowledging.
    #[error("storage: {0}")]
    Storage(String),
    /// A socket could not be opened.
    #[error("network: {0}")]
    Network(String),
    /// Certificates could not be read or made.
    #[error("certificates: {0}")]
    Certificate(String),
    /// This node does not lead, and the caller asked not to forward.
    #[error("this node does not lead (leader: {leader:?})")]
    NotLeader {
        /// The leader as far as this node knows.
        leader: Option<u64>,
    },
    /// No leader answered within the hold time; nothing was changed.
    #[error("no leader within {held_ms} ms, nothing was changed")]
    Unavailable {
        /// How long the request was held.
        held_ms: u64,
    },
    /// The request was sent to a leader that did not answer; it may or may not have been applied.
    #[error("the leader did not answer, the outcome is unknown")]
    OutcomeUnknown,
    /// A bounded queue is full.
    #[error("too many requests in flight (limit {limit})")]
    Overloaded {
        /// The bound that was reached.
        limit: usize,
    },
    /// The request is larger than the store accepts, or empty.
    #[error("request refused: {0}")]
    Refused(String),
    /// An SQL read failed.
    #[error("sql: {0}")]
    Sql(String),
    /// A backup could not be taken, read or restored.
    #[error("{code}: {text}")]
    Backup {
        /// For programs, `PBX_BACKUP_...` or `PBX_RESTORE_...`.
        code: &'static str,
        /// What happened, and what to do.
        text: String,
    },
    /// A change of the members was refused.
    #[error("{0}")]
    Member(crate::member::MemberRefusal),
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        StoreError::Storage(error.to_string())
    }
}
