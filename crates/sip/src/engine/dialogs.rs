//! Live dialogs: finding them, sending in them, acknowledging.
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use serde_bytes::ByteBuf;

use super::apps::Home;
use super::dialog_counts::Party;
use super::flow::{Flow, is_private};
use super::legs::call_of_leg;
use super::orphans::UntoldAck;
use super::sending::Ticket;
use super::turns::Turn;
use super::{AppId, Core, Id};
use crate::config::Transport;
use crate::dialog::dialog_id;
use crate::drachtio::headers::copy_headers;
use crate::durable::{DialogRecord, dialog_key};
use crate::journal::JournalOp;
use crate::message::{Address, Essentials, Message, Name, Start, Uri, Writer};
use crate::view::Role;

/// A dialog while this node leads.
#[derive(Debug)]
pub(super) struct LiveDialog {
    pub record: DialogRecord,
    pub app: Option<AppId>,
    /// In the journal; an early dialog is not.
    pub confirmed: bool,
    /// Our ACK to the last 2xx, sent again for each repetition.
    pub ack: Option<Bytes>,
    /// The server transaction whose 2xx waits for its ACK.
    pub answered: Option<Id>,
    /// Taken over from another leader: the application may have acknowledged there.
    pub restored: bool,
    /// What the application must have handled before requests of the peer follow.
    pub turn: Option<Turn>,
    /// Requests of the peer that wait, in order.
    pub held: VecDeque<Id>,
    /// What the application was that went away.
    pub home: Option<Rc<Home>>,
    /// Without an application, requests wait until then, ms.
    pub alone_until_ms: u64,
    /// The engine answered the peer's BYE: nobody was there.
    pub untold_bye: bool,
    /// The peer's ACK, when nobody was there.
    pub untold_ack: Option<UntoldAck>,
    /// An INVITE of ours without a final response.
    pub client_invite: Option<Id>,
    /// An INVITE of the peer without a final response.
    pub server_invite: Option<Id>,
    /// An UPDATE of ours without a final response.
    pub client_update: Option<Id>,
    /// An UPDATE of the peer without a final response.
    pub server_update: Option<Id>,
    /// Tells the newest alarm of the session timer from earlier ones.
    pub session_alarm: u64,
    /// No refresh before that, Unix milliseconds: the last one met something.
    pub refresh_after_ms: u64,
    /// The largest Min-SE of a 422, seconds: our refreshes repeat it (RFC 4028 section 7.4).
    pub least_s: u32,
    /// Whose it is, once it is counted.
    pub party: Option<Party>,
    /// Send BYE once the application has acknowledged: its CANCEL came too late.
    pub end_after_ack: bool,
    /// The commit of its 2xx failed; nobody has acknowledged that.
    pub unstored: bool,
}

impl LiveDialog {
    pub fn new(record: DialogRecord, app: Option<AppId>, confirmed: bool) -> LiveDialog {
        LiveDialog {
            record,
            app,
            confirmed,
            ack: None,
            answered: None,
            restored: false,
            turn: None,
            held: VecDeque::new(),
            home: None,
            alone_until_ms: 0,
            untold_bye: false,
            untold_ack: None,
            client_invite: None,
            server_invite: None,
            client_update: None,
            server_update: None,
            session_alarm: 0,
            refresh_after_ms: 0,
            least_s: 0,
            party: None,
            end_after_ack: false,
            unstored: false,
        }
    }

    /// Why the application may not send a request now.
    fn refusal(&self, method: &str) -> Option<&'static str> {
        let over = self.record.end.is_some() || !self.record.is_call;
        let of_subscription = matches!(method, "NOTIFY" | "SUBSCRIBE" | "REFER")
            && !self.record.subscriptions.is_empty();
        if over && !of_subscription {
            return Some("unable to find dialog");
        }
        if method == "UPDATE" && self.client_update.is_some() {
            return Some("an UPDATE is in progress in this dialog");
        }
        let inviting = self.client_invite.is_some() || self.server_invite.is_some();
        (method == "INVITE" && inviting).then_some("an INVITE is in progress in this dialog")
    }

    /// Takes a record that was made a commit ago: sequence numbers went on meanwhile.
    pub fn go_on_with(&mut self, newer: DialogRecord) {
        let old = std::mem::replace(&mut self.record, newer);
        let dialog = &mut self.record.dialog;
        dialog.local_seq = dialog.local_seq.max(old.dialog.local_seq);
        dialog.remote_seq = dialog.remote_seq.max(old.dialog.remote_seq);
        self.record.end = self.record.end.take().or(old.end);
        self.record.subscriptions = old.subscriptions;
    }

    /// The call it belongs to, as call control names it.
    pub fn call(&self) -> &str {
        let leg = self.record.leg.as_deref();
        leg.map_or(&self.record.transaction_id, call_of_leg)
    }

    /// The journal entry for its present state.
    pub fn op(&self) -> JournalOp {
        dialog_op(&self.record)
    }

    /// Where our requests go: along the route set, else to the target; but to where the
    /// peer's messages come from when the target is behind a NAT or not an address.
    pub fn destination(&self) -> Flow {
        let flow = self.record.flow;
        let first_route = self.record.dialog.routes.first();
        let route = first_route
            .and_then(|route| Address::parse(route))
            .map(|route| route.uri);
        let next = route.unwrap_or(&self.record.dialog.target);
        let Some(uri) = Uri::parse(next) else {
            return flow;
        };
        match uri.ip() {
            Some(ip) if ip == flow.remote.ip() || is_private(ip) => flow,
            Some(ip) if flow.transport == Transport::Udp => {
                let remote = std::net::SocketAddr::new(ip, uri.port.unwrap_or(5060));
                Flow { remote, ..flow }
            }
            _ => flow,
        }
    }
}

impl Core {
    /// The dialog a request of the peer belongs to.
    pub(super) fn find_dialog(&self, essentials: &Essentials<'_>) -> Option<Id> {
        let (local, remote) = (
            essentials.to.tag()?,
            essentials.from.tag().unwrap_or_default(),
        );
        for (tag, role) in [(remote, Role::Uas), (local, Role::Uac)] {
            let id = dialog_id(essentials.call_id, tag);
            if let Some((id, live)) = self.dialogs.get_key_value(id.as_str()) {
                let dialog = &live.record.dialog;
                let same = dialog.call_id == essentials.call_id
                    && dialog.local_tag == local
                    && dialog.remote_tag == remote;
                if same && live.record.role == role {
                    return Some(id.clone());
                }
            }
        }
        None
    }

    /// A Via for a request of ours.
    pub(super) fn via(&self, flow: &Flow, branch: &str) -> String {
        let shown = self.shown(flow);
        format!(
            "SIP/2.0/{} {shown};branch={branch};rport",
            flow.transport.via_name()
        )
    }

    /// A request of the application in a dialog.
    pub(super) fn app_in_dialog(&mut self, ticket: Ticket, dialog: &str, message: &Message<'_>) {
        let Start::Request { method, uri } = message.start else {
            return;
        };
        let id: Id = Rc::from(dialog);
        self.give_dialog(&id, ticket.app);
        let Some(live) = self.dialogs.get_mut(&id) else {
            self.fail(&ticket, "unable to find dialog");
            return;
        };
        if method == "ACK" {
            self.app_ack(&ticket, &id, message);
            return;
        }
        if let Some(why) = live.refusal(method) {
            self.fail(&ticket, why);
            return;
        }
        live.record.dialog.local_seq += 1;
        let cseq = live.record.dialog.local_seq;
        let flow = live.destination();
        let target = live.record.dialog.target.clone();
        let uri = if uri.ends_with(":placeholder") {
            &target
        } else {
            uri
        };
        let branch = self.ids.branch();
        let via = self.via(&flow, &branch);
        let Some(live) = self.dialogs.get(&id) else {
            return;
        };
        let mut writer = live.record.dialog.write(method, uri, cseq, &via);
        let wants_contact = matches!(
            method,
            "INVITE" | "UPDATE" | "SUBSCRIBE" | "REFER" | "NOTIFY"
        );
        if wants_contact && message.get(Name::Contact).is_none() {
            writer.header(Name::Contact, &live.record.dialog.contact);
        }
        let skip = [
            Name::From,
            Name::To,
            Name::CallId,
            Name::CSeq,
            Name::MaxForwards,
            self.hidden(message, &flow),
        ];
        if let Err(error) = copy_headers(&mut writer, message, &skip, self.shown(&flow)) {
            self.fail(&ticket, &error.to_string());
            return;
        }
        if matches!(method, "INVITE" | "UPDATE") {
            self.write_session_refresh(&mut writer, message, &live.record);
        }
        let bytes = Bytes::from(writer.finish(message.body));
        let client = self.add_client(method, branch, flow, bytes, Some(ticket.app), Some(&id));
        match method {
            "INVITE" => self.store_reinvite(&id, &client, Some(ticket)),
            "BYE" => self.store_local_bye(&id, &client, Some(ticket), None),
            _ => {
                if method == "UPDATE" {
                    self.update_sent(&id, &client);
                }
                self.launch_and_echo(&client, &ticket);
            }
        }
    }

    /// The application acknowledges a 2xx.
    fn app_ack(&mut self, ticket: &Ticket, id: &Id, message: &Message<'_>) {
        let Some((flow, bytes)) = self.build_ack(id, Some(message)) else {
            self.fail(ticket, "unable to find dialog");
            return;
        };
        let Some(live) = self.dialogs.get_mut(id) else {
            return;
        };
        live.ack = Some(bytes.clone());
        let end = std::mem::take(&mut live.end_after_ack);
        let transaction = live.record.transaction_id.clone();
        self.setup.metrics.sent_request("ACK");
        self.send(flow, bytes.clone());
        self.echo_request(ticket, &bytes, &flow, &transaction);
        self.answer_in_ack(id, &Bytes::copy_from_slice(message.body), true);
        self.turn_taken(id);
        if end {
            self.hang_up(id, "ACK-BYE due to cancel race condition");
        }
    }

    /// An ACK to the last 2xx of the peer, with the application's headers and body if any.
    pub(super) fn build_ack(
        &mut self,
        id: &Id,
        message: Option<&Message<'_>>,
    ) -> Option<(Flow, Bytes)> {
        let branch = self.ids.branch();
        let live = self.dialogs.get(id)?;
        let flow = live.destination();
        let (dialog, cseq) = (&live.record.dialog, live.record.invite_seq);
        let mut writer = dialog.write("ACK", &dialog.target, cseq, &self.via(&flow, &branch));
        let Some(message) = message else {
            return Some((flow, writer.finish(b"").into()));
        };
        let skip = [
            Name::From,
            Name::To,
            Name::CallId,
            Name::CSeq,
            Name::MaxForwards,
            Name::Contact,
        ];
        copy_headers(&mut writer, message, &skip, self.shown(&flow)).ok()?;
        Some((flow, writer.finish(message.body).into()))
    }

    /// A 2xx to our INVITE came again: our ACK was lost.
    pub(super) fn repeat_ack(&mut self, id: &Id) {
        let Some(live) = self.dialogs.get(id) else {
            return;
        };
        if live.unstored {
            self.store_again(id);
            return;
        }
        let destination = live.destination();
        let ack = match (&live.ack, live.restored) {
            (Some(ack), _) => Some((destination, ack.clone())),
            (None, true) => self.build_ack(id, None),
            (None, false) => None,
        };
        if let Some((flow, bytes)) = ack {
            super::metrics::Metrics::count(&self.setup.metrics.retransmissions);
            self.send(flow, bytes);
        }
    }

    /// Forgets a live dialog; its record is somebody else's business.
    pub(super) fn drop_dialog(&mut self, id: &Id) {
        let Some(live) = self.dialogs.remove(id) else {
            return;
        };
        if let Some(party) = &live.party {
            self.dialog_counts.remove(party);
        }
        if let Some(leg) = &live.record.leg {
            self.legs.remove(leg);
        }
    }
}

/// The journal entry of a dialog.
pub(super) fn dialog_op(record: &DialogRecord) -> JournalOp {
    JournalOp::Set {
        key: dialog_key(&record.id),
        value: record.encode(),
        expires_at_ms: None,
    }
}

/// A stored message with another body: the SDP of a dialog changed.
pub(super) fn with_body(stored: &[u8], body: &[u8]) -> ByteBuf {
    let Ok(message) = Message::parse(stored) else {
        return ByteBuf::from(stored.to_vec());
    };
    let mut writer = match message.start {
        Start::Request { method, uri } => Writer::request(method, uri),
        Start::Response { status, reason } => Writer::response(status, reason),
    };
    for header in &message.headers {
        if header.name != Name::ContentLength {
            writer.named(header.text, header.value);
        }
    }
    ByteBuf::from(writer.finish(body))
}

/// The id of the dialog a request of ours or of a peer creates.
pub(super) fn created_dialog(essentials: &Essentials<'_>) -> Id {
    Rc::from(dialog_id(
        essentials.call_id,
        essentials.from.tag().unwrap_or_default(),
    ))
}
