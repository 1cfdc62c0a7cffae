//! The branches of a forwarded request: built, sent, heard, taken back; and its responses
//! on their way to the caller.
use std::rc::Rc;

use bytes::Bytes;

use super::call_records::Source;
use super::client::{Cancel, Purpose};
use super::flow::Flow;
use super::location::Target;
use super::proxying::{LiveBranch, LiveProxy, contacts};
use super::responses::response_bytes;
use super::routing::Route;
use super::server::{Server, Stage};
use super::takeover::RESENT_AT_ONCE;
use super::timers::Alarm;
use super::{Core, Id, Output};
use crate::drachtio::headers::parse;
use crate::durable::proxied::ProxyRecord;
use crate::message::{Essentials, Message};
use crate::proxy::{Effect, Input, TIMER_C_MS, Timer, forward};
use crate::transaction::Input as Step;

impl Core {
    /// Builds the request of a branch; gives what follows when it cannot be sent.
    pub(super) fn prepare_branch(
        &mut self,
        id: &Id,
        index: usize,
        resolved: Option<Vec<Target>>,
    ) -> Vec<Effect> {
        let begun_ms = self.now.wall_ms();
        if let Some(live) = self.proxies.get_mut(id)
            && live.branches.len() <= index
        {
            live.branches.push(LiveBranch {
                client: None,
                request: Bytes::new(),
                flow: None,
                begun_ms,
                response: None,
                rings_until_ms: begun_ms + TIMER_C_MS,
                alternatives: Vec::new(),
                host: None,
            });
        }
        match self.build_branch(id, index, resolved) {
            Ok(()) => Vec::new(),
            Err(error) => {
                tracing::info!(callId = %id, %error, "a branch cannot be sent");
                let live = self.proxies.get_mut(id);
                live.map_or_else(Vec::new, |live| {
                    live.machine.step(Input::Final(index, 503, Vec::new()))
                })
            }
        }
    }

    /// The transaction of a branch; none while its host is being looked up.
    fn build_branch(
        &mut self,
        id: &Id,
        index: usize,
        resolved: Option<Vec<Target>>,
    ) -> Result<(), String> {
        let mut way = match self.branch_way(id, index, resolved)? {
            Route::To(way) => way,
            Route::Ask(question) => {
                let token = self.token();
                self.forward_lookups.insert(token, (id.clone(), index));
                self.out.push(Output::Resolve { token, question });
                return Ok(());
            }
        };
        let flow = way.flows.remove(0);
        let (branch, bytes) = self.branch_request(id, index, &flow)?;
        let method = self.servers.get(id).map(|server| server.method.clone());
        let method = method.unwrap_or_default();
        let client = self.add_own_client(&method, branch, flow, bytes, None);
        if let Some(client) = self.clients.get_mut(&client) {
            client.forwards = Some((id.clone(), index));
        }
        self.set_alternatives(&client, way);
        Ok(())
    }

    /// The record of a branch follows its transaction.
    pub(super) fn note_branch(&mut self, id: &Id) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let place = client.forwards.as_ref();
        let live = place.and_then(|(id, index)| Some((self.proxies.get_mut(id)?, *index)));
        let branch = live.and_then(|(live, index)| live.branches.get_mut(index));
        if let Some(branch) = branch {
            branch.client = Some(id.clone());
            branch.request = client.request.clone();
            branch.flow = Some(client.flow);
            branch.alternatives = client.alternatives.iter().copied().collect();
            branch.host = client.host.clone();
        }
    }

    /// Where a branch goes.
    fn branch_way(
        &self,
        id: &Id,
        index: usize,
        resolved: Option<Vec<Target>>,
    ) -> Result<Route, String> {
        let (server, live) = self.forwarded(id).ok_or("the request is gone")?;
        let branch = live.machine.branches.get(index);
        let target = &branch.ok_or("the request is gone")?.target;
        let message = Message::parse(&server.request).map_err(|error| error.to_string())?;
        let essentials = Essentials::of(&message).map_err(|error| error.reason.to_owned())?;
        let routes = self.routes_left(&message, &essentials);
        let first = routes
            .first()
            .and_then(|route| crate::message::Address::parse(route));
        let next = first.map_or(target.as_str(), |route| route.uri);
        self.route(next, resolved)
    }

    fn forwarded(&self, id: &Id) -> Option<(&Server, &LiveProxy)> {
        self.servers.get(id).zip(self.proxies.get(id))
    }

    /// The request of a branch for one of its servers, and its Via branch.
    pub(super) fn branch_request(
        &mut self,
        id: &Id,
        index: usize,
        flow: &Flow,
    ) -> Result<(String, Bytes), String> {
        let branch = self.ids.branch();
        let (server, live) = self.forwarded(id).ok_or("the request is gone")?;
        let target = live.machine.branches.get(index);
        let target = target.ok_or("the request is gone")?.target.clone();
        let wide = if live.machine.options.simultaneous {
            live.machine.branches.len()
        } else {
            1
        };
        let message = Message::parse(&server.request).map_err(|error| error.to_string())?;
        let essentials = Essentials::of(&message).map_err(|error| error.reason.to_owned())?;
        let pass = forward::pass(&self.setup.tag_key, essentials.call_id);
        let routes = self.routes_left(&message, &essentials);
        let routes: Vec<&str> = routes.iter().map(AsRef::as_ref).collect();
        let mark = self.loop_mark(&message, &essentials);
        let branch = format!("{branch}.{mark}");
        let via = self.via(flow, &branch);
        let stay = if live.stay && !self.is_veiled(&message, &essentials) {
            self.stay(&pass, &server.flow, flow)
        } else {
            Vec::new()
        };
        let more = (!live.more.is_empty()).then(|| parse(&live.more));
        let hop = forward::Hop {
            target: &target,
            via: &via,
            stay: &stay,
            more: more.as_ref().and_then(|more| more.as_ref().ok()),
            local: self.shown(flow),
            drop_credentials: server.user.is_some(),
            breadth: (forward::breadth(&message) / wide.max(1)).max(1),
        };
        let sent = forward::request(&message, &routes, &hop).ok_or("too many hops")?;
        let bytes = self.veil_request(sent.bytes, (&message, &essentials), flow);
        Ok((branch, bytes.into()))
    }

    /// Our Record-Route, one for each side when they differ.
    fn stay(&self, pass: &str, came: &Flow, goes: &Flow) -> Vec<String> {
        let route = |flow: &Flow| {
            let contact = self.contact(flow, Some(pass));
            format!("{};lr>", contact.trim_end_matches('>'))
        };
        let (inner, outer) = (route(came), route(goes));
        if inner == outer {
            vec![outer]
        } else {
            vec![outer, inner]
        }
    }

    /// The host of a branch was looked up.
    pub(super) fn branch_resolved(&mut self, token: u64, targets: &[Target]) -> bool {
        let Some((id, index)) = self.forward_lookups.remove(&token) else {
            return false;
        };
        if targets.is_empty() {
            self.branch_failed((id, index), 503);
            return true;
        }
        let otherwise = self.prepare_branch(&id, index, Some(targets.to_vec()));
        if otherwise.is_empty() {
            self.commit_proxy(&id, vec![Effect::Launch(index)], None);
        } else {
            self.proxy_effects(&id, otherwise, None);
        }
        true
    }

    pub(super) fn launch_branch(&mut self, id: &Id, index: usize) {
        let branch = self
            .proxies
            .get(id)
            .and_then(|live| live.branches.get(index));
        let Some(branch) = branch else { return };
        let (client, request) = (branch.client.clone(), branch.request.clone());
        if let Some(client) = client {
            self.launch(&client);
            if self
                .proxies
                .get(id)
                .is_some_and(|live| live.machine.options.invite)
            {
                self.record_attempt(Source::Application, &request);
            }
        }
    }

    pub(super) fn cancel_branch(&mut self, id: &Id, index: usize) {
        let branch = self
            .proxies
            .get(id)
            .and_then(|live| live.branches.get(index));
        let Some(client) = branch.and_then(|branch| branch.client.clone()) else {
            return;
        };
        let Some(live) = self.clients.get_mut(&client) else {
            return;
        };
        if live.cancel == Cancel::No {
            live.cancel = Cancel::Wanted;
            if live.last.is_some() {
                self.send_cancel(&client);
            }
        }
    }

    /// A response to a branch.
    pub(super) fn branch_response(
        &mut self,
        client: &Id,
        (id, index): (Id, usize),
        flow: Flow,
        (message, status): (&Message<'_>, u16),
    ) {
        let Some(state) = self.clients.get_mut(client) else {
            return;
        };
        let invite = state.method == "INVITE";
        if state.deciding {
            return;
        }
        let bytes = response_bytes(message);
        let first_final = status >= 300 && !state.machine.is_final();
        if status < 200 {
            state.last = Some(bytes.clone());
        }
        let wanted = state.cancel == Cancel::Wanted;
        if invite && first_final {
            // Our ACK stops its repetitions: the decision is committed first.
            state.deciding = true;
            let to = message.get(crate::message::Name::To).unwrap_or_default();
            state.final_to = to.to_owned();
        } else if !self.step_client(client, Step::Response(status)) {
            return;
        }
        if wanted && status < 200 {
            self.send_cancel(client);
        }
        let Some(live) = self.proxies.get_mut(&id) else {
            self.perform_proxy(
                &id,
                Vec::new(),
                first_final.then(|| (client.clone(), status)),
            );
            return;
        };
        if let Some(branch) = live.branches.get_mut(index) {
            branch.response = Some((bytes.clone(), flow));
        }
        let had_answer = live.machine.answered;
        let input = if status < 200 {
            Input::Provisional(index, status)
        } else {
            let next = if status < 400 {
                contacts(message)
            } else {
                Vec::new()
            };
            Input::Final(index, status, next)
        };
        let effects = live.machine.step(input);
        if status >= 200 {
            self.tell_final(&id, index);
        }
        if invite && (200..300).contains(&status) && !had_answer {
            self.record_start(Source::Network, "proxy-uac", &bytes);
        }
        let decided = (invite && first_final).then(|| (client.clone(), status));
        self.proxy_effects(&id, effects, decided);
    }

    /// No response in time, or no way to send: as if it had come.
    pub(super) fn branch_failed(&mut self, (id, index): (Id, usize), status: u16) {
        self.proxy_step(&id, Input::Final(index, status, Vec::new()));
    }

    /// After a takeover: the branches go on, with the same bytes.
    pub(super) fn restore_proxy(&mut self, record: ProxyRecord, resent: &mut u64) {
        let id: Id = Rc::from(record.id.as_str());
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        server.heard = true;
        let cancelled = server.cancelled;
        if record.machine.answered {
            // The caller has its answer; its transaction only has to run out.
            server.response = None;
            server.stage = Stage::Closed;
            self.step_server(&id, Step::Relay);
        }
        let branches = record.branches.iter().map(|branch| LiveBranch {
            client: (!branch.client.is_empty()).then(|| Rc::from(branch.client.as_str())),
            request: Bytes::from(branch.request.to_vec()),
            flow: branch.flow,
            begun_ms: branch.begun_ms,
            response: branch
                .response
                .as_ref()
                .zip(branch.flow)
                .map(|(bytes, flow)| (Bytes::from(bytes.to_vec()), flow)),
            rings_until_ms: branch.rings_until_ms,
            alternatives: branch.alternatives.clone(),
            host: branch.host.clone(),
        });
        let live = LiveProxy {
            machine: record.machine.clone(),
            ticket: None,
            stay: record.stay,
            more: record.more.clone(),
            rings_stored_ms: record.branches.iter().map(|b| b.rings_until_ms).collect(),
            branches: branches.collect(),
        };
        let pending: Vec<usize> = live.machine.pending().collect();
        self.proxies.insert(id.clone(), live);
        for index in pending {
            self.restore_branch(&id, index, resent);
        }
        if cancelled {
            self.proxy_step(&id, Input::Cancel);
        }
    }

    fn launch_paced(&mut self, client: Id, resent: &mut u64) {
        *resent += 1;
        if *resent <= RESENT_AT_ONCE {
            self.launch(&client);
        } else {
            let at_ms = self.now.mono_ms + (*resent - RESENT_AT_ONCE) / 2;
            self.timers.arm(at_ms, Alarm::Launch(client));
        }
    }

    fn restore_branch(&mut self, id: &Id, index: usize, resent: &mut u64) {
        let Some(live) = self.proxies.get(id) else {
            return;
        };
        let Some(branch) = live.branches.get(index).cloned() else {
            return;
        };
        let taken_back = live
            .machine
            .branches
            .get(index)
            .is_some_and(|b| b.cancelled);
        let options = live.machine.options.clone();
        let (Some(client), Some(flow)) = (branch.client, branch.flow) else {
            // Its host was being looked up.
            let effects = vec![Effect::Launch(index)];
            self.proxy_effects(id, effects, None);
            return;
        };
        self.resend(&client, "INVITE", flow, branch.request);
        if let Some(live) = self.clients.get_mut(&client) {
            live.purpose = Purpose::Engine;
            live.forwards = Some((id.clone(), index));
            live.alternatives = branch.alternatives.into();
            live.host = branch.host;
            live.cancel = if taken_back {
                Cancel::Wanted
            } else {
                Cancel::No
            };
        }
        if let Some(live) = self.clients.get(&client) {
            let flows: Vec<Flow> = std::iter::once(flow)
                .chain(live.alternatives.iter().copied())
                .collect();
            let host = live.host.clone();
            self.expect(&flows, host.as_deref());
        }
        self.launch_paced(client, resent);
        let age_ms = self.now.wall_ms().saturating_sub(branch.begun_ms);
        let left = |limit: Option<u64>| limit.map(|ms| ms.saturating_sub(age_ms));
        // A callee that still rings says so again when it hears the INVITE again.
        let rings_ms = branch.rings_until_ms.saturating_sub(self.now.wall_ms());
        let mut arms = vec![Effect::Arm(index, Timer::C, rings_ms)];
        if let Some(after_ms) = left(options.provisional_ms) {
            arms.push(Effect::Arm(index, Timer::Provisional, after_ms));
        }
        if let Some(after_ms) = left(options.final_ms) {
            arms.push(Effect::Arm(index, Timer::Final, after_ms));
        }
        self.perform_proxy(id, arms, None);
    }

    /// Whether a URI names one of our listeners.
    pub(super) fn is_own_uri(&self, text: &str) -> bool {
        matches!(self.route(text, None), Err(error) if error == "can not send request to myself")
    }
}
