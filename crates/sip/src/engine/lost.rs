//! Requests whose connection went away, or never came up, before anybody answered.
//!
//! A registered phone comes back with a new connection (RFC 5626 section 4.5): its requests
//! wait for its next REGISTER and then go over the new one, unless the device keeps another
//! flow: then they go over that at once. To anybody else a lost
//! connection is a 503 (RFC 3261 section 8.1.3.1).
use super::flow::Flow;
use super::metrics::Metrics;
use super::{Core, Id};
use crate::message::{Message, Start};
use crate::transaction::{Input, State};

impl Core {
    /// A connection is gone, or could not be made.
    pub(super) fn disconnected(&mut self, flow: Flow) {
        tracing::debug!(peer = %flow.remote, "a connection closed");
        self.lost_flows.add(flow);
        let unanswered: Vec<Id> = self
            .clients
            .iter()
            .filter(|(_, client)| {
                client.flow == flow
                    && !client.is_waiting()
                    && client.machine.state() == State::Trying
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in unanswered {
            self.reroute(&id);
        }
    }

    /// Registrations changed: a phone may have come back.
    pub(super) fn reroute_stranded(&mut self) {
        for id in std::mem::take(&mut self.stranded) {
            let unanswered = |state| state == State::Trying;
            if self
                .clients
                .get(&id)
                .is_some_and(|client| unanswered(client.machine.state()))
            {
                self.reroute(&id);
            }
        }
    }

    fn reroute(&mut self, id: &Id) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let old = client.flow;
        let target = Message::parse(&client.request)
            .ok()
            .and_then(|message| match message.start {
                Start::Request { uri, .. } => self.device_flow(uri),
                Start::Response { .. } => None,
            });
        match target.filter(|new| new.listen() == old.listen()) {
            Some(new) if new != old => {
                let Some(client) = self.clients.get_mut(id) else {
                    return;
                };
                client.flow = new;
                let bytes = client.request.clone();
                tracing::info!(callId = client.call(id), peer = %new.remote, "the phone is back");
                Metrics::count(&self.setup.metrics.retransmissions);
                self.send(new, bytes);
            }
            // Its own timer ends it when the phone stays away.
            Some(_) if !self.try_next_flow(id, None) => self.stranded.push(id.clone()),
            Some(_) => {}
            None => {
                self.step_client(id, Input::Unreachable);
            }
        }
    }
}
