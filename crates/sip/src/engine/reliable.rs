//! Reliable provisional responses (RFC 3262), both roles.
//!
//! ```text
//!  application 1xx + 100rel -> Storing -> Sent -> Storing (PRACK) -> Idle -> next one
//! ```
//! One response at a time: the next one, and a 2xx after one with a session description,
//! wait for the PRACK. RSeq and To tag are committed before the response leaves, the PRACK
//! before the application hears of it, so a new leader goes on where this one was.
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::calls_in::set_transaction;
use super::commits::Then;
use super::flow::Flow;
use super::sending::Ticket;
use super::server::{Server, Stage, reply_flow};
use super::timers::Alarm;
use super::{Core, Id};
use crate::dialog::has_token;
use crate::durable::Provisional;
use crate::limits::RELIABLE_WAITING_MAX;
use crate::message::lexical::number;
use crate::message::{Essentials, Message, Name, Start, Writer};
use crate::transaction::{Input, LIFE_MS, T1_MS};

/// The option tag.
const TAG: &str = "100rel";

/// Where the newest reliable response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// There is none, or its PRACK came.
    #[default]
    Idle,
    /// It, or its PRACK, is being committed.
    Storing,
    /// It is sent again and again.
    Sent,
}

/// The reliable provisional responses of one INVITE.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    phase: Phase,
    /// RSeq of the newest; 0 before the first.
    rseq: u32,
    bytes: Bytes,
    acknowledged: bool,
    has_body: bool,
    interval_ms: u64,
    give_up_ms: u64,
    waiting: VecDeque<Provisionally>,
}

/// A response on its way.
#[derive(Debug)]
pub(super) struct Provisionally {
    pub status: u16,
    pub bytes: Bytes,
    pub ticket: Option<Ticket>,
}

impl Reliable {
    /// What the journal keeps.
    pub fn record(&self) -> Provisional {
        Provisional {
            rseq: self.rseq,
            bytes: ByteBuf::from(self.bytes.to_vec()),
            acknowledged: self.acknowledged,
        }
    }

    /// The session description it carried to the peer, for a 2xx without one.
    pub fn body(&self) -> Option<Vec<u8>> {
        let message = Message::parse(&self.bytes).ok()?;
        (!message.body.is_empty()).then(|| message.body.to_vec())
    }

    /// Whether the peer has our answer to its offer.
    pub fn has_answered(&self) -> bool {
        self.acknowledged && self.has_body
    }

    /// A 2xx waits while a session description is not acknowledged.
    pub fn delays_answer(&self) -> bool {
        match self.phase {
            Phase::Idle => false,
            Phase::Storing => true,
            Phase::Sent => self.has_body,
        }
    }

    fn has_final(&self) -> bool {
        self.waiting.iter().any(|one| one.status >= 200)
    }
}

/// Whether a provisional response is to be sent reliably.
pub(super) fn is_reliable(request: &Message<'_>, answer: &Message<'_>) -> bool {
    let demanded = has_token(request, Name::Require, TAG);
    let wanted = has_token(answer, Name::Require, TAG);
    demanded || (wanted && has_token(request, Name::Supported, TAG))
}

impl Server {
    /// Whether the application has said its last word, which waits for a PRACK.
    pub fn is_decided(&self) -> bool {
        self.reliable.as_ref().is_some_and(Reliable::has_final)
    }
}

impl Core {
    /// A provisional response of the application that has to be acknowledged.
    pub(super) fn reliable_provisional(&mut self, id: &Id, one: Provisionally) {
        let first = self.ids.number();
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let state = server.reliable.get_or_insert_default();
        if state.phase != Phase::Idle {
            if state.waiting.len() < RELIABLE_WAITING_MAX {
                state.waiting.push_back(one);
            } else if let Some(ticket) = one.ticket {
                self.fail(&ticket, "too many provisional responses wait for a PRACK");
            }
            return;
        }
        state.rseq = if state.rseq == 0 {
            first
        } else {
            state.rseq + 1
        };
        let rseq = state.rseq;
        let Some(bytes) = with_rseq(&one.bytes, rseq) else {
            return;
        };
        state.phase = Phase::Storing;
        state.acknowledged = false;
        state.bytes = bytes.clone();
        state.has_body = state.body().is_some();
        server.stored = true;
        let op = set_transaction(id, server.record(id).encode());
        let one = Provisionally { bytes, ..one };
        let id = id.clone();
        self.commit(vec![op], Then::ProvisionalStored { id, rseq, one });
    }

    /// RSeq and tag are safe: send it until its PRACK comes.
    pub(super) fn provisional_stored(&mut self, id: &Id, rseq: u32, one: Provisionally) {
        let now_ms = self.now.mono_ms;
        let open = |server: &&mut Server| server.stage == Stage::Open && !server.cancelled;
        let Some(server) = self.servers.get_mut(id).filter(open) else {
            if let Some(ticket) = one.ticket {
                self.fail(&ticket, super::answers::UNKNOWN);
            }
            return;
        };
        let outside = server.dialog.is_none();
        server.response = Some(one.bytes.clone());
        if let Some(state) = server.reliable.as_mut().filter(|state| state.rseq == rseq) {
            state.phase = Phase::Sent;
            state.interval_ms = T1_MS;
            state.give_up_ms = now_ms + LIFE_MS;
        }
        if outside {
            self.early_dialog(id, &one.bytes);
        }
        self.setup.metrics.sent_response(one.status);
        self.step_server(id, Input::Respond(one.status));
        self.timers
            .arm(now_ms + T1_MS, Alarm::Reliable(id.clone(), rseq));
        if let Some(ticket) = one.ticket {
            self.echo_answer(id, &one.bytes, &ticket);
        }
    }

    /// It could not be stored: the application may try again.
    pub(super) fn provisional_not_stored(&mut self, id: &Id) {
        if let Some(state) = self.servers.get_mut(id).and_then(|s| s.reliable.as_mut()) {
            state.phase = Phase::Idle;
        }
    }

    /// No PRACK yet: send it again, or give the INVITE up (RFC 3262 section 3).
    pub(super) fn reliable_again(&mut self, id: &Id, rseq: u32) {
        let now_ms = self.now.mono_ms;
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let is_open = server.stage == Stage::Open && !server.cancelled;
        let flow = reply_flow(server);
        let Some(state) = server.reliable.as_mut().filter(|_| is_open) else {
            return;
        };
        if state.rseq != rseq || state.phase != Phase::Sent {
            return;
        }
        if now_ms >= state.give_up_ms {
            self.unacknowledged_provisional(id);
            return;
        }
        state.interval_ms *= 2;
        let next_ms = (now_ms + state.interval_ms).min(state.give_up_ms);
        let bytes = state.bytes.clone();
        super::metrics::Metrics::count(&self.setup.metrics.retransmissions);
        self.send(flow, bytes);
        self.timers.arm(next_ms, Alarm::Reliable(id.clone(), rseq));
    }

    /// The caller gets a 5xx; the application hears of it as of a CANCEL.
    fn unacknowledged_provisional(&mut self, id: &Id) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        tracing::warn!(callId = %id, "no PRACK in time");
        let app = server.app;
        let cancel = super::cancels::build_cancel(&server.request);
        self.drop_waiting(id);
        self.answer_ourselves(id, 504, &[]);
        if let (Some(app), Some(cancel)) = (app, cancel) {
            self.tell_cancel(id, app, &cancel);
        }
    }

    /// What waited for a PRACK is not sent any more.
    pub(super) fn drop_waiting(&mut self, id: &Id) {
        let state = self.servers.get_mut(id).and_then(|s| s.reliable.as_mut());
        let waiting = state.map(|state| std::mem::take(&mut state.waiting));
        for ticket in waiting.into_iter().flatten().filter_map(|one| one.ticket) {
            self.fail(&ticket, super::answers::UNKNOWN);
        }
    }

    /// A final response of the application: a 2xx may have to wait for a PRACK.
    pub(super) fn finish_reliably(
        &mut self,
        id: &Id,
        status: u16,
        bytes: Bytes,
        ticket: Option<Ticket>,
    ) {
        let state = self.servers.get_mut(id).and_then(|s| s.reliable.as_mut());
        match state.filter(|state| state.delays_answer() && status < 300) {
            Some(state) => {
                state.waiting.push_back(Provisionally {
                    status,
                    bytes,
                    ticket,
                });
            }
            None => {
                self.drop_waiting(id);
                self.finish_server(id, status, bytes, ticket);
            }
        }
    }

    /// A PRACK of the network in a dialog.
    pub(super) fn prack_received(
        &mut self,
        dialog: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let Some((rseq, cseq)) = rack(message) else {
            self.respond(&flow, message, essentials, 400, &[]);
            return;
        };
        let invite = self.dialogs.get(dialog).map(|live| {
            let made_by = || Rc::from(live.record.transaction_id.as_str());
            live.server_invite.clone().unwrap_or_else(made_by)
        });
        let found = invite.and_then(|id| Some((self.servers.get_mut(&id)?, id)));
        let found = found.filter(|(server, _)| cseq_of(&server.request) == Some(cseq));
        let matched = found.and_then(|(server, id)| {
            let stored = server.stored;
            let state = server.reliable.as_mut()?;
            (state.phase == Phase::Sent && state.rseq == rseq).then(|| {
                state.phase = Phase::Storing;
                state.acknowledged = true;
                (stored, id)
            })
        });
        let Some((stored, invite)) = matched else {
            self.respond(&flow, message, essentials, 481, &[]);
            return;
        };
        let prack = self.add_server(message, essentials, flow, None, Some(dialog.clone()));
        let (dialog, id) = (dialog.clone(), invite);
        let record = self.servers.get(&id).filter(|_| stored);
        match record.map(|server| set_transaction(&id, server.record(&id).encode())) {
            Some(op) => self.commit(vec![op], Then::PrackStored { id, prack, dialog }),
            None => self.prack_stored(&id, prack, &dialog),
        }
    }

    /// The PRACK is safe: tell the application, and send what waited for it.
    pub(super) fn prack_stored(&mut self, id: &Id, prack: Id, dialog: &Id) {
        self.deliver_when_ready(dialog, prack);
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let Some(state) = server.reliable.as_mut() else {
            return;
        };
        state.phase = Phase::Idle;
        if server.stage != Stage::Open || server.cancelled {
            return;
        }
        match state.waiting.pop_front() {
            Some(one) if one.status < 200 => self.reliable_provisional(id, one),
            Some(one) => self.finish_server(id, one.status, one.bytes, one.ticket),
            None => {}
        }
    }

    /// The PRACK could not be stored: it will come again.
    pub(super) fn prack_not_stored(&mut self, id: &Id) {
        let now_ms = self.now.mono_ms;
        let state = self.servers.get_mut(id).and_then(|s| s.reliable.as_mut());
        if let Some(state) = state {
            state.phase = Phase::Sent;
            state.acknowledged = false;
            state.interval_ms = T1_MS;
            let alarm = Alarm::Reliable(id.clone(), state.rseq);
            self.timers.arm(now_ms + T1_MS, alarm);
        }
    }

    /// A new leader goes on: the early dialog is there again, and the response is sent
    /// until its PRACK comes.
    pub(super) fn restore_reliable(&mut self, id: &Id, record: Provisional) {
        let now_ms = self.now.mono_ms;
        let bytes = Bytes::from(record.bytes.into_vec());
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let tag = Message::parse(&bytes).ok().and_then(|message| {
            let essentials = Essentials::of(&message).ok()?;
            essentials.to.tag().map(str::to_owned)
        });
        if let Some(tag) = tag {
            server.to_tag = tag;
        }
        let mut state = Reliable {
            phase: Phase::Idle,
            rseq: record.rseq,
            bytes: bytes.clone(),
            acknowledged: record.acknowledged,
            interval_ms: T1_MS / 2,
            give_up_ms: now_ms + LIFE_MS,
            ..Reliable::default()
        };
        state.has_body = state.body().is_some();
        if !record.acknowledged {
            state.phase = Phase::Sent;
            self.timers
                .arm(now_ms, Alarm::Reliable(id.clone(), record.rseq));
        }
        server.response = Some(bytes.clone());
        server.reliable = Some(state);
        if server.dialog.is_none() {
            self.early_dialog(id, &bytes);
        }
    }
}

/// What a client knows of the reliable responses of one callee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    tag: String,
    rseq: u32,
}

/// Whether a provisional response is news (RFC 3262 section 4): not a repetition of a
/// reliable one, and not one that overtook another.
pub(super) fn is_news(
    heard: &mut Vec<Heard>,
    message: &Message<'_>,
    essentials: &Essentials<'_>,
) -> bool {
    let Some(rseq) = message.get(Name::RSeq).and_then(number) else {
        return true;
    };
    if !has_token(message, Name::Require, TAG) {
        return true;
    }
    // Without a tag there is no dialog to acknowledge it in.
    let Some(tag) = essentials.to.tag() else {
        return false;
    };
    match heard.iter_mut().find(|one| one.tag == tag) {
        Some(one) if rseq == one.rseq.wrapping_add(1) => {
            one.rseq = rseq;
            true
        }
        Some(_) => false,
        None => {
            let tag = tag.to_owned();
            heard.push(Heard { tag, rseq });
            true
        }
    }
}

/// RSeq and CSeq number of a RAck for an INVITE.
fn rack(message: &Message<'_>) -> Option<(u32, u32)> {
    let mut parts = message.get(Name::RAck)?.split_whitespace();
    let (rseq, cseq) = (number(parts.next()?)?, number(parts.next()?)?);
    let method = parts.next()?;
    (method == "INVITE" && parts.next().is_none()).then_some((rseq, cseq))
}

/// The CSeq number of a stored message.
pub(super) fn cseq_of(request: &[u8]) -> Option<u32> {
    let message = Message::parse(request).ok()?;
    Some(Essentials::of(&message).ok()?.cseq)
}

/// The response with its RSeq, and with `Require: 100rel` when it has none.
fn with_rseq(response: &[u8], rseq: u32) -> Option<Bytes> {
    let message = Message::parse(response).ok()?;
    let mut writer = copy_without(&message, |_| false)?;
    if !has_token(&message, Name::Require, TAG) {
        writer.header(Name::Require, TAG);
    }
    writer.header(Name::RSeq, &rseq.to_string());
    Some(writer.finish(message.body).into())
}

/// The response as an unreliable one: its peer knows nothing of 100rel.
pub(super) fn without_100rel(response: &[u8]) -> Option<Bytes> {
    let message = Message::parse(response).ok()?;
    if !has_token(&message, Name::Require, TAG) {
        return None;
    }
    let mut writer = copy_without(&message, |name| name == Name::Require)?;
    let others = message.all(Name::Require).flat_map(crate::message::list);
    for other in others.filter(|one| !one.eq_ignore_ascii_case(TAG)) {
        writer.header(Name::Require, other);
    }
    Some(writer.finish(message.body).into())
}

fn copy_without(message: &Message<'_>, drop: impl Fn(Name) -> bool) -> Option<Writer> {
    let Start::Response { status, reason } = message.start else {
        return None;
    };
    let mut writer = Writer::response(status, reason);
    for header in &message.headers {
        if header.name != Name::ContentLength && !drop(header.name) {
            writer.named(header.text, header.value);
        }
    }
    Some(writer)
}
