//! Live server transactions: requests of the network that an application answers.
use std::rc::Rc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::commits::Then;
use super::flow::Flow;
use super::metrics::Metrics;
use super::replies::app_view;
use super::timers::Alarm;
use super::{AppId, Core, Id, Now};
use crate::drachtio::format;
use crate::durable::{Side, TransactionRecord, transaction_key};
use crate::journal::JournalOp;
use crate::limits::SILENCE_MS;
use crate::message::{Essentials, Message};
use crate::transaction::key::server_key;
use crate::transaction::{Effect, Input, Kind, Transaction};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its record is being committed; nobody knows of it yet.
    Storing,
    /// The application may answer.
    Open,
    /// The final response is being committed.
    Answering,
    /// The final response is out.
    Closed,
}

/// One request.
#[derive(Debug)]
pub(super) struct Server {
    pub key: String,
    pub machine: Transaction,
    pub method: String,
    pub flow: Flow,
    /// The request as the application sees it.
    pub request: Bytes,
    pub response: Option<Bytes>,
    pub to_tag: String,
    pub app: Option<AppId>,
    /// The dialog it came in, not the one it makes.
    pub dialog: Option<Id>,
    pub user: Option<String>,
    pub stage: Stage,
    pub cancelled: bool,
    /// The application has sent some response.
    pub heard: bool,
    /// There is a record in the journal.
    pub stored: bool,
    /// Requests in the order they came.
    pub number: u64,
    /// When it came, ms.
    pub born_ms: u64,
    /// The same, to measure by; None for one of before a takeover.
    pub came: Option<Now>,
    /// The frame that told the application of it.
    pub told: u64,
    /// Only an application with this tag is to get it.
    pub tag: Option<String>,
    /// A request handler decides about it.
    pub asked: bool,
    /// Its reliable provisional responses.
    pub reliable: Option<super::reliable::Reliable>,
}

impl Server {
    pub fn record(&self, id: &Id) -> TransactionRecord {
        let answered = self.machine.state() == crate::transaction::State::Accepted;
        let answer = self.response.as_ref().filter(|_| answered);
        TransactionRecord {
            id: id.to_string(),
            side: Side::Server,
            request: ByteBuf::from(self.request.to_vec()),
            flow: self.flow,
            user: self.user.clone(),
            leg: None,
            dialog: self.dialog.as_ref().map(|dialog| dialog.to_string()),
            cancelled: self.cancelled,
            answer: answer.map(|bytes| ByteBuf::from(bytes.to_vec())),
            provisional: self
                .reliable
                .as_ref()
                .map(super::reliable::Reliable::record),
            alternatives: Vec::new(),
            host: None,
        }
    }
}

impl Core {
    /// Starts a transaction for a request.
    pub(super) fn add_server(
        &mut self,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        flow: Flow,
        user: Option<String>,
        dialog: Option<Id>,
    ) -> Id {
        let method = essentials.method;
        let kind = if method == "INVITE" {
            Kind::InviteServer
        } else {
            Kind::OtherServer
        };
        let (machine, _) = Transaction::start(kind, flow.transport.is_reliable());
        let key = server_key(message, essentials, method);
        let id: Id = Rc::from(self.ids.uuid());
        let server = Server {
            key: key.clone(),
            machine,
            method: method.to_owned(),
            flow,
            request: app_view(
                message,
                flow.remote,
                user.as_deref(),
                self.trusts(flow.remote.ip()),
            ),
            response: None,
            to_tag: self.tag_for(essentials),
            app: None,
            dialog,
            user,
            stage: if method == "INVITE" {
                Stage::Storing
            } else {
                Stage::Open
            },
            cancelled: false,
            heard: false,
            stored: false,
            number: self.token(),
            born_ms: self.now.mono_ms,
            came: Some(self.now),
            told: 0,
            tag: None,
            asked: false,
            reliable: None,
        };
        self.load.begin(flow.remote.ip());
        self.server_keys.insert(key, id.clone());
        self.servers.insert(id.clone(), server);
        id
    }

    /// Steps the machine and does what it says.
    pub(super) fn step_server(&mut self, id: &Id, input: Input) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let was_final = server.machine.is_final();
        let effects = server.machine.step(input);
        let came = server
            .came
            .filter(|_| !was_final && server.machine.is_final());
        if let Some(came) = came {
            let us = self.now.us_since(came);
            self.setup.metrics.timings.answered(&server.method, us);
        }
        for effect in effects {
            let Some(server) = self.servers.get(id) else {
                return;
            };
            match effect {
                Effect::Transmit => {
                    let Some(bytes) = server.response.clone() else {
                        continue;
                    };
                    if !matches!(input, Input::Respond(_) | Input::Relay) {
                        Metrics::count(&self.setup.metrics.retransmissions);
                    }
                    let flow = reply_flow(server);
                    self.send(flow, bytes);
                }
                Effect::Arm(timer, after_ms) => {
                    let alarm = Alarm::Server(id.clone(), timer);
                    self.timers.arm(self.now.mono_ms + after_ms, alarm);
                }
                Effect::Unacknowledged => self.unacknowledged(id),
                Effect::Finished => self.forget_server(id),
                Effect::Acknowledge | Effect::Deliver | Effect::TimedOut | Effect::Unreachable => {}
            }
        }
    }

    /// Forgets a transaction, and its record when there still is one.
    pub(super) fn forget_server(&mut self, id: &Id) {
        self.release_server(id);
        let Some(server) = self.servers.remove(id) else {
            return;
        };
        self.server_keys.remove(&server.key);
        self.proxies.remove(id);
        self.load.end(server.flow.remote.ip());
        if let Some(dialog) = server
            .dialog
            .as_ref()
            .and_then(|id| self.dialogs.get_mut(id))
        {
            for mine in [&mut dialog.server_invite, &mut dialog.server_update] {
                mine.take_if(|server| server == id);
            }
            dialog.held.retain(|held| held != id);
        }
    }

    /// Removes the record: the transaction need not survive this node any more.
    pub(super) fn release_server(&mut self, id: &Id) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if std::mem::take(&mut server.stored) && self.leading {
            let key = transaction_key(id);
            self.commit(vec![JournalOp::Delete { key }], Then::Nothing);
        }
    }

    /// Hands a request to its application; false when nobody takes it.
    pub(super) fn deliver(&mut self, id: &Id) -> bool {
        let Some(server) = self.servers.get(id) else {
            return false;
        };
        let (dialog, method) = (server.dialog.clone(), server.method.clone());
        let own = server.app.filter(|app| self.apps.is_connected(*app));
        let app = match (own, &dialog) {
            (Some(app), _) => Some(app),
            (None, Some(dialog)) => self.app_of_dialog(dialog, &method),
            (None, None) => {
                let verb = method.to_ascii_lowercase();
                self.apps.for_request(&verb, server.tag.as_deref())
            }
        };
        let Some(app) = app else {
            return false;
        };
        let wall_us = self.now.wall_us;
        let message_id = self.ids.uuid();
        let told = self.apps.told(app) + 1;
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        server.app = Some(app);
        server.told = told;
        let (request, flow) = (server.request.clone(), server.flow);
        let frame = match &dialog {
            Some(dialog) => {
                let ids = (&**id, &**dialog);
                format::in_dialog(&message_id, "network", &request, &flow, wall_us, ids)
            }
            None => format::new_request(&message_id, &request, &flow, wall_us, id),
        };
        let invite = server.method == "INVITE";
        if let Some(dialog) = dialog {
            self.give_dialog(&dialog, app);
        }
        if !invite {
            let at_ms = self.now.mono_ms + crate::transaction::T2_MS;
            self.timers.arm(at_ms, Alarm::Slow(id.clone()));
        }
        self.timers
            .arm(self.now.mono_ms + SILENCE_MS, Alarm::Silence(id.clone()));
        self.tell(app, frame);
        true
    }

    /// The application never said anything about a request.
    pub(super) fn silence(&mut self, id: &Id) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        if server.heard || server.stage != Stage::Open {
            return;
        }
        tracing::warn!(callId = %id, method = %server.method, "the application is silent");
        if server.method == "INVITE" {
            self.answer_ourselves(id, 408, &[]);
        } else {
            self.forget_server(id);
        }
    }
}

/// Where the responses to a request go.
pub(super) fn reply_flow(server: &Server) -> Flow {
    let Ok(message) = Message::parse(&server.request) else {
        return server.flow;
    };
    let via = message
        .get(crate::message::Name::Via)
        .and_then(crate::message::Via::parse);
    via.map_or(server.flow, |via| server.flow.reply(&via))
}
