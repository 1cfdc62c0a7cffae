//! INVITEs of the network: stored, then acknowledged with 100 and given to an application.
use bytes::Bytes;

use super::call_records::Source;
use super::commits::Then;
use super::flow::Flow;
use super::orphans::UntoldAck;
use super::replies::begin_response;
use super::server::Stage;
use super::{Core, Id};
use crate::durable::transaction_key;
use crate::journal::{JournalError, JournalOp};
use crate::message::{Essentials, Message};
use crate::transaction::Input;

impl Core {
    /// An INVITE outside any dialog.
    pub(super) fn new_invite(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        user: Option<String>,
    ) {
        let id = self.add_server(message, essentials, flow, user, None);
        tracing::info!(callId = %id, sip = essentials.call_id, peer = %flow.remote, "INVITE");
        self.show_leg(&id, essentials.call_id);
        let early = self.apps.has_route("invite") && !self.has_handler("INVITE");
        if early {
            self.early.begin(id.clone());
        }
        self.store_invite(id.clone());
        if early {
            self.deliver_early(&id);
        }
    }

    /// The application hears of an INVITE while that is being stored.
    fn deliver_early(&mut self, id: &Id) {
        let Some(request) = self.servers.get(id).map(|server| server.request.clone()) else {
            return;
        };
        if self.deliver(id) {
            self.record_attempt(Source::Network, &request);
        } else {
            self.end_early(id);
        }
    }

    /// An INVITE that the application knows of could not be stored. Only where the caller is
    /// refused for that it is told so: a node that does not lead any more lets go by itself.
    pub(super) fn take_back(&mut self, id: &Id, error: &JournalError) {
        if !self.early.has(id) {
            return;
        }
        self.fail_early(id, error);
        let known = self.servers.get(id).and_then(|server| {
            let cancel = super::cancels::build_cancel(&server.request)?;
            Some((server.app?, cancel))
        });
        if let Some((app, cancel)) = known.filter(|_| *error == JournalError::Overloaded) {
            self.tell_cancel(id, app, &cancel);
        }
    }

    /// An INVITE in a confirmed dialog.
    pub(super) fn reinvite_received(
        &mut self,
        dialog: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let id = self.add_server(message, essentials, flow, None, Some(dialog.clone()));
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.server_invite = Some(id.clone());
        }
        self.store_invite(id);
    }

    pub(super) fn store_invite(&mut self, id: Id) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.stored = true;
        let op = set_transaction(&id, server.record(&id).encode());
        self.commit(vec![op], Then::InviteStored { id });
    }

    /// The INVITE is safe: stop the caller's retransmissions and ask the application.
    pub(super) fn invite_stored(&mut self, id: &Id) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if server.stage != Stage::Storing {
            return;
        }
        server.stage = Stage::Open;
        let told = server.app.filter(|app| self.apps.is_connected(*app));
        self.send_trying(id);
        if self.early.has(id) {
            self.end_early(id);
            if told.is_some() {
                return;
            }
        }
        if self.start_passing(id) {
            return;
        }
        let request = self.servers.get(id).map(|server| server.request.clone());
        let dialog = self
            .servers
            .get(id)
            .and_then(|server| server.dialog.clone());
        match dialog {
            Some(dialog) => self.deliver_when_ready(&dialog, id.clone()),
            None => {
                self.record_attempt(Source::Network, &request.unwrap_or_default());
                if !self.ask_handler(id) && !self.deliver(id) {
                    self.wait_for_application(id);
                }
            }
        }
    }

    fn send_trying(&mut self, id: &Id) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let request = server.request.clone();
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let bytes = begin_response(&message, server.flow.remote, (100, "Trying"), None).finish(b"");
        server.response = Some(bytes.into());
        self.setup.metrics.sent_response(100);
        self.step_server(id, Input::Respond(100));
    }

    /// An ACK that belongs to no non-2xx: it acknowledges a 2xx.
    pub(super) fn ack_received(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let Some(id) = self.find_dialog(essentials) else {
            self.pass_ack(message, essentials);
            return;
        };
        let Some(live) = self.dialogs.get_mut(&id) else {
            return;
        };
        let Some(server) = live.answered.take() else {
            return;
        };
        self.step_server(&server, Input::Ack);
        self.release_server(&server);
        let request = super::replies::app_view(message, flow.remote, None, false);
        if let Some(app) = self.app_of_dialog(&id, "INVITE") {
            self.hold(&id);
            self.tell_request(app, (&server, &id), &request, &flow);
        } else if let Some(live) = self.dialogs.get_mut(&id) {
            live.untold_ack = Some(UntoldAck {
                transaction: server,
                flow,
                request,
            });
        }
        self.answer_in_ack(&id, &Bytes::copy_from_slice(message.body), false);
    }

    /// Nobody acknowledged our 2xx for 64*T1 (RFC 3261 section 13.3.1.4).
    pub(super) fn unacknowledged(&mut self, server: &Id) {
        let mut all = self.dialogs.iter();
        let found = all.find(|(_, live)| live.answered.as_ref() == Some(server));
        if let Some(id) = found.map(|(id, _)| id.clone()) {
            self.hang_up(&id, "ACK timeout");
        }
    }
}

/// The journal entry of a transaction.
pub(super) fn set_transaction(id: &Id, value: Vec<u8>) -> JournalOp {
    JournalOp::Set {
        key: transaction_key(id),
        value,
        expires_at_ms: None,
    }
}

/// The removal of a transaction.
pub(super) fn delete_transaction(id: &Id) -> JournalOp {
    JournalOp::Delete {
        key: transaction_key(id),
    }
}
