//! What an application is told before it is committed.
//!
//! The record of an INVITE, of the answer to one, or of a BYE has to be safe before the message
//! leaves that stops the peer's repetitions. The application may hear of it at once: what it wants
//! committed because of it comes later in the log, and mostly in the same entry, because these
//! commits have [`EARLY_PATIENCE`]. What it says about that request, or in that dialog, waits here
//! until the record is safe.
//!
//! ```text
//!  INVITE, 2xx, BYE --> commit asked for --> application told
//!                            |                     | commands about it wait
//!                            +--> safe --> 100 --> commands in their order
//! ```
//!
//! Owner of: the commands that wait. Key: the transaction of an INVITE or BYE, the dialog of a 2xx.
use std::collections::HashMap;

use super::commits::Then;
use super::sending::Ticket;
use super::{AppId, Core, Id};
use crate::drachtio::command::{Command, Kind};
use crate::journal::JournalError;
use crate::limits::EARLY_COMMANDS_MAX;

/// See the module head.
#[derive(Debug, Default)]
pub(super) struct Early {
    waiting: HashMap<Id, Vec<(AppId, String)>>,
}

impl Early {
    pub fn begin(&mut self, id: Id) {
        self.waiting.insert(id, Vec::new());
    }

    pub fn has(&self, id: &str) -> bool {
        self.waiting.contains_key(id)
    }

    fn end(&mut self, id: &str) -> Vec<(AppId, String)> {
        self.waiting.remove(id).unwrap_or_default()
    }
}

impl Core {
    /// Whether a command waits for a commit; then it is done when that is safe.
    pub(super) fn waits(&mut self, app: AppId, command: &Command<'_>, payload: &str) -> bool {
        let about = match command.kind {
            Kind::Sip(sip) => [sip.transaction_id, sip.dialog_id],
            Kind::Proxy(proxy) => [proxy.transaction_id, ""],
            _ => return false,
        };
        let known = about.into_iter().find(|id| self.early.has(id));
        let Some(waiting) = known.and_then(|id| self.early.waiting.get_mut(id)) else {
            return false;
        };
        if waiting.len() < EARLY_COMMANDS_MAX {
            waiting.push((app, payload.to_owned()));
        } else {
            let id = command.id.to_owned();
            super::metrics::Metrics::count(&self.setup.metrics.refused);
            self.fail(&Ticket { app, id }, "too many commands wait for a commit");
        }
        true
    }

    /// The record is safe: does what the application has said since.
    pub(super) fn end_early(&mut self, id: &Id) {
        for (app, payload) in self.early.end(id) {
            self.app_frame(app, &payload);
        }
    }

    /// The record could not be stored: the application's commands are of no use.
    pub(super) fn fail_early(&mut self, id: &Id, error: &JournalError) {
        for (app, payload) in self.early.end(id) {
            let id = payload.split('|').next().unwrap_or_default().to_owned();
            self.fail(&Ticket { app, id }, &error.to_string());
        }
    }

    /// Applications always get an answer, also when this node stops leading.
    pub(super) fn fail_all_early(&mut self) {
        let all: Vec<Id> = self.early.waiting.keys().cloned().collect();
        for id in all {
            self.fail_early(&id, &JournalError::NotLeader);
        }
    }

    /// Whether an application that is there hears of what happens in a dialog.
    pub(super) fn hears_early(&self, dialog: &Id) -> bool {
        let app = self.dialogs.get(dialog).and_then(|live| live.app);
        app.is_some_and(|app| self.apps.is_connected(app))
    }

    /// A dialog could not be stored. Its commands go on waiting: the peer repeats its answer.
    pub(super) fn dialog_not_stored(&mut self, dialog: &Id) {
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.unstored = true;
        }
    }

    /// Stores a dialog that could not be stored when its 2xx came; the peer repeats that.
    pub(super) fn store_again(&mut self, dialog: &Id) {
        let Some(live) = self.dialogs.get_mut(dialog) else {
            return;
        };
        live.unstored = false;
        let transaction =
            super::calls_in::delete_transaction(&Id::from(&*live.record.transaction_id));
        let ops = vec![transaction, live.op()];
        let dialog = dialog.clone();
        self.commit(ops, Then::DialogStored { dialog });
    }
}
