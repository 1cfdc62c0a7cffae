//! What a REGISTER asks for, read from its headers.
use crate::message::lexical::number;
use crate::message::{Address, Message, Name, Refusal, Uri, list};

/// One Contact of a REGISTER.
#[derive(Clone, Debug, PartialEq)]
pub struct ContactWish {
    /// The URI.
    pub uri: String,
    /// Its own expiry in seconds.
    pub expires_s: Option<u32>,
    /// Preference.
    pub q: f32,
    /// Instance and reg-id.
    pub instance: Option<String>,
}

/// The Contacts of a REGISTER.
#[derive(Clone, Debug, PartialEq)]
pub enum Contacts {
    /// None: a question.
    Query,
    /// `*` with Expires 0.
    RemoveAll,
    /// Bindings to add, refresh or remove.
    Some(Vec<ContactWish>),
}

const BAD_CONTACT: Refusal = Refusal {
    status: 400,
    reason: "Bad Contact",
};

/// Reads Contacts; `*` goes alone and with Expires 0 only (RFC 3261 section 10.3 step 6).
pub fn contacts_of(message: &Message<'_>) -> Result<Contacts, Refusal> {
    let mut wishes = Vec::new();
    let mut star = false;
    for value in message.all(Name::Contact).flat_map(list) {
        let address = Address::parse(value).ok_or(BAD_CONTACT)?;
        if address.uri == "*" {
            star = true;
            continue;
        }
        let params = address.params;
        // A malformed expiry counts as absent (RFC 3261 section 20.10 would take 3600).
        let expires_s = params.get("expires").and_then(number);
        let q = params.get("q").and_then(|q| q.parse::<f32>().ok());
        let q = q.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
        Uri::parse(address.uri).ok_or(BAD_CONTACT)?;
        let instance = params
            .get("+sip.instance")
            .filter(|id| !id.is_empty())
            .map(|id| {
                let id = id.trim_matches('"');
                params
                    .get("reg-id")
                    .map_or_else(|| id.to_owned(), |reg| format!("{id};reg-id={reg}"))
            });
        wishes.push(ContactWish {
            uri: address.uri.to_owned(),
            expires_s,
            q,
            instance,
        });
    }
    match (star, wishes.is_empty()) {
        (false, true) => Ok(Contacts::Query),
        (false, false) => Ok(Contacts::Some(wishes)),
        (true, true) if message.get(Name::Expires).and_then(number) == Some(0) => {
            Ok(Contacts::RemoveAll)
        }
        (true, _) => Err(BAD_CONTACT),
    }
}
