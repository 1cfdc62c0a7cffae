//! Peers whose calls need no password of a user: trunks, known by where they send from.
//!
//! Owner of `sip:peer:{name}`: call control. The engine only reads them, on every node.
use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;

use crate::limits::{PEER_NETWORKS_MAX, PEERS_MAX};
use crate::trust::Network;

/// Prefix of peer keys.
pub const PEER: &str = "sip:peer:";

/// The stored value.
#[derive(Deserialize)]
struct Record {
    networks: Vec<String>,
}

/// All peers, each with the networks its calls come from.
#[derive(Default)]
pub struct Peers(HashMap<Box<str>, Box<[Network]>>);

impl Peers {
    /// A peer is written or deleted; an unreadable value is a peer without networks.
    pub fn apply(&mut self, name: &str, value: Option<&[u8]>) {
        let Some(value) = value else {
            self.0.remove(name);
            return;
        };
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(name) {
            tracing::warn!(
                peer = name,
                "too many peers, calls of this one are challenged"
            );
            return;
        }
        let record: Option<Record> = serde_json::from_slice(value).ok();
        let texts = record.map_or_else(Vec::new, |record| record.networks);
        let networks = texts.iter().take(PEER_NETWORKS_MAX);
        let networks = networks.filter_map(|text| text.parse().ok()).collect();
        self.0.insert(name.into(), networks);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a peer sends from this address.
    pub fn has(&self, ip: IpAddr) -> bool {
        let mut networks = self.0.values().flatten();
        networks.any(|network| network.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_its_networks_until_it_is_deleted() {
        let ip: IpAddr = "192.0.2.7".parse().expect("an address");
        let mut peers = Peers::default();
        assert!(!peers.has(ip));
        peers.apply("a", Some(br#"{"networks":["x","192.0.2.0/24"]}"#));
        peers.apply("b", Some(br#"{"networks":["2001:db8::1"]}"#));
        assert!(peers.has(ip));
        assert!(peers.has("2001:db8::1".parse().expect("an address")));
        peers.apply("a", Some(b"?"));
        assert!(!peers.has(ip));
        peers.apply("b", None);
        assert!(!peers.has("2001:db8::1".parse().expect("an address")));
    }

    #[test]
    fn one_peer_too_many_is_left_out() {
        let mut peers = Peers::default();
        for i in 0..PEERS_MAX {
            peers.apply(&i.to_string(), Some(br#"{"networks":[]}"#));
        }
        let value: &[u8] = br#"{"networks":["192.0.2.7"]}"#;
        let ip: IpAddr = "192.0.2.7".parse().expect("an address");
        peers.apply("late", Some(value));
        assert!(!peers.has(ip));
        peers.apply("0", Some(value));
        assert!(peers.has(ip));
    }
}
