//! Subscriptions (RFC 6665) and the implicit ones of REFER (RFC 3515), both roles.
//!
//! A 2xx to SUBSCRIBE or REFER makes or uses a dialog; so does a NOTIFY that overtakes the
//! 2xx to a SUBSCRIBE of ours. The dialog lives while a call or a subscription uses it.
use std::rc::Rc;

use serde_bytes::ByteBuf;

use super::answers::Answer;
use super::commits::Then;
use super::dialogs::{LiveDialog, created_dialog, dialog_op};
use super::flow::Flow;
use super::server::Stage;
use super::timers::Alarm;
use super::{Core, Id};
use crate::dialog::subscription::{
    end, event_of, is_terminated, is_without_subscription, lifetime_s, renew, stated_lifetime_s,
};
use crate::dialog::{Dialog, dialog_id};
use crate::durable::DialogRecord;
use crate::limits::{DIALOGS_MAX, SUBSCRIPTIONS_PER_DIALOG_MAX};
use crate::message::{Essentials, Message};
use crate::view::Role;

/// Event and lifetime of what a 2xx to `request` starts; None when nobody will notify.
fn started(request: &Message<'_>, answer: &Message<'_>, cseq: u32) -> Option<(String, u32)> {
    match request.method()? {
        "SUBSCRIBE" => Some((event_of(request), lifetime_s(request, answer))),
        "REFER" if !is_without_subscription(answer) => {
            Some((format!("refer;id={cseq}"), lifetime_s(request, answer)))
        }
        _ => None,
    }
}

/// Whether a method makes a dialog by its 2xx, besides INVITE.
pub(super) fn is_subscribing(method: &str) -> bool {
    matches!(method, "SUBSCRIBE" | "REFER")
}

impl DialogRecord {
    fn subscribe(&mut self, event: &str, lifetime_s: u32, now_ms: u64) {
        let known = self.subscriptions.iter().any(|one| one.event == event);
        if known || self.subscriptions.len() < SUBSCRIPTIONS_PER_DIALOG_MAX {
            renew(&mut self.subscriptions, event, lifetime_s, now_ms);
        }
    }
}

impl Core {
    /// A 2xx of the application to SUBSCRIBE or REFER: the dialog is committed before it.
    pub(super) fn store_subscription(&mut self, answer: Answer) -> Result<(), Answer> {
        let Some(record) = self.subscription_record(&answer) else {
            return Err(answer);
        };
        if let Some(server) = self.servers.get_mut(&answer.server) {
            server.stage = Stage::Answering;
        }
        let op = dialog_op(&record);
        let answer = Answer {
            record: Some(Box::new(record)),
            ..answer
        };
        self.commit(vec![op], Then::Subscribed(answer));
        Ok(())
    }

    fn subscription_record(&self, answer: &Answer) -> Option<DialogRecord> {
        let server = self.servers.get(&answer.server)?;
        if !is_subscribing(&server.method) || !(200..300).contains(&answer.status) {
            return None;
        }
        let request = Message::parse(&server.request).ok()?;
        let response = Message::parse(&answer.bytes).ok()?;
        let cseq = Essentials::of(&request).ok()?.cseq;
        let (event, lifetime_s) = started(&request, &response, cseq)?;
        let live = server.dialog.as_ref().map(|id| self.dialogs.get(id));
        let mut record = match live {
            Some(live) => live.filter(|live| live.confirmed)?.record.clone(),
            None => self.uas_record(&answer.server, &answer.bytes)?,
        };
        record.dialog.refresh(&request);
        record.subscribe(&event, lifetime_s, self.now.wall_ms());
        Some(record)
    }

    /// The subscription is safe.
    pub(super) fn subscribed(&mut self, mut answer: Answer) {
        let app = self.servers.get(&answer.server).and_then(|s| s.app);
        if let Some(record) = answer.record.take() {
            let id: Id = Rc::from(record.id.as_str());
            self.keep_subscription(&id, *record, app);
            self.hold(&id);
        }
        self.close_other(answer);
    }

    /// Makes a record with a subscription live.
    fn keep_subscription(&mut self, id: &Id, record: DialogRecord, app: Option<super::AppId>) {
        match self.dialogs.get_mut(id) {
            Some(live) => live.record.take_subscriptions(record),
            None => {
                let live = LiveDialog::new(record, app, true);
                self.dialogs.insert(id.clone(), live);
                self.count_dialog(id);
            }
        }
        self.arm_subscriptions(id);
    }

    /// A SUBSCRIBE of the application leaves: its NOTIFY may come before its 2xx.
    pub(super) fn subscribing(&mut self, client: &Id) {
        let Some(request) = self.clients.get(client).map(|c| c.request.clone()) else {
            return;
        };
        let parsed = Message::parse(&request).ok();
        if let Some(essentials) = parsed.as_ref().and_then(|m| Essentials::of(m).ok()) {
            self.subscribing
                .insert(created_dialog(&essentials), client.clone());
        }
    }

    /// The final response to a SUBSCRIBE or REFER of the application.
    pub(super) fn subscribe_answered(
        &mut self,
        client: &Id,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        status: u16,
    ) {
        let Some(sent) = self.clients.get(client) else {
            return;
        };
        let (request, app, inside) = (sent.request.clone(), sent.app, sent.dialog.clone());
        let id = inside.clone().unwrap_or_else(|| created_dialog(essentials));
        self.subscribing.remove(&id);
        let Ok(request) = Message::parse(&request) else {
            return;
        };
        if status >= 300 {
            // Refused: a subscription that this was to prolong is over (481), or goes on.
            if inside.is_none() || status == 481 {
                self.end_subscription(&id, &event_of(&request));
            }
            return;
        }
        let Some((event, seconds)) = started(&request, message, essentials.cseq) else {
            return;
        };
        let now_ms = self.now.wall_ms();
        let known = self.dialogs.get(&id).map(|live| live.record.clone());
        let record = known.or_else(|| self.uac_record(client, flow, message, essentials));
        let Some(mut record) = record else { return };
        record.dialog.refresh(message);
        record.subscribe(&event, seconds, now_ms);
        let op = dialog_op(&record);
        self.keep_subscription(&id, record, app);
        self.hold(&id);
        self.commit(vec![op], Then::Nothing);
    }

    /// A NOTIFY without a dialog that a SUBSCRIBE of ours asked for: it makes the dialog.
    pub(super) fn notify_overtakes(
        &mut self,
        flow: Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> Option<Id> {
        if essentials.method != "NOTIFY" || self.dialogs.len() >= DIALOGS_MAX {
            return None;
        }
        let local_tag = essentials.to.tag()?;
        let id: Id = Rc::from(dialog_id(essentials.call_id, local_tag));
        let client_id = self.subscribing.get(&id)?;
        let client = self.clients.get(client_id)?;
        let request = Message::parse(&client.request).ok()?;
        if self.dialogs.contains_key(&id) || event_of(&request) != event_of(message) {
            return None;
        }
        let sent = Essentials::of(&request).ok()?;
        let contact = request.get(crate::message::Name::Contact)?;
        let mut dialog = Dialog::uas(message, essentials, local_tag, contact)?;
        dialog.local_seq = sent.cseq;
        dialog.remote_seq = None;
        let mut record = DialogRecord {
            id: id.to_string(),
            role: Role::Uac,
            dialog,
            flow,
            leg: None,
            transaction_id: client_id.to_string(),
            invite_seq: 0,
            request: ByteBuf::from(client.request.to_vec()),
            response: ByteBuf::new(),
            end: None,
            is_call: false,
            session: None,
            subscriptions: Vec::new(),
            tags: self.apps.tags(client.app),
        };
        let seconds = stated_lifetime_s(message).unwrap_or_else(|| lifetime_s(&request, message));
        record.subscribe(&event_of(&request), seconds, self.now.wall_ms());
        let (app, op) = (client.app, dialog_op(&record));
        self.keep_subscription(&id, record, app);
        self.commit(vec![op], Then::Nothing);
        Some(id)
    }

    /// The application answered a request: a NOTIFY may have ended its subscription.
    pub(super) fn notify_answered(&mut self, server: &Id, dialog: Option<&Id>, answer: &[u8]) {
        let found = self.servers.get(server).filter(|s| s.method == "NOTIFY");
        let (Some(server), Some(dialog)) = (found, dialog) else {
            return;
        };
        let request = server.request.clone();
        let refused = Message::parse(answer).is_ok_and(|m| m.status() == Some(481));
        if let Ok(notify) = Message::parse(&request)
            && (refused || is_terminated(&notify))
        {
            self.end_subscription(dialog, &event_of(&notify));
        }
    }

    /// The final response to a NOTIFY of the application, or none (RFC 6665 section 4.2.2).
    pub(super) fn notify_sent(&mut self, client: &Id, dialog: &Id, status: u16) {
        let Some(request) = self.clients.get(client).map(|c| c.request.clone()) else {
            return;
        };
        if let Ok(notify) = Message::parse(&request)
            && (matches!(status, 408 | 481) || is_terminated(&notify))
        {
            self.end_subscription(dialog, &event_of(&notify));
        }
    }

    fn end_subscription(&mut self, id: &Id, event: &str) {
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        let before = live.record.subscriptions.len();
        end(&mut live.record.subscriptions, event);
        if live.record.subscriptions.len() != before {
            self.subscriptions_changed(id);
        }
    }

    /// Forgets a dialog that nothing uses; stores any other.
    fn subscriptions_changed(&mut self, id: &Id) {
        let Some(live) = self.dialogs.get(id) else {
            return;
        };
        if live.record.is_call && live.confirmed {
            let op = live.op();
            self.commit(vec![op], Then::Nothing);
        } else if !live.record.is_call {
            if live.record.subscriptions.is_empty() {
                self.forget_dialog(id);
            } else {
                let op = live.op();
                self.commit(vec![op], Then::Nothing);
            }
        }
    }

    /// Arms the alarm of the subscription that expires first.
    pub(super) fn arm_subscriptions(&mut self, id: &Id) {
        let all = self.dialogs.get(id).map(|live| &live.record.subscriptions);
        let first = all.and_then(|all| all.iter().map(|one| one.expires_at_ms).min());
        if let Some(at_ms) = first {
            let wait_ms = at_ms.saturating_sub(self.now.wall_ms());
            let alarm = Alarm::Subscription(id.clone(), at_ms);
            self.timers.arm(self.now.mono_ms + wait_ms, alarm);
        }
    }

    /// A subscription may have expired; an alarm whose time is not the first is stale.
    pub(super) fn subscriptions_due(&mut self, id: &Id, armed_ms: u64) {
        let now_ms = self.now.wall_ms();
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        let all = &mut live.record.subscriptions;
        if all.iter().map(|one| one.expires_at_ms).min() != Some(armed_ms) {
            return;
        }
        let before = all.len();
        all.retain(|one| one.expires_at_ms > now_ms);
        if all.len() != before {
            self.subscriptions_changed(id);
        }
        self.arm_subscriptions(id);
    }

    /// A call ended in a dialog that subscriptions use: they go on without it.
    pub(super) fn outlives_call(&mut self, id: &Id) -> bool {
        let Some(live) = self.dialogs.get_mut(id) else {
            return false;
        };
        if live.record.subscriptions.is_empty() || !live.record.is_call {
            return false;
        }
        live.record.is_call = false;
        live.record.end = None;
        live.record.session = None;
        let leg = live.record.leg.take();
        let op = live.op();
        if let Some(leg) = leg {
            self.legs.remove(&leg);
        }
        self.commit(vec![op], Then::Nothing);
        true
    }
}

impl DialogRecord {
    /// What a newer record says of subscriptions and the target; the rest went on.
    fn take_subscriptions(&mut self, newer: DialogRecord) {
        self.subscriptions = newer.subscriptions;
        self.dialog.target = newer.dialog.target;
    }
}
