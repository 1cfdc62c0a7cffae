//! Requests of the peer in a dialog, in one queue: held back while the application has not
//! had its turn (see `turns`), or while there is no application (see `orphans`).
use super::flow::Flow;
use super::{Core, Id};
use crate::dialog::Sequence;
use crate::limits::{HELD_REQUESTS_MAX, RETRY_AFTER_S};
use crate::message::{Essentials, Message};

impl Core {
    /// A request with a To tag.
    pub(super) fn in_dialog_request(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) {
        let found = self
            .find_dialog(essentials)
            .or_else(|| self.notify_overtakes(flow, message, essentials));
        let Some(id) = found else {
            if self.passes(message, essentials) {
                self.pass_on(flow, message, essentials);
                return;
            }
            self.respond(&flow, message, essentials, 481, &[]);
            return;
        };
        let Some(live) = self.dialogs.get_mut(&id) else {
            return;
        };
        let method = essentials.method;
        let of_subscription = matches!(method, "NOTIFY" | "SUBSCRIBE" | "REFER")
            && !live.record.subscriptions.is_empty();
        let over = live.record.end.is_some() || !live.record.is_call;
        if over && !of_subscription {
            let ending = live.record.end.is_some() && method == "BYE";
            let status = if ending { 200 } else { 481 };
            self.respond(&flow, message, essentials, status, &[]);
            return;
        }
        if live.record.dialog.receive(essentials.cseq) == Sequence::Old {
            self.respond(&flow, message, essentials, 500, &[]);
            return;
        }
        // Answers and later requests follow the peer to a new address.
        live.record.flow = flow;
        let after = RETRY_AFTER_S.to_string();
        match method {
            "INVITE" if live.client_invite.is_some() || live.client_update.is_some() => {
                self.respond(&flow, message, essentials, 491, &[]);
            }
            "INVITE" if live.server_invite.is_some() || !live.confirmed => {
                let headers = [("Retry-After", after.as_str())];
                self.respond(&flow, message, essentials, 500, &headers);
            }
            _ if live.held.len() >= HELD_REQUESTS_MAX => {
                self.refuse_busy(&flow, message, essentials);
            }
            "UPDATE" => self.update_received(&id, flow, message, essentials),
            "INVITE" if self.refuses_interval(&flow, message, essentials) => {}
            "INVITE" => self.reinvite_received(&id, flow, message, essentials),
            "PRACK" => self.prack_received(&id, flow, message, essentials),
            "BYE" => self.bye_received(&id, flow, message, essentials),
            _ => {
                let server = self.add_server(message, essentials, flow, None, Some(id.clone()));
                self.deliver_when_ready(&id, server);
            }
        }
    }

    /// Delivers a request of a dialog now, or after those that wait already.
    pub(super) fn deliver_when_ready(&mut self, dialog: &Id, server: Id) {
        if let Some(live) = self.dialogs.get_mut(dialog) {
            live.held.push_back(server.clone());
        }
        self.release_held(dialog);
        if let Some(live) = self.dialogs.get(dialog)
            && live.app.is_none()
            && live.held.contains(&server)
        {
            self.wait_for_application(&server);
        }
    }

    /// Delivers what waits, in order, as far as the application is there and ready.
    pub(super) fn release_held(&mut self, dialog: &Id) {
        loop {
            let Some(front) = self.dialogs.get(dialog).and_then(|live| live.held.front()) else {
                return;
            };
            let id = front.clone();
            let method = self.servers.get(&id).map(|server| server.method.clone());
            if let Some(method) = method {
                let Some(app) = self.app_of_dialog(dialog, &method) else {
                    return;
                };
                if !self.takes_turn(dialog, app) {
                    return;
                }
            }
            if let Some(live) = self.dialogs.get_mut(dialog) {
                live.held.pop_front();
            }
            self.deliver(&id);
        }
    }
}
