//! The few ways out of the core.
use std::time::Duration;

use bytes::Bytes;

use super::commits::Then;
use super::flow::Flow;
use super::metrics::Metrics;
use super::{AppId, Core, Output};
use crate::drachtio::format;
use crate::journal::{JournalError, JournalOp};
use crate::limits::{COMMITS_PENDING_MAX, EARLY_PATIENCE, REMOVAL_PATIENCE};

/// Whom to answer about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The application.
    pub app: AppId,
    /// Its message id.
    pub id: String,
}

impl Core {
    pub(super) fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.out.push(Output::Send { flow, bytes });
    }

    /// Asks for a commit; a full engine fails it at once.
    pub(super) fn commit(&mut self, ops: Vec<JournalOp>, then: Then) {
        if self.commits.len() >= COMMITS_PENDING_MAX {
            Metrics::count(&self.setup.metrics.refused);
            self.commit_failed(then, &JournalError::Overloaded);
            return;
        }
        Metrics::count(&self.setup.metrics.commits);
        let token = self.token();
        let patience = self.patience(&ops, &then);
        self.commits.insert(token, (then, self.now));
        self.out.push(Output::Commit {
            token,
            ops,
            patience,
        });
    }

    /// Records that are of no use any more may stay a little longer: gone with the next commit,
    /// they cost nothing. What an application was told of waits for what it makes of that.
    fn patience(&self, ops: &[JournalOp], then: &Then) -> Duration {
        let removes = |op: &JournalOp| matches!(op, JournalOp::Delete { .. });
        match then {
            Then::Nothing if ops.iter().all(removes) => REMOVAL_PATIENCE,
            Then::InviteStored { id }
            | Then::ByeStored { server: id, .. }
            | Then::DialogStored { dialog: id }
                if self.early.has(id) =>
            {
                EARLY_PATIENCE
            }
            _ => Duration::ZERO,
        }
    }

    /// Sends a frame to an application; nothing happens when it is gone.
    pub(super) fn tell(&mut self, app: AppId, frame: Vec<u8>) {
        if self.apps.is_connected(app) {
            self.apps.count_told(app);
            self.out.push(Output::App { app, frame });
        }
    }

    /// Answers a command with plain text: `OK`, `NO|reason`, `NOK|reason`.
    pub(super) fn answer(&mut self, ticket: &Ticket, text: &str) {
        let frame = format::answer(&self.ids.uuid(), &ticket.id, text);
        self.tell(ticket.app, frame);
    }

    /// Tells an application that a SIP operation failed.
    pub(super) fn fail(&mut self, ticket: &Ticket, reason: &str) {
        self.answer(ticket, &format!("NOK|{reason}"));
    }

    pub(super) fn echo_request(&mut self, ticket: &Ticket, bytes: &[u8], flow: &Flow, txn: &str) {
        let wall_us = self.now.wall_us;
        let id = self.ids.uuid();
        let frame = format::request_sent(&id, &ticket.id, bytes, flow, wall_us, txn);
        self.tell(ticket.app, frame);
    }

    pub(super) fn echo_response(
        &mut self,
        ticket: &Ticket,
        bytes: &[u8],
        flow: &Flow,
        ids: (&str, &str),
    ) {
        let wall_us = self.now.wall_us;
        let id = self.ids.uuid();
        let frame = format::response_sent(&id, &ticket.id, bytes, flow, wall_us, ids);
        self.tell(ticket.app, frame);
    }
}
