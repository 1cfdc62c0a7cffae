//! Live client transactions: requests sent for an application or by the engine itself.
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::call_records::Source;
use super::calls_in::{delete_transaction, set_transaction};
use super::commits::Then;
use super::flow::Flow;
use super::legs::call_of_leg;
use super::metrics::Metrics;
use super::sending::Ticket;
use super::timers::Alarm;
use super::{AppId, Core, Id, Now};
use crate::durable::{Side, TransactionRecord};
use crate::message::build::reason;
use crate::message::{Essentials, Message, Name, Start, Writer};
use crate::transaction::key::client_key;
use crate::transaction::{Effect, Input, Kind, Transaction};

/// Who wants to know of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The application.
    App,
    /// Only the engine: its own CANCEL or BYE.
    Engine,
    /// The engine: it refreshes a session.
    Refresh,
}

/// Whether an INVITE is being taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    /// No.
    No,
    /// Committed or about to be; the CANCEL waits for a provisional response.
    Wanted,
    /// The CANCEL is out.
    Sent,
}

/// One request.
#[derive(Debug)]
pub(super) struct Client {
    pub branch: String,
    pub machine: Transaction,
    /// What `launch` has to do; taken by it.
    pub begin: Vec<Effect>,
    pub method: String,
    pub flow: Flow,
    /// When it was sent first.
    pub launched: Option<Now>,
    /// Exactly as sent.
    pub request: Bytes,
    pub app: Option<AppId>,
    /// The dialog it is sent in.
    pub dialog: Option<Id>,
    pub leg: Option<String>,
    pub purpose: Purpose,
    pub cancel: Cancel,
    /// A final response is being committed.
    pub deciding: bool,
    /// To of the non-2xx final, for our ACK.
    pub final_to: String,
    /// The newest provisional response.
    pub last: Option<Bytes>,
    /// There is a record in the journal.
    pub stored: bool,
    /// The forwarded request it is a branch of, and which.
    pub forwards: Option<(Id, usize)>,
    /// Reliable provisional responses so far, one entry a fork.
    pub heard: Vec<super::reliable::Heard>,
    /// The newest session description of a provisional response.
    pub early_body: Vec<u8>,
    /// Where to try next (RFC 3263 section 4.3).
    pub alternatives: VecDeque<Flow>,
    /// The name that led to these servers.
    pub host: Option<String>,
    /// Flows of the device that failed, by `reg-id`.
    pub flows_tried: Vec<u32>,
}

impl Client {
    pub fn record(&self, id: &Id) -> TransactionRecord {
        TransactionRecord {
            id: id.to_string(),
            side: Side::Client,
            request: ByteBuf::from(self.request.to_vec()),
            flow: self.flow,
            user: None,
            leg: self.leg.clone(),
            dialog: self.dialog.as_ref().map(|dialog| dialog.to_string()),
            cancelled: self.cancel != Cancel::No,
            answer: None,
            provisional: None,
            alternatives: self.alternatives.iter().copied().collect(),
            host: self.host.clone(),
        }
    }

    /// The call it belongs to, as call control names it.
    pub fn call<'a>(&'a self, id: &'a Id) -> &'a str {
        self.leg.as_deref().map_or(id, call_of_leg)
    }

    /// Whether nothing has been sent yet.
    pub fn is_waiting(&self) -> bool {
        !self.begin.is_empty()
    }
}

impl Core {
    /// Prepares a request; nothing is sent before `launch`.
    pub(super) fn add_client(
        &mut self,
        method: &str,
        branch: String,
        flow: Flow,
        request: Bytes,
        app: Option<AppId>,
        dialog: Option<&Id>,
    ) -> Id {
        let id: Id = Rc::from(self.ids.uuid());
        self.insert_client(id.clone(), method, branch, flow, request);
        if let Some(client) = self.clients.get_mut(&id) {
            client.app = app;
            client.dialog = dialog.cloned();
        }
        id
    }

    /// Prepares a request of the engine's own, whose answer no application waits for.
    pub(super) fn add_own_client(
        &mut self,
        method: &str,
        branch: String,
        flow: Flow,
        request: Bytes,
        dialog: Option<&Id>,
    ) -> Id {
        let id = self.add_client(method, branch, flow, request, None, dialog);
        if let Some(client) = self.clients.get_mut(&id) {
            client.purpose = Purpose::Engine;
        }
        id
    }

    pub(super) fn insert_client(
        &mut self,
        id: Id,
        method: &str,
        branch: String,
        flow: Flow,
        request: Bytes,
    ) {
        let kind = if method == "INVITE" {
            Kind::InviteClient
        } else {
            Kind::OtherClient
        };
        let (machine, begin) = Transaction::start(kind, flow.transport.is_reliable());
        self.client_keys
            .insert(client_key(&branch, method), id.clone());
        let client = Client {
            branch,
            machine,
            begin,
            method: method.to_owned(),
            flow,
            launched: None,
            request,
            app: None,
            dialog: None,
            leg: None,
            purpose: Purpose::App,
            cancel: Cancel::No,
            deciding: false,
            final_to: String::new(),
            last: None,
            stored: false,
            forwards: None,
            heard: Vec::new(),
            early_body: Vec::new(),
            alternatives: VecDeque::new(),
            host: None,
            flows_tried: Vec::new(),
        };
        self.clients.insert(id, client);
    }

    /// Sends a prepared request.
    pub(super) fn launch(&mut self, id: &Id) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let effects = std::mem::take(&mut client.begin);
        client.launched = Some(self.now);
        self.setup.metrics.sent_request(&client.method);
        self.client_effects(id, effects, false);
        self.watch_silence(id);
    }

    pub(super) fn launch_and_echo(&mut self, id: &Id, ticket: &Ticket) {
        self.launch(id);
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let (request, flow) = (client.request.clone(), client.flow);
        let is_call = client.method == "INVITE" && client.dialog.is_none();
        self.echo_request(ticket, &request, &flow, id);
        if is_call {
            self.record_attempt(Source::Application, &request);
        }
    }

    /// Steps the machine; tells whether the response is to be delivered.
    pub(super) fn step_client(&mut self, id: &Id, input: Input) -> bool {
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let was_final = client.machine.is_final();
        let effects = client.machine.step(input);
        let is_answer = matches!(input, Input::Response(200..)) && !was_final;
        if let Some(launched) = client.launched.filter(|_| is_answer) {
            let us = self.now.us_since(launched);
            self.setup.metrics.timings.was_answered(&client.method, us);
        }
        self.client_effects(id, effects, true)
    }

    fn client_effects(&mut self, id: &Id, effects: Vec<Effect>, again: bool) -> bool {
        let mut deliver = false;
        for effect in effects {
            let Some(client) = self.clients.get(id) else {
                return deliver;
            };
            let flow = client.flow;
            match effect {
                Effect::Transmit => {
                    let bytes = client.request.clone();
                    if again {
                        Metrics::count(&self.setup.metrics.retransmissions);
                    }
                    self.send(flow, bytes);
                }
                Effect::Acknowledge => {
                    if let Some(bytes) = build_failure_ack(&client.request, &client.final_to) {
                        self.setup.metrics.sent_request("ACK");
                        self.send(flow, bytes);
                    }
                }
                Effect::Arm(timer, after_ms) => {
                    let alarm = Alarm::Client(id.clone(), timer);
                    self.timers.arm(self.now.mono_ms + after_ms, alarm);
                }
                Effect::Deliver => deliver = true,
                Effect::TimedOut | Effect::Unreachable if self.try_next(id, None) => {
                    return false;
                }
                Effect::TimedOut => self.timed_out(id),
                Effect::Unreachable => self.undeliverable(id),
                Effect::Finished => self.forget_client(id),
                Effect::Unacknowledged => {}
            }
        }
        deliver
    }

    /// Forgets a transaction, and its record when there still is one.
    pub(super) fn forget_client(&mut self, id: &Id) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if client.deciding {
            return;
        }
        let Some(client) = self.clients.remove(id) else {
            return;
        };
        self.client_keys
            .remove(&client_key(&client.branch, &client.method));
        if client.stored {
            self.commit(vec![delete_transaction(id)], Then::Nothing);
        }
        if let Some(leg) = &client.leg
            && self.legs.get(leg) == Some(&super::legs::Place::Client(id.clone()))
        {
            self.legs.remove(leg);
        }
        let dialog = client
            .dialog
            .and_then(|dialog| self.dialogs.get_mut(&dialog));
        if let Some(live) = dialog {
            for mine in [&mut live.client_invite, &mut live.client_update] {
                mine.take_if(|client| client == id);
            }
        }
    }

    /// Commits a re-INVITE before it is sent.
    pub(super) fn store_reinvite(&mut self, dialog: &Id, id: &Id, ticket: Option<Ticket>) {
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.client_invite = Some(id.clone());
        }
        self.store_invite_of_app(id, ticket);
    }

    /// Commits the exact bytes of an INVITE before they are sent.
    pub(super) fn store_invite_of_app(&mut self, id: &Id, ticket: Option<Ticket>) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.stored = true;
        let op = set_transaction(id, client.record(id).encode());
        self.commit(
            vec![op],
            Then::InviteReady {
                id: id.clone(),
                ticket,
            },
        );
    }

    /// Nobody answered: 408 as if it had come from the network.
    fn timed_out(&mut self, id: &Id) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        tracing::info!(callId = client.call(id), method = %client.method, "no response in time");
        let Some(bytes) = build_local(&client.request, 408) else {
            return;
        };
        self.decide(id, 408, bytes);
    }

    /// No connection: 503 as if it had come from the network.
    fn undeliverable(&mut self, id: &Id) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        tracing::info!(callId = client.call(id), method = %client.method, "cannot be reached");
        if let Some(bytes) = build_local(&client.request, 503) {
            self.decide(id, 503, bytes);
        }
    }

    /// A cancelled INVITE without a final response is over (RFC 3261 section 9.1).
    pub(super) fn cancel_unanswered(&mut self, id: &Id) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if client.machine.is_final() || client.deciding {
            return;
        }
        let Some(bytes) = build_local(&client.request, 408) else {
            return;
        };
        self.decide(id, 408, bytes);
    }
}

/// The ACK to a non-2xx final (RFC 3261 section 17.1.1.3).
pub(super) fn build_failure_ack(request: &[u8], to: &str) -> Option<Bytes> {
    let message = Message::parse(request).ok()?;
    let essentials = Essentials::of(&message).ok()?;
    let Start::Request { uri, .. } = message.start else {
        return None;
    };
    let mut writer = Writer::request("ACK", uri);
    writer.header(Name::Via, message.get(Name::Via)?);
    for route in message.all(Name::Route) {
        writer.header(Name::Route, route);
    }
    writer.header(Name::MaxForwards, "70");
    writer.header(Name::From, message.get(Name::From)?);
    writer.header(
        Name::To,
        if to.is_empty() {
            message.get(Name::To)?
        } else {
            to
        },
    );
    writer.header(Name::CallId, essentials.call_id);
    writer.header(Name::CSeq, &format!("{} ACK", essentials.cseq));
    Some(writer.finish(b"").into())
}

/// What an application gets when nothing came from the network.
fn build_local(request: &[u8], status: u16) -> Option<Bytes> {
    let message = Message::parse(request).ok()?;
    let mut writer = Writer::response(status, reason(status));
    for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
        writer.header(name, message.get(name)?);
    }
    Some(writer.finish(b"").into())
}
