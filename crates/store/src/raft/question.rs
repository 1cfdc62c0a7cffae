//! Small questions between nodes beside the Raft protocol, and the way back of a node that lost
//! part of its log.
//!
//! A recovering node takes entries, but does not vote and does not stand for election. It asks the
//! leader to propose an empty entry: everything that this node may have acknowledged before it was
//! started has a lower index in that leader's log, or can never be committed. When the entry is
//! applied here, nothing is missing any more. Proof: `docs/internals/store-log.md`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::candidacy::{Bar, RECOVERING};
use super::transport::Lane;
use super::transport::frame::{self, Kind};
use super::{Consensus, Proposed};
use crate::batch::{Batch, NO_ORIGIN};
use crate::limits::FORWARD_TIMEOUT;

/// Pause between two attempts to find out what is missing.
const REJOIN_PAUSE: Duration = Duration::from_millis(200);

/// How long the missing entries may take before the leader is asked again.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// What a node asks another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Could you lead? The answer has no meaning but that there is one.
    Lead,
    /// I may lack entries: propose an empty one and tell me its index.
    Rejoin,
}

/// The answer: an index, or why not.
pub type Answer = Result<u64, String>;

impl Consensus {
    /// Asks another node.
    pub async fn ask(&self, node: u64, question: Question) -> Answer {
        let link = self.link(node, Lane::Control).ok_or("no link")?;
        let body = frame::encode(&question).map_err(|error| error.to_string())?;
        let answer = link.request(Kind::Ask, body, FORWARD_TIMEOUT).await;
        let answer = answer.map_err(|error| error.to_string())?;
        frame::decode::<Answer>(&answer).map_err(|error| error.to_string())?
    }

    /// Answers another node.
    pub async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Lead if self.candidacy.is_free() => Ok(0),
            Question::Lead => Err("this node must not lead now".into()),
            Question::Rejoin => self
                .propose_mark()
                .await
                .ok_or_else(|| "not leading".into()),
        }
    }

    /// Proposes an empty entry and waits until it is committed; answers its index.
    async fn propose_mark(&self) -> Option<u64> {
        let batch = Batch {
            origin: NO_ORIGIN,
            body: Bytes::new(),
            ..Batch::default()
        };
        match self.propose(batch).await {
            Proposed::Refused(_) => None,
            Proposed::Waiting { answer, .. } => Some(answer.await.ok()?.ok()?.log_id.index),
        }
    }

    /// Ends the recovery of this node when it has caught up.
    pub async fn rejoin(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while self.candidacy.has(Bar::Recovering) {
            let attempt = async {
                if let Err(text) = self.catch_up().await {
                    tracing::debug!(text, "still recovering");
                    tokio::time::sleep(REJOIN_PAUSE).await;
                }
            };
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                () = attempt => {}
            }
        }
    }

    async fn catch_up(&self) -> Result<(), String> {
        let leader = self.other_leader().ok_or("no leader")?;
        let index = self.ask(leader, Question::Rejoin).await?;
        let mut metrics = self.raft.metrics();
        let applied = async {
            loop {
                let applied = metrics.borrow_watched().last_applied;
                if applied.is_some_and(|applied| applied.index >= index) {
                    return true;
                }
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
        };
        let applied = tokio::time::timeout(CATCH_UP_MAX, applied).await;
        if !applied.unwrap_or(false) {
            return Err("the entries did not come in time".into());
        }
        let wal = self.log.wal().clone();
        let workers = self.environment.workers;
        let removed = workers.blocking(move || wal.recovered()).await;
        let removed = removed.map_err(|error| error.to_string())?;
        removed.map_err(|error| error.to_string())?;
        self.candidacy.set(&self.raft, Bar::Recovering, false);
        self.alarms.put(RECOVERING, None);
        tracing::info!(
            index,
            "this node has everything again that it may have acknowledged"
        );
        Ok(())
    }

    /// Whether this node may lack entries that it acknowledged.
    pub fn is_recovering(&self) -> bool {
        self.candidacy.has(Bar::Recovering)
    }

    /// Says that this node lacks part of its log.
    pub fn raise_recovering(&self, why: &str) {
        let text = format!(
            "part of the log was damaged ({why}): this node does not vote and does not serve until \
             it has the missing entries from the others"
        );
        let fix = "nothing while a majority of the other nodes runs: it heals by itself; the \
                   damaged files are in log/damaged. Without such a majority: stop this node, \
                   accept that acknowledged writes may be lost, remove log/recovering, start it";
        self.alarms.put(RECOVERING, Some((text, fix.into())));
    }
}
