//! Subscriptions (RFC 6665) as usages of a dialog, besides or without a call.
use serde::{Deserialize, Serialize};

use crate::message::lexical::number;
use crate::message::{Message, Name, Params};

/// Expiry of a subscription whose messages name none, seconds; also for the implicit one
/// of REFER (RFC 3515 section 2.4.4).
const DEFAULT_EXPIRES_S: u32 = 3_600;
/// The other side may speak a little after the expiry, ms: 64*T1.
const GRACE_MS: u64 = 32_000;

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The event package, with its id: `presence`, `refer;id=4`.
    pub event: String,
    /// When it ends without a refresh, Unix milliseconds.
    pub expires_at_ms: u64,
}

/// The event a message is about, as subscriptions are told apart (RFC 6665 section 4.5.1).
pub fn event_of(message: &Message<'_>) -> String {
    let value = message.get(Name::Event).unwrap_or_default();
    let (package, params) = value.split_once(';').unwrap_or((value, ""));
    let package = package.trim().to_ascii_lowercase();
    match Params(params).get("id") {
        Some(id) => format!("{package};id={id}"),
        None => package,
    }
}

/// Whether a NOTIFY ends its subscription.
pub fn is_terminated(notify: &Message<'_>) -> bool {
    let state = notify.get(Name::SubscriptionState).unwrap_or_default();
    let state = state.split(';').next().unwrap_or_default().trim();
    state.eq_ignore_ascii_case("terminated")
}

/// Whether a 2xx to REFER says that nobody will be notified (RFC 4488).
pub fn is_without_subscription(answer: &Message<'_>) -> bool {
    let value = answer.get(Name::ReferSub).unwrap_or_default();
    let value = value.split(';').next().unwrap_or_default().trim();
    value.eq_ignore_ascii_case("false")
}

/// The lifetime a SUBSCRIBE and its 2xx agree on, seconds.
pub fn lifetime_s(request: &Message<'_>, answer: &Message<'_>) -> u32 {
    let of = |message: &Message<'_>| message.get(Name::Expires).and_then(number);
    of(answer).or(of(request)).unwrap_or(DEFAULT_EXPIRES_S)
}

/// The lifetime a NOTIFY states, seconds.
pub fn stated_lifetime_s(notify: &Message<'_>) -> Option<u32> {
    let value = notify.get(Name::SubscriptionState)?;
    let (_, params) = value.split_once(';')?;
    number(Params(params).get("expires")?)
}

/// Adds or prolongs a subscription; a lifetime of 0 lets it live for its last NOTIFY.
pub fn renew(all: &mut Vec<Subscription>, event: &str, lifetime_s: u32, now_ms: u64) {
    let expires_at_ms = now_ms + u64::from(lifetime_s) * 1_000 + GRACE_MS;
    match all.iter_mut().find(|one| one.event == event) {
        Some(one) => one.expires_at_ms = expires_at_ms,
        None => all.push(Subscription {
            event: event.to_owned(),
            expires_at_ms,
        }),
    }
}

/// Removes what a NOTIFY terminated; a REFER without id is meant by any `refer`.
pub fn end(all: &mut Vec<Subscription>, event: &str) {
    match all.iter().position(|one| one.event == event) {
        Some(at) => {
            all.remove(at);
        }
        None if event == "refer" => {
            let first = all.iter().position(|one| one.event.starts_with("refer"));
            if let Some(at) = first {
                all.remove(at);
            }
        }
        None => {}
    }
}
