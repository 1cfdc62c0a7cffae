//! Dialogs (RFC 3261 section 12): identity, sequence numbers, route set, targets.
//!
//! A dialog is a plain value that goes into the journal as it is.
#![forbid(unsafe_code)]

pub mod session;
pub mod subscription;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::message::{Address, Essentials, Message, Name, Writer, list};

/// `Call-ID;from-tag=tag` with the tag of the request that created the dialog. Tokens of
/// the drachtio protocol are split at `|`, so that letter is escaped.
pub fn dialog_id(call_id: &str, from_tag: &str) -> String {
    format!("{call_id};from-tag={from_tag}").replace('|', "%7C")
}

/// One dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty until it has one.
    pub remote_tag: String,
    /// Our address as it stands in From, without the tag.
    pub local: String,
    /// The peer's address as it stands in To, without the tag.
    pub remote: String,
    /// The last CSeq number we used.
    pub local_seq: u32,
    /// The last CSeq number the peer used.
    pub remote_seq: Option<u32>,
    /// Route values in the order of our requests.
    pub routes: Vec<String>,
    /// The URI our requests go to.
    pub target: String,
    /// Our Contact value.
    pub contact: String,
}

/// Whether a request fits the sequence (RFC 3261 section 12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// In order.
    Next,
    /// Lower than one seen before: answer 500.
    Old,
}

impl Dialog {
    /// Our side when we answer `request` with tag `local_tag` and Contact `contact`.
    /// None without a Contact to send to.
    pub fn uas(
        request: &Message<'_>,
        essentials: &Essentials<'_>,
        local_tag: &str,
        contact: &str,
    ) -> Option<Dialog> {
        Some(Dialog {
            call_id: essentials.call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: essentials.from.tag().unwrap_or_default().to_owned(),
            local: without_tag(request.get(Name::To)?),
            remote: without_tag(request.get(Name::From)?),
            local_seq: 0,
            remote_seq: Some(essentials.cseq),
            routes: record_routes(request),
            target: contact_uri(request)?,
            contact: contact.to_owned(),
        })
    }

    /// Our side when `response` answers our `request`. None without a tag; without a
    /// Contact the Request-URI stays the target.
    pub fn uac(
        request: &Message<'_>,
        sent: &Essentials<'_>,
        response: &Message<'_>,
        received: &Essentials<'_>,
    ) -> Option<Dialog> {
        let crate::message::Start::Request { uri, .. } = request.start else {
            return None;
        };
        let mut routes = record_routes(response);
        routes.reverse();
        Some(Dialog {
            call_id: sent.call_id.to_owned(),
            local_tag: sent.from.tag()?.to_owned(),
            remote_tag: received.to.tag()?.to_owned(),
            local: without_tag(request.get(Name::From)?),
            remote: without_tag(request.get(Name::To)?),
            local_seq: sent.cseq,
            remote_seq: None,
            routes,
            target: contact_uri(response).unwrap_or_else(|| uri.to_owned()),
            contact: request.get(Name::Contact).unwrap_or_default().to_owned(),
        })
    }

    /// Takes the CSeq of a request of the peer.
    pub fn receive(&mut self, cseq: u32) -> Sequence {
        if self.remote_seq.is_some_and(|last| cseq < last) {
            return Sequence::Old;
        }
        self.remote_seq = Some(cseq);
        Sequence::Next
    }

    /// Target refresh by a re-INVITE, an UPDATE or a 2xx to one (RFC 3261 section 12.2).
    pub fn refresh(&mut self, message: &Message<'_>) {
        if let Some(uri) = contact_uri(message) {
            self.target = uri;
        }
    }

    /// The first lines of a request in this dialog: start line to CSeq, with Route.
    pub fn write(&self, method: &str, uri: &str, cseq: u32, via: &str) -> Writer {
        let mut writer = Writer::request(method, uri);
        writer.header(Name::Via, via);
        for route in &self.routes {
            writer.header(Name::Route, route);
        }
        writer.header(Name::MaxForwards, "70");
        writer.header(
            Name::From,
            &format!("{};tag={}", self.local, self.local_tag),
        );
        let tag = if self.remote_tag.is_empty() {
            String::new()
        } else {
            format!(";tag={}", self.remote_tag)
        };
        writer.header(Name::To, &format!("{}{tag}", self.remote));
        writer.header(Name::CallId, &self.call_id);
        writer.header(Name::CSeq, &format!("{cseq} {method}"));
        writer
    }
}

/// The URI of the first Contact.
pub fn contact_uri(message: &Message<'_>) -> Option<String> {
    let first = list(message.get(Name::Contact)?).next()?;
    let address = Address::parse(first)?;
    (address.uri != "*").then(|| address.uri.to_owned())
}

fn record_routes(message: &Message<'_>) -> Vec<String> {
    message
        .all(Name::RecordRoute)
        .flat_map(list)
        .map(str::to_owned)
        .collect()
}

/// A From or To value without its tag.
pub fn without_tag(value: &str) -> String {
    let Some(address) = Address::parse(value) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(value.len());
    if !address.display.is_empty() {
        text.push_str(address.display);
        text.push(' ');
    }
    text.push('<');
    text.push_str(address.uri);
    text.push('>');
    let keep = |name: &str| !name.eq_ignore_ascii_case("tag");
    address.params.write(&mut text, keep);
    text
}

/// Whether a header that is a list of tokens names this one: Supported, Require, Allow.
pub fn has_token(message: &Message<'_>, name: Name, token: &str) -> bool {
    let mut all = message.all(name).flat_map(list);
    all.any(|one| one.eq_ignore_ascii_case(token))
}
