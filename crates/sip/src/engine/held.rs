//! Requests of the peer in a dialog, held back while the application is not ready.
//!
//! drachtio-srf attaches its listeners one event-loop turn after it was told of an answer;
//! a BYE in the same read would be lost. So requests wait a moment after each such message.
use super::flow::Flow;
use super::timers::Alarm;
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
        let Some(id) = self.find_dialog(essentials) else {
            self.respond(&flow, message, essentials, 481, &[]);
            return;
        };
        let Some(live) = self.dialogs.get_mut(&id) else {
            return;
        };
        if live.record.end.is_some() {
            let status = if essentials.method == "BYE" { 200 } else { 481 };
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
        match essentials.method {
            "INVITE" if live.client_invite.is_some() => {
                self.respond(&flow, message, essentials, 491, &[]);
            }
            "INVITE" if live.server_invite.is_some() || !live.confirmed => {
                let headers = [("Retry-After", after.as_str())];
                self.respond(&flow, message, essentials, 500, &headers);
            }
            _ if live.held.len() >= HELD_REQUESTS_MAX => {
                self.refuse_busy(&flow, message, essentials);
            }
            "INVITE" => self.reinvite_received(&id, flow, message, essentials),
            "BYE" => self.bye_received(&id, flow, message, essentials),
            _ => {
                let server = self.add_server(message, essentials, flow, None, Some(id.clone()));
                self.deliver_when_ready(&id, server);
            }
        }
    }

    /// Delivers a request of a dialog now, or after those that wait already.
    pub(super) fn deliver_when_ready(&mut self, dialog: &Id, server: Id) {
        let now_ms = self.now.mono_ms;
        if let Some(live) = self.dialogs.get_mut(dialog)
            && (now_ms < live.hold_until_ms || !live.held.is_empty())
        {
            live.held.push_back(server);
            let at_ms = live.hold_until_ms.max(now_ms);
            self.timers.arm(at_ms, Alarm::Hold(dialog.clone()));
            return;
        }
        self.deliver(&server);
    }

    /// The wait may be over.
    pub(super) fn release_held(&mut self, dialog: &Id) {
        loop {
            let Some(live) = self.dialogs.get_mut(dialog) else {
                return;
            };
            if self.now.mono_ms < live.hold_until_ms {
                return;
            }
            let Some(server) = live.held.pop_front() else {
                return;
            };
            self.deliver(&server);
        }
    }
}
