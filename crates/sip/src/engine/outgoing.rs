//! New requests of the application, and the sorting of its SIP messages.
use bytes::Bytes;

use super::dialogs::LiveDialog;
use super::flow::Flow;
use super::legs::{Place, call_of_leg};
use super::location::Target;
use super::metrics::Metrics;
use super::retarget::aimed;
use super::routing::{Lookup, Route, Way};
use super::sending::Ticket;
use super::{Core, Id};
use crate::config::Transport;
use crate::dialog::{dialog_id, without_tag};
use crate::drachtio::SipCommand;
use crate::drachtio::headers::{complete, copy_headers, localise, parse};
use crate::limits::TRANSACTIONS_MAX;
use crate::message::essentials::cseq;
use crate::message::{Address, Message, Name, Start, Writer};
use crate::trust::hides_identity;

/// What one datagram can carry.
const DATAGRAM_BYTES_MAX: usize = 65_507;

impl Core {
    /// A `sip` command.
    pub(super) fn sip_command(&mut self, ticket: Ticket, sip: &SipCommand<'_>) {
        let text = complete(sip.message);
        let message = match parse(&text) {
            Ok(message) => message,
            Err(error) => {
                self.fail(&ticket, &error.to_string());
                return;
            }
        };
        match message.start {
            Start::Response { .. } if sip.transaction_id.is_empty() => {
                self.refuse_app(&ticket, "transaction id missing");
            }
            Start::Response { .. } => self.app_response(ticket, sip.transaction_id, &message),
            Start::Request {
                method: "CANCEL", ..
            } => self.app_cancel(ticket, sip.transaction_id),
            Start::Request { .. } if !sip.dialog_id.is_empty() => {
                self.app_in_dialog(ticket, sip.dialog_id, &message);
            }
            Start::Request { method: "ACK", .. } => self.fail(&ticket, "unable to find dialog"),
            Start::Request { .. } if !sip.transaction_id.is_empty() => {
                self.fail(&ticket, "only CANCEL and responses belong to a transaction");
            }
            Start::Request { .. } => match self.dialog_of_call(&message) {
                Some(dialog) => self.app_in_dialog(ticket, &dialog, &message),
                None => self.app_request(ticket, sip.route_url, &text, None),
            },
        }
    }

    /// A request with neither id whose Call-ID is that of a dialog belongs to it.
    fn dialog_of_call(&self, message: &Message<'_>) -> Option<Id> {
        let call_id = message.get(Name::CallId)?;
        let from = message.get(Name::From).and_then(Address::parse);
        if let Some(tag) = from.and_then(|from| from.tag()) {
            let id = dialog_id(call_id, tag);
            return self
                .dialogs
                .get_key_value(id.as_str())
                .map(|(id, _)| id.clone());
        }
        let same = |live: &LiveDialog| live.confirmed && live.record.dialog.call_id == call_id;
        let mut all = self.dialogs.iter();
        all.find(|(_, live)| same(live)).map(|(id, _)| id.clone())
    }

    /// A request outside any dialog.
    pub(super) fn app_request(
        &mut self,
        ticket: Ticket,
        route_url: &str,
        text: &str,
        found: Option<Vec<Target>>,
    ) {
        let Ok(message) = parse(text) else { return };
        let Start::Request { method, uri } = message.start else {
            return;
        };
        let target = self.target(uri).filter(|_| route_url.is_empty());
        if let Some((next, text)) = target.and_then(|target| aimed(text, &target)) {
            let next = next.unwrap_or_default();
            self.app_request(ticket, &next, &text, None);
            return;
        }
        let leg = message.get(Name::XLeg).filter(|_| method == "INVITE");
        if leg.is_some_and(|leg| self.attach(&ticket, leg)) {
            return;
        }
        if self.servers.len() + self.clients.len() >= TRANSACTIONS_MAX {
            Metrics::count(&self.setup.metrics.refused);
            self.fail(&ticket, "too many transactions");
            return;
        }
        let next = if route_url.is_empty() { uri } else { route_url };
        let Way {
            mut flows,
            open,
            host,
        } = match self.route(next, found) {
            Ok(Route::To(way)) => way,
            Ok(Route::Ask(question)) => {
                self.look_up(question, Lookup::new(ticket, route_url, text));
                return;
            }
            Err(error) => {
                self.fail(&ticket, &error);
                return;
            }
        };
        let branch = self.ids.branch();
        let bytes = match self.build_request(&message, &flows[0], &branch) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fail(&ticket, &error);
                return;
            }
        };
        let flow = flows.remove(0);
        let id = self.add_client(method, branch, flow, bytes, Some(ticket.app), None);
        self.set_alternatives(&id, Way { flows, open, host });
        if method != "INVITE" {
            if method == "SUBSCRIBE" {
                self.subscribing(&id);
            }
            self.launch_and_echo(&id, &ticket);
            return;
        }
        if let (Some(leg), Some(client)) = (leg, self.clients.get_mut(&id)) {
            client.leg = Some(leg.to_owned());
            let request = client.request.clone();
            self.show_leg_of(call_of_leg(leg), &request);
            self.legs.insert(leg.to_owned(), Place::Client(id.clone()));
        }
        self.store_invite_of_app(&id, Some(ticket));
    }

    fn build_request(
        &mut self,
        message: &Message<'_>,
        flow: &Flow,
        branch: &str,
    ) -> Result<Bytes, String> {
        let Start::Request { method, uri } = message.start else {
            return Err("not a request".to_owned());
        };
        let local = self.shown(flow);
        let mut writer = Writer::request(method, uri);
        writer.header(Name::Via, &self.via(flow, branch));
        writer.header(
            Name::MaxForwards,
            message.get(Name::MaxForwards).unwrap_or("70"),
        );
        writer.header(Name::From, &self.from(message, flow)?);
        let to = message
            .get(Name::To)
            .map(|to| localise(Name::To, to, local).into_owned());
        writer.header(Name::To, &to.unwrap_or_else(|| format!("<{uri}>")));
        let call_id = message.get(Name::CallId).map(str::to_owned);
        writer.header(Name::CallId, &call_id.unwrap_or_else(|| self.ids.uuid()));
        let number = match message.get(Name::CSeq) {
            Some(value) => cseq(value).ok_or("malformed CSeq")?.0,
            None => 1,
        };
        writer.header(Name::CSeq, &format!("{number} {method}"));
        let wants_contact = matches!(
            method,
            "INVITE" | "SUBSCRIBE" | "REFER" | "UPDATE" | "NOTIFY" | "OPTIONS"
        );
        if wants_contact && message.get(Name::Contact).is_none() {
            writer.header(Name::Contact, &self.contact(flow, None));
        }
        let mut skip = vec![
            Name::From,
            Name::To,
            Name::CallId,
            Name::CSeq,
            Name::MaxForwards,
            self.hidden(message, flow),
        ];
        if method != "REGISTER" {
            // Of the device's binding; see `retarget`.
            for path in message.all(Name::Path) {
                writer.header(Name::Route, path);
            }
            skip.push(Name::Path);
        }
        copy_headers(&mut writer, message, &skip, local).map_err(|error| error.to_string())?;
        if method == "INVITE" {
            self.write_session_offer(&mut writer, message);
        }
        let bytes = writer.finish(message.body);
        if flow.transport == Transport::Udp && bytes.len() > DATAGRAM_BYTES_MAX {
            return Err("message too large for a datagram".to_owned());
        }
        Ok(bytes.into())
    }

    /// P-Asserted-Identity when it must not go to this peer; else a header that is left
    /// out anyway.
    pub(super) fn hidden(&self, message: &Message<'_>, flow: &Flow) -> Name {
        if hides_identity(message) && !self.trusts(flow.remote.ip()) {
            Name::PAssertedIdentity
        } else {
            Name::CallId
        }
    }

    /// From as the application says, else our Contact; always with a tag.
    fn from(&mut self, message: &Message<'_>, flow: &Flow) -> Result<String, String> {
        let given = message
            .get(Name::From)
            .or_else(|| message.get(Name::Contact));
        let value = match given {
            Some(value) => localise(Name::From, value, self.shown(flow)).into_owned(),
            None => self.contact(flow, None),
        };
        let address = Address::parse(&value).ok_or("malformed From")?;
        let tag = match (message.get(Name::From), address.tag()) {
            (Some(_), Some(tag)) => tag.to_owned(),
            _ => self.ids.tag(),
        };
        Ok(format!("{};tag={tag}", without_tag(&value)))
    }
}
