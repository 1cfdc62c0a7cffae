//! A node's copy of the replicated SIP state, fed by the log in order, kept encoded:
//! a standby needs it only at takeover.
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use serde::Deserialize;

use super::peers::{PEER, Peers};
use super::proxied::{PROXY, ProxyRecord};
use super::record::{DIALOG, DialogRecord, REGISTRATION, TRANSACTION, TransactionRecord};
use crate::config::Listen;
use crate::registrar::{Binding, Registration};
use crate::view::EngineEvent;

/// How to reach a registered Contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// `udp/10.77.0.200:5062`.
    pub received: String,
    /// `udp/10.77.0.100:5060`.
    pub local: String,
}

/// The part of a stored registration that the copy is searched by. Every node reads it twice for
/// each registration, so nothing of it is copied.
#[derive(Deserialize)]
struct IndexedUser<'a> {
    #[serde(borrow)]
    bindings: Vec<Indexed<'a>>,
}

#[derive(Deserialize)]
struct Indexed<'a> {
    #[serde(borrow)]
    contact: Cow<'a, str>,
    #[serde(borrow)]
    received: Cow<'a, str>,
}

/// The copy.
#[derive(Default)]
pub struct Replica {
    transactions: HashMap<String, Vec<u8>>,
    dialogs: HashMap<String, Vec<u8>>,
    proxies: HashMap<String, Vec<u8>>,
    registrations: HashMap<Box<str>, Box<[u8]>>,
    /// Hash of a Contact URI to the user that registered it.
    contacts: HashMap<u64, Box<str>>,
    bindings: usize,
    /// How many bindings came from each address.
    sources: HashMap<IpAddr, u32>,
    peers: Peers,
    hasher: RandomState,
}

impl Replica {
    /// Applies one change; tells what the host should know.
    pub fn apply(&mut self, key: &str, value: Option<Vec<u8>>) -> Option<EngineEvent> {
        if let Some(user) = key.strip_prefix(REGISTRATION) {
            self.apply_registration(user, value);
            None
        } else if let Some(id) = key.strip_prefix(DIALOG) {
            self.apply_dialog(id, value)
        } else if let Some(id) = key.strip_prefix(TRANSACTION) {
            match value {
                Some(value) => self.transactions.insert(id.to_owned(), value),
                None => self.transactions.remove(id),
            };
            None
        } else if let Some(id) = key.strip_prefix(PROXY) {
            match value {
                Some(value) => self.proxies.insert(id.to_owned(), value),
                None => self.proxies.remove(id),
            };
            None
        } else if let Some(name) = key.strip_prefix(PEER) {
            self.peers.apply(name, value.as_deref());
            None
        } else {
            None
        }
    }

    fn apply_dialog(&mut self, id: &str, value: Option<Vec<u8>>) -> Option<EngineEvent> {
        let Some(value) = value else {
            self.dialogs.remove(id)?;
            return Some(EngineEvent::DialogRemoved { id: id.to_owned() });
        };
        let record = DialogRecord::decode(&value);
        let old = self.dialogs.insert(id.to_owned(), value);
        let record = record?;
        if record.is_call {
            return Some(EngineEvent::DialogConfirmed(record.view()));
        }
        // The call ended, its subscriptions go on.
        let was_call = DialogRecord::decode(&old?).is_some_and(|old| old.is_call);
        was_call.then(|| EngineEvent::DialogRemoved { id: id.to_owned() })
    }

    fn apply_registration(&mut self, user: &str, value: Option<Vec<u8>>) {
        if let Some(old) = self.registrations.remove(user) {
            for binding in index(&old) {
                self.contacts
                    .remove(&self.hasher.hash_one(binding.contact.as_ref()));
                self.bindings -= 1;
                let source = source_of(&binding.received);
                if let Some(count) = source.and_then(|ip| self.sources.get_mut(&ip)) {
                    *count -= 1;
                }
                if let Some(ip) = source.filter(|ip| self.sources.get(ip) == Some(&0)) {
                    self.sources.remove(&ip);
                }
            }
        }
        let Some(value) = value else { return };
        // An unreadable value counts as no bindings now and when it is replaced.
        for binding in index(&value) {
            let contact = self.hasher.hash_one(binding.contact.as_ref());
            self.contacts.insert(contact, user.into());
            self.bindings += 1;
            if let Some(source) = source_of(&binding.received) {
                *self.sources.entry(source).or_default() += 1;
            }
        }
        self.registrations
            .insert(user.into(), value.into_boxed_slice());
    }

    /// Forgets everything; tells which dialogs are gone.
    pub fn reset(&mut self) -> Vec<EngineEvent> {
        let gone = std::mem::take(&mut self.dialogs);
        self.transactions.clear();
        self.proxies.clear();
        self.registrations.clear();
        self.contacts.clear();
        self.bindings = 0;
        self.sources.clear();
        self.peers.clear();
        gone.into_keys()
            .map(|id| EngineEvent::DialogRemoved { id })
            .collect()
    }

    /// The bindings of a user.
    pub fn registration(&self, user: &str) -> Option<Registration> {
        Registration::from_json(self.registrations.get(user)?)
    }

    /// All bindings, not expired, of the user who registered a Contact URI.
    pub fn bindings_with(&self, contact: &str, now_ms: u64) -> Option<Vec<Binding>> {
        let user = self.contacts.get(&self.hasher.hash_one(contact))?;
        let mut bindings = self.registration(user)?.bindings;
        bindings.retain(|binding| binding.expires_at > now_ms);
        Some(bindings)
    }

    /// How to reach a Contact URI that is registered and not expired.
    pub fn reach(&self, contact: &str, now_ms: u64) -> Option<Reach> {
        let mut live = self.bindings_with(contact, now_ms)?.into_iter();
        let found = live.find(|binding| binding.contact == contact)?;
        Some(Reach {
            received: found.received,
            local: found.local,
        })
    }

    /// Whether devices are registered from an address.
    pub fn has_devices_at(&self, ip: IpAddr) -> bool {
        self.sources.contains_key(&ip)
    }

    /// Whether devices of this user are.
    pub fn is_device_of(&self, user: &str, ip: IpAddr) -> bool {
        self.has_devices_at(ip)
            && self.registration(user).is_some_and(|registration| {
                let mut sources = registration
                    .bindings
                    .iter()
                    .filter_map(|binding| source_of(&binding.received));
                sources.any(|source| source == ip)
            })
    }

    /// Whether a trunk sends from an address: its calls need no password of a user.
    pub fn is_peer(&self, ip: IpAddr) -> bool {
        self.peers.has(ip)
    }

    /// Everybody with bindings.
    pub fn users(&self) -> Vec<Box<str>> {
        self.registrations.keys().cloned().collect()
    }

    /// All dialogs, decoded.
    pub fn dialogs(&self) -> impl Iterator<Item = DialogRecord> {
        self.dialogs
            .values()
            .filter_map(|value| DialogRecord::decode(value))
    }

    /// All transactions, decoded.
    pub fn transactions(&self) -> impl Iterator<Item = TransactionRecord> {
        self.transactions
            .values()
            .filter_map(|value| TransactionRecord::decode(value))
    }

    /// All forwarded INVITEs, decoded.
    pub fn proxies(&self) -> impl Iterator<Item = ProxyRecord> {
        self.proxies
            .values()
            .filter_map(|value| ProxyRecord::decode(value))
    }

    /// Whether there is a dialog.
    pub fn has_dialog(&self, id: &str) -> bool {
        self.dialogs.contains_key(id)
    }

    /// How many dialogs.
    pub fn dialog_count(&self) -> usize {
        self.dialogs.len()
    }

    /// How many bindings of all users.
    pub fn binding_count(&self) -> usize {
        self.bindings
    }
}

/// The address a binding was registered from.
fn source_of(received: &str) -> Option<IpAddr> {
    let listen: Listen = received.parse().ok()?;
    Some(listen.address.ip())
}

/// The bindings of a stored value; none when it cannot be read.
fn index(value: &[u8]) -> Vec<Indexed<'_>> {
    let read: Option<IndexedUser<'_>> = serde_json::from_slice(value).ok();
    read.map_or_else(Vec::new, |read| read.bindings)
}
