//! CANCEL in both directions (RFC 3261 section 9).
use bytes::Bytes;

use super::call_records::Source;
use super::calls_in::set_transaction;
use super::client::Cancel;
use super::commits::Then;
use super::flow::Flow;
use super::replies::begin_response;
use super::sending::Ticket;
use super::server::Stage;
use super::timers::Alarm;
use super::{Core, Id};
use crate::drachtio::format;
use crate::message::build::reason;
use crate::message::{Essentials, Message, Name, Start, Writer};
use crate::transaction::key::server_key;
use crate::transaction::{Input, LIFE_MS};

impl Core {
    /// A CANCEL of the caller.
    pub(super) fn cancel_received(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let key = server_key(message, essentials, "INVITE");
        let found = self.server_keys.get(&key).cloned();
        let Some((id, server)) =
            found.and_then(|id| self.servers.get_mut(&id).map(|server| (id, server)))
        else {
            self.respond(&flow, message, essentials, 481, &[]);
            return;
        };
        if server.cancelled {
            // Repeated: the first one is answered when its commit is through.
            if server.stage == Stage::Closed {
                self.respond(&flow, message, essentials, 200, &[]);
            }
            return;
        }
        if matches!(server.stage, Stage::Answering | Stage::Closed) {
            self.cancel_too_late(&id, flow, message, essentials);
            return;
        }
        server.cancelled = true;
        server.stored = true;
        let op = set_transaction(&id, server.record(&id).encode());
        let ok = self.build_reply(&flow, message, essentials, (200, "OK"), &[]);
        let cancel = super::replies::app_view(message, flow.remote, None, false);
        let reply = flow.reply(&essentials.via);
        self.commit(
            vec![op],
            Then::Cancelled {
                id,
                reply,
                ok,
                cancel,
            },
        );
    }

    /// The answer was given already: the call is up, so it is ended.
    fn cancel_too_late(
        &mut self,
        id: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        self.respond(&flow, message, essentials, 481, &[]);
        let waiting = |live: &&super::LiveDialog| live.answered.as_ref() == Some(id);
        let dialog = self
            .dialogs
            .values()
            .find(waiting)
            .map(|live| live.record.id.clone());
        if let Some(dialog) = dialog {
            self.hang_up(&dialog.as_str().into(), "CANCEL after answer");
        }
    }

    /// The CANCEL is safe: answer it, end the INVITE with 487, tell the application.
    pub(super) fn cancelled(&mut self, id: &Id, reply: Flow, ok: Bytes, cancel: &Bytes) {
        self.setup.metrics.sent_response(200);
        self.send(reply, ok);
        let Some(server) = self.servers.get(id) else {
            return;
        };
        tracing::info!(callId = %id, "cancelled by the caller");
        let app = server.app;
        self.drop_waiting(id);
        self.record_stop(Source::Network, "call-canceled", cancel);
        if self.is_forwarded(id) {
            // The branches are taken back; their last word goes to the caller.
            self.proxy_step(id, crate::proxy::Input::Cancel);
            return;
        }
        self.end_cancelled(id);
        if let Some(app) = app {
            self.tell_cancel(id, app, cancel);
        }
    }

    /// Sends 487; the record stays until the ACK, so that a new leader tells its
    /// application of the CANCEL too.
    pub(super) fn end_cancelled(&mut self, id: &Id) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let request = server.request.clone();
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let status = (487, reason(487));
        let tag = Some(server.to_tag.as_str());
        let bytes = begin_response(&message, server.flow.remote, status, tag).finish(b"");
        server.response = Some(bytes.into());
        server.stage = Stage::Closed;
        let dialog = server.dialog.clone();
        self.drop_early(id);
        if let Some(live) = dialog.and_then(|dialog| self.dialogs.get_mut(&dialog)) {
            live.server_invite = None;
        }
        self.setup.metrics.sent_response(487);
        self.step_server(id, Input::Respond(487));
    }

    pub(super) fn tell_cancel(&mut self, id: &Id, app: super::AppId, cancel: &Bytes) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let (flow, wall_us, message_id) = (server.flow, self.now.wall_us, self.ids.uuid());
        let frame = format::new_request(&message_id, cancel, &flow, wall_us, id);
        self.tell(app, frame);
    }

    /// The application takes an INVITE back.
    pub(super) fn app_cancel(&mut self, ticket: Ticket, id: &str) {
        let id: Id = id.into();
        let found = self
            .clients
            .get_mut(&id)
            .filter(|client| client.method == "INVITE");
        let Some(client) = found.filter(|client| !client.machine.is_final()) else {
            self.fail(&ticket, "unknown transaction");
            return;
        };
        if client.cancel != Cancel::No {
            self.fail(&ticket, "already cancelled");
            return;
        }
        client.cancel = Cancel::Wanted;
        let op = set_transaction(&id, client.record(&id).encode());
        self.commit(
            vec![op],
            Then::Cancelling {
                id,
                ticket: Some(ticket),
            },
        );
    }

    /// A CANCEL for an INVITE whose application is gone for good.
    pub(super) fn cancel_orphan(&mut self, id: &Id) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if client.cancel != Cancel::No || client.machine.is_final() {
            return;
        }
        client.cancel = Cancel::Wanted;
        let op = set_transaction(id, client.record(id).encode());
        self.commit(
            vec![op],
            Then::Cancelling {
                id: id.clone(),
                ticket: None,
            },
        );
    }

    /// The wish is safe: send it when the callee has been heard of, else when it is.
    pub(super) fn cancelling(&mut self, id: &Id, ticket: Option<Ticket>) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let (flow, heard) = (client.flow, client.last.is_some());
        let Some(bytes) = build_cancel(&client.request) else {
            return;
        };
        if let Some(ticket) = ticket {
            self.echo_request(&ticket, &bytes, &flow, id);
        }
        if heard {
            self.send_cancel(id);
        }
    }

    /// Sends the CANCEL once.
    pub(super) fn send_cancel(&mut self, id: &Id) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if client.cancel != Cancel::Wanted || client.machine.is_final() {
            return;
        }
        client.cancel = Cancel::Sent;
        let (flow, branch) = (client.flow, client.branch.clone());
        let Some(bytes) = build_cancel(&client.request) else {
            return;
        };
        let cancel = self.add_own_client("CANCEL", branch, flow, bytes, None);
        self.launch(&cancel);
        self.timers
            .arm(self.now.mono_ms + LIFE_MS, Alarm::Cancelled(id.clone()));
    }
}

/// The CANCEL of an INVITE: same branch, tags and number (RFC 3261 section 9.1).
pub(super) fn build_cancel(request: &[u8]) -> Option<Bytes> {
    let message = Message::parse(request).ok()?;
    let essentials = Essentials::of(&message).ok()?;
    let Start::Request { uri, .. } = message.start else {
        return None;
    };
    let mut writer = Writer::request("CANCEL", uri);
    writer.header(Name::Via, message.get(Name::Via)?);
    for route in message.all(Name::Route) {
        writer.header(Name::Route, route);
    }
    writer.header(Name::MaxForwards, "70");
    for name in [Name::From, Name::To, Name::CallId] {
        writer.header(name, message.get(name)?);
    }
    writer.header(Name::CSeq, &format!("{} CANCEL", essentials.cseq));
    Some(writer.finish(b"").into())
}
