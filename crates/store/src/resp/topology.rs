//! Who is in the cluster and where clients find it, as this node sees it now.

use std::net::{IpAddr, SocketAddr};

use super::session::Session;
use crate::store::Store;

/// One node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its number.
    pub id: u64,
    /// Its Redis door.
    pub address: SocketAddr,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it is this node.
    pub is_here: bool,
    /// Index of the last entry known to be in its log, when known.
    pub offset: u64,
    /// Whether it has not answered the leader for long; only the leader knows.
    pub is_silent: bool,
}

/// A node that has not answered the leader for so long counts as down.
const SILENT_MS: u64 = 5_000;

impl NodeView {
    /// 40 hexadecimal digits, as Redis Cluster names nodes.
    pub fn name(&self) -> String {
        format!("{:040x}", self.id)
    }

    /// The IP address as clients of Redis read it.
    pub fn ip(&self) -> String {
        plain(self.address.ip()).to_string()
    }
}

fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Every node whose door is known. The connection's own address stands for this node when the
/// configuration names none.
pub fn nodes(session: &Session, store: &Store) -> Vec<NodeView> {
    let status = store.status();
    let view = |(id, configured): (&u64, Option<SocketAddr>)| {
        let is_here = *id == status.id;
        let address = configured.or(is_here.then_some(session.entry.local))?;
        let peer = status.peers.iter().find(|peer| peer.id == *id);
        let silent = peer.and_then(|peer| peer.last_ack_ms);
        Some(NodeView {
            id: *id,
            address,
            leads: status.leader == Some(*id),
            is_here,
            offset: match peer {
                Some(peer) => peer.matched.unwrap_or(0),
                None if is_here => status.applied,
                None => 0,
            },
            is_silent: silent.is_some_and(|silent| silent > SILENT_MS),
        })
    };
    let peers = session.shared.peers.iter();
    peers
        .filter_map(|(id, peer)| view((id, peer.resp)))
        .collect()
}

/// The leader, when there is one and its door is known.
pub fn leader(session: &Session, store: &Store) -> Option<NodeView> {
    nodes(session, store).into_iter().find(|node| node.leads)
}
