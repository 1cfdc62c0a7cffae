//! Session timers (RFC 4028) in both roles.
//!
//! The deadline stands in the dialog's record. When the refresher is us, half the interval
//! before it an UPDATE goes out, or a re-INVITE with the stored session description when
//! the peer does not know UPDATE; the application sees nothing of it. When nobody refreshed
//! in time the call is ended, and the application gets an `unsolicited` BYE.
use bytes::Bytes;

use super::client::Purpose;
use super::flow::Flow;
use super::timers::Alarm;
use super::{Core, Id};
use crate::dialog::has_token;
use crate::dialog::session::{Refresher, agree, min_se, session_expires};

use crate::durable::DialogRecord;
use crate::limits::{SESSION_GRACE_MS, SESSION_SPREAD_MS};
use crate::message::{Essentials, Message, Name, Writer};
use crate::view::Role;

const TAG: &str = "timer";
/// A refresh that met another transaction is tried again after this, ms, plus up to as much.
const GLARE_MS: u64 = 2_100;
/// A refresh that was refused for a passing reason is tried again after this, ms.
const RETRY_MS: u64 = 10_000;
/// Why a call ends when its session timer does.
const EXPIRED: &str = "Session timer expired";

impl Core {
    /// Answers 422 to an interval below ours; false when the wish is fine.
    pub(super) fn refuses_interval(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
    ) -> bool {
        let least_s = self.setup.session_timer.min_se_s;
        let short = session_expires(message).is_some_and(|asked| asked.interval_s < least_s);
        // A proxy may have asked for a phone that could not understand the 422.
        if !short || !has_token(message, Name::Supported, TAG) {
            return false;
        }
        let least = least_s.to_string();
        self.respond(flow, message, essentials, 422, &[("Min-SE", &least)]);
        true
    }

    /// Session-Expires of our 2xx, unless the application wrote its own.
    pub(super) fn write_session_answer(
        &self,
        writer: &mut Writer,
        request: &Message<'_>,
        answer: &Message<'_>,
    ) {
        if answer.get(Name::SessionExpires).is_some() {
            return;
        }
        let Some(agreed) = agree(request, self.setup.session_timer) else {
            return;
        };
        if agreed.by_client == Some(true) && !has_token(answer, Name::Require, TAG) {
            writer.header(Name::Require, TAG);
        }
        writer.header(Name::SessionExpires, &agreed.value());
    }

    /// Our offer in an INVITE outside a dialog, unless the application makes its own.
    pub(super) fn write_session_offer(&self, writer: &mut Writer, message: &Message<'_>) {
        let wanted = self.setup.session_timer;
        if wanted.expires_s > 0 && message.get(Name::SessionExpires).is_none() {
            let least_s = wanted.min_se_s;
            write_offer(writer, message, &wanted.expires_s.to_string(), least_s);
        }
    }

    /// The running session timer in a request of the application inside a dialog.
    pub(super) fn write_session_refresh(
        &self,
        writer: &mut Writer,
        message: &Message<'_>,
        record: &DialogRecord,
    ) {
        let asked = message.get(Name::SessionExpires).is_some();
        if let Some(session) = record.session.filter(|_| !asked) {
            let least_s = self.setup.session_timer.min_se_s;
            write_offer(writer, message, &session.request_value(), least_s);
        }
    }

    /// Arms the one alarm of a session timer; earlier ones are stale by their number.
    pub(super) fn arm_session(&mut self, id: &Id) {
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        live.session_alarm += 1;
        let Some(session) = live.record.session.filter(|_| live.confirmed) else {
            return;
        };
        let give_up_ms = session.give_up_at_ms();
        let due_ms = session.refresh_at_ms().unwrap_or(give_up_ms);
        let due_ms = due_ms.max(live.refresh_after_ms).min(give_up_ms);
        let wait_ms = due_ms.saturating_sub(self.now.wall_ms());
        let alarm = Alarm::Session(id.clone(), live.session_alarm);
        self.timers.arm(self.now.mono_ms + wait_ms, alarm);
    }

    /// An alarm of a session timer.
    pub(super) fn session_due(&mut self, id: &Id, alarm: u64) {
        let now_ms = self.now.wall_ms();
        let Some(live) = self.dialogs.get(id) else {
            return;
        };
        let Some(session) = live.record.session else {
            return;
        };
        if live.session_alarm != alarm || live.record.end.is_some() {
            return;
        }
        if now_ms >= session.give_up_at_ms() {
            self.hang_up(id, EXPIRED);
            return;
        }
        let due = session.refresh_at_ms().is_some_and(|at_ms| now_ms >= at_ms);
        if due && now_ms >= live.refresh_after_ms {
            self.refresh_session(id);
        }
        self.arm_session(id);
    }

    /// No refresh before that; then one at once.
    fn refresh_later(&mut self, id: &Id, after_ms: u64) {
        let at_ms = self.now.wall_ms() + after_ms;
        if let Some(live) = self.dialogs.get_mut(id) {
            live.refresh_after_ms = at_ms;
            self.arm_session(id);
        }
    }

    fn refresh_session(&mut self, id: &Id) {
        let glare_ms = self.glare_ms();
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        // The next try, should this one get no answer; a 2xx moves the deadline itself.
        live.refresh_after_ms = self.now.wall_ms() + crate::transaction::LIFE_MS + glare_ms;
        if live.is_negotiating() {
            self.refresh_later(id, glare_ms);
            return;
        }
        let body = live.local_sdp();
        let method = if live.peer_allows("UPDATE") || body.is_empty() {
            "UPDATE"
        } else {
            "INVITE"
        };
        let body = if method == "INVITE" { body } else { Vec::new() };
        live.record.dialog.local_seq += 1;
        let cseq = live.record.dialog.local_seq;
        let flow = live.destination();
        let branch = self.ids.branch();
        let via = self.via(&flow, &branch);
        let Some(live) = self.dialogs.get(id) else {
            return;
        };
        let (dialog, Some(session)) = (&live.record.dialog, live.record.session) else {
            return;
        };
        let mut writer = dialog.write(method, &dialog.target, cseq, &via);
        writer.header(Name::Contact, &dialog.contact);
        writer.header(Name::Supported, TAG);
        writer.header(Name::SessionExpires, &session.request_value());
        let least_s = self.setup.session_timer.min_se_s.max(live.least_s);
        writer.header(Name::MinSe, &least_s.to_string());
        if !body.is_empty() {
            writer.header(Name::ContentType, "application/sdp");
        }
        let bytes = Bytes::from(writer.finish(&body));
        let client = self.add_client(method, branch, flow, bytes, None, Some(id));
        if let Some(client) = self.clients.get_mut(&client) {
            client.purpose = Purpose::Refresh;
        }
        if method == "INVITE" {
            self.store_reinvite(id, &client, None);
        } else {
            self.update_sent(id, &client);
            self.launch(&client);
        }
    }

    fn glare_ms(&mut self) -> u64 {
        GLARE_MS + u64::from(self.ids.number()) % GLARE_MS
    }

    /// The final response to a refresh of ours (RFC 4028 section 10).
    pub(super) fn refresh_answered(&mut self, id: &Id, status: u16, answer: &Message<'_>) {
        let glare_ms = self.glare_ms();
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        match status {
            200..=299 => {
                live.refresh_after_ms = 0;
                self.arm_session(id);
            }
            408 | 481 => self.hang_up(id, EXPIRED),
            422 => {
                let least_s = min_se(answer).unwrap_or(0);
                live.least_s = live.least_s.max(least_s);
                let longer = live.record.session.as_mut();
                match longer.filter(|session| session.interval_s < least_s) {
                    Some(session) => {
                        session.interval_s = least_s;
                        self.refresh_session(id);
                    }
                    None => self.refresh_later(id, RETRY_MS),
                }
            }
            491 => self.refresh_later(id, glare_ms),
            // The peer is there but cannot be refreshed so: leave the call to it.
            401 | 405 | 407 | 420 | 501 => {
                live.record.session = None;
                let op = live.op();
                self.commit(vec![op], super::commits::Then::Nothing);
            }
            _ => self.refresh_later(id, RETRY_MS),
        }
    }

    /// The final response to a re-INVITE of the engine itself.
    pub(super) fn reinvite_answered(&mut self, dialog: &Id, status: u16, bytes: &Bytes) {
        if status < 300 {
            self.acknowledge_refresh(dialog);
        }
        if let Ok(answer) = Message::parse(bytes) {
            self.refresh_answered(dialog, status, &answer);
        }
    }

    /// ACK to the 2xx of a re-INVITE of the engine itself.
    fn acknowledge_refresh(&mut self, id: &Id) {
        let Some((flow, bytes)) = self.build_ack(id, None) else {
            return;
        };
        if let Some(live) = self.dialogs.get_mut(id) {
            live.ack = Some(bytes.clone());
        }
        self.setup.metrics.sent_request("ACK");
        self.send(flow, bytes);
    }

    /// Deadlines after a takeover: peers get time to find us, and our own refreshes that
    /// are due do not all leave at once.
    pub(super) fn restore_session(&self, record: &mut DialogRecord) {
        let now_ms = self.now.wall_ms();
        let spread = record.id.bytes().fold(0_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        let Some(session) = record.session.as_mut() else {
            return;
        };
        let least_ms = match (session.refresher, session.refresh_at_ms()) {
            (Refresher::Us, Some(at_ms)) if at_ms < now_ms => {
                let half_ms = session.expires_at_ms - at_ms;
                now_ms + spread % SESSION_SPREAD_MS + half_ms
            }
            (Refresher::Us, _) => 0,
            (Refresher::Them, _) => {
                let margin_ms = session.expires_at_ms - session.give_up_at_ms();
                now_ms + SESSION_GRACE_MS + margin_ms
            }
        };
        session.expires_at_ms = session.expires_at_ms.max(least_ms);
    }
}

impl super::LiveDialog {
    /// Our newest session description.
    fn local_sdp(&self) -> Vec<u8> {
        let stored = match self.record.role {
            Role::Uas => &self.record.response,
            Role::Uac => &self.record.request,
        };
        Message::parse(stored).map_or_else(|_| Vec::new(), |message| message.body.to_vec())
    }

    /// Whether the peer said that it takes a method.
    fn peer_allows(&self, method: &str) -> bool {
        let stored = match self.record.role {
            Role::Uas => &self.record.request,
            Role::Uac => &self.record.response,
        };
        let message = Message::parse(stored);
        message.is_ok_and(|message| has_token(&message, Name::Allow, method))
    }
}

fn write_offer(writer: &mut Writer, message: &Message<'_>, value: &str, least_s: u32) {
    if !has_token(message, Name::Supported, TAG) {
        writer.header(Name::Supported, TAG);
    }
    writer.header(Name::SessionExpires, value);
    if message.get(Name::MinSe).is_none() {
        writer.header(Name::MinSe, &least_s.to_string());
    }
}
