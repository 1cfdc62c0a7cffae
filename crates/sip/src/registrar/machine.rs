//! From the bindings a user has and a REGISTER to the bindings it has then.
use super::binding::{Binding, Registration};
use super::request::{ContactWish, Contacts};
use super::seen::seen;
use crate::engine::flow::Flow;
use crate::message::{Refusal, Via};
use crate::policy::WhenFull;

/// The limits of a registrar, seconds.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Shorter wishes are refused.
    pub min_expires_s: u32,
    /// Longer wishes are cut.
    pub max_expires_s: u32,
    /// Without a wish.
    pub default_expires_s: u32,
    /// Bindings of one user.
    pub max_bindings: usize,
    /// What becomes of one more.
    pub when_full: WhenFull,
}

/// A REGISTER of an authenticated user.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The user.
    pub user: &'a str,
    /// Its Contacts.
    pub contacts: Contacts,
    /// Its Expires header, seconds.
    pub expires_s: Option<u32>,
    /// Its Call-ID.
    pub call_id: &'a str,
    /// Its CSeq number.
    pub cseq: u32,
    /// Its User-Agent.
    pub user_agent: Option<&'a str>,
    /// Between whom it travelled.
    pub flow: Flow,
    /// Its topmost Via.
    pub via: Via<'a>,
    /// Its Path, nearest to us first.
    pub path: Vec<String>,
    /// Now, Unix milliseconds.
    pub now_ms: u64,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Answer 200 with these bindings, nothing to store.
    Same(Registration),
    /// Store this (delete the key when there is no binding), then answer 200 with it.
    Changed(Registration),
    /// Answer 423 with Min-Expires.
    TooBrief,
    /// Refuse.
    Refused(Refusal),
}

/// RFC 3261 section 10.3 steps 6 to 8. All Contacts are taken or none.
pub fn register(current: Option<Registration>, wish: &Wish<'_>, rules: Rules) -> Outcome {
    let mut registration = current.unwrap_or_default();
    registration.user = wish.user.to_owned();
    let stored = registration.bindings.len();
    registration
        .bindings
        .retain(|binding| binding.expires_at > wish.now_ms);
    let mut changed = registration.bindings.len() != stored;
    match &wish.contacts {
        Contacts::Query => return Outcome::Same(registration),
        Contacts::RemoveAll => {
            if registration
                .bindings
                .iter()
                .any(|binding| is_stale(binding, wish))
            {
                return stale();
            }
            changed |= !registration.bindings.is_empty();
            registration.bindings.clear();
        }
        Contacts::Some(wishes) => {
            for contact in wishes {
                match take(&mut registration, contact, wish, rules) {
                    Ok(this) => changed |= this,
                    Err(outcome) => return outcome,
                }
            }
        }
    }
    if !make_room(&mut registration, wish, rules) {
        return Outcome::Refused(Refusal {
            status: 403,
            reason: "Too Many Bindings",
        });
    }
    if changed {
        Outcome::Changed(registration)
    } else {
        Outcome::Same(registration)
    }
}

/// Keeps within the limit; what this REGISTER asked for is never what goes.
fn make_room(registration: &mut Registration, wish: &Wish<'_>, rules: Rules) -> bool {
    while registration.bindings.len() > rules.max_bindings {
        let others = registration.bindings.iter().enumerate();
        let others = others.filter(|(_, one)| one.call_id != wish.call_id);
        let oldest = others.min_by_key(|(_, one)| one.refreshed_at);
        match oldest.filter(|_| rules.when_full == WhenFull::ReplaceOldest) {
            Some((at, _)) => registration.bindings.remove(at),
            None => return false,
        };
    }
    true
}

/// A REGISTER of the same Call-ID that was overtaken by a later one. The same number again
/// is a retransmission and is answered as before.
fn is_stale(binding: &Binding, wish: &Wish<'_>) -> bool {
    binding.call_id == wish.call_id && wish.cseq < binding.cseq
}

fn stale() -> Outcome {
    Outcome::Refused(Refusal {
        status: 500,
        reason: "Stale CSeq",
    })
}

/// Applies one Contact; tells whether anything changed.
fn take(
    registration: &mut Registration,
    contact: &ContactWish,
    wish: &Wish<'_>,
    rules: Rules,
) -> Result<bool, Outcome> {
    let asked_s = contact
        .expires_s
        .or(wish.expires_s)
        .unwrap_or(rules.default_expires_s);
    if asked_s != 0 && asked_s < rules.min_expires_s {
        return Err(Outcome::TooBrief);
    }
    let expires_s = asked_s.min(rules.max_expires_s);
    let found = registration
        .bindings
        .iter()
        .position(|b| is_same(b, contact));
    let (received, nat) = seen(&wish.flow, &wish.via, &contact.uri);
    let received = received.to_string();
    if let Some(at) = found {
        let binding = &registration.bindings[at];
        if is_stale(binding, wish) {
            return Err(stale());
        }
        let repeated = binding.call_id == wish.call_id && binding.cseq == wish.cseq;
        if repeated && expires_s != 0 && binding.received == received {
            return Ok(false);
        }
        if expires_s == 0 {
            registration.bindings.remove(at);
            return Ok(true);
        }
    } else if expires_s == 0 {
        return Ok(false);
    }
    let registered_at = found.map_or(wish.now_ms, |at| registration.bindings[at].registered_at);
    let binding = Binding {
        contact: contact.uri.clone(),
        received,
        local: wish.flow.listen().to_string(),
        call_id: wish.call_id.to_owned(),
        cseq: wish.cseq,
        expires_at: wish.now_ms + u64::from(expires_s) * 1_000,
        q: contact.q,
        instance: contact.instance.clone(),
        reg_id: contact.reg_id,
        user_agent: wish.user_agent.map(str::to_owned),
        registered_at,
        refreshed_at: wish.now_ms,
        path: wish.path.clone(),
        push: contact.push.clone(),
        nat,
    };
    match found {
        Some(at) => registration.bindings[at] = binding,
        None => registration.bindings.push(binding),
    }
    Ok(true)
}

/// A device is known by its instance when it tells one, and each of its flows by its reg-id
/// (RFC 5626 section 6); else by its Contact URI.
fn is_same(binding: &Binding, contact: &ContactWish) -> bool {
    match (&binding.instance, &contact.instance) {
        (Some(known), Some(told)) => known == told && binding.reg_id == contact.reg_id,
        _ => binding.contact == contact.uri,
    }
}
