//! Responses of the network to our requests.
use std::rc::Rc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::call_records::Source;
use super::calls_in::delete_transaction;
use super::client::{Cancel, Purpose};
use super::commits::Then;
use super::dialogs::{LiveDialog, created_dialog, with_body};
use super::flow::Flow;
use super::legs::Place;
use super::reliable::is_news;
use super::subscriptions::is_subscribing;
use super::{Core, Id};
use crate::dialog::Dialog;
use crate::dialog::session::Session;
use crate::drachtio::format;
use crate::durable::{DialogRecord, dialog_key};
use crate::journal::JournalOp;
use crate::limits::APPLICATION_RETURN_MS;
use crate::message::{Essentials, Message, Name, Start, Writer};
use crate::transaction::Input;
use crate::transaction::key::client_key;
use crate::view::Role;

/// A final response to our INVITE that waits for its commit.
#[derive(Debug)]
pub(super) struct Decision {
    pub client: Id,
    pub status: u16,
    pub bytes: Bytes,
    /// The dialog as it is after a 2xx.
    pub record: Option<Box<DialogRecord>>,
}

impl Core {
    pub(super) fn response(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        status: u16,
    ) {
        let branch = essentials.via.branch().unwrap_or_default();
        let key = client_key(branch, essentials.method);
        let Some(id) = self.client_keys.get(&key).cloned() else {
            self.stray(essentials, status);
            return;
        };
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if let Some(place) = client.forwards.clone() {
            self.branch_response(&id, place, flow, (message, status));
            return;
        }
        if client.method == "INVITE" {
            let bytes = response_bytes(message);
            self.invite_response(&id, flow, message, essentials, (status, bytes));
            return;
        }
        let (purpose, method) = (client.purpose, client.method.clone());
        let dialog = client.dialog.clone();
        if status >= 200 {
            self.qualified(&id, true);
        }
        if !self.step_client(&id, Input::Response(status)) {
            return;
        }
        if is_subscribing(&method) && status >= 200 {
            self.subscribe_answered(&id, flow, message, essentials, status);
        }
        if purpose == Purpose::App {
            self.tell_response(&id, &response_bytes(message), flow);
        }
        let Some(dialog) = dialog.filter(|_| status >= 200) else {
            return;
        };
        match method.as_str() {
            "BYE" => self.bye_done(&dialog, status),
            "UPDATE" => self.update_answered(&id, &dialog, message, status),
            "NOTIFY" => self.notify_sent(&id, &dialog, status),
            _ => {}
        }
    }

    fn invite_response(
        &mut self,
        id: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        (status, bytes): (u16, Bytes),
    ) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if status < 200 {
            if client.machine.is_final() || client.deciding {
                return;
            }
            if !is_news(&mut client.heard, message, essentials) {
                return;
            }
            if !message.body.is_empty() {
                client.early_body = message.body.to_vec();
            }
            client.last = Some(bytes.clone());
            let wanted = client.cancel == Cancel::Wanted;
            let deliver = self.step_client(id, Input::Response(status));
            if wanted {
                self.send_cancel(id);
            }
            if deliver {
                self.early_uac(id, flow, message, essentials);
                self.tell_response(id, &bytes, flow);
            }
        } else if client.deciding {
            // Its sender repeats it; the first one is being committed.
        } else if !client.machine.is_final() {
            if flow.transport == client.flow.transport {
                client.flow.remote = flow.remote;
            }
            self.decide(id, status, bytes);
        } else if status < 300 {
            self.repeated_answer(id, flow, message, essentials);
        } else {
            self.step_client(id, Input::Response(status));
        }
    }

    /// An early dialog lets the application send UPDATE and PRACK before the answer.
    fn early_uac(
        &mut self,
        id: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if client.dialog.is_some() || essentials.to.tag().is_none() {
            return;
        }
        let app = client.app;
        let Some(record) = self.uac_record(id, flow, message, essentials) else {
            return;
        };
        let dialog: Id = Rc::from(record.id.as_str());
        match self.dialogs.get_mut(&dialog) {
            Some(live) if !live.confirmed => {
                live.record.dialog.remote_tag = record.dialog.remote_tag;
                live.record.dialog.refresh(message);
            }
            Some(_) => {}
            None => {
                let live = LiveDialog::new(record, app, false);
                self.dialogs.insert(dialog.clone(), live);
                self.count_dialog(&dialog);
            }
        }
    }

    pub(super) fn uac_record(
        &self,
        id: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Option<DialogRecord> {
        let client = self.clients.get(id)?;
        let request = Message::parse(&client.request).ok()?;
        let sent = Essentials::of(&request).ok()?;
        let mut dialog = Dialog::uac(&request, &sent, message, essentials)?;
        let dialog_id = created_dialog(&sent);
        let mut invite_seq = dialog.local_seq;
        if let Some(early) = self
            .dialogs
            .get(&dialog_id)
            .filter(|early| !early.confirmed)
        {
            invite_seq = sent.cseq;
            dialog.local_seq = early.record.dialog.local_seq.max(dialog.local_seq);
            dialog.remote_seq = early.record.dialog.remote_seq;
        }
        Some(DialogRecord {
            id: dialog_id.to_string(),
            role: Role::Uac,
            dialog,
            flow: Flow {
                remote: flow.remote,
                ..client.flow
            },
            leg: client.leg.clone(),
            transaction_id: id.to_string(),
            invite_seq,
            request: ByteBuf::from(client.request.to_vec()),
            response: if message.body.is_empty() && !client.early_body.is_empty() {
                with_body(&response_bytes(message), &client.early_body)
            } else {
                ByteBuf::from(response_bytes(message).to_vec())
            },
            end: None,
            is_call: client.method == "INVITE",
            session: Session::agreed(message, true, self.now.wall_ms()),
            subscriptions: Vec::new(),
            tags: self.apps.tags(client.app),
        })
    }

    /// Commits the final response to an INVITE before it is acknowledged.
    pub(super) fn decide(&mut self, id: &Id, status: u16, bytes: Bytes) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if let Some(place) = client.forwards.clone() {
            self.branch_failed(place, status);
            return;
        }
        if client.method != "INVITE" {
            self.timed_out_other(id, status, &bytes);
            return;
        }
        client.deciding = true;
        let flow = client.flow;
        let of_dialog = client.dialog.clone();
        let Ok(message) = Message::parse(&bytes) else {
            return;
        };
        let Ok(essentials) = Essentials::of(&message) else {
            return;
        };
        let record = match (status < 300, of_dialog) {
            (false, _) => None,
            (true, None) => self.uac_record(id, flow, &message, &essentials),
            (true, Some(dialog)) => self.dialogs.get(&dialog).and_then(|live| {
                let client = self.clients.get(id)?;
                let mut record = live.record.clone();
                refresh(&mut record, &client.request, &message);
                record.invite_seq = essentials.cseq;
                record.session = Session::agreed(&message, true, self.now.wall_ms());
                Some(record)
            }),
        };
        let mut ops = vec![delete_transaction(id)];
        if let Some(record) = &record {
            let (key, value) = (dialog_key(&record.id), record.encode());
            ops.push(JournalOp::Set {
                key,
                value,
                expires_at_ms: None,
            });
        }
        let record = record.map(Box::new);
        let decision = Decision {
            client: id.clone(),
            status,
            bytes,
            record,
        };
        match self.made_early(&decision) {
            Some(dialog) => {
                // Nothing of this leaves before the application's ACK, which waits.
                self.early.begin(dialog.clone());
                self.decided(decision);
                self.commit(ops, Then::DialogStored { dialog });
            }
            None => self.commit(ops, Then::Decided(decision)),
        }
    }

    /// The dialog that a 2xx makes, when the application that called is there to hear of it.
    fn made_early(&self, decision: &Decision) -> Option<Id> {
        let client = self.clients.get(&decision.client)?;
        let there = client.app.is_some_and(|app| self.apps.is_connected(app));
        let record = decision.record.as_ref()?;
        (there && client.dialog.is_none()).then(|| Rc::from(record.id.as_str()))
    }

    /// The final response is safe: acknowledge a refusal, tell the application.
    pub(super) fn decided(&mut self, decision: Decision) {
        let Decision {
            client: id,
            status,
            bytes,
            record,
        } = decision;
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.deciding = false;
        client.stored = false;
        if let Ok(message) = Message::parse(&bytes) {
            client.final_to = message.get(Name::To).unwrap_or_default().to_owned();
        }
        tracing::info!(callId = client.call(&id), status, "final response");
        let (flow, app, leg) = (client.flow, client.app, client.leg.clone());
        let (of_dialog, cancelled) = (client.dialog.clone(), client.cancel != Cancel::No);
        let over = client.machine.state() == crate::transaction::State::Terminated;
        if of_dialog.is_none() {
            match (status < 300, cancelled) {
                (true, _) => self.record_start(Source::Network, "uac", &bytes),
                (false, true) => self.record_stop(Source::Network, "call-canceled", &bytes),
                (false, false) => self.record_stop(Source::Network, "call-rejected", &bytes),
            }
        }
        self.step_client(&id, Input::Response(status));
        let dialog = match record {
            Some(record) => Some(self.confirm_uac(*record, app, cancelled)),
            None => {
                self.refused(&id, leg, of_dialog.is_some());
                None
            }
        };
        self.tell_response(&id, &bytes, flow);
        let nobody = app.is_none_or(|app| !self.apps.is_connected(app));
        if let Some(dialog) = dialog.filter(|_| nobody && of_dialog.is_none()) {
            self.answered_for_nobody(&dialog);
        }
        let purpose = self.clients.get(&id).map(|client| client.purpose);
        if let Some(dialog) = of_dialog {
            if let Some(live) = self.dialogs.get_mut(&dialog) {
                live.client_invite = None;
            }
            if purpose == Some(Purpose::Refresh) {
                self.reinvite_answered(&dialog, status, &bytes);
            }
        }
        if over {
            self.forget_client(&id);
        }
    }

    fn confirm_uac(
        &mut self,
        record: DialogRecord,
        app: Option<super::AppId>,
        cancelled: bool,
    ) -> Id {
        let id: Id = Rc::from(record.id.as_str());
        if let Some(leg) = &record.leg {
            self.legs.insert(leg.clone(), Place::Dialog(id.clone()));
        }
        let alone_until_ms = self.now.mono_ms + APPLICATION_RETURN_MS;
        let live = self.dialogs.entry(id.clone());
        let live = live.or_insert_with(|| LiveDialog::new(record.clone(), app, true));
        live.go_on_with(record);
        live.app = app.or(live.app);
        if live.app.is_none() {
            live.alone_until_ms = live.alone_until_ms.max(alone_until_ms);
        }
        live.confirmed = true;
        live.ack = None;
        live.end_after_ack |= cancelled;
        self.count_dialog(&id);
        self.hold(&id);
        self.arm_session(&id);
        id
    }

    fn refused(&mut self, id: &Id, leg: Option<String>, in_dialog: bool) {
        if let Some(leg) = leg {
            self.legs.remove(&leg);
        }
        let request = self.clients.get(id).map(|client| client.request.clone());
        let Some(request) = request.filter(|_| !in_dialog) else {
            return;
        };
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let Ok(essentials) = Essentials::of(&message) else {
            return;
        };
        let early = created_dialog(&essentials);
        if self.dialogs.get(&early).is_some_and(|live| !live.confirmed) {
            self.drop_dialog(&early);
        }
    }

    /// The application that called is gone: a leg with a name waits for somebody to attach,
    /// any other is ended.
    fn answered_for_nobody(&mut self, dialog: &Id) {
        let Some(live) = self.dialogs.get_mut(dialog) else {
            return;
        };
        live.restored = true;
        if live.record.leg.is_none() {
            self.repeat_ack(dialog);
            self.hang_up(dialog, "application gone");
        }
    }

    /// Gives a response to the application that sent the request.
    pub(super) fn tell_response(&mut self, id: &Id, bytes: &Bytes, flow: Flow) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let Some(app) = client.app.filter(|_| client.purpose == Purpose::App) else {
            return;
        };
        let dialog = match &client.dialog {
            Some(dialog) => dialog.to_string(),
            None => {
                let parsed = Message::parse(bytes).ok();
                let essentials = parsed.as_ref().and_then(|m| Essentials::of(m).ok());
                essentials.map_or_else(String::new, |e| created_dialog(&e).to_string())
            }
        };
        let (message_id, wall_us) = (self.ids.uuid(), self.now.wall_us);
        let ids = (&**id, dialog.as_str());
        let frame = format::in_dialog(&message_id, "network", bytes, &flow, wall_us, ids);
        self.tell(app, frame);
    }

    fn timed_out_other(&mut self, id: &Id, status: u16, bytes: &Bytes) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let (flow, method, dialog) = (client.flow, client.method.clone(), client.dialog.clone());
        self.qualified(id, false);
        self.tell_response(id, bytes, flow);
        let Ok(timeout) = Message::parse(bytes) else {
            return;
        };
        match (method.as_str(), dialog) {
            ("BYE", Some(dialog)) => self.bye_done(&dialog, status),
            ("UPDATE", Some(dialog)) => self.update_answered(id, &dialog, &timeout, status),
            ("NOTIFY", Some(dialog)) => self.notify_sent(id, &dialog, status),
            ("SUBSCRIBE", _) => {
                if let Ok(essentials) = Essentials::of(&timeout) {
                    self.subscribe_answered(id, flow, &timeout, &essentials, status);
                }
            }
            _ => {}
        }
    }
}

/// The dialog after a 2xx to our re-INVITE or UPDATE: new target and SDP.
pub(super) fn refresh(record: &mut DialogRecord, request: &[u8], response: &Message<'_>) {
    record.dialog.refresh(response);
    let Ok(request) = Message::parse(request) else {
        return;
    };
    let (ours, theirs) = (request.body, response.body);
    if ours.is_empty() && theirs.is_empty() {
        return;
    }
    let (first, second) = match record.role {
        Role::Uas => (theirs, ours),
        Role::Uac => (ours, theirs),
    };
    record.request = with_body(&record.request, first);
    record.response = with_body(&record.response, second);
}

/// A response as the application sees it.
pub(super) fn response_bytes(message: &Message<'_>) -> Bytes {
    let Start::Response { status, reason } = message.start else {
        return Bytes::new();
    };
    let mut writer = Writer::response(status, reason);
    for header in &message.headers {
        if header.name != Name::ContentLength {
            writer.named(header.text, header.value);
        }
    }
    writer.finish(message.body).into()
}
