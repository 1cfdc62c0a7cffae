//! The next server of a name when one fails (RFC 3263 section 4.3): no connection, no answer,
//! or 503. The transaction keeps its id, so that the application notices nothing; on the wire
//! it is a new one, and an INVITE is committed again before it is sent.
use std::collections::VecDeque;

use bytes::Bytes;

use super::calls_in::set_transaction;
use super::client::{Cancel, build_failure_ack};
use super::commits::Then;
use super::flow::Flow;
use super::retarget::Target;
use super::routing::Way;
use super::timers::Alarm;
use super::{Core, Id};
use crate::config::Transport;
use crate::journal::JournalOp;
use crate::limits::{DATAGRAM_REQUEST_BYTES_MAX, SILENT_TARGET_MS};
use crate::message::{Essentials, Message, Name, Start, Writer};
use crate::transaction::key::client_key;
use crate::transaction::{Kind, State, Transaction};

/// The edge proxy has no flow to the device any more (RFC 5626 section 11.6).
pub(super) const FLOW_FAILED: u16 = 430;

impl Core {
    /// Notes where else a prepared request may go. One that is long and whose transport is
    /// open goes over TCP, and as a datagram only when that fails (RFC 3261 section 18.1.1).
    pub(super) fn set_alternatives(&mut self, id: &Id, way: Way) {
        let Way { flows, open, host } = way;
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let (first, long) = (
            client.flow,
            client.request.len() > DATAGRAM_REQUEST_BYTES_MAX,
        );
        let mut order = VecDeque::new();
        for flow in std::iter::once(first).chain(flows) {
            let instead = self
                .over_tcp(&flow)
                .filter(|_| open && long && flow.transport == Transport::Udp);
            order.extend(instead);
            order.push_back(flow);
        }
        self.expect(order.make_contiguous(), host.as_deref());
        let best = order.pop_front().unwrap_or(first);
        if best != first {
            self.readdress(id, best);
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.alternatives = order;
            client.host = host;
        }
        self.note_branch(id);
    }

    /// Turns a request to the next server; false when there is none. `ack` is for the
    /// server before.
    pub(super) fn try_next(&mut self, id: &Id, ack: Option<(Flow, Bytes)>) -> bool {
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let place = client.forwards.as_ref();
        let proxy = place.and_then(|(id, index)| Some((self.proxies.get(id)?, *index)));
        let settled = proxy.is_some_and(|(live, index)| live.is_settled(index));
        if client.cancel != Cancel::No || client.deciding || settled {
            return false;
        }
        let Some(flow) = client.alternatives.pop_front() else {
            return false;
        };
        tracing::info!(callId = client.call(id), peer = %flow.remote, "trying the next server");
        self.readdress(id, flow);
        self.commit_move(id, ack);
        true
    }

    /// Sends a request that was turned elsewhere, after its commit if it needs one.
    pub(super) fn commit_move(&mut self, id: &Id, ack: Option<(Flow, Bytes)>) {
        match self.move_op(id) {
            Some(op) => {
                let id = id.clone();
                self.commit(vec![op], Then::Moved { id, ack });
            }
            None => self.moved(id, ack),
        }
    }

    /// What has to be committed before a request goes to another server.
    fn move_op(&mut self, id: &Id) -> Option<JournalOp> {
        let client = self.clients.get(id)?;
        if client.stored {
            return Some(set_transaction(id, client.record(id).encode()));
        }
        let (proxy, _) = client.forwards.clone()?;
        if client.method != "INVITE" {
            return None;
        }
        self.set_proxy(&proxy)
    }

    /// The INVITE to the next server is safe.
    pub(super) fn moved(&mut self, id: &Id, ack: Option<(Flow, Bytes)>) {
        if let Some((flow, ack)) = ack {
            self.setup.metrics.sent_request("ACK");
            self.send(flow, ack);
        }
        self.launch(id);
    }

    /// A 503 with another server left is not for the application (RFC 3263 section 4.3), nor is
    /// a 430 with another flow of the device (RFC 5626 section 4.3.1).
    pub(super) fn refused_for_now(
        &mut self,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> bool {
        let branch = essentials.via.branch().unwrap_or_default();
        let key = client_key(branch, essentials.method);
        let Some(id) = self.client_keys.get(&key).cloned() else {
            return false;
        };
        let Some(client) = self.clients.get(&id) else {
            return false;
        };
        let flow_failed = message.status() == Some(FLOW_FAILED);
        if client.machine.is_final() || (client.alternatives.is_empty() && !flow_failed) {
            return false;
        }
        let to = message.get(Name::To).unwrap_or_default();
        let flow = client.flow;
        let ack = build_failure_ack(&client.request, to).filter(|_| client.method == "INVITE");
        let ack = ack.map(|ack| (flow, ack));
        if flow_failed {
            self.try_next_flow(&id, ack)
        } else {
            self.try_next(&id, ack)
        }
    }

    /// A server that is there says 100 within 200 ms (RFC 3261 section 17.2.1): a call does
    /// not wait 32 s for one that is not while there is another.
    pub(super) fn watch_silence(&mut self, id: &Id) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if client.method == "INVITE" && !client.alternatives.is_empty() {
            let alarm = Alarm::NextTarget(id.clone(), client.branch.clone());
            self.timers.arm(self.now.mono_ms + SILENT_TARGET_MS, alarm);
        }
    }

    /// The time of a server is over; `branch` tells whether it still is its turn.
    pub(super) fn silent_target(&mut self, id: &Id, branch: &str) {
        let silent = self
            .clients
            .get(id)
            .is_some_and(|c| c.branch == branch && c.machine.state() == State::Trying);
        if silent {
            self.try_next(id, None);
        }
    }

    /// The journal refuses the move: 503 to the application, as without another server.
    pub(super) fn give_up(&mut self, id: &Id) {
        if let Some(client) = self.clients.get_mut(id) {
            client.alternatives.clear();
            client.begin.clear();
        }
        self.step_client(id, crate::transaction::Input::Unreachable);
    }

    /// The same request on another flow, as a transaction that has not begun.
    fn readdress(&mut self, id: &Id, flow: Flow) {
        if let Some((branch, request)) = self.readdressed(id, &flow) {
            self.begin_anew(id, flow, branch, request);
        }
    }

    /// The request goes to another Contact of its device; false when it cannot be written.
    pub(super) fn retarget(&mut self, id: &Id, flow: Flow, target: &Target) -> bool {
        let branch = self.ids.branch();
        let via = self.via(&flow, &branch);
        let Some(client) = self.clients.get(id) else {
            return false;
        };
        let contacts = (self.contact(&client.flow, None), self.contact(&flow, None));
        let Some(request) = rewrite(&client.request, &via, &contacts, Some(target)) else {
            return false;
        };
        self.begin_anew(id, flow, branch, request);
        true
    }

    fn begin_anew(&mut self, id: &Id, flow: Flow, branch: String, request: Bytes) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let kind = if client.method == "INVITE" {
            Kind::InviteClient
        } else {
            Kind::OtherClient
        };
        let old_key = client_key(&client.branch, &client.method);
        let new_key = client_key(&branch, &client.method);
        self.client_keys.remove(&old_key);
        self.client_keys.insert(new_key, id.clone());
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        (client.machine, client.begin) = Transaction::start(kind, flow.transport.is_reliable());
        (client.branch, client.flow, client.request) = (branch, flow, request);
        client.last = None;
        self.note_branch(id);
    }

    fn readdressed(&mut self, id: &Id, flow: &Flow) -> Option<(String, Bytes)> {
        let client = self.clients.get(id)?;
        if let Some((proxy, index)) = client.forwards.clone() {
            // Its Record-Route names the way it takes, and its Via the loop.
            return self.branch_request(&proxy, index, flow).ok();
        }
        let branch = self.ids.branch();
        let via = self.via(flow, &branch);
        let client = self.clients.get(id)?;
        let contacts = (self.contact(&client.flow, None), self.contact(flow, None));
        let request = rewrite(&client.request, &via, &contacts, None)?;
        Some((branch, request))
    }
}

/// A request of ours with another Via, with our Contact where it holds the old one, and aimed
/// at another target if one is given.
fn rewrite(
    request: &[u8],
    via: &str,
    (old, new): &(String, String),
    target: Option<&Target>,
) -> Option<Bytes> {
    let message = Message::parse(request).ok()?;
    let Start::Request { method, uri } = message.start else {
        return None;
    };
    let mut writer = Writer::request(method, target.map_or(uri, |target| &target.uri));
    for header in &message.headers {
        match header.name {
            Name::Via => {
                writer.header(Name::Via, via);
                for route in target.iter().flat_map(|target| &target.path) {
                    writer.header(Name::Route, route);
                }
                &mut writer
            }
            Name::Route if target.is_some() => &mut writer,
            Name::Contact if header.value == old => writer.header(Name::Contact, new),
            Name::ContentLength => &mut writer,
            _ => writer.named(header.text, header.value),
        };
    }
    Some(writer.finish(message.body).into())
}
