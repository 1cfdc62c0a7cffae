//! Responses of the application to requests of the network.
use std::rc::Rc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::call_records::Source;
use super::calls_in::{delete_transaction, set_transaction};
use super::commits::Then;
use super::dialogs::{LiveDialog, created_dialog, with_body};
use super::reliable::{Provisionally, is_reliable, without_100rel};
use super::replies::begin_response;
use super::sending::Ticket;
use super::server::{Stage, reply_flow};
use super::{Core, Id};
use crate::dialog::Dialog;
use crate::dialog::session::Session;
use crate::drachtio::headers::copy_headers;
use crate::durable::DialogRecord;
use crate::journal::JournalOp;
use crate::message::build::reason;
use crate::message::{Address, Essentials, Message, Name, Start};
use crate::transaction::Input;
use crate::view::Role;

pub(super) const UNKNOWN: &str = "Response not sent due to unknown transaction";

/// A final response that waits for its commit.
#[derive(Debug)]
pub(super) struct Answer {
    pub server: Id,
    pub status: u16,
    pub bytes: Bytes,
    /// The dialog as it is after a 2xx.
    pub record: Option<Box<DialogRecord>>,
    pub ticket: Option<Ticket>,
}

impl Core {
    /// The application answers a request.
    pub(super) fn app_response(&mut self, ticket: Ticket, id: &str, answer: &Message<'_>) {
        let Start::Response { status, reason } = answer.start else {
            return;
        };
        let id: Id = Rc::from(id);
        let open = self
            .servers
            .get(&id)
            .filter(|s| s.stage == Stage::Open && !s.cancelled && !s.is_decided())
            .filter(|_| !self.is_forwarded(&id));
        let Some(request) = open.map(|server| server.request.clone()) else {
            self.fail(&ticket, UNKNOWN);
            return;
        };
        let told = self.servers.get(&id).filter(|s| s.app == Some(ticket.app));
        if let Some(told) = told.map(|server| server.told) {
            self.frame_handled(ticket.app, told);
        }
        let (Ok(message), Some(server)) = (Message::parse(&request), self.servers.get_mut(&id))
        else {
            self.fail(&ticket, UNKNOWN);
            return;
        };
        server.heard = true;
        server.app = Some(ticket.app);
        // The application may choose the To tag of a dialog it makes.
        let chosen = answer
            .get(Name::To)
            .and_then(Address::parse)
            .and_then(|to| to.tag());
        if let Some(tag) = chosen {
            server.to_tag = tag.to_owned();
        }
        if server.method != "INVITE" && (status < 200 || status == 408) {
            self.withhold(&id, status, &ticket);
            return;
        }
        match self.build_answer(&id, &message, (status, reason), answer) {
            Ok(bytes) if status < 200 => self.provisional(&id, status, bytes, ticket),
            Ok(bytes) => {
                if (200..300).contains(&status) {
                    self.remember_flow(&id, answer);
                }
                self.finish_reliably(&id, status, bytes, Some(ticket));
            }
            Err(error) => self.fail(&ticket, &error),
        }
    }

    fn build_answer(
        &self,
        id: &Id,
        message: &Message<'_>,
        status: (u16, &str),
        answer: &Message<'_>,
    ) -> Result<Bytes, String> {
        let server = self.servers.get(id).ok_or(UNKNOWN)?;
        let tag = (status.0 > 100).then_some(server.to_tag.as_str());
        let mut writer = begin_response(message, server.flow.remote, status, tag);
        let makes_dialog = (101..300).contains(&status.0)
            && matches!(
                server.method.as_str(),
                "INVITE" | "SUBSCRIBE" | "UPDATE" | "REFER"
            );
        if makes_dialog {
            for route in message.all(Name::RecordRoute) {
                writer.header(Name::RecordRoute, route);
            }
            if answer.get(Name::Contact).is_none() {
                let live = server
                    .dialog
                    .as_ref()
                    .and_then(|dialog| self.dialogs.get(dialog));
                match live {
                    Some(live) => writer.header(Name::Contact, &live.record.dialog.contact),
                    None => writer.header(Name::Contact, &self.contact(&server.flow, None)),
                };
            }
        }
        let hidden = self.hidden(answer, &server.flow);
        let skip = [Name::From, Name::To, Name::CallId, Name::CSeq, hidden];
        copy_headers(&mut writer, answer, &skip, self.shown(&server.flow))
            .map_err(|error| error.to_string())?;
        if matches!(server.method.as_str(), "INVITE" | "UPDATE") && (200..300).contains(&status.0) {
            self.write_session_answer(&mut writer, message, answer);
        }
        Ok(writer.finish(answer.body).into())
    }

    fn provisional(&mut self, id: &Id, status: u16, bytes: Bytes, ticket: Ticket) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let wanted = server.method == "INVITE" && status > 100;
        let parsed = (Message::parse(&server.request), Message::parse(&bytes));
        let reliable = match parsed {
            (Ok(request), Ok(answer)) if wanted => is_reliable(&request, &answer),
            _ => false,
        };
        if reliable {
            let ticket = Some(ticket);
            let one = Provisionally {
                status,
                bytes,
                ticket,
            };
            self.reliable_provisional(id, one);
            return;
        }
        let bytes = without_100rel(&bytes).unwrap_or(bytes);
        server.response = Some(bytes.clone());
        let early = server.method == "INVITE" && server.dialog.is_none() && status > 100;
        if early {
            self.early_dialog(id, &bytes);
        }
        self.setup.metrics.sent_response(status);
        self.step_server(id, Input::Respond(status));
        self.echo_answer(id, &bytes, &ticket);
    }

    /// An early dialog lets the caller send UPDATE and PRACK before the answer.
    pub(super) fn early_dialog(&mut self, id: &Id, bytes: &Bytes) {
        let Some(record) = self.uas_record(id, bytes) else {
            return;
        };
        let dialog: Id = Rc::from(record.id.as_str());
        let app = self.servers.get(id).and_then(|server| server.app);
        self.dialogs
            .entry(dialog.clone())
            .or_insert_with(|| LiveDialog::new(record, app, false));
        self.count_dialog(&dialog);
    }

    /// The record of the dialog a response to an INVITE makes.
    pub(super) fn uas_record(&self, id: &Id, bytes: &Bytes) -> Option<DialogRecord> {
        let server = self.servers.get(id)?;
        let message = Message::parse(&server.request).ok()?;
        let essentials = Essentials::of(&message).ok()?;
        let response = Message::parse(bytes).ok()?;
        let contact = response.get(Name::Contact)?;
        // The session description may have gone ahead in a reliable provisional response.
        let early = server.reliable.as_ref().and_then(|state| state.body());
        let stored = match early.filter(|_| response.body.is_empty()) {
            Some(body) => with_body(bytes, &body),
            None => ByteBuf::from(bytes.to_vec()),
        };
        let mut dialog = Dialog::uas(&message, &essentials, &server.to_tag, contact)?;
        let dialog_id = created_dialog(&essentials);
        if let Some(early) = self.dialogs.get(&dialog_id) {
            // Requests may have been exchanged before the answer.
            dialog.local_seq = early.record.dialog.local_seq;
            dialog.remote_seq = early.record.dialog.remote_seq.max(dialog.remote_seq);
        }
        Some(DialogRecord {
            id: dialog_id.to_string(),
            role: Role::Uas,
            dialog,
            flow: server.flow,
            leg: None,
            transaction_id: id.to_string(),
            invite_seq: 0,
            request: ByteBuf::from(server.request.to_vec()),
            response: stored,
            end: None,
            is_call: server.method == "INVITE",
            session: Session::agreed(&response, false, self.now.wall_ms()),
            subscriptions: Vec::new(),
            tags: self.apps.tags(server.app),
        })
    }

    /// The dialog after a 2xx to a re-INVITE or UPDATE of the peer.
    pub(super) fn refreshed_record(&self, id: &Id, bytes: &Bytes) -> Option<DialogRecord> {
        let server = self.servers.get(id)?;
        let live = self.dialogs.get(server.dialog.as_ref()?)?;
        let (request, response) = (
            Message::parse(&server.request).ok()?,
            Message::parse(bytes).ok()?,
        );
        let mut record = live.record.clone();
        record.dialog.refresh(&request);
        record.session = Session::agreed(&response, false, self.now.wall_ms());
        if !request.body.is_empty() || !response.body.is_empty() {
            let (theirs, ours) = (request.body, response.body);
            match record.role {
                Role::Uas => {
                    record.request = with_body(&record.request, theirs);
                    record.response = with_body(&record.response, ours);
                }
                Role::Uac => {
                    record.request = with_body(&record.request, ours);
                    record.response = with_body(&record.response, theirs);
                }
            }
        }
        Some(record)
    }

    /// A final response: committed first when it is to an INVITE.
    pub(super) fn finish_server(
        &mut self,
        id: &Id,
        status: u16,
        bytes: Bytes,
        ticket: Option<Ticket>,
    ) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        if server.method != "INVITE" {
            self.finish_other(id, status, bytes, ticket);
            return;
        }
        let answered = (200..300).contains(&status);
        let record = match (answered, &server.dialog) {
            (false, _) => None,
            (true, None) => self.uas_record(id, &bytes),
            (true, Some(_)) => self.refreshed_record(id, &bytes),
        };
        if answered && record.is_none() {
            if let Some(ticket) = ticket {
                self.fail(&ticket, "the request has no usable Contact");
            }
            return;
        }
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.stage = Stage::Answering;
        let ops = match &record {
            Some(record) => {
                let mut transaction = server.record(id);
                transaction.answer = Some(ByteBuf::from(bytes.to_vec()));
                let key = crate::durable::dialog_key(&record.id);
                let dialog = JournalOp::Set {
                    key,
                    value: record.encode(),
                    expires_at_ms: None,
                };
                vec![dialog, set_transaction(id, transaction.encode())]
            }
            None => vec![delete_transaction(id)],
        };
        let record = record.map(Box::new);
        let answer = Answer {
            server: id.clone(),
            status,
            bytes,
            record,
            ticket,
        };
        self.commit(ops, Then::Answered(answer));
    }

    fn finish_other(&mut self, id: &Id, status: u16, bytes: Bytes, ticket: Option<Ticket>) {
        let answer = Answer {
            server: id.clone(),
            status,
            bytes,
            record: None,
            ticket,
        };
        let stored = self.store_update(answer);
        let Err(answer) = stored.or_else(|answer| self.store_subscription(answer)) else {
            return;
        };
        let dialog = self
            .servers
            .get(id)
            .and_then(|server| server.dialog.clone());
        let method = self.servers.get(id).map(|server| server.method.as_str());
        if method == Some("UPDATE")
            && (200..300).contains(&status)
            && let Some(record) = self.refreshed_record(id, &answer.bytes)
            && let Some(live) = dialog.and_then(|dialog| self.dialogs.get_mut(&dialog))
        {
            live.record = record;
        }
        self.close_other(answer);
    }

    /// The final response is safe: send it.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer {
            server: id,
            status,
            bytes,
            record,
            ticket,
        } = answer;
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.stage = Stage::Closed;
        server.response = Some(bytes.clone());
        server.stored = record.is_some();
        let (app, of_dialog) = (server.app, server.dialog.clone());
        tracing::info!(callId = %id, status, "answered");
        let answered = record.is_some();
        match record {
            Some(record) => self.confirm_uas(&id, *record, app),
            None if of_dialog.is_none() => self.drop_early(&id),
            None => {}
        }
        match (of_dialog.is_none(), answered) {
            (true, true) => self.record_start(Source::Application, "uas", &bytes),
            (true, false) => self.record_stop(Source::Application, "call-rejected", &bytes),
            (false, _) => {}
        }
        if let Some(live) = of_dialog.and_then(|dialog| self.dialogs.get_mut(&dialog)) {
            live.server_invite = None;
        }
        self.setup.metrics.sent_response(status);
        self.step_server(&id, Input::Respond(status));
        if let Some(ticket) = ticket {
            self.echo_answer(&id, &bytes, &ticket);
        }
    }

    fn confirm_uas(&mut self, server: &Id, record: DialogRecord, app: Option<super::AppId>) {
        let id: Id = Rc::from(record.id.as_str());
        let live = self.dialogs.entry(id.clone());
        let live = live.or_insert_with(|| LiveDialog::new(record.clone(), app, true));
        live.go_on_with(record);
        live.app = app;
        live.confirmed = true;
        live.answered = Some(server.clone());
        self.count_dialog(&id);
        self.hold(&id);
        self.arm_session(&id);
    }

    /// The early dialog of a refused INVITE goes with it.
    pub(super) fn drop_early(&mut self, server: &Id) {
        let Some(request) = self
            .servers
            .get(server)
            .map(|server| server.request.clone())
        else {
            return;
        };
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let Ok(essentials) = Essentials::of(&message) else {
            return;
        };
        let id = created_dialog(&essentials);
        if self.dialogs.get(&id).is_some_and(|live| !live.confirmed) {
            self.drop_dialog(&id);
        }
    }

    pub(super) fn echo_answer(&mut self, id: &Id, bytes: &Bytes, ticket: &Ticket) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let flow = reply_flow(server);
        let dialog = match &server.dialog {
            Some(dialog) => dialog.to_string(),
            None => {
                let parsed = Message::parse(bytes).ok();
                let essentials = parsed.as_ref().and_then(|m| Essentials::of(m).ok());
                essentials.map_or_else(String::new, |e| created_dialog(&e).to_string())
            }
        };
        self.echo_response(ticket, bytes, &flow, (id, &dialog));
    }

    /// A final response of the engine itself with a reason phrase of somebody else.
    pub(super) fn answer_with_phrase(&mut self, id: &Id, status: u16, phrase: &str) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let request = server.request.clone();
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let plain: String = phrase.chars().filter(|c| !c.is_control()).collect();
        let phrase = if plain.is_empty() {
            reason(status)
        } else {
            &plain
        };
        let (remote, tag) = (server.flow.remote, server.to_tag.as_str());
        let writer = begin_response(&message, remote, (status, phrase), Some(tag));
        self.finish_server(id, status, writer.finish(b"").into(), None);
    }

    /// A final response of the engine itself.
    pub(super) fn answer_ourselves(&mut self, id: &Id, status: u16, more: &[(&str, &str)]) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let request = server.request.clone();
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let (remote, tag) = (server.flow.remote, server.to_tag.as_str());
        let mut writer = begin_response(&message, remote, (status, reason(status)), Some(tag));
        for (name, value) in more {
            writer.named(name, value);
        }
        self.finish_server(id, status, writer.finish(b"").into(), None);
    }
}
