//! What arrives from the network, sorted.
use std::rc::Rc;

use super::failover::FLOW_FAILED;
use super::flow::Flow;
use super::metrics::{Metrics, is_known_method};
use super::subscriptions::is_subscribing;
use super::{Core, Id};
use crate::dialog::dialog_id;
use crate::limits::{DIALOGS_MAX, RETRY_AFTER_S, URI_BYTES_MAX};
use crate::message::lexical::is_token;
use crate::message::{
    Essentials, Header, Message, Name, ParseError, Refusal, Start, latin1_to_utf8,
};
use crate::registrar::request::EXTENSIONS;
use crate::transaction::Input;
use crate::transaction::key::server_key;

impl Core {
    /// One message from the network.
    pub(super) fn received(&mut self, flow: Flow, bytes: &[u8]) {
        if !self.leading {
            Metrics::count(&self.setup.metrics.ignored);
            return;
        }
        self.lost_flows.found(&flow);
        match Message::parse(bytes) {
            Ok(message) => self.message(flow, &message),
            Err(ParseError::NotUtf8) => {
                let repaired = latin1_to_utf8(bytes).unwrap_or_default();
                if let Ok(message) = Message::parse(&repaired) {
                    self.message(flow, &message);
                }
            }
            Err(error) => self.unreadable(&flow, bytes, error),
        }
    }

    /// What cannot be parsed is dropped, but when only its first line is wrong its sender is
    /// told (RFC 4475 sections 3.1.2.8 to 3.1.2.10 and 3.1.2.16).
    fn unreadable(&mut self, flow: &Flow, bytes: &[u8], error: ParseError) {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        let refusal = match error {
            ParseError::Version => Refusal {
                status: 505,
                reason: "Version Not Supported",
            },
            _ => Refusal {
                status: 400,
                reason: "Bad Request Line",
            },
        };
        let first_line = matches!(error, ParseError::Version | ParseError::StartLine);
        let readable = first_line.then(|| with_plain_first_line(bytes)).flatten();
        match readable.as_deref().map(Message::parse) {
            Some(Ok(message)) => self.refuse(flow, &message, refusal),
            _ => {
                Metrics::count(&self.setup.metrics.malformed);
                tracing::debug!(peer = %flow.remote, %error, "dropped a malformed message");
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
                let elsewhere = matches!(status, 503 | FLOW_FAILED);
                if !elsewhere || !self.refused_for_now(message, &essentials) {
                    self.response(flow, message, &essentials, status);
                }
            }
            (Start::Response { .. }, Err(_)) => Metrics::count(&self.setup.metrics.malformed),
        }
    }

    fn request(&mut self, flow: Flow, message: &Message<'_>, essentials: &Essentials<'_>) {
        let method = essentials.method;
        if method == "REGISTER" && self.serves(message) {
            if !self.keep_away(&flow, message, essentials) {
                self.register(flow, message, essentials);
            }
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
            _ if self.keep_away(&flow, message, essentials) => {}
            _ => self.aimed_request(flow, message, essentials),
        }
    }

    /// Whether a request outside any dialog goes no further: of a banned source, unreasonable,
    /// or one too many.
    fn keep_away(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> bool {
        if self.is_banned(flow) {
            Metrics::count(&self.setup.metrics.guard.dropped);
            return true;
        }
        if message.uri().is_some_and(|uri| uri.len() > URI_BYTES_MAX) {
            Metrics::count(&self.setup.metrics.refused);
            self.respond(flow, message, essentials, 414, &[]);
            return true;
        }
        self.shed(flow, message, essentials)
    }

    /// A new request; call control knows devices by their public GRUUs only, and nothing of
    /// the Contacts we have put in place of others.
    fn aimed_request(&mut self, flow: Flow, message: &Message<'_>, essentials: &Essentials<'_>) {
        let public = message.uri().and_then(|uri| self.public_form(uri));
        match &public {
            Some(uri) => {
                let mut aimed = message.clone();
                let method = essentials.method;
                aimed.start = Start::Request { method, uri };
                self.new_request(flow, &aimed, essentials);
            }
            None => match self.aimed_at_hidden(message) {
                Some((uri, routes)) => {
                    let mut aimed = message.clone();
                    let method = essentials.method;
                    aimed.start = Start::Request { method, uri: &uri };
                    aimed.headers.splice(0..0, routes.iter().map(as_route));
                    self.new_request(flow, &aimed, essentials);
                }
                None => self.new_request(flow, message, essentials),
            },
        }
    }

    /// A request outside any dialog, for an application.
    fn new_request(&mut self, flow: Flow, message: &Message<'_>, essentials: &Essentials<'_>) {
        let method = essentials.method;
        let verb = method.to_ascii_lowercase();
        let taken = self.apps.has_route(&verb) || self.has_handler(method);
        // What the engine answers to OPTIONS is the same whoever is asked for.
        let user = if method == "OPTIONS" && !taken {
            None
        } else {
            match self.authenticate_call(&flow, message, essentials) {
                Ok(user) => user,
                Err(()) => return,
            }
        };
        if !taken {
            if method == "OPTIONS" {
                if self.refuse_extensions(&flow, message, essentials, &EXTENSIONS) {
                    return;
                }
                self.respond(
                    &flow,
                    message,
                    essentials,
                    200,
                    &[("Accept", "application/sdp")],
                );
            } else if is_known_method(method) {
                self.refuse_busy(&flow, message, essentials);
            } else {
                self.respond(&flow, message, essentials, 501, &[]);
            }
            return;
        }
        if method == "INVITE" || is_subscribing(method) {
            if self.dialogs.len() >= DIALOGS_MAX {
                Metrics::count(&self.setup.metrics.refused);
                self.refuse_busy(&flow, message, essentials);
                return;
            }
            if self.refuses_dialog(&flow, message, essentials, user.as_deref()) {
                return;
            }
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
}

fn as_route(value: &String) -> Header<'_> {
    let (name, text) = (Name::Route, Name::Route.text());
    Header { name, text, value }
}

/// A request with its first line replaced by one that can be read; None for a response.
fn with_plain_first_line(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = memchr::memmem::find(bytes, b"\r\n")?;
    let first = std::str::from_utf8(&bytes[..end]).ok()?;
    let method = first
        .split([' ', '\t'])
        .next()
        .filter(|word| is_token(word))?;
    let mut plain = format!("{method} sip:unreadable.invalid SIP/2.0").into_bytes();
    plain.extend_from_slice(&bytes[end..]);
    Some(plain)
}
