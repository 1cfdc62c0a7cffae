//! Who is in the cluster and where clients find it, as this node sees it now.

use std::net::{IpAddr, SocketAddr};

use super::session::Session;
use crate::member::Member;
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
    /// Whether this node cannot reach it.
    pub is_silent: bool,
}

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
    let view = |member: Member| {
        let is_here = member.id == status.id;
        let address = member.resp.or(is_here.then_some(session.entry.local))?;
        Some(NodeView {
            id: member.id,
            address,
            leads: status.leader == Some(member.id),
            is_here,
            offset: match member.matched {
                Some(matched) => matched,
                None if is_here => status.applied,
                None => 0,
            },
            is_silent: !member.reachable,
        })
    };
    store.members().into_iter().filter_map(view).collect()
}

/// How many members vote.
pub fn voters(store: &Store) -> usize {
    store.members().iter().filter(|member| member.voter).count()
}

/// The leader, when there is one and its door is known.
pub fn leader(session: &Session, store: &Store) -> Option<NodeView> {
    nodes(session, store).into_iter().find(|node| node.leads)
}
