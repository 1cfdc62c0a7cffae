//! What the SIP engine commits, said to the store.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use raftpbx_sip::journal::Done;
use raftpbx_sip::{Credentials, Journal, JournalError, JournalOp};
use raftpbx_store::{Command, Reply, Store, StoreError};

/// The engine's records go straight into the log of this node, which must lead.
pub struct StoreJournal {
    store: Store,
    user_changes: Option<Arc<AtomicU64>>,
}

impl StoreJournal {
    /// A journal over `store`.
    pub fn new(store: Store) -> Self {
        let user_changes = store.follow_table("users");
        Self {
            store,
            user_changes,
        }
    }
}

fn command(op: JournalOp) -> Command {
    match op {
        JournalOp::Set {
            key,
            value,
            expires_at_ms,
        } => {
            let mut command = vec![
                Bytes::from_static(b"SET"),
                Bytes::from(key),
                Bytes::from(value),
            ];
            if let Some(at) = expires_at_ms {
                command.push(Bytes::from_static(b"PXAT"));
                command.push(Bytes::from(at.to_string()));
            }
            command
        }
        JournalOp::Delete { key } => vec![Bytes::from_static(b"DEL"), Bytes::from(key)],
    }
}

/// A refused command in an entry is as bad as a refused entry: the record is not there.
fn outcome(result: Result<Reply, StoreError>) -> Result<(), JournalError> {
    match result {
        Ok(Reply::Error(text)) => Err(JournalError::Failed(text)),
        Ok(Reply::Array(replies)) => replies
            .into_iter()
            .find_map(|reply| match reply {
                Reply::Error(text) => Some(Err(JournalError::Failed(text))),
                _ => None,
            })
            .unwrap_or(Ok(())),
        Ok(_) => Ok(()),
        Err(StoreError::NotLeader { .. }) => Err(JournalError::NotLeader),
        Err(error) => Err(JournalError::Failed(error.to_string())),
    }
}

impl Journal for StoreJournal {
    fn commit(&self, ops: Vec<JournalOp>, patience: Duration, done: Done) {
        let request = ops.into_iter().map(command).collect();
        let done = Box::new(move |result| done(outcome(result)));
        self.store.submit_as_leader(request, patience, done);
    }

    fn credentials(&self, user: &str) -> Option<Credentials> {
        let rows = self
            .store
            .query(
                "SELECT ha1_md5, ha1_sha256 FROM users WHERE name = ?1",
                &[user.into()],
            )
            .inspect_err(|error| tracing::error!(%error, user, "credentials could not be read"))
            .ok()?;
        let row = rows.into_iter().next()?;
        let text = |column: &str| row.get(column)?.as_str().map(str::to_owned);
        Some(Credentials {
            ha1_md5: text("ha1_md5")?,
            ha1_sha256: text("ha1_sha256")?,
        })
    }

    fn user_changes(&self) -> Option<Arc<AtomicU64>> {
        self.user_changes.clone()
    }

    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| {
                u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
            })
    }
}
