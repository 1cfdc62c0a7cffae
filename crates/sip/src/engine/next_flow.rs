//! The other flows of a device (RFC 5626 sections 4.3 and 5.3): its edge proxy says 430, or
//! its connection is gone, and the request goes over the flow of the next `reg-id`.
//!
//! The transaction keeps its id toward the application. An INVITE is committed again before it
//! is sent, as for the next server of a name. Which flows were tried is not in the log: after
//! a takeover one that failed may be tried once more.
use bytes::Bytes;

use super::client::Cancel;
use super::flow::Flow;
use super::retarget::{Target, flow_of};
use super::routing::{Route, Way};
use super::{Core, Id};
use crate::config::Listen;
use crate::message::{Message, Name, Start};
use crate::registrar::Binding;

impl Core {
    /// Turns a request to the next flow of its device; false when there is none. `ack` is for
    /// the proxy that refused it.
    pub(super) fn try_next_flow(&mut self, id: &Id, ack: Option<(Flow, Bytes)>) -> bool {
        let Some((flow, target)) = self.next_flow(id) else {
            return false;
        };
        if !self.retarget(id, flow, &target) {
            return false;
        }
        tracing::info!(callId = %id, peer = %flow.remote, "trying the next flow of the device");
        self.commit_move(id, ack);
        true
    }

    /// The newest flow of the request's device that was not tried, and where it leads.
    fn next_flow(&mut self, id: &Id) -> Option<(Flow, Target)> {
        let client = self.clients.get(id)?;
        let elsewhere = client.dialog.is_some() || client.forwards.is_some();
        if elsewhere || client.cancel != Cancel::No || client.deciding {
            return None;
        }
        let request = client.request.clone();
        let message = Message::parse(&request).ok()?;
        let Start::Request { uri, .. } = message.start else {
            return None;
        };
        let bindings = self.replica.bindings_with(uri, self.now.wall_ms())?;
        let used = used(&bindings, uri, &message)?;
        let tried = &mut self.clients.get_mut(id)?.flows_tried;
        tried.extend(used.reg_id);
        let others = bindings.iter().filter(|one| {
            let fresh = one.reg_id.is_some_and(|reg_id| !tried.contains(&reg_id));
            fresh && one.is_same_device(used)
        });
        let mut others: Vec<&Binding> = others.collect();
        others.sort_by_key(|one| std::cmp::Reverse(one.refreshed_at));
        let found = others
            .into_iter()
            .find_map(|one| Some((self.flow_to(one)?, one)));
        let (flow, binding) = found?;
        let (uri, path) = (binding.contact.clone(), binding.path.clone());
        Some((flow, Target { uri, path }))
    }

    /// How to send to a binding now: to its first proxy, or over its own connection.
    fn flow_to(&self, binding: &Binding) -> Option<Flow> {
        let first = binding.path.first();
        let Some(first) = first.and_then(|path| crate::message::Address::parse(path)) else {
            let flow = flow_of(binding)?;
            let ours = Listen {
                transport: flow.transport,
                address: flow.local,
            };
            let usable = self.setup.listen.contains(&ours) && !self.lost_flows.has(&flow);
            return usable.then_some(flow);
        };
        match self.route(first.uri, None) {
            Ok(Route::To(Way { flows, .. })) => flows.first().copied(),
            // A proxy that has a name only is found anew by whoever calls again.
            Ok(Route::Ask(_)) | Err(_) => None,
        }
    }
}

/// The binding a request was sent to: its Contact, and its Path when several have the Contact.
fn used<'a>(bindings: &'a [Binding], uri: &str, message: &Message<'_>) -> Option<&'a Binding> {
    let named = || bindings.iter().filter(|one| one.contact == uri);
    let same_path = |one: &&Binding| {
        one.path
            .iter()
            .map(String::as_str)
            .eq(message.all(Name::Route))
    };
    let used = named().find(same_path).or_else(|| named().next());
    used.filter(|one| one.reg_id.is_some())
}
