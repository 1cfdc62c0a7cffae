//! Connections over which applications have let phones register or subscribe.
//!
//! A phone behind a connection is reached over nothing else: its Contact names an address nobody
//! can connect to, or a random one. Where the registrar is an application, the engine remembers
//! for it which connection a Contact came over, as long as the application has granted. Known by
//! user and host, as requests may add parameters. Not replicated: the connections are not either.
use std::collections::HashMap;

use super::flow::Flow;
use super::{Core, Id};
use crate::limits::{DEFAULT_EXPIRES_S, KNOWN_FLOWS_MAX};
use crate::message::lexical::number;
use crate::message::{Address, Message, Name, Uri, list};

#[derive(Clone, Copy, Debug)]
struct Known {
    flow: Flow,
    until_ms: u64,
}

/// Contacts with the connection each came over.
#[derive(Debug, Default)]
pub(super) struct KnownFlows {
    by_contact: HashMap<String, Known>,
}

impl KnownFlows {
    fn set(&mut self, contact: String, known: Known, now_ms: u64) {
        if known.until_ms <= now_ms {
            self.by_contact.remove(&contact);
            return;
        }
        if self.by_contact.len() >= KNOWN_FLOWS_MAX && !self.by_contact.contains_key(&contact) {
            self.by_contact.retain(|_, one| one.until_ms > now_ms);
        }
        if self.by_contact.len() < KNOWN_FLOWS_MAX || self.by_contact.contains_key(&contact) {
            self.by_contact.insert(contact, known);
        }
    }

    pub fn clear(&mut self) {
        self.by_contact.clear();
    }
}

impl Core {
    /// An application answers a request with a 2xx: a phone it lets register or subscribe over a
    /// connection is called over that one.
    pub(super) fn remember_flow(&mut self, id: &Id, answer: &Message<'_>) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let flow = server.flow;
        let keeps = matches!(server.method.as_str(), "REGISTER" | "SUBSCRIBE");
        if !keeps || !flow.transport.is_reliable() {
            return;
        }
        let request = server.request.clone();
        let Ok(request) = Message::parse(&request) else {
            return;
        };
        let now_ms = self.now.mono_ms;
        let of_all = answer.get(Name::Expires).or(request.get(Name::Expires));
        let granted = answer.all(Name::Contact).flat_map(list);
        let granted: Vec<_> = granted.filter_map(Address::parse).collect();
        for value in request.all(Name::Contact).flat_map(list) {
            let Some((contact, asked)) = Address::parse(value).and_then(|one| {
                let key = key_of(one.uri)?;
                Some((key, one))
            }) else {
                continue;
            };
            let own = granted.iter().find(|one| one.uri == asked.uri);
            let expires = own.and_then(|one| one.params.get("expires"));
            let expires = expires.or(asked.params.get("expires")).or(of_all);
            let expires_s = expires.and_then(number).unwrap_or(DEFAULT_EXPIRES_S);
            let until_ms = now_ms + u64::from(expires_s) * 1_000;
            self.known_flows
                .set(contact, Known { flow, until_ms }, now_ms);
        }
    }

    /// The connection a URI is reached over, while it is open.
    pub(super) fn known_flow(&self, uri: &str) -> Option<Flow> {
        if self.known_flows.by_contact.is_empty() {
            return None;
        }
        let known = self.known_flows.by_contact.get(&key_of(uri)?)?;
        let lives = known.until_ms > self.now.mono_ms && !self.lost_flows.has(&known.flow);
        lives.then_some(known.flow)
    }
}

/// User, host and port; the host in lower case.
fn key_of(uri: &str) -> Option<String> {
    let uri = Uri::parse(uri.trim_matches(['<', '>']))?;
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = uri.host.to_ascii_lowercase();
    Some(format!("{}@{host}{port}", uri.user.unwrap_or_default()))
}
