//! INVITEs of the network: stored, then acknowledged with 100 and given to an application.
use super::commits::Then;
use super::flow::Flow;
use super::replies::begin_response;
use super::server::Stage;
use super::{Core, Id};
use crate::drachtio::format;
use crate::durable::transaction_key;
use crate::journal::JournalOp;
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
        self.store_invite(id);
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

    fn store_invite(&mut self, id: Id) {
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
        self.send_trying(id);
        let dialog = self
            .servers
            .get(id)
            .and_then(|server| server.dialog.clone());
        match dialog {
            Some(dialog) => self.deliver_when_ready(&dialog, id.clone()),
            None => {
                self.deliver(id);
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
            return;
        };
        let Some(live) = self.dialogs.get_mut(&id) else {
            return;
        };
        let Some(server) = live.answered.take() else {
            return;
        };
        let app = live.app;
        self.step_server(&server, Input::Ack);
        self.release_server(&server);
        let Some(app) = self.apps.owner(app, "INVITE") else {
            return;
        };
        let request = super::replies::app_view(message, flow.remote, None);
        let message_id = self.ids.uuid();
        let (wall_us, ids) = (self.now.wall_us, (&*server, &*id));
        let frame = format::in_dialog(&message_id, "network", &request, &flow, wall_us, ids);
        self.tell(app, frame);
        self.hold(&id);
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
