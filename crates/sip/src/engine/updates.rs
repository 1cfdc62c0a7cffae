//! UPDATE (RFC 3311): who may offer when, and the order of its commit.
use bytes::Bytes;

use super::answers::Answer;
use super::client::Purpose;
use super::commits::Then;
use super::flow::Flow;
use super::responses::refresh;
use super::server::Stage;
use super::{Core, Id, LiveDialog};
use crate::dialog::session::Session;
use crate::message::{Essentials, Message};
use crate::transaction::Input;

impl LiveDialog {
    /// Whether an offer is on its way in either direction: no other may be made.
    pub(super) fn is_negotiating(&self) -> bool {
        self.client_invite.is_some()
            || self.server_invite.is_some()
            || self.client_update.is_some()
            || self.server_update.is_some()
    }
}

impl Core {
    /// An UPDATE of the peer (RFC 3311 section 5.2).
    pub(super) fn update_received(
        &mut self,
        dialog: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let Some(live) = self.dialogs.get(dialog) else {
            return;
        };
        let is_offer = !message.body.is_empty();
        let repeated = live.server_update.is_some();
        let ours = live.client_invite.is_some() || live.client_update.is_some();
        if repeated || is_offer && (live.server_invite.is_some() || self.owes_answer(live)) {
            let after = (u64::from(self.ids.number()) % 10).to_string();
            self.respond(&flow, message, essentials, 500, &[("Retry-After", &after)]);
            return;
        }
        if is_offer && (ours || self.awaits_answer(live)) {
            self.respond(&flow, message, essentials, 491, &[]);
            return;
        }
        if self.refuses_interval(&flow, message, essentials) {
            return;
        }
        let server = self.add_server(message, essentials, flow, None, Some(dialog.clone()));
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.server_update = Some(server.clone());
        }
        self.deliver_when_ready(dialog, server);
    }

    /// The INVITE of an early dialog brought an offer that is not answered reliably yet.
    fn owes_answer(&self, live: &LiveDialog) -> bool {
        let server = self.servers.get(live.record.transaction_id.as_str());
        let open = server.filter(|_| !live.confirmed);
        open.is_some_and(|server| {
            let answered = server.reliable.as_ref().is_some_and(|r| r.has_answered());
            !answered && Message::parse(&server.request).is_ok_and(|m| !m.body.is_empty())
        })
    }

    /// Our INVITE of an early dialog made an offer that is not answered reliably yet.
    fn awaits_answer(&self, live: &LiveDialog) -> bool {
        let client = self.clients.get(live.record.transaction_id.as_str());
        let open = client.filter(|_| !live.confirmed);
        open.is_some_and(|client| {
            let answered = !client.heard.is_empty() && !client.early_body.is_empty();
            !answered && Message::parse(&client.request).is_ok_and(|m| !m.body.is_empty())
        })
    }

    /// An UPDATE of ours is on its way.
    pub(super) fn update_sent(&mut self, dialog: &Id, client: &Id) {
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.client_update = Some(client.clone());
        }
    }

    /// The final response to an UPDATE of ours.
    pub(super) fn update_answered(
        &mut self,
        id: &Id,
        dialog: &Id,
        response: &Message<'_>,
        status: u16,
    ) {
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.client_update.take_if(|client| client == id);
        }
        if status < 300 {
            self.update_accepted(id, dialog, response);
        }
        let purpose = self.clients.get(id).map(|client| client.purpose);
        if purpose == Some(Purpose::Refresh) {
            self.refresh_answered(dialog, status, response);
        }
    }

    fn update_accepted(&mut self, client: &Id, dialog: &Id, response: &Message<'_>) {
        let Some(request) = self.clients.get(client).map(|c| c.request.clone()) else {
            return;
        };
        let now_ms = self.now.wall_ms();
        let Some(live) = self.dialogs.get_mut(dialog) else {
            return;
        };
        refresh(&mut live.record, &request, response);
        live.record.session = Session::agreed(response, true, now_ms);
        if live.confirmed {
            let op = live.op();
            self.commit(vec![op], Then::Nothing);
        }
        self.arm_session(dialog);
    }

    /// The 2xx to an UPDATE of the peer: the new target and session are committed first.
    /// False when there is nothing to commit.
    pub(super) fn store_update(&mut self, answer: Answer) -> Result<(), Answer> {
        let Some(server) = self.servers.get(&answer.server) else {
            return Err(answer);
        };
        let success = server.method == "UPDATE" && (200..300).contains(&answer.status);
        let dialog = server.dialog.clone().filter(|_| success);
        let live = dialog.and_then(|dialog| self.dialogs.get(&dialog));
        if !live.is_some_and(|live| live.confirmed) {
            return Err(answer);
        }
        let Some(record) = self.refreshed_record(&answer.server, &answer.bytes) else {
            return Err(answer);
        };
        if let Some(server) = self.servers.get_mut(&answer.server) {
            server.stage = Stage::Answering;
        }
        let op = super::dialogs::dialog_op(&record);
        self.commit(vec![op], Then::Updated(answer));
        Ok(())
    }

    /// The new target and session are safe.
    pub(super) fn updated(&mut self, answer: Answer) {
        let record = self.refreshed_record(&answer.server, &answer.bytes);
        let dialog = self
            .servers
            .get(&answer.server)
            .and_then(|s| s.dialog.clone());
        if let (Some(dialog), Some(record)) = (dialog, record) {
            if let Some(live) = self.dialogs.get_mut(&dialog) {
                live.go_on_with(record);
            }
            self.arm_session(&dialog);
        }
        self.close_other(answer);
    }

    /// Sends the final response to a request other than INVITE.
    pub(super) fn close_other(&mut self, answer: Answer) {
        let Answer {
            server: id,
            status,
            bytes,
            ticket,
            ..
        } = answer;
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.stage = Stage::Closed;
        server.response = Some(bytes.clone());
        let dialog = server.dialog.clone();
        self.setup.metrics.sent_response(status);
        self.step_server(&id, Input::Respond(status));
        if let Some(ticket) = ticket {
            self.echo_answer(&id, &bytes, &ticket);
        }
        if let Some(live) = dialog
            .as_ref()
            .and_then(|dialog| self.dialogs.get_mut(dialog))
            && live.server_update.as_ref() == Some(&id)
        {
            live.server_update = None;
        }
        self.notify_answered(&id, dialog.as_ref(), &bytes);
    }

    /// The session description in an ACK answers the offer of a 2xx (RFC 3261 13.2.1).
    pub(super) fn answer_in_ack(&mut self, dialog: &Id, body: &Bytes, from_us: bool) {
        let Some(live) = self.dialogs.get_mut(dialog).filter(|_| !body.is_empty()) else {
            return;
        };
        let record = &mut live.record;
        let ours_is_request = record.role == crate::view::Role::Uac;
        if from_us == ours_is_request {
            record.request = super::dialogs::with_body(&record.request, body);
        } else {
            record.response = super::dialogs::with_body(&record.response, body);
        }
        let op = live.op();
        self.commit(vec![op], Then::Nothing);
    }
}
