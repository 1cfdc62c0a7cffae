//! What a REGISTER asks for, read from its headers.
use super::binding::Push;
use crate::limits::{CONTACTS_MAX, PATHS_MAX};
use crate::message::lexical::number;
use crate::message::{Address, Message, Name, Params, Refusal, Uri, list};

/// Extensions this registrar knows (RFC 3327, RFC 5626, RFC 5627).
pub const EXTENSIONS: [&str; 3] = ["path", "outbound", "gruu"];

/// One Contact of a REGISTER.
#[derive(Clone, Debug, PartialEq)]
pub struct ContactWish {
    /// The URI.
    pub uri: String,
    /// Its own expiry in seconds.
    pub expires_s: Option<u32>,
    /// Preference.
    pub q: f32,
    /// `+sip.instance`.
    pub instance: Option<String>,
    /// `reg-id`; counts only when the device supports outbound.
    pub reg_id: Option<u32>,
    /// How to wake the device.
    pub push: Option<Push>,
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

const fn bad(reason: &'static str) -> Refusal {
    Refusal {
        status: 400,
        reason,
    }
}

const BAD_CONTACT: Refusal = bad("Bad Contact");

/// Whether a header that lists option tags has this one.
pub fn lists(message: &Message<'_>, name: Name, tag: &str) -> bool {
    let mut tags = message.all(name).flat_map(list);
    tags.any(|one| one.eq_ignore_ascii_case(tag))
}

/// The extensions a request insists on that are not among `known` (RFC 3261 section 8.2.2.3).
pub fn unknown_extensions(message: &Message<'_>, known: &[&str]) -> Vec<String> {
    let wanted = message.all(Name::Require).flat_map(list);
    wanted
        .filter(|tag| !known.iter().any(|known| known.eq_ignore_ascii_case(tag)))
        .map(str::to_owned)
        .collect()
}

/// Reads Contacts; `*` goes alone and with Expires 0 only (RFC 3261 section 10.3 step 6).
pub fn contacts_of(message: &Message<'_>) -> Result<Contacts, Refusal> {
    let outbound = lists(message, Name::Supported, "outbound");
    let mut wishes: Vec<ContactWish> = Vec::new();
    let mut star = false;
    for value in message.all(Name::Contact).flat_map(list) {
        let address = Address::parse(value).ok_or(BAD_CONTACT)?;
        if address.uri == "*" {
            star = true;
            continue;
        }
        if wishes.len() == CONTACTS_MAX {
            return Err(bad("Too Many Contacts"));
        }
        wishes.push(wish_of(&address, outbound)?);
    }
    // RFC 5626 section 6: a flow is registered by itself.
    if wishes.len() > 1 && wishes.iter().any(|wish| wish.reg_id.is_some()) {
        return Err(bad("reg-id Beside Another Contact"));
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

fn wish_of(address: &Address<'_>, outbound: bool) -> Result<ContactWish, Refusal> {
    let params = address.params;
    // A malformed expiry counts as absent (RFC 3261 section 20.10 would take 3600).
    let expires_s = params.get("expires").and_then(number);
    let q = params.get("q").and_then(|q| q.parse::<f32>().ok());
    let q = q.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
    let uri = Uri::parse(address.uri).ok_or(BAD_CONTACT)?;
    let instance = params.get("+sip.instance").map(|id| id.trim_matches('"'));
    let instance = instance.filter(|id| !id.is_empty()).map(str::to_owned);
    let reg_id = match params.get("reg-id").filter(|_| instance.is_some()) {
        Some(text) if outbound => Some(number(text).filter(|id| *id > 0).ok_or(BAD_CONTACT)?),
        _ => None,
    };
    Ok(ContactWish {
        uri: address.uri.to_owned(),
        expires_s,
        q,
        instance,
        reg_id,
        push: push_of(uri.params),
    })
}

/// A device without both parameters cannot be woken (RFC 8599 section 5.6.1).
fn push_of(params: Params<'_>) -> Option<Push> {
    let text = |name| params.get(name).filter(|text| !text.is_empty());
    Some(Push {
        provider: text("pn-provider")?.to_owned(),
        prid: text("pn-prid")?.to_owned(),
        param: text("pn-param").map(str::to_owned),
    })
}

/// The Path of a REGISTER, nearest to us first (RFC 3327 section 5.3).
pub fn path_of(message: &Message<'_>) -> Result<Vec<String>, Refusal> {
    let mut path = Vec::new();
    for value in message.all(Name::Path).flat_map(list) {
        if path.len() == PATHS_MAX {
            return Err(bad("Path Too Long"));
        }
        Address::parse(value).ok_or(bad("Bad Path"))?;
        path.push(value.to_owned());
    }
    Ok(path)
}

/// Whether the first hop after the device keeps flows (RFC 5626 section 6): the device itself,
/// or the edge proxy that says so with `ob` in its Path.
pub fn first_hop_keeps_flows(message: &Message<'_>, path: &[String]) -> bool {
    let direct = message.all(Name::Via).flat_map(list).take(2).count() < 2;
    let edge = path.last().and_then(|value| Address::parse(value));
    let uri = edge.and_then(|edge| Uri::parse(edge.uri));
    direct || uri.is_some_and(|uri| uri.params.get("ob").is_some())
}
