//! REGISTER: checked, computed, committed, answered, with no transaction kept.
//!
//! Several REGISTERs of one user may wait for their commits at once: each is computed from
//! the value the one before it will leave (a speculation), so the last has them all.
use std::collections::HashMap;

use bytes::Bytes;

use super::Core;
use super::commits::Then;
use super::flow::Flow;
use super::login::AS_REGISTRAR;
use super::registered::{Asked, Denied};
use crate::durable::registration_key;
use crate::journal::{JournalError, JournalOp};
use crate::limits::RETRY_AFTER_S;
use crate::message::lexical::number;
use crate::message::{Essentials, Message, Name, Scheme, Start, Uri};
use crate::registrar::request::EXTENSIONS;
use crate::registrar::{Outcome, Registration, Rules, Wish, register};

/// What a user's registration will be when all pending commits are through.
#[derive(Debug, Default)]
struct Speculation {
    /// The value; None for deleted.
    json: Option<Vec<u8>>,
    /// Commits that have not come back.
    pending: usize,
    /// The log has applied this very value.
    applied: bool,
}

/// All users with pending commits.
#[derive(Debug, Default)]
pub(super) struct Speculations {
    users: HashMap<String, Speculation>,
}

impl Speculations {
    fn is_pending(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|s| s.pending > 0)
    }

    fn add(&mut self, user: &str, json: Option<Vec<u8>>) {
        let speculation = self.users.entry(user.to_owned()).or_default();
        speculation.json = json;
        speculation.pending += 1;
        speculation.applied = false;
    }

    /// A commit came back.
    pub fn settle(&mut self, user: &str, failed: bool) {
        let Some(speculation) = self.users.get_mut(user) else {
            return;
        };
        speculation.pending = speculation.pending.saturating_sub(1);
        if speculation.pending == 0 && (failed || speculation.applied) {
            self.users.remove(user);
        }
    }

    /// The log applied a value.
    pub fn applied(&mut self, user: &str, json: Option<&[u8]>) {
        let Some(speculation) = self.users.get_mut(user) else {
            return;
        };
        if speculation.json.as_deref() == json {
            speculation.applied = true;
            if speculation.pending == 0 {
                self.users.remove(user);
            }
        }
    }

    pub fn clear(&mut self) {
        self.users.clear();
    }
}

impl Core {
    /// Whether the registrar answers for this Request-URI.
    pub(super) fn serves(&self, message: &Message<'_>) -> bool {
        let (Some(rules), Start::Request { uri, .. }) = (&self.setup.registrar, message.start)
        else {
            return false;
        };
        let Some(uri) = Uri::parse(uri) else {
            return false;
        };
        let listens = |ip| self.setup.listen.iter().any(|l| l.address.ip() == ip);
        rules.domains.is_empty()
            || rules
                .domains
                .iter()
                .any(|domain| domain.eq_ignore_ascii_case(uri.host))
            || uri.ip().is_some_and(listens)
    }

    pub(super) fn register(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        if self.refuse_extensions(&flow, message, essentials, &EXTENSIONS) {
            return;
        }
        let Some(user) = self.authenticate_register(&flow, message, essentials) else {
            return;
        };
        let Asked { contacts, path } = match self.asked(message) {
            Ok(asked) => asked,
            Err(Denied::Refused(refusal)) => {
                let status = (refusal.status, refusal.reason);
                self.respond_with(&flow, message, essentials, status, &[]);
                return;
            }
            Err(Denied::Unsupported(tag)) => {
                self.respond(&flow, message, essentials, 420, &[("Unsupported", &tag)]);
                return;
            }
        };
        let wish = Wish {
            user: &user,
            contacts,
            expires_s: message.get(Name::Expires).and_then(number),
            call_id: essentials.call_id,
            cseq: essentials.cseq,
            user_agent: message.get(Name::UserAgent),
            flow,
            via: essentials.via,
            path,
            now_ms: self.now.wall_ms(),
        };
        let current = match self.speculations.users.get(&user) {
            Some(speculation) => speculation
                .json
                .as_deref()
                .and_then(Registration::from_json),
            None => self.replica.registration(&user),
        };
        let Some(rules) = self.rules() else { return };
        match register(current, &wish, rules) {
            Outcome::Same(registration) if !self.speculations.is_pending(&user) => {
                let response = self.registered(&flow, message, essentials, &registration);
                self.setup.metrics.sent_response(200);
                self.send(flow.reply(&essentials.via), response);
            }
            // What a repeated request repeats may still be on its way into the log.
            Outcome::Same(registration) | Outcome::Changed(registration) => {
                self.registered_again(&registration);
                let response = self.registered(&flow, message, essentials, &registration);
                let reply = flow.reply(&essentials.via);
                self.store_registration(registration, reply, response);
            }
            Outcome::TooBrief => {
                let least = rules.min_expires_s.to_string();
                self.respond(&flow, message, essentials, 423, &[("Min-Expires", &least)]);
            }
            Outcome::Refused(refusal) => {
                let status = (refusal.status, refusal.reason);
                self.respond_with(&flow, message, essentials, status, &[]);
            }
        }
    }

    fn rules(&self) -> Option<Rules> {
        self.setup.registrar.as_ref().map(|config| Rules {
            min_expires_s: config.min_expires_s,
            max_expires_s: config.max_expires_s,
            default_expires_s: config.default_expires_s,
            max_bindings: config.max_bindings,
            when_full: config.policy.when_full,
        })
    }

    fn authenticate_register(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Option<String> {
        let user = self.login(&AS_REGISTRAR, flow, message, essentials)?;
        // A user registers its own address of record only.
        let to = Uri::parse(essentials.to.uri);
        let owner = to.filter(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips));
        if owner.and_then(|uri| uri.user) == Some(user.as_str()) {
            return Some(user);
        }
        self.respond(flow, message, essentials, 403, &[]);
        None
    }

    fn store_registration(&mut self, registration: Registration, reply: Flow, response: Bytes) {
        let user = registration.user.clone();
        let key = registration_key(&user);
        let (op, json) = if registration.bindings.is_empty() {
            (JournalOp::Delete { key }, None)
        } else {
            let json = registration.to_json();
            let expires_at_ms = Some(registration.expires_at_ms());
            (
                JournalOp::Set {
                    key,
                    value: json.clone(),
                    expires_at_ms,
                },
                Some(json),
            )
        };
        self.speculations.add(&user, json);
        self.commit(
            vec![op],
            Then::Registered {
                user,
                reply,
                response,
            },
        );
    }

    pub(super) fn register_failed(
        &mut self,
        user: &str,
        reply: Flow,
        response: &Bytes,
        error: &JournalError,
    ) {
        self.speculations.settle(user, true);
        if *error != JournalError::Overloaded && !reply.transport.is_reliable() {
            return;
        }
        // The 200 that cannot be sent holds all a 503 repeats.
        let Ok(message) = Message::parse(response) else {
            return;
        };
        let status = (503, "Service Unavailable");
        let mut writer = super::replies::begin_response(&message, reply.remote, status, None);
        writer.named("Retry-After", &RETRY_AFTER_S.to_string());
        self.setup.metrics.sent_response(503);
        self.send(reply, writer.finish(b"").into());
    }
}
