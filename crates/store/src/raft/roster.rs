//! The links of this node: four to each other member, kept in step with the membership.
//!
//! Before a node knows any membership it has links to the nodes of its configuration. Where the
//! configuration names an address for a node, that one is used; the replicated address otherwise.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::standing::Standing;
use super::transport::Lane;
use super::transport::link::{Dialer, Link};
use super::transport::tls::Security;
use super::types::Members;
use crate::environment::network::Network;

/// The links of this node.
pub struct Roster {
    standing: Arc<Standing>,
    security: Security,
    network: Arc<dyn Network>,
    configured: BTreeMap<u64, SocketAddr>,
    links: RwLock<BTreeMap<u64, BTreeMap<Lane, Link>>>,
    /// Queue-full refusals of links that are gone.
    refused: AtomicU64,
    stop: watch::Receiver<bool>,
}

impl Roster {
    /// No links yet.
    pub fn new(
        standing: Arc<Standing>,
        security: Security,
        network: Arc<dyn Network>,
        configured: BTreeMap<u64, SocketAddr>,
        stop: watch::Receiver<bool>,
    ) -> Roster {
        Roster {
            standing,
            security,
            network,
            configured,
            links: RwLock::default(),
            refused: AtomicU64::new(0),
            stop,
        }
    }

    /// Opens links to the configured nodes.
    pub fn open(&self) {
        for (id, address) in &self.configured {
            self.ensure(*id, *address);
        }
    }

    /// A link to a node.
    pub fn link(&self, id: u64, lane: Lane) -> Option<Link> {
        self.links.read().get(&id)?.get(&lane).cloned()
    }

    /// Makes sure that there are links to a node, and that they go to the right address.
    pub fn ensure(&self, id: u64, address: SocketAddr) {
        if id == self.standing.id {
            return;
        }
        let address = self.configured.get(&id).copied().unwrap_or(address);
        let mut links = self.links.write();
        if let Some(lanes) = links.get(&id) {
            lanes.values().for_each(|link| link.redirect(address));
            return;
        }
        let dialer = Dialer {
            standing: self.standing.clone(),
            to: id,
            security: self.security.clone(),
            network: self.network.clone(),
        };
        let open = |lane| {
            (
                lane,
                Link::start(dialer.clone(), address, self.stop.clone()),
            )
        };
        links.insert(id, Lane::ALL.map(open).into());
    }

    /// Opens the links that the membership needs and closes the others.
    pub fn follow(&self, members: &Members) {
        for (id, node) in members.nodes() {
            self.ensure(*id, node.raft);
        }
        self.forget(|id| members.get_node(&id).is_some());
    }

    /// Closes the links to all nodes but some.
    pub fn forget(&self, keep: impl Fn(u64) -> bool) {
        let mut links = self.links.write();
        let gone: Vec<u64> = links.keys().copied().filter(|id| !keep(*id)).collect();
        for id in gone {
            let lanes = links.remove(&id).unwrap_or_default();
            let refused = lanes.values().map(Link::refused).sum();
            self.refused.fetch_add(refused, Ordering::Relaxed);
            tracing::info!(id, "links to a node that is no member were closed");
        }
    }

    /// Opens every link again without a gap.
    pub fn renew(&self) {
        let links = self.links.read();
        links
            .values()
            .flat_map(BTreeMap::values)
            .for_each(Link::renew);
    }

    /// Whether the links for votes to a node are up.
    pub fn reaches(&self, id: u64) -> bool {
        self.link(id, Lane::Control)
            .is_some_and(|link| link.is_up())
    }

    /// Requests refused because a queue was full.
    pub fn refused(&self) -> u64 {
        let gone = self.refused.load(Ordering::Relaxed);
        let links = self.links.read();
        let links = links.values().flat_map(BTreeMap::values);
        gone + links.map(Link::refused).sum::<u64>()
    }
}
