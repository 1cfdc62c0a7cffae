//! What belonged to an application that went away: it passes to another one, or waits until
//! one comes back, and is refused only after that.
use std::rc::Rc;

use bytes::Bytes;

use super::apps::Home;
use super::flow::Flow;
use super::server::{Server, Stage};
use super::timers::Alarm;
use super::{AppId, Core, Id};
use crate::drachtio::format;
use crate::durable::End;
use crate::limits::{ANSWER_MS, APPLICATION_RETURN_MS, RETRY_AFTER_S};

/// An ACK of the peer that no application was there to hear.
#[derive(Debug)]
pub(super) struct UntoldAck {
    pub transaction: Id,
    pub flow: Flow,
    pub request: Bytes,
}

impl Core {
    /// An application is gone: its requests wait for another, its unnamed legs are ended.
    pub(super) fn abandon(&mut self, app: AppId, home: &Rc<Home>) {
        let until_ms = self.now.mono_ms + APPLICATION_RETURN_MS;
        for live in self.dialogs.values_mut().filter(|l| l.app == Some(app)) {
            live.app = None;
            live.turn = None;
            live.home = Some(home.clone());
            live.alone_until_ms = until_ms;
        }
        let mut waiting: Vec<(u64, Id)> = Vec::new();
        let proxies = &self.proxies;
        let mine = self
            .servers
            .iter_mut()
            .filter(|(id, server)| server.app == Some(app) && !proxies.contains_key(*id));
        for (id, server) in mine {
            server.app = None;
            server.asked = false;
            server.heard = false;
            if server.stage == Stage::Open {
                waiting.push((server.number, id.clone()));
            }
        }
        // Newest first, because each goes to the front of its queue.
        waiting.sort_unstable_by(|one, other| other.cmp(one));
        for (_, id) in waiting {
            let dialog = self.servers.get(&id).and_then(|s| s.dialog.clone());
            if let Some(live) = dialog.and_then(|dialog| self.dialogs.get_mut(&dialog))
                && !live.held.contains(&id)
            {
                live.held.push_front(id.clone());
            }
            self.wait_for_application(&id);
        }
        let mut legs = Vec::new();
        for (id, client) in self.clients.iter_mut().filter(|(_, c)| c.app == Some(app)) {
            client.app = None;
            if client.method == "INVITE" && client.leg.is_none() && client.dialog.is_none() {
                legs.push(id.clone());
            }
        }
        for id in legs {
            self.cancel_orphan(&id);
        }
    }

    /// The application of a dialog: its own, or one that takes it over now.
    pub(super) fn app_of_dialog(&mut self, id: &Id, method: &str) -> Option<AppId> {
        let live = self.dialogs.get(id)?;
        if let Some(app) = live.app.filter(|app| self.apps.is_connected(*app)) {
            return Some(app);
        }
        let home = live.home.clone();
        let verb = method.to_ascii_lowercase();
        let app = self.apps.adopter(home.as_deref(), &verb)?;
        let live = self.dialogs.get_mut(id)?;
        tracing::info!(
            callId = live.call(),
            app,
            "a dialog passes to another application"
        );
        live.turn = None;
        self.give_dialog(id, app);
        Some(app)
    }

    /// A dialog is this application's from now on; its tags go to the journal with the next
    /// change of the dialog.
    pub(super) fn give_dialog(&mut self, id: &Id, app: AppId) {
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        if live.app.replace(app) != Some(app) {
            live.record.tags = self.apps.tags(Some(app));
        }
    }

    /// Nobody takes a request now: it is refused when nobody does in time.
    pub(super) fn wait_for_application(&mut self, id: &Id) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let dialog = server.dialog.as_ref().and_then(|id| self.dialogs.get(id));
        let now_ms = self.now.mono_ms;
        let patience_ms = dialog.map_or(now_ms + APPLICATION_RETURN_MS, |l| l.alone_until_ms);
        let at_ms = if server.method == "INVITE" {
            patience_ms
        } else {
            // The sender gives up by itself: answer before that (RFC 4320).
            patience_ms.min(server.born_ms + ANSWER_MS)
        };
        self.timers.arm(at_ms.max(now_ms), Alarm::Alone(id.clone()));
    }

    /// After a takeover: calls that were not answered wait for an application, too.
    pub(super) fn wait_for_applications(&mut self) {
        let alone = |server: &Server| server.stage == Stage::Open && server.app.is_none();
        let waiting: Vec<Id> = self
            .servers
            .iter()
            .filter(|(id, server)| alone(server) && !server.asked && !self.is_forwarded(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            self.wait_for_application(&id);
        }
    }

    /// Nobody came for a request.
    pub(super) fn nobody_came(&mut self, id: &Id) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let settled = server.stage != Stage::Open || server.app.is_some();
        if settled || self.is_forwarded(id) {
            return;
        }
        let method = server.method.clone();
        let dialog = server.dialog.clone();
        tracing::warn!(callId = %id, %method, "no application takes a request");
        let Some(dialog) = dialog else {
            let after = RETRY_AFTER_S.to_string();
            self.answer_ourselves(id, 503, &[("Retry-After", &after)]);
            return;
        };
        let now_ms = self.now.mono_ms;
        let over = match self.dialogs.get_mut(&dialog) {
            Some(live) => {
                live.held.retain(|held| held != id);
                live.untold_bye |= method == "BYE";
                now_ms >= live.alone_until_ms
            }
            None => true,
        };
        let after = RETRY_AFTER_S.to_string();
        match method.as_str() {
            "BYE" => self.answer_ourselves(id, 200, &[]),
            _ if over => self.answer_ourselves(id, 481, &[]),
            _ => self.answer_ourselves(id, 503, &[("Retry-After", &after)]),
        }
    }

    /// Gives what no application has to one that can take it, oldest first.
    pub(super) fn redeliver(&mut self) {
        if !self.leading {
            return;
        }
        let open = |s: &Server| s.stage == Stage::Open && s.app.is_none() && s.dialog.is_none();
        let mut orphans: Vec<(u64, Id)> = self
            .servers
            .iter()
            .filter(|(id, server)| open(server) && !server.asked && !self.is_forwarded(id))
            .map(|(id, server)| (server.number, id.clone()))
            .collect();
        orphans.sort_unstable();
        for (_, id) in orphans {
            if self.deliver(&id) && self.servers.get(&id).is_some_and(|server| server.cancelled) {
                self.cancel_after_turn(id);
            }
        }
        let waiting: Vec<Id> = self
            .dialogs
            .iter()
            .filter(|(_, live)| {
                live.app.is_none()
                    && (live.untold_bye || live.untold_ack.is_some() || !live.held.is_empty())
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            self.tell_missed(&id);
            self.release_held(&id);
        }
    }

    /// Tells what the engine settled itself while nobody was there.
    fn tell_missed(&mut self, id: &Id) {
        let Some(app) = self.app_of_dialog(id, "INVITE") else {
            return;
        };
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        let bye = std::mem::take(&mut live.untold_bye)
            .then(|| live.record.end.clone())
            .flatten();
        if let Some(ack) = live.untold_ack.take() {
            self.tell_request(app, (&ack.transaction, id), &ack.request, &ack.flow);
        }
        if let Some(End::Remote {
            bye,
            flow,
            transaction_id,
            ..
        }) = bye
        {
            self.tell_request(app, (&transaction_id, id), &bye, &flow);
        }
    }

    /// Tells a request of the network in a dialog.
    pub(super) fn tell_request(
        &mut self,
        app: AppId,
        ids: (&str, &str),
        request: &[u8],
        flow: &Flow,
    ) {
        let (message_id, wall_us) = (self.ids.uuid(), self.now.wall_us);
        let frame = format::in_dialog(&message_id, "network", request, flow, wall_us, ids);
        self.tell(app, frame);
    }
}
