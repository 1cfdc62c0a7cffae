//! `MOVED`: tells clients in cluster mode where the leader is.
//!
//! A plain client is never told: its commands are forwarded. A connection is in cluster mode once
//! it has asked for slots; such a client expects `MOVED` and would otherwise go on asking the
//! wrong node for ever.

use super::session::{Session, Step, refuse};
use super::topology;
use crate::keyspace::{find, slot_of};
use crate::reply::Command;
use crate::store::Store;

/// The redirection of a command, when there is one.
pub fn moved(session: &Session, command: &Command, store: &Store) -> Option<Step> {
    if !session.in_cluster_mode || store.is_leading() {
        return None;
    }
    let spec = find(command).ok()?;
    let key = *spec.keys_of(command).first()?;
    if session.read_only && spec.is_read() {
        return None;
    }
    // Without a leader the command is held here, as for everybody else.
    let leader = topology::leader(session, store).filter(|leader| !leader.is_here)?;
    session.shared.counters.moved();
    let (slot, ip, port) = (slot_of(key), leader.ip(), leader.address.port());
    Some(refuse(format!("MOVED {slot} {ip}:{port}")))
}
