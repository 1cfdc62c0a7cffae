//! Leading, following, and the copy of the state that makes the one follow the other.
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use bytes::Bytes;

use super::apps::Home;
use super::client::{Cancel, Purpose};
use super::dialogs::LiveDialog;
use super::flow::Flow;
use super::legs::{Place, call_of_leg};
use super::replies::begin_response;
use super::server::{Server, Stage};
use super::timers::Alarm;
use super::{Core, Id, Output};
use crate::durable::{DIALOG, DialogRecord, End, REGISTRATION, Side, TransactionRecord};
use crate::limits::{APPLICATION_RETURN_MS, CSEQ_TAKEOVER_JUMP, DIALOG_HOLD_MS, ENDED_DIALOG_MS};
use crate::message::{Essentials, Message};
use crate::transaction::key::server_key;
use crate::transaction::{Input, Kind, Transaction};

/// INVITEs sent again at once after a takeover; the others follow at 2 a millisecond.
pub(super) const RESENT_AT_ONCE: u64 = 200;

impl Core {
    /// The log applied changes.
    pub(super) fn changed(&mut self, changes: Vec<(String, Option<Vec<u8>>)>) {
        let mut moved = false;
        let overtaken = overtaken(&changes, |dialog| self.replica.has_dialog(dialog));
        for ((key, value), overtaken) in changes.into_iter().zip(overtaken) {
            if overtaken {
                continue;
            }
            if let Some(user) = key.strip_prefix(REGISTRATION) {
                moved = true;
                self.speculations.applied(user, value.as_deref());
            }
            let is_deleted = value.is_none();
            let now_ms = self.now.wall_ms();
            self.defence.applied(&key, value.as_deref(), now_ms);
            let Some(event) = self.replica.apply(&key, value) else {
                continue;
            };
            if let crate::view::EngineEvent::DialogRemoved { id } = &event {
                // Call control finished the call: nobody needs the dialog any more.
                let id: Id = Rc::from(id.as_str());
                let live = self.dialogs.get(&id);
                let unused = live.is_some_and(|live| live.confirmed) && is_deleted;
                if unused && !self.outlives_call(&id) {
                    self.drop_dialog(&id);
                }
            }
            self.out.push(Output::Event(event));
        }
        if moved && !self.stranded.is_empty() {
            self.reroute_stranded();
        }
    }

    pub(super) fn reset(&mut self) {
        let gone = self.replica.reset();
        self.defence.reset();
        self.out.extend(gone.into_iter().map(Output::Event));
    }

    /// Makes everything of the replica live.
    pub(super) fn lead(&mut self) {
        if self.leading {
            return;
        }
        self.leading = true;
        let dialogs: Vec<DialogRecord> = self.replica.dialogs().collect();
        let transactions: Vec<TransactionRecord> = self.replica.transactions().collect();
        tracing::info!(
            dialogs = dialogs.len(),
            transactions = transactions.len(),
            bindings = self.replica.binding_count(),
            "leading"
        );
        for record in dialogs {
            self.restore_dialog(record);
        }
        let mut resent = 0;
        for record in transactions {
            match record.side {
                Side::Server => self.restore_server(record),
                Side::Client => self.restore_client(record, &mut resent),
            }
        }
        for record in self.replica.proxies().collect::<Vec<_>>() {
            self.restore_proxy(record, &mut resent);
        }
        let passing: Vec<Id> = self.servers.keys().cloned().collect();
        for id in passing {
            let open = self
                .servers
                .get(&id)
                .is_some_and(|s| s.stage == Stage::Open);
            if open && !self.is_forwarded(&id) && !self.start_passing(&id) {
                self.ask_handler(&id);
            }
        }
        self.start_qualifying();
        self.redeliver();
        self.wait_for_applications();
    }

    /// Drops everything live; answers every application that waits.
    pub(super) fn follow(&mut self) {
        if !std::mem::take(&mut self.leading) {
            return;
        }
        tracing::info!("following");
        self.fail_commits();
        for (_, lookup) in std::mem::take(&mut self.lookups) {
            self.fail(&lookup.ticket, "this server does not lead");
        }
        self.servers.clear();
        self.proxies.clear();
        self.forward_lookups.clear();
        self.questions.clear();
        self.called_for.clear();
        self.server_keys.clear();
        self.clients.clear();
        self.client_keys.clear();
        self.dialogs.clear();
        self.dialog_counts.clear();
        self.legs.clear();
        self.subscribing.clear();
        self.timers.clear();
        self.speculations.clear();
        self.lost_flows.clear();
        self.known_flows.clear();
        self.load.clear();
        self.defence.follow();
        self.new_bans.clear();
        self.nonce_counts.clear();
        self.setup.users.forget();
        self.qualify = super::qualify::Qualify::default();
        self.stranded.clear();
        self.out.push(Output::Disconnect);
    }

    fn restore_dialog(&mut self, mut record: DialogRecord) {
        record.dialog.local_seq += CSEQ_TAKEOVER_JUMP;
        self.restore_session(&mut record);
        let id: Id = Rc::from(record.id.as_str());
        if let Some(leg) = &record.leg {
            self.legs.insert(leg.clone(), Place::Dialog(id.clone()));
        }
        if record.is_call {
            let leg = record.leg.as_deref();
            let call = leg.map_or(record.transaction_id.as_str(), call_of_leg);
            self.show_leg(call, &record.dialog.call_id);
        }
        let end = record.end.clone();
        let tags = record.tags.iter().cloned().collect::<BTreeSet<_>>();
        let mut live = LiveDialog::new(record, None, true);
        live.home = (!tags.is_empty()).then(|| {
            let routes = BTreeSet::new();
            Rc::new(Home { tags, routes })
        });
        live.restored = true;
        live.alone_until_ms = self.now.mono_ms + APPLICATION_RETURN_MS;
        self.dialogs.insert(id.clone(), live);
        self.count_dialog(&id);
        self.arm_session(&id);
        self.arm_subscriptions(&id);
        match end {
            Some(End::Remote {
                bye,
                flow,
                transaction_id,
                ..
            }) => {
                self.timers
                    .arm(self.now.mono_ms + ENDED_DIALOG_MS, Alarm::Ended(id.clone()));
                let request = Bytes::from(bye.into_vec());
                let server: Id = Rc::from(transaction_id);
                self.insert_server(server.clone(), request, flow, Some(id.clone()));
                self.deliver_when_ready(&id, server);
            }
            Some(End::Local {
                bye,
                flow,
                transaction_id,
            }) => {
                let request = Bytes::from(bye.into_vec());
                let client: Id = Rc::from(transaction_id);
                self.resend(&client, "BYE", flow, request);
                if let Some(client) = self.clients.get_mut(&client) {
                    client.purpose = Purpose::Engine;
                    client.dialog = Some(id);
                }
                self.launch(&client);
            }
            None => {}
        }
    }

    /// A server transaction as it was after its request was stored.
    fn insert_server(&mut self, id: Id, request: Bytes, flow: Flow, dialog: Option<Id>) {
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let Ok(essentials) = Essentials::of(&message) else {
            return;
        };
        let method = essentials.method.to_owned();
        let kind = if method == "INVITE" {
            Kind::InviteServer
        } else {
            Kind::OtherServer
        };
        let (machine, _) = Transaction::start(kind, flow.transport.is_reliable());
        let key = server_key(&message, &essentials, &method);
        let trying = begin_response(&message, flow.remote, (100, "Trying"), None).finish(b"");
        let server = Server {
            key: key.clone(),
            machine,
            response: (method == "INVITE").then(|| trying.into()),
            method,
            flow,
            to_tag: self.tag_for(&essentials),
            request: request.clone(),
            app: None,
            dialog,
            user: None,
            stage: Stage::Open,
            cancelled: false,
            heard: false,
            stored: false,
            number: self.token(),
            born_ms: self.now.mono_ms,
            came: None,
            told: 0,
            tag: None,
            asked: false,
            reliable: None,
        };
        self.load.begin(flow.remote.ip());
        self.server_keys.insert(key, id.clone());
        self.servers.insert(id, server);
    }

    fn restore_server(&mut self, record: TransactionRecord) {
        let id: Id = Rc::from(record.id.as_str());
        let request = Bytes::from(record.request.into_vec());
        let of_dialog: Option<Id> = record.dialog.as_deref().map(Rc::from);
        self.insert_server(id.clone(), request.clone(), record.flow, of_dialog.clone());
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.user = record.user;
        server.stored = true;
        server.cancelled = record.cancelled;
        if of_dialog.is_none() && server.method == "INVITE" {
            self.show_leg_of(&id, &request);
        }
        if let Some(provisional) = record.provisional {
            self.restore_reliable(&id, provisional);
        }
        if let Some(answer) = record.answer {
            self.restore_answer(&id, &request, of_dialog, answer.into_vec().into());
        } else if of_dialog.is_some() {
            // The peer may try again; the call stays up.
            self.answer_ourselves(&id, 500, &[("Retry-After", "1")]);
        }
    }

    /// A 2xx that was not acknowledged: repeat it until it is.
    fn restore_answer(&mut self, id: &Id, request: &[u8], of_dialog: Option<Id>, answer: Bytes) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.stage = Stage::Closed;
        server.heard = true;
        server.response = Some(answer);
        let dialog = of_dialog.or_else(|| {
            let message = Message::parse(request).ok()?;
            let essentials = Essentials::of(&message).ok()?;
            Some(super::dialogs::created_dialog(&essentials))
        });
        if let Some(live) = dialog.and_then(|dialog| self.dialogs.get_mut(&dialog)) {
            live.answered = Some(id.clone());
        }
        self.step_server(id, Input::Respond(200));
    }

    pub(super) fn resend(&mut self, id: &Id, method: &str, flow: Flow, request: Bytes) {
        let branch = Message::parse(&request).ok().and_then(|message| {
            let essentials = Essentials::of(&message).ok()?;
            essentials.via.branch().map(str::to_owned)
        });
        if let Some(branch) = branch {
            self.insert_client(id.clone(), method, branch, flow, request);
        }
    }

    fn restore_client(&mut self, record: TransactionRecord, resent: &mut u64) {
        let id: Id = Rc::from(record.id.as_str());
        let request = Bytes::from(record.request.into_vec());
        self.resend(&id, "INVITE", record.flow, request);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.stored = true;
        if let Some(dialog) = record.dialog.as_deref() {
            // Its answer, should it come, finds no transaction but gets its ACK; the
            // application asks again.
            let cseq = super::reliable::cseq_of(&client.request);
            if let (Some(cseq), Some(live)) = (cseq, self.dialogs.get_mut(dialog)) {
                live.record.invite_seq = cseq;
            }
            self.forget_client(&id);
            return;
        }
        let flows = std::iter::once(client.flow).chain(record.alternatives.iter().copied());
        let flows: Vec<Flow> = flows.collect();
        client.alternatives = record.alternatives.into();
        client.host = record.host.clone();
        client.leg = record.leg.clone();
        client.cancel = if record.cancelled {
            Cancel::Wanted
        } else {
            Cancel::No
        };
        if let Some(leg) = record.leg {
            let request = client.request.clone();
            self.show_leg_of(call_of_leg(&leg), &request);
            self.legs.insert(leg, Place::Client(id.clone()));
        }
        self.expect(&flows, record.host.as_deref());
        *resent += 1;
        if *resent <= RESENT_AT_ONCE {
            self.launch(&id);
        } else {
            let after_ms = (*resent - RESENT_AT_ONCE) / 2;
            self.timers
                .arm(self.now.mono_ms + after_ms, Alarm::Launch(id));
        }
    }

    /// An application that was just told of an INVITE is told of its CANCEL a turn later.
    pub(super) fn cancel_after_turn(&mut self, id: Id) {
        let at_ms = self.now.mono_ms + DIALOG_HOLD_MS;
        self.timers.arm(at_ms, Alarm::CancelAgain(id));
    }

    /// Tells the application of a CANCEL that an earlier leader accepted.
    pub(super) fn cancel_again(&mut self, id: &Id) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let Some(cancel) = super::cancels::build_cancel(&server.request) else {
            return;
        };
        let app = server.app;
        self.end_cancelled(id);
        if let Some(app) = app {
            self.tell_cancel(id, app, &cancel);
        }
    }

    /// Wakes whoever is due.
    pub(super) fn tick(&mut self) {
        self.measure_lateness();
        while let Some(alarm) = self.timers.due(self.now.mono_ms) {
            match alarm {
                Alarm::Server(id, timer) => self.step_server(&id, Input::Fired(timer)),
                Alarm::Client(id, timer) => {
                    self.step_client(&id, Input::Fired(timer));
                }
                Alarm::Silence(id) => self.silence(&id),
                Alarm::Hold(id) => self.release_held(&id),
                Alarm::Proxy(id, index, timer) => self.branch_timer(&id, index, timer),
                Alarm::Alone(id) => self.nobody_came(&id),
                Alarm::Unauthenticated(app) => self.unauthenticated(app),
                Alarm::Ended(id) => self.ended(&id),
                Alarm::Cancelled(id) => self.cancel_unanswered(&id),
                Alarm::CancelAgain(id) => self.cancel_again(&id),
                Alarm::Launch(id) => self.launch(&id),
                Alarm::Reliable(id, rseq) => self.reliable_again(&id, rseq),
                Alarm::Session(id, alarm) => self.session_due(&id, alarm),
                Alarm::Subscription(id, at_ms) => self.subscriptions_due(&id, at_ms),
                Alarm::Slow(id) => self.still_trying(&id),
                Alarm::Qualify => self.qualify_step(),
                Alarm::Bans => self.store_bans(),
                Alarm::NextTarget(id, branch) => self.silent_target(&id, &branch),
            }
        }
    }
}

/// Which changes of dialogs need not be looked at, because a later one of the same batch replaces
/// them: the end of a call changes a dialog and deletes it. A dialog that nobody knows yet is made
/// before it is deleted, so that whoever has it live hears of that.
fn overtaken(changes: &[(String, Option<Vec<u8>>)], is_known: impl Fn(&str) -> bool) -> Vec<bool> {
    let mut later: HashMap<&str, bool> = HashMap::new();
    let mut all = vec![false; changes.len()];
    if changes.len() > 1 {
        for ((key, value), overtaken) in changes.iter().zip(&mut all).rev() {
            let Some(dialog) = key.strip_prefix(DIALOG) else {
                continue;
            };
            match later.get(dialog) {
                Some(stays) => *overtaken = *stays || is_known(dialog),
                None => {
                    later.insert(dialog, value.is_some());
                }
            }
        }
    }
    all
}
