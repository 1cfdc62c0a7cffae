//! Requests that an application has forwarded, or that follow the route we put ourselves
//! into: the machine of `proxy` with its transactions and its record in the journal.
use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::commits::Then;
use super::flow::Flow;
use super::sending::Ticket;
use super::server::Stage;
use super::timers::Alarm;
use super::{Core, Id};
use crate::drachtio::ProxyCommand;
use crate::drachtio::headers::{complete, parse};
use crate::durable::proxied::{BranchRecord, ProxyRecord, proxy_key};
use crate::journal::{JournalError, JournalOp};
use crate::limits::TIMER_C_STORED_MS;
use crate::message::{Essentials, Message, Name, Start, Uri, Via};
use crate::proxy::{Effect, Input, Machine, Options, Progress, Timer, duration_ms, forward};

/// One branch while this node leads.
#[derive(Clone, Debug)]
pub(super) struct LiveBranch {
    pub client: Option<Id>,
    pub request: Bytes,
    pub flow: Option<Flow>,
    pub begun_ms: u64,
    /// The newest response, and where it came from.
    pub response: Option<(Bytes, Flow)>,
    /// When timer C ends it, Unix milliseconds.
    pub rings_until_ms: u64,
    /// Its other servers.
    pub alternatives: Vec<Flow>,
    /// The name that led to them.
    pub host: Option<String>,
}

/// A proxied request while this node leads.
#[derive(Debug)]
pub(super) struct LiveProxy {
    pub machine: Machine,
    /// Whom to tell of final responses.
    pub ticket: Option<Ticket>,
    pub stay: bool,
    pub more: String,
    pub branches: Vec<LiveBranch>,
    /// Which deadlines of timer C the journal has, as many as it has branches.
    pub rings_stored_ms: Vec<u64>,
}

impl LiveProxy {
    /// Whether a branch has come to its end.
    pub fn is_settled(&self, index: usize) -> bool {
        let branch = self.machine.branches.get(index);
        branch.is_some_and(|branch| matches!(branch.progress, Progress::Final(_)))
    }

    /// Notes when timer C fires now; whether the journal's idea of it is too old.
    fn ring_on(&mut self, index: usize, until_ms: u64) -> bool {
        let Some(branch) = self.branches.get_mut(index) else {
            return false;
        };
        branch.rings_until_ms = until_ms;
        let stored_ms = self.rings_stored_ms.get(index);
        stored_ms.is_some_and(|stored_ms| until_ms > stored_ms + TIMER_C_STORED_MS)
    }

    fn record(&self, id: &Id) -> ProxyRecord {
        let branches = self.branches.iter().enumerate().map(|(index, branch)| {
            let progress = self.machine.branches.get(index).map(|b| b.progress);
            let is_final = matches!(progress, Some(Progress::Final(_)));
            let response = branch.response.as_ref().filter(|_| is_final);
            BranchRecord {
                client: branch.client.as_deref().unwrap_or_default().to_owned(),
                request: ByteBuf::from(branch.request.to_vec()),
                flow: branch.flow,
                begun_ms: branch.begun_ms,
                response: response.map(|(bytes, _)| ByteBuf::from(bytes.to_vec())),
                rings_until_ms: branch.rings_until_ms,
                alternatives: branch.alternatives.clone(),
                host: branch.host.clone(),
            }
        });
        ProxyRecord {
            id: id.to_string(),
            machine: self.machine.clone(),
            branches: branches.collect(),
            stay: self.stay,
            more: self.more.clone(),
        }
    }
}

impl Core {
    /// The application has a request forwarded.
    pub(super) fn proxy_command(&mut self, ticket: Ticket, command: &ProxyCommand<'_>) {
        let id: Id = command.transaction_id.into();
        let open = self.servers.get(&id).filter(|server| {
            server.stage == Stage::Open && !server.cancelled && server.dialog.is_none()
        });
        let Some(server) = open.filter(|_| !self.proxies.contains_key(&id)) else {
            self.fail(&ticket, "unknown transaction");
            return;
        };
        let more = complete(command.message).into_owned();
        if let Err(error) = parse(&more) {
            self.fail(&ticket, &error.to_string());
            return;
        }
        let request = server.request.clone();
        let invite = server.method == "INVITE";
        self.apps.forwards_calls |= invite;
        let targets: Vec<String> = command
            .destinations
            .split('|')
            .map(|target| target.trim().trim_matches(['<', '>']).to_owned())
            .filter(|target| !target.is_empty())
            .collect();
        if let Some(wrong) = targets.iter().find(|target| Uri::parse(target).is_none()) {
            let wrong = format!("cannot send to {wrong}");
            self.fail(&ticket, &wrong);
            return;
        }
        if let Some(server) = self.servers.get_mut(&id) {
            server.heard = true;
            server.app = Some(ticket.app);
        }
        let wide = if command.simultaneous {
            targets.len()
        } else {
            1
        };
        if let Some(status) = self.refuses_forwarding(&request, wide) {
            self.answer_ourselves(&id, status, &[]);
            let text = format!(
                "not forwarded: {status} {}",
                crate::message::build::reason(status)
            );
            self.fail(&ticket, &text);
            return;
        }
        let options = Options {
            invite,
            follow_redirects: command.follow_redirects,
            simultaneous: command.simultaneous,
            provisional_ms: duration_ms(command.provisional_timeout),
            final_ms: duration_ms(command.final_timeout),
        };
        let ticket = if command.full_response {
            Some(ticket)
        } else {
            self.answer(&ticket, "OK|done");
            None
        };
        self.start_proxy(
            &id,
            options,
            targets,
            (ticket, command.remain_in_dialog, more),
        );
    }

    /// Why a request goes no further: 483 after too many hops, 482 in a loop, 440 when it
    /// would become too many (RFC 5393).
    fn refuses_forwarding(&self, request: &[u8], wide: usize) -> Option<u16> {
        let message = Message::parse(request).ok()?;
        let essentials = Essentials::of(&message).ok()?;
        if forward::hops(&message).is_none() {
            return Some(483);
        }
        let mark = self.loop_mark(&message, &essentials);
        if forward::is_loop(&message, &mark, |via| self.is_own_via(via)) {
            return Some(482);
        }
        (forward::breadth(&message) < wide).then_some(440)
    }

    fn is_own_via(&self, via: &Via<'_>) -> bool {
        let (ip, port) = (via.host.parse().ok(), via.port.unwrap_or(5060));
        self.setup.listen.iter().any(|listen| {
            let address = listen.address;
            let same = address.ip().is_unspecified() || Some(address.ip()) == ip;
            same && address.port() == port
        })
    }

    fn start_proxy(
        &mut self,
        id: &Id,
        options: Options,
        targets: Vec<String>,
        (ticket, stay, more): (Option<Ticket>, bool, String),
    ) {
        let (machine, effects) = Machine::start(options, targets);
        tracing::info!(callId = %id, branches = machine.branches.len(), "forwarding a request");
        let live = LiveProxy {
            machine,
            ticket,
            stay,
            more,
            branches: Vec::new(),
            rings_stored_ms: Vec::new(),
        };
        self.proxies.insert(id.clone(), live);
        self.proxy_effects(id, effects, None);
    }

    /// Whether a server transaction needs no application: it is being forwarded.
    pub(super) fn is_forwarded(&self, id: &Id) -> bool {
        self.proxies.contains_key(id)
    }

    /// Whether our Record-Route, or a Contact of ours that hides another one, led this
    /// request here: it goes on without an application.
    pub(super) fn passes(&self, message: &Message<'_>, essentials: &Essentials<'_>) -> bool {
        let pass = forward::pass(&self.setup.tag_key, essentials.call_id);
        essentials.to.tag().is_some()
            && (forward::routes(message, |uri| is_pass(uri, &pass)).len()
                < forward::routes(message, |_| false).len()
                || matches!(message.start, Start::Request { uri, .. } if is_pass(uri, &pass))
                || self.unveiled(message, essentials).is_some())
    }

    /// A request of a dialog whose path we are in.
    pub(super) fn pass_on(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let id = self.add_server(message, essentials, flow, None, None);
        if essentials.method == "INVITE" {
            // Its 100 stops the retransmissions: stored before, as any INVITE.
            self.store_invite(id);
        } else {
            self.start_passing(&id);
        }
    }

    /// Forwards along the route, when that is what this request is for.
    pub(super) fn start_passing(&mut self, id: &Id) -> bool {
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        let (request, invite) = (server.request.clone(), server.method == "INVITE");
        let dialog = server.dialog.is_some();
        let (Ok(message), false) = (Message::parse(&request), dialog) else {
            return false;
        };
        let Ok(essentials) = Essentials::of(&message) else {
            return false;
        };
        if !self.passes(&message, &essentials) {
            return false;
        }
        if let Some(server) = self.servers.get_mut(id) {
            server.heard = true;
        }
        if forward::hops(&message).is_none() {
            self.answer_ourselves(id, 483, &[]);
            return true;
        }
        let target = self.passed_target(&message, &essentials);
        let options = Options {
            invite,
            ..Options::default()
        };
        self.start_proxy(id, options, vec![target], (None, true, String::new()));
        true
    }

    /// The Request-URI, or the last Route when a strict router put ours in its place
    /// (RFC 3261 section 16.4).
    fn passed_target(&self, message: &Message<'_>, essentials: &Essentials<'_>) -> String {
        let Start::Request { uri, .. } = message.start else {
            return String::new();
        };
        let pass = forward::pass(&self.setup.tag_key, essentials.call_id);
        if !is_pass(uri, &pass) {
            let hidden = self.unveiled(message, essentials);
            return hidden.map_or_else(|| uri.to_owned(), |found| found.target);
        }
        let routes = forward::routes(message, |_| false);
        let last = routes
            .last()
            .and_then(|r| crate::message::Address::parse(r));
        last.map_or(uri, |route| route.uri).to_owned()
    }

    /// An ACK to a 2xx along our route: no transaction, nothing to remember.
    pub(super) fn pass_ack(&mut self, message: &Message<'_>, essentials: &Essentials<'_>) {
        if !self.passes(message, essentials) || forward::hops(message).is_none() {
            return;
        }
        let target = self.passed_target(message, essentials);
        let routes = self.routes_left(message, essentials);
        let routes: Vec<&str> = routes.iter().map(AsRef::as_ref).collect();
        let next = routes
            .first()
            .and_then(|route| crate::message::Address::parse(route))
            .map_or(target.clone(), |route| route.uri.to_owned());
        let Ok(super::routing::Route::To(way)) = self.route(&next, None) else {
            return;
        };
        let flow = way.flows[0];
        let branch = self.ids.branch();
        let via = self.via(&flow, &branch);
        let hop = forward::Hop {
            target: &target,
            via: &via,
            stay: &[],
            more: None,
            local: self.shown(&flow),
            drop_credentials: false,
            breadth: 1,
        };
        if let Some(sent) = forward::request(message, &routes, &hop) {
            let bytes = self.veil_request(sent.bytes, (message, essentials), &flow);
            self.setup.metrics.sent_request("ACK");
            self.send(flow, bytes.into());
        }
    }

    /// Steps the machine.
    pub(super) fn proxy_step(&mut self, id: &Id, input: Input) {
        if let Some(live) = self.proxies.get_mut(id) {
            let effects = live.machine.step(input);
            self.proxy_effects(id, effects, None);
        }
    }

    /// Does what the machine says: what an INVITE's branches rest on is committed first.
    /// `decided` is a branch whose refusal may be acknowledged after the commit.
    pub(super) fn proxy_effects(
        &mut self,
        id: &Id,
        effects: Vec<Effect>,
        decided: Option<(Id, u16)>,
    ) {
        let mut all = Vec::with_capacity(effects.len());
        let mut waiting: std::collections::VecDeque<Effect> = effects.into();
        while let Some(effect) = waiting.pop_front() {
            match effect {
                // What is passed on at once stops nobody's retransmissions.
                Effect::Relay(index) => self.relay(id, index),
                Effect::Launch(index) => {
                    waiting.extend(self.prepare_branch(id, index, None));
                    all.push(Effect::Launch(index));
                }
                other => all.push(other),
            }
        }
        self.commit_proxy(id, all, decided);
    }

    /// Commits what was prepared, when anything rests on it, and performs it.
    pub(super) fn commit_proxy(&mut self, id: &Id, all: Vec<Effect>, decided: Option<(Id, u16)>) {
        let now_ms = self.now.wall_ms();
        let Some(live) = self.proxies.get_mut(id) else {
            return;
        };
        let mut rings_on = false;
        for effect in &all {
            if let Effect::Arm(index, Timer::C, after_ms) = effect {
                rings_on |= live.ring_on(*index, now_ms + after_ms);
            }
        }
        let invite = live.machine.options.invite;
        let weighty = |effect: &Effect| !matches!(effect, Effect::Arm(..));
        let stored = self.servers.get(id).is_some_and(|server| server.stored);
        let answered = live.machine.answered && live.machine.is_over() && stored;
        if !invite || !(all.iter().any(weighty) || decided.is_some() || answered || rings_on) {
            self.perform_proxy(id, all, decided);
            return;
        }
        let over = live.machine.concluded || (live.machine.answered && live.machine.is_over());
        let ops = if over {
            let key = proxy_key(id);
            vec![
                super::calls_in::delete_transaction(id),
                JournalOp::Delete { key },
            ]
        } else {
            self.set_proxy(id).into_iter().collect()
        };
        if over && let Some(server) = self.servers.get_mut(id) {
            server.stored = false;
        }
        let (id, effects) = (id.clone(), all);
        self.commit(
            ops,
            Then::Proxied {
                id,
                effects,
                decided,
            },
        );
    }

    /// The journal entry of a forwarded INVITE as it is now.
    pub(super) fn set_proxy(&mut self, id: &Id) -> Option<JournalOp> {
        let live = self.proxies.get_mut(id)?;
        live.rings_stored_ms = live.branches.iter().map(|b| b.rings_until_ms).collect();
        Some(JournalOp::Set {
            key: proxy_key(id),
            value: live.record(id).encode(),
            expires_at_ms: None,
        })
    }

    /// A timer of a branch; timer C may have begun anew since it was armed.
    pub(super) fn branch_timer(&mut self, id: &Id, index: usize, timer: Timer) {
        let live = self.proxies.get(id);
        let branch = live.and_then(|live| live.branches.get(index));
        let until_ms = branch.map_or(0, |branch| branch.rings_until_ms);
        if timer != Timer::C || self.now.wall_ms() >= until_ms {
            self.proxy_step(id, Input::Fired(index, timer));
        }
    }

    /// The branches are safe, or need not be.
    pub(super) fn perform_proxy(
        &mut self,
        id: &Id,
        effects: Vec<Effect>,
        decided: Option<(Id, u16)>,
    ) {
        if let Some((client, status)) = decided {
            if let Some(client) = self.clients.get_mut(&client) {
                client.deciding = false;
            }
            self.step_client(&client, crate::transaction::Input::Response(status));
        }
        for effect in effects {
            match effect {
                Effect::Launch(index) => self.launch_branch(id, index),
                Effect::Arm(index, timer, after_ms) => {
                    let alarm = Alarm::Proxy(id.clone(), index, timer);
                    self.timers.arm(self.now.mono_ms + after_ms, alarm);
                }
                Effect::Cancel(index) => self.cancel_branch(id, index),
                Effect::Relay(index) => self.relay(id, index),
                Effect::Conclude(index) => self.conclude(id, index),
                Effect::Answer(status) => {
                    self.answer_forwarded(id, status);
                }
            }
        }
    }

    /// The commit failed: nothing was sent; senders repeat what they sent.
    pub(super) fn proxy_not_stored(
        &mut self,
        id: &Id,
        decided: Option<(Id, u16)>,
        error: &JournalError,
    ) {
        if let Some(client) = decided.and_then(|(client, _)| self.clients.get_mut(&client)) {
            client.deciding = false;
        }
        if *error == JournalError::Overloaded {
            self.answer_forwarded(id, 503);
            self.proxies.remove(id);
        }
    }
}

/// Whether a URI is the one we record-routed with.
pub(super) fn is_pass(uri: &str, pass: &str) -> bool {
    Uri::parse(uri).is_some_and(|uri| uri.user == Some(pass))
}

/// The Contacts of a redirect, best first (RFC 3261 section 16.5).
pub(super) fn contacts(message: &Message<'_>) -> Vec<String> {
    let mut all: Vec<(i32, String)> = message
        .all(Name::Contact)
        .flat_map(crate::message::list)
        .filter_map(crate::message::Address::parse)
        .map(|address| {
            let q = address.params.get("q").and_then(|q| q.parse::<f32>().ok());
            #[allow(clippy::cast_possible_truncation, reason = "q is at most 1")]
            let rank = -(q.unwrap_or(1.0).clamp(0.0, 1.0) * 1_000.0) as i32;
            (rank, address.uri.to_owned())
        })
        .collect();
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, uri)| uri).collect()
}
