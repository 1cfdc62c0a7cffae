//! Building responses, and answering without keeping any state (RFC 3261 section 8.2.7).
use std::net::SocketAddr;

use bytes::Bytes;

use super::flow::{Flow, stamped_via};
use super::ids::to_tag;
use super::metrics::Metrics;
use super::{Core, Id};
use crate::drachtio::headers::host_text;
use crate::journal::JournalError;
use crate::limits::RETRY_AFTER_S;
use crate::message::build::reason;
use crate::message::{Essentials, Message, Name, Refusal, Start, Via, Writer};
use crate::transaction::key::MAGIC_COOKIE;

/// The headers of a response that repeat the request's, in the usual order.
pub(super) fn begin_response(
    message: &Message<'_>,
    remote: SocketAddr,
    (status, phrase): (u16, &str),
    tag: Option<&str>,
) -> Writer {
    let mut writer = Writer::response(status, phrase);
    for (at, value) in message.all(Name::Via).enumerate() {
        match Via::parse(value) {
            Some(via) if at == 0 => {
                writer.header(Name::Via, &stamped_via(value, &via, remote));
            }
            _ => {
                writer.header(Name::Via, value);
            }
        }
    }
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
        let Some(value) = message.get(name) else {
            continue;
        };
        let untagged = name == Name::To
            && crate::message::Address::parse(value).is_none_or(|to| to.tag().is_none());
        match tag {
            Some(tag) if untagged => writer.header(name, &format!("{value};tag={tag}")),
            _ => writer.header(name, value),
        };
    }
    writer
}

/// The request as applications and later leaders see it: Via stamped, our private headers
/// and what an untrusted peer asserts taken out, the authenticated user put in.
pub(super) fn app_view(
    message: &Message<'_>,
    remote: SocketAddr,
    user: Option<&str>,
    is_trusted: bool,
) -> Bytes {
    let Start::Request { method, uri } = message.start else {
        return Bytes::new();
    };
    let mut writer = Writer::request(method, uri);
    let mut first_via = true;
    for header in &message.headers {
        match header.name {
            Name::XAuthenticatedUser | Name::XLeg | Name::ContentLength => {}
            // Whoever is not trusted has no say in who somebody is (RFC 3325 section 5).
            Name::PAssertedIdentity if !is_trusted => {}
            Name::Via if first_via => {
                first_via = false;
                let stamped =
                    Via::parse(header.value).map(|via| stamped_via(header.value, &via, remote));
                writer.header(Name::Via, stamped.as_deref().unwrap_or(header.value));
            }
            _ => {
                writer.named(header.text, header.value);
            }
        }
    }
    if let Some(user) = user {
        writer.header(Name::XAuthenticatedUser, user);
    }
    writer.finish(message.body).into()
}

impl Core {
    /// Our tag for a request, derived from it.
    pub(super) fn tag_for(&self, essentials: &Essentials<'_>) -> String {
        let from_tag = essentials.from.tag().unwrap_or_default();
        let branch = essentials.via.branch().unwrap_or_default();
        to_tag(&self.setup.tag_key, essentials.call_id, from_tag, branch)
    }

    /// Our Contact on a flow.
    pub(super) fn contact(&self, flow: &Flow, user: Option<&str>) -> String {
        let shown = self.shown(flow);
        let user = user.map_or_else(String::new, |user| format!("{user}@"));
        let transport = flow.transport.uri_parameter();
        format!(
            "<sip:{user}{}:{}{transport}>",
            host_text(shown),
            shown.port()
        )
    }

    /// Answers a request and forgets it.
    pub(super) fn respond(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        status: u16,
        more: &[(&str, &str)],
    ) {
        self.respond_with(flow, message, essentials, (status, reason(status)), more);
    }

    /// The same with a reason phrase of our own.
    pub(super) fn respond_with(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        status: (u16, &str),
        more: &[(&str, &str)],
    ) {
        let bytes = self.build_reply(flow, message, essentials, status, more);
        self.setup.metrics.sent_response(status.0);
        self.send(flow.reply(&essentials.via), bytes);
    }

    pub(super) fn build_reply(
        &self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        status: (u16, &str),
        more: &[(&str, &str)],
    ) -> Bytes {
        let tag = self.tag_for(essentials);
        let mut writer = begin_response(message, flow.remote, status, Some(&tag));
        for (name, value) in more {
            writer.named(name, value);
        }
        writer.finish(b"").into()
    }

    /// 400 and its like, to what is well-formed enough to be answered.
    pub(super) fn refuse(&mut self, flow: &Flow, message: &Message<'_>, refusal: Refusal) {
        Metrics::count(&self.setup.metrics.malformed);
        let (Some(value), Some(method)) = (message.get(Name::Via), message.method()) else {
            return;
        };
        // Even a Via that cannot be read can be sent back where it came from.
        let reply = Via::parse(value).map_or(*flow, |via| flow.reply(&via));
        tracing::debug!(peer = %flow.remote, reason = refusal.reason, "refused a request");
        if method == "ACK" {
            return;
        }
        let tag = MAGIC_COOKIE;
        let status = (refusal.status, refusal.reason);
        let bytes = begin_response(message, flow.remote, status, Some(tag)).finish(b"");
        self.setup.metrics.sent_response(refusal.status);
        self.send(reply, bytes.into());
    }

    /// What a request gets whose commit failed: nothing when its sender repeats it (a new
    /// leader may answer), 503 when it will not or should slow down.
    pub(super) fn respond_to_failure(&mut self, id: &Id, error: &JournalError) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let (flow, request) = (server.flow, server.request.clone());
        self.forget_server(id);
        let speak = *error == JournalError::Overloaded || flow.transport.is_reliable();
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        if let (true, Ok(essentials)) = (speak, Essentials::of(&message)) {
            let after = RETRY_AFTER_S.to_string();
            self.respond(
                &flow,
                &message,
                &essentials,
                503,
                &[("Retry-After", &after)],
            );
        }
    }
}
