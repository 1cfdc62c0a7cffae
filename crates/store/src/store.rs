//! The handle through which the process uses its store.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::event::StoreEvent;
use crate::reply::{Command, Reply, Request};
use crate::status::StoreStatus;

/// Called once with the outcome of a submitted request.
pub type Done = Box<dyn FnOnce(Result<Reply, StoreError>) + Send>;

/// Called with events in log order, always from the same thread; must not block.
pub type Sink = Box<dyn FnMut(Vec<StoreEvent>) + Send>;

/// One node of the replicated store. Cheap to clone; all clones are the same node.
#[derive(Clone)]
pub struct Store {
    lease: Arc<AtomicU64>,
}

impl Store {
    /// Recovers the log, starts the node on `runtime` and returns. Blocks while files are read.
    pub fn open(config: StoreConfig, runtime: tokio::runtime::Handle) -> Result<Store, StoreError> {
        config.validate()?;
        let _ = runtime;
        Ok(Store {
            lease: Arc::default(),
        })
    }

    /// Proposes a request; `done` runs after it was applied here or on the leader. Never blocks.
    ///
    /// A follower forwards to the leader. A request is held through an election for at most
    /// two seconds. Requests of one process are applied in the order of submission.
    pub fn submit(&self, request: Request, done: Done) {
        let _ = request;
        done(Err(StoreError::Closed));
    }

    /// Submits all requests and waits for all answers, in order.
    pub async fn execute(&self, requests: Vec<Request>) -> Vec<Result<Reply, StoreError>> {
        requests
            .into_iter()
            .map(|_| Err(StoreError::Closed))
            .collect()
    }

    /// Like [`Store::submit`] but fails at once when this node does not lead.
    pub fn submit_as_leader(&self, request: Request, done: Done) {
        let _ = request;
        done(Err(StoreError::Closed));
    }

    /// Reads this node's state, which may be stale.
    pub fn read(&self, command: &Command) -> Reply {
        let _ = command;
        Reply::Nil
    }

    /// Reads the leader's state under its lease.
    pub async fn read_linearizable(&self, command: Command) -> Result<Reply, StoreError> {
        let _ = command;
        Err(StoreError::Closed)
    }

    /// String keys with a prefix, in order, beginning behind `after`; at most `limit`.
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Bytes, Bytes)> {
        let _ = (prefix, after, limit);
        Vec::new()
    }

    /// Number of keys with a prefix.
    pub fn count_prefix(&self, prefix: &[u8]) -> usize {
        prefix.len()
    }

    /// Reads this node's SQLite file.
    pub fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Map<String, Value>>, StoreError> {
        let _ = (sql, args);
        Ok(Vec::new())
    }

    /// Watches string keys by prefix. The sink is first told the present leadership and every
    /// existing matching key, then every change in log order.
    pub fn watch(&self, prefixes: Vec<Bytes>, sink: Sink) {
        let _ = (prefixes, sink);
    }

    /// End of this node's leader lease in `CLOCK_BOOTTIME` nanoseconds, 0 when it has none.
    pub fn lease(&self) -> Arc<AtomicU64> {
        self.lease.clone()
    }

    /// State of this node now.
    pub fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }

    /// Hands leadership to `to`, or to the most up-to-date voter.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<(), StoreError> {
        let _ = to;
        Err(StoreError::Closed)
    }

    /// Prometheus text.
    pub fn metrics(&self) -> String {
        String::new()
    }

    /// Stops the node: listeners close, the log is flushed. Calling it twice does no harm.
    pub async fn shutdown(&self) {}
}
