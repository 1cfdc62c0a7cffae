//! Legs with a name: creating one again attaches to what exists instead of dialling.
//!
//! Call control re-executes its ordinary path after a takeover; the `X-Leg` header makes
//! that harmless.
use super::sending::Ticket;
use super::{Core, Id, Output};
use crate::message::{Message, Name};

/// Where a leg is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Still an INVITE transaction.
    Client(Id),
    /// Answered.
    Dialog(Id),
}

/// The call in `callId/legNo`.
pub(super) fn call_of_leg(leg: &str) -> &str {
    leg.split('/').next().unwrap_or(leg)
}

impl Core {
    /// Tells which call a Call-ID belongs to.
    pub(super) fn show_leg(&mut self, call: &str, call_id: &str) {
        self.out.push(Output::Leg {
            call: call.to_owned(),
            call_id: call_id.to_owned(),
        });
    }

    /// The same of the INVITE that makes the leg.
    pub(super) fn show_leg_of(&mut self, call: &str, invite: &[u8]) {
        let message = Message::parse(invite).ok();
        if let Some(call_id) = message.as_ref().and_then(|one| one.get(Name::CallId)) {
            self.show_leg(call, call_id);
        }
    }

    /// Answers a request for a leg that exists; false when there is none.
    pub(super) fn attach(&mut self, ticket: &Ticket, leg: &str) -> bool {
        match self.legs.get(leg).cloned() {
            None => false,
            Some(Place::Client(id)) => {
                self.attach_transaction(ticket, &id);
                true
            }
            Some(Place::Dialog(id)) => {
                self.attach_dialog(ticket, &id);
                true
            }
        }
    }

    fn attach_transaction(&mut self, ticket: &Ticket, id: &Id) {
        let Some(client) = self.clients.get_mut(id) else {
            self.fail(ticket, "the leg is gone");
            return;
        };
        if client.is_waiting() {
            self.fail(ticket, "the leg is being created");
            return;
        }
        client.app = Some(ticket.app);
        let (request, flow) = (client.request.clone(), client.flow);
        let last = client.last.clone();
        self.echo_request(ticket, &request, &flow, id);
        if let Some(last) = last {
            self.tell_response(id, &last, flow);
        }
    }

    fn attach_dialog(&mut self, ticket: &Ticket, id: &Id) {
        self.give_dialog(id, ticket.app);
        let Some(live) = self.dialogs.get(id) else {
            self.fail(ticket, "the leg is gone");
            return;
        };
        let record = &live.record;
        let (request, response) = (record.request.clone(), record.response.clone());
        let (flow, transaction) = (record.flow, record.transaction_id.clone());
        self.hold(id);
        self.echo_request(ticket, &request, &flow, &transaction);
        self.tell_request(ticket.app, (&transaction, id), &response, &flow);
    }
}
