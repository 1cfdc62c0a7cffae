//! The responses of a forwarded request on their way to the caller.
use bytes::Bytes;

use super::call_records::Source;
use super::replies::begin_response;
use super::server::{Stage, reply_flow};
use super::{Core, Id};
use crate::drachtio::format;
use crate::message::build::reason;
use crate::message::{Message, Start};
use crate::proxy::{Progress, forward};
use crate::transaction::Input as Step;

impl Core {
    /// Tells the application of a final response.
    pub(super) fn tell_final(&mut self, id: &Id, index: usize) {
        let Some(live) = self.proxies.get(id) else {
            return;
        };
        let response = live.branches.get(index).and_then(|b| b.response.clone());
        let (Some(ticket), Some((bytes, flow))) = (live.ticket.clone(), response) else {
            return;
        };
        let (message_id, wall_us) = (self.ids.uuid(), self.now.wall_us);
        let frame = format::response_relayed(&message_id, &ticket.id, &bytes, &flow, wall_us);
        self.tell(ticket.app, frame);
    }

    /// Passes a 1xx or 2xx on.
    pub(super) fn relay(&mut self, id: &Id, index: usize) {
        let Some(live) = self.proxies.get(id) else {
            return;
        };
        let response = live.branches.get(index).and_then(|b| b.response.as_ref());
        let Some((bytes, _)) = response else {
            return;
        };
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        let Start::Response { status, .. } = message.start else {
            return;
        };
        let Some(passed) = self.passed_response(id, index, &message, &[]) else {
            return;
        };
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        self.setup.metrics.sent_response(status);
        let invite = server.method == "INVITE";
        server.response = Some(passed.clone());
        if status >= 200 && invite {
            // The callee repeats its 2xx until the ACK, which goes past this transaction.
            let repeated = server.stage == Stage::Closed;
            server.stage = Stage::Closed;
            if repeated {
                let flow = reply_flow(server);
                self.send(flow, passed);
            } else {
                self.step_server(id, Step::Relay);
                self.record_start(Source::Application, "proxy-uas", &passed);
                self.tell_done(id);
            }
            return;
        }
        if status >= 200 {
            server.stage = Stage::Closed;
        }
        self.step_server(id, Step::Respond(status));
        if status >= 200 {
            self.tell_done(id);
        }
    }

    fn tell_done(&mut self, id: &Id) {
        let ticket = self.proxies.get_mut(id).and_then(|live| live.ticket.take());
        if let Some(ticket) = ticket {
            self.answer(&ticket, "OK|done");
        }
    }

    /// Passes on the best of the refusals.
    pub(super) fn conclude(&mut self, id: &Id, index: usize) {
        let Some(live) = self.proxies.get(id) else {
            return;
        };
        let chosen = live.branches.get(index).and_then(|b| b.response.clone());
        let progress = live.machine.branches.get(index).map(|b| b.progress);
        let Some(Progress::Final(status)) = progress else {
            return;
        };
        let parsed = chosen
            .as_ref()
            .and_then(|(bytes, _)| Message::parse(bytes).ok());
        let fits = parsed.filter(|message| {
            let Start::Response { status: found, .. } = message.start else {
                return false;
            };
            found == status
        });
        let Some(message) = fits else {
            self.answer_forwarded(id, status);
            return;
        };
        let mut challenges = Vec::new();
        if matches!(status, 401 | 407) {
            let others = live.branches.iter().enumerate();
            for (_, branch) in others.filter(|(other, _)| *other != index) {
                let bytes = branch.response.as_ref().map(|(bytes, _)| bytes);
                if let Some(other) = bytes.and_then(|bytes| Message::parse(bytes).ok()) {
                    challenges.extend(forward::challenges(&other));
                }
            }
        }
        match self.passed_response(id, index, &message, &challenges) {
            Some(bytes) => self.close_forwarded(id, status, bytes),
            None => self.answer_forwarded(id, 500),
        }
    }

    /// A final response of our own to a forwarded request.
    pub(super) fn answer_forwarded(&mut self, id: &Id, status: u16) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let request = server.request.clone();
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let tag = Some(server.to_tag.as_str());
        let status = if status == 503 { 500 } else { status };
        let phrase = (status, reason(status));
        let bytes = begin_response(&message, server.flow.remote, phrase, tag).finish(b"");
        self.close_forwarded(id, status, bytes.into());
    }

    fn close_forwarded(&mut self, id: &Id, status: u16, bytes: Bytes) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if server.stage == Stage::Closed {
            return;
        }
        server.stage = Stage::Closed;
        server.response = Some(bytes);
        tracing::info!(callId = %id, status, "a forwarded request is refused");
        self.setup.metrics.sent_response(status);
        let bytes = server.response.clone().unwrap_or_default();
        let invite = server.method == "INVITE";
        self.step_server(id, Step::Respond(status));
        if invite && status != 487 {
            self.record_stop(Source::Application, "call-rejected", &bytes);
        }
        self.tell_done(id);
    }
}
