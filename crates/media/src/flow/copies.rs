//! Copies of what a party sends, to those who subscribed to it (recorders, supervisors).
//!
//! A copy is the party's packet as it came, without its encryption: before anything is changed in
//! it for the other party.

use std::sync::Arc;

use super::Flow;
use crate::address::RawAddress;
use crate::packet::Kind;
use crate::ports::PortPair;

/// Where a copy goes.
pub struct CopyTo {
    /// Tag of the subscription.
    pub tag: Arc<str>,
    /// The ports it is sent from.
    pub ports: Arc<PortPair>,
    /// The subscriber's address.
    pub to: RawAddress,
    /// Payload types the subscriber takes, a bit each.
    pub takes: u128,
}

impl Flow {
    /// From now on RTP of `side` is copied.
    pub fn copy(&mut self, side: usize, copy: CopyTo) {
        self.copies[side].push(copy);
    }

    /// The copy that a subscription has of what `side` sends.
    pub fn copy_of(&self, side: usize, tag: &str) -> Option<&CopyTo> {
        self.copies[side].iter().find(|copy| &*copy.tag == tag)
    }

    /// The copies of a subscription end.
    pub fn end_copies(&mut self, tag: &str) {
        for copies in &mut self.copies {
            copies.retain(|copy| &*copy.tag != tag);
        }
    }

    /// Whether somebody gets copies.
    pub(super) fn is_copied(&self, side: usize) -> bool {
        !self.copies[side].is_empty()
    }

    /// Sends the copies of a packet. One that is lost is a subscriber's loss alone.
    pub(super) fn send_copies(&self, side: usize, kind: Kind, packet: &[u8]) {
        let Kind::Rtp(header) = kind else { return };
        for copy in &self.copies[side] {
            if copy.takes >> header.payload_type & 1 != 0 {
                copy.ports.rtp.send(packet, &copy.to);
            }
        }
    }
}
