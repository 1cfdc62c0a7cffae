//! How many dialogs each address and each user has: calls and subscriptions together.
//!
//! Counted on the leader, and anew after a takeover from the records. Whoever has too many is
//! refused new ones; what it has goes on.
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::flow::Flow;
use super::metrics::Metrics;
use super::{Core, Id};
use crate::durable::DialogRecord;
use crate::limits::{DIALOGS_PER_SOURCE, DIALOGS_PER_USER};
use crate::message::{Essentials, Message, Name};

/// How many dialogs are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogLimits {
    /// With one address.
    pub per_source: usize,
    /// Begun by one authenticated user.
    pub per_user: usize,
}

impl Default for DialogLimits {
    fn default() -> Self {
        DialogLimits {
            per_source: DIALOGS_PER_SOURCE,
            per_user: DIALOGS_PER_USER,
        }
    }
}

/// Whose dialog it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Party {
    source: IpAddr,
    user: Option<Box<str>>,
}

impl Party {
    /// The peer's address, and the user that began the dialog.
    fn of(record: &DialogRecord) -> Party {
        let user = Message::parse(&record.request).ok().and_then(|message| {
            let user = message.get(Name::XAuthenticatedUser);
            user.map(Box::from)
        });
        Party {
            source: record.flow.remote.ip(),
            user,
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct DialogCounts {
    sources: HashMap<IpAddr, usize>,
    users: HashMap<Box<str>, usize>,
}

impl DialogCounts {
    fn add(&mut self, party: &Party) {
        *self.sources.entry(party.source).or_default() += 1;
        if let Some(user) = &party.user {
            *self.users.entry(user.clone()).or_default() += 1;
        }
    }

    pub fn remove(&mut self, party: &Party) {
        take_one(&mut self.sources, &party.source);
        if let Some(user) = &party.user {
            take_one(&mut self.users, user);
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn is_full(&self, source: IpAddr, user: Option<&str>, limits: DialogLimits) -> bool {
        let of_source = self.sources.get(&source).copied().unwrap_or(0);
        let of_user = user.and_then(|user| self.users.get(user)).copied();
        of_source >= limits.per_source || of_user.unwrap_or(0) >= limits.per_user
    }
}

fn take_one<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Core {
    /// A dialog was made; it is counted until it is dropped.
    pub(super) fn count_dialog(&mut self, id: &Id) {
        let Some(live) = self.dialogs.get_mut(id).filter(|l| l.party.is_none()) else {
            return;
        };
        let party = Party::of(&live.record);
        self.dialog_counts.add(&party);
        live.party = Some(party);
    }

    /// Answers 503 to a request that would make one dialog too many; true when it did.
    pub(super) fn refuses_dialog(
        &mut self,
        flow: &Flow,
        message: &Message<'_>,
        essentials: &Essentials<'_>,
        user: Option<&str>,
    ) -> bool {
        let (source, limits) = (flow.remote.ip(), self.setup.dialog_limits);
        if !self.dialog_counts.is_full(source, user, limits) {
            return false;
        }
        Metrics::count(&self.setup.metrics.guard.crowded_dialogs);
        tracing::warn!(%source, user, "too many dialogs");
        let after = self.load.retry_after_s().to_string();
        self.respond(flow, message, essentials, 503, &[("Retry-After", &after)]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_user_are_full_only_while_they_have_too_many() {
        let limits = DialogLimits {
            per_source: 2,
            per_user: 1,
        };
        let party = |last, user: Option<&str>| Party {
            source: IpAddr::from([192, 0, 2, last]),
            user: user.map(Box::from),
        };
        let (one, other) = (party(1, Some("1001")), party(1, None));
        let mut counts = DialogCounts::default();
        counts.add(&one);
        assert!(!counts.is_full(one.source, None, limits));
        assert!(counts.is_full(party(2, None).source, Some("1001"), limits));
        counts.add(&other);
        assert!(counts.is_full(one.source, None, limits));
        assert!(!counts.is_full(party(2, None).source, Some("1002"), limits));
        counts.remove(&one);
        assert!(!counts.is_full(one.source, Some("1001"), limits));
        counts.remove(&other);
        assert!(counts.sources.is_empty() && counts.users.is_empty());
    }
}
