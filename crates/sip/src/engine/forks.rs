//! A 2xx that is not the first to its INVITE: the same again, another fork's, or one that
//! an earlier leader's INVITE caused.
use super::dialogs::{LiveDialog, created_dialog};
use super::flow::Flow;
use super::{Core, Id};
use crate::dialog::dialog_id;
use crate::message::{Essentials, Message};

impl Core {
    /// A 2xx after the first: the same again, or of another fork.
    pub(super) fn repeated_answer(
        &mut self,
        id: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let dialog = match &client.dialog {
            Some(dialog) => dialog.clone(),
            None => created_dialog(essentials),
        };
        let known = self
            .dialogs
            .get(&dialog)
            .map(|live| live.record.dialog.remote_tag.as_str());
        if known.is_none() || known == essentials.to.tag() {
            self.repeat_ack(&dialog);
        } else {
            self.end_fork(id, flow, message, essentials);
        }
    }

    /// Acknowledges and ends a second fork: an application has room for one.
    fn end_fork(
        &mut self,
        id: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let Some(record) = self.uac_record(id, flow, message, essentials) else {
            return;
        };
        let live = LiveDialog::new(record, None, false);
        let destination = live.destination();
        let dialog = &live.record.dialog;
        let (ack, bye) = (self.ids.branch(), self.ids.branch());
        let via = self.via(&destination, &ack);
        let ack = dialog
            .write("ACK", &dialog.target, essentials.cseq, &via)
            .finish(b"");
        self.setup.metrics.sent_request("ACK");
        self.send(destination, ack.into());
        let via = self.via(&destination, &bye);
        let request = dialog
            .write("BYE", &dialog.target, essentials.cseq + 1, &via)
            .finish(b"");
        let client = self.add_own_client("BYE", bye, destination, request.into(), None);
        self.launch(&client);
    }

    /// A response without a transaction: a 2xx repeated across a takeover gets its ACK.
    pub(super) fn stray(&mut self, essentials: &Essentials<'_>, status: u16) {
        if essentials.method != "INVITE" || !(200..300).contains(&status) {
            return;
        }
        // Our INVITE made the dialog, or was sent in one that the peer made.
        let made = created_dialog(essentials);
        let id = if self.dialogs.contains_key(&made) {
            made
        } else {
            let tag = essentials.to.tag().unwrap_or_default();
            dialog_id(essentials.call_id, tag).as_str().into()
        };
        let Some(live) = self.dialogs.get(&id) else {
            return;
        };
        let same = live.record.dialog.remote_tag == essentials.to.tag().unwrap_or_default();
        if same && live.confirmed && live.record.invite_seq == essentials.cseq {
            self.repeat_ack(&id);
        }
    }
}
