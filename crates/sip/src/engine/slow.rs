//! Requests other than INVITE whose answer takes long (RFC 4320): no provisional response
//! but a late 100, and never 408, which would only reach a peer that has given up.
use super::sending::Ticket;
use super::server::Stage;
use super::{Core, Id};
use crate::message::Message;
use crate::transaction::Input;

impl Core {
    /// The application waits with its answer: 100 keeps the peer from repeating itself.
    pub(super) fn still_trying(&mut self, id: &Id) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if server.stage != Stage::Open || server.response.is_some() {
            return;
        }
        let request = server.request.clone();
        let Ok(message) = Message::parse(&request) else {
            return;
        };
        let status = (100, "Trying");
        let writer = super::replies::begin_response(&message, server.flow.remote, status, None);
        server.response = Some(writer.finish(b"").into());
        self.setup.metrics.sent_response(100);
        self.step_server(id, Input::Respond(100));
    }

    /// A response that such a request must not get: a provisional one is left out, after a
    /// 408 the transaction ends without any.
    pub(super) fn withhold(&mut self, id: &Id, status: u16, ticket: &Ticket) {
        self.fail(
            ticket,
            "Response not sent: RFC 4320 forbids it for this method",
        );
        if status == 408 {
            let update_of = self
                .servers
                .get(id)
                .and_then(|server| server.dialog.clone());
            if let Some(live) = update_of.and_then(|dialog| self.dialogs.get_mut(&dialog)) {
                live.server_update.take_if(|update| update == id);
            }
            self.forget_server(id);
        }
    }
}
