//! What arrives from the network, sorted.
use std::rc::Rc;

use super::flow::Flow;
use super::metrics::Metrics;
use super::subscriptions::is_subscribing;
use super::{Core, Id};
use crate::dialog::dialog_id;
use crate::digest::Verdict;
use crate::limits::{DIALOGS_MAX, RETRY_AFTER_S, TRANSACTIONS_MAX};
use crate::message::{Essentials, Message, Name, ParseError, Start, latin1_to_utf8};
use crate::transaction::Input;
use crate::transaction::key::server_key;

/// Who asks for a password, and with which words (RFC 3261 section 22).
pub(super) struct Door {
    method: &'static str,
    /// Header of the peer's answer.
    answer: Name,
    /// Header of our challenge.
    challenge: &'static str,
    /// Status of our challenge.
    status: u16,
}

/// The registrar: 401.
pub(super) const AS_REGISTRAR: Door = Door {
    method: "REGISTER",
    answer: Name::Authorization,
    challenge: "WWW-Authenticate",
    status: 401,
};

/// The way to other users: 407.
const AS_PROXY: Door = Door {
    method: "INVITE",
    answer: Name::ProxyAuthorization,
    challenge: "Proxy-Authenticate",
    status: 407,
};

impl Core {
    /// One message from the network.
    pub(super) fn received(&mut self, flow: Flow, bytes: &[u8]) {
        if !self.leading {
            Metrics::count(&self.setup.metrics.ignored);
            return;
        }
        match Message::parse(bytes) {
            Ok(message) => self.message(flow, &message),
            Err(ParseError::NotUtf8) => {
                let repaired = latin1_to_utf8(bytes).unwrap_or_default();
                if let Ok(message) = Message::parse(&repaired) {
                    self.message(flow, &message);
                }
            }
            Err(error) => {
                let keep_alive = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0));
                if !keep_alive {
                    Metrics::count(&self.setup.metrics.malformed);
                    tracing::debug!(peer = %flow.remote, %error, "dropped a malformed message");
                }
            }
        }
    }

    fn message(&mut self, flow: Flow, message: &Message<'_>) {
        match (message.start, Essentials::of(message)) {
            (Start::Request { method, .. }, Ok(essentials)) => {
                self.setup.metrics.received_request(method);
                self.request(flow, message, &essentials);
            }
            (Start::Request { method, .. }, Err(refusal)) => {
                self.setup.metrics.received_request(method);
                self.refuse(&flow, message, refusal);
            }
            (Start::Response { status, .. }, Ok(essentials)) => {
                self.setup.metrics.received_response(status);
                self.response(flow, message, &essentials, status);
            }
            (Start::Response { .. }, Err(_)) => Metrics::count(&self.setup.metrics.malformed),
        }
    }

    fn request(&mut self, flow: Flow, message: &Message<'_>, essentials: &Essentials<'_>) {
        let method = essentials.method;
        if method == "REGISTER" && self.serves(message) {
            self.register(flow, message, essentials);
            return;
        }
        let key = server_key(message, essentials, method);
        if let Some(id) = self.server_keys.get(&key).cloned() {
            let input = if method == "ACK" {
                Input::Ack
            } else {
                Input::Request
            };
            self.step_server(&id, input);
            if method == "ACK" {
                self.release_server(&id);
            }
            return;
        }
        match method {
            "ACK" => self.ack_received(flow, message, essentials),
            "CANCEL" => self.cancel_received(flow, message, essentials),
            _ if essentials.to.tag().is_some() => {
                self.in_dialog_request(flow, message, essentials);
            }
            _ => self.new_request(flow, message, essentials),
        }
    }

    /// A request outside any dialog, for an application.
    fn new_request(&mut self, flow: Flow, message: &Message<'_>, essentials: &Essentials<'_>) {
        let method = essentials.method;
        let verb = method.to_ascii_lowercase();
        let user = match self.authenticate_call(&flow, message, essentials) {
            Ok(user) => user,
            Err(()) => return,
        };
        if !self.apps.has_route(&verb) && !self.has_handler(method) {
            if method == "OPTIONS" {
                self.respond(
                    &flow,
                    message,
                    essentials,
                    200,
                    &[("Accept", "application/sdp")],
                );
            } else {
                self.refuse_busy(&flow, message, essentials);
            }
            return;
        }
        if self.servers.len() + self.clients.len() >= TRANSACTIONS_MAX {
            Metrics::count(&self.setup.metrics.refused);
            self.refuse_busy(&flow, message, essentials);
            return;
        }
        if self.dialogs.len() >= DIALOGS_MAX && (method == "INVITE" || is_subscribing(method)) {
            Metrics::count(&self.setup.metrics.refused);
            self.refuse_busy(&flow, message, essentials);
            return;
        }
        if method == "INVITE" {
            let refused = self.refuses_interval(&flow, message, essentials)
                || self.refuses_replacement(&flow, message, essentials);
            if refused {
                return;
            }
            let from_tag = essentials.from.tag().unwrap_or_default();
            let dialog: Id = Rc::from(dialog_id(essentials.call_id, from_tag));
            if let Some(live) = self.dialogs.get(&dialog) {
                // Its 2xx is not acknowledged yet: the same caller was too fast.
                let status = if live.answered.is_some() { 491 } else { 482 };
                self.respond(&flow, message, essentials, status, &[]);
                return;
            }
            self.new_invite(flow, message, essentials, user);
        } else {
            let id = self.add_server(message, essentials, flow, user, None);
            if !self.ask_handler(&id) {
                self.deliver(&id);
            }
        }
    }

    /// 503: nobody is there, or there is too much.
    pub(super) fn refuse_busy(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let after = RETRY_AFTER_S.to_string();
        self.respond(flow, message, essentials, 503, &[("Retry-After", &after)]);
    }

    /// Challenges an INVITE when that is asked for. `Err` when it has been answered.
    fn authenticate_call(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Result<Option<String>, ()> {
        let asked = self.authenticator.is_some() && self.setup.authenticate_calls;
        if !asked || essentials.method != AS_PROXY.method {
            return Ok(None);
        }
        let user = self.login(&AS_PROXY, flow, message, essentials);
        user.map(Some).ok_or(())
    }

    /// The user whose password the request shows; `None` when it has been answered.
    pub(super) fn login(
        &mut self,
        door: &Door,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Option<String> {
        let authenticator = self.authenticator.as_ref()?;
        let now_s = self.now.wall_s();
        let values = message.all(door.answer);
        let verdict = authenticator.verify(values, door.method, now_s, &self.setup.users);
        let stale = verdict == Verdict::Stale;
        match verdict {
            Verdict::Accepted(user) => return Some(user),
            Verdict::Wrong => {
                Metrics::count(&self.setup.metrics.rejected_credentials);
                self.respond(flow, message, essentials, 403, &[]);
            }
            Verdict::Missing | Verdict::Stale => {
                let challenges = authenticator.challenges(now_s, stale);
                let headers: Vec<(&str, &str)> = challenges
                    .iter()
                    .map(|value| (door.challenge, value.as_str()))
                    .collect();
                self.respond(flow, message, essentials, door.status, &headers);
            }
        }
        None
    }

    /// A connection is gone: what waited for it will time out, and its peer comes back.
    pub(super) fn disconnected(&mut self, flow: Flow) {
        tracing::debug!(peer = %flow.remote, "a connection closed");
    }
}
