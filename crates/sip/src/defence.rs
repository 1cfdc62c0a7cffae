//! Who guesses passwords, and for how long nobody listens to them. Pure.
//!
//! A source that was wrong too often is banned: its new requests are dropped without a word.
//! Where devices are registered, one wrong phone must not silence its neighbours behind the
//! same address, so there only the pair of source and user is banned. A user that many sources
//! guess at answers strangers ever more slowly, and its own devices as always.
//!
//! Owner: the scores, on the leader only. Bans are keys of the store (`sip:ban:...`) with an
//! expiry: a new leader goes on with them, and deleting a key lifts the ban.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::generations::Generations;
use crate::limits::{
    BAN_MS_FIRST, BAN_MS_MAX, BANS_MAX, SCORES_MAX, USER_WAIT_MS_MAX, USER_WRONGS_FREE,
    WRONG_WINDOW_MS, WRONGS_MAX,
};

/// Prefix of ban keys.
pub const BAN: &str = "sip:ban:";

/// A ban as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The source: an IPv4 address, or the first address of an IPv6 /64.
    pub address: IpAddr,
    /// Only requests in this name, when devices are registered from the source.
    pub user: Option<String>,
    /// Since when, Unix milliseconds.
    pub since: u64,
    /// Until when, Unix milliseconds.
    pub until: u64,
    /// How many bans there were in a row, this one included.
    pub times: u32,
}

impl Ban {
    /// Its key in the store.
    pub fn key(&self) -> String {
        match &self.user {
            Some(user) => format!("{BAN}{}/{user}", self.address),
            None => format!("{BAN}{}", self.address),
        }
    }

    /// The stored value.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a ban has only texts and numbers")
    }
}

type Party = (IpAddr, Option<Box<str>>);

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    wrongs: u32,
    last_ms: u64,
    bans: u32,
}

/// One more point, after what was before is forgiven in time.
fn wrong_again<K: Hash + Eq>(scores: &mut Generations<K, Score>, key: K, now_ms: u64) -> Score {
    let mut score = scores.get(&key).copied().unwrap_or_default();
    if now_ms.saturating_sub(score.last_ms) > WRONG_WINDOW_MS {
        score.wrongs = 0;
    }
    score.wrongs += 1;
    score.last_ms = now_ms;
    scores.insert(key, score, now_ms);
    score
}

/// All scores and bans.
#[derive(Debug)]
pub struct Defence {
    parties: Generations<Party, Score>,
    users: Generations<Box<str>, Score>,
    bans: HashMap<Party, Ban>,
}

impl Default for Defence {
    fn default() -> Self {
        Self {
            parties: Generations::new(SCORES_MAX, WRONG_WINDOW_MS),
            users: Generations::new(SCORES_MAX, WRONG_WINDOW_MS),
            bans: HashMap::new(),
        }
    }
}

/// One attempt to show who one is.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Where from.
    pub source: IpAddr,
    /// The name given.
    pub user: &'a str,
    /// Devices are registered from this source.
    pub is_home: bool,
    /// Devices of this very user are; may be false for a user at whom nobody has guessed.
    pub is_own: bool,
}

impl Attempt<'_> {
    fn party(&self) -> Party {
        let user = self.is_home.then(|| self.user.into());
        (network_of(self.source), user)
    }
}

/// What a wrong answer led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// One more point.
    Counted,
    /// A ban begins: store it.
    Banned(Ban),
    /// There are too many bans already.
    Full,
}

impl Defence {
    /// Whether a source without registered devices is banned.
    pub fn is_banned(&self, source: IpAddr, now_ms: u64) -> bool {
        self.holds(&(network_of(source), None), now_ms)
    }

    fn holds(&self, party: &Party, now_ms: u64) -> bool {
        self.bans.get(party).is_some_and(|ban| ban.until > now_ms)
    }

    /// Whether an answer to a challenge is refused, right or wrong.
    pub fn refuses(&self, attempt: &Attempt<'_>, now_ms: u64) -> bool {
        let waits = !attempt.is_own && self.waits(attempt.user, now_ms);
        waits || (!self.bans.is_empty() && self.holds(&attempt.party(), now_ms))
    }

    /// Whether somebody has guessed at this user lately. Only then is it worth finding out
    /// whether an attempt is of the user's own devices.
    pub fn is_guessed_at(&self, user: &str) -> bool {
        !self.users.is_empty() && self.users.get(user).is_some()
    }

    /// Whether strangers have to wait before they may try this user's password again.
    fn waits(&self, user: &str, now_ms: u64) -> bool {
        let Some(score) = self.users.get(user) else {
            return false;
        };
        let over = score.wrongs.saturating_sub(USER_WRONGS_FREE);
        let wait_ms = (1_000_u64 << over.min(16)).min(USER_WAIT_MS_MAX);
        over > 0 && now_ms < score.last_ms + wait_ms
    }

    /// A wrong password, or a user that is not there.
    pub fn wrong(&mut self, attempt: &Attempt<'_>, now_ms: u64) -> Wrong {
        // What is refused anyway does not make the wait longer, or it would never end.
        if !self.waits(attempt.user, now_ms) {
            wrong_again(&mut self.users, attempt.user.into(), now_ms);
        }
        let party = attempt.party();
        let mut score = wrong_again(&mut self.parties, party.clone(), now_ms);
        if score.wrongs < WRONGS_MAX {
            return Wrong::Counted;
        }
        score.wrongs = 0;
        score.bans += 1;
        self.parties.insert(party.clone(), score, now_ms);
        let times = score.bans;
        self.bans.retain(|_, ban| ban.until > now_ms);
        if self.bans.len() >= BANS_MAX {
            return Wrong::Full;
        }
        let length_ms = (BAN_MS_FIRST << (times - 1).min(16)).min(BAN_MS_MAX);
        let ban = Ban {
            address: party.0,
            user: party.1.as_deref().map(str::to_owned),
            since: now_ms,
            until: now_ms + length_ms,
            times,
        };
        self.bans.insert(party, ban.clone());
        Wrong::Banned(ban)
    }

    /// A right password.
    pub fn right(&mut self, attempt: &Attempt<'_>) {
        if !self.parties.is_empty() {
            self.parties.remove(&attempt.party());
        }
        if attempt.is_own {
            self.users.remove(attempt.user);
        }
    }

    /// The store applied a change below [`BAN`].
    pub fn applied(&mut self, key: &str, value: Option<&[u8]>, now_ms: u64) {
        let Some(text) = key.strip_prefix(BAN) else {
            return;
        };
        if let Some(ban) = value.and_then(|json| serde_json::from_slice::<Ban>(json).ok()) {
            let party = (ban.address, ban.user.as_deref().map(Box::from));
            if self.bans.len() < BANS_MAX || self.bans.contains_key(&party) {
                self.bans.insert(party, ban);
            }
            return;
        }
        let (address, user) = match text.split_once('/') {
            Some((address, user)) => (address, Some(Box::from(user))),
            None => (text, None),
        };
        let Ok(address) = address.parse() else {
            return;
        };
        let party = (address, user);
        if self
            .bans
            .remove(&party)
            .is_some_and(|ban| ban.until > now_ms)
        {
            // Lifted by hand: nothing is held against it.
            self.parties.remove(&party);
        }
    }

    /// How many bans there are.
    pub fn ban_count(&self) -> usize {
        self.bans.len()
    }

    /// Forgets the scores: this node leads no more. Bans stay, they belong to the store.
    pub fn follow(&mut self) {
        self.parties.clear();
        self.users.clear();
    }

    /// Forgets everything: the store begins anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What one party controls: an IPv4 address, or an IPv6 /64.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests;
