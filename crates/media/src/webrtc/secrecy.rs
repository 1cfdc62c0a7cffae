//! The DTLS association of one port of a party, from agreement to keys. Pure but for random
//! numbers.
//!
//! A party has one for the port of RTP, and another one, with a handshake and keys of its own, when
//! its RTCP does not share that port (RFC 5764 section 4.2). Both show the same certificates, and
//! who begins the one begins the other: signalling has said it once for the line.

use std::sync::Arc;

use super::fingerprint::Fingerprint;
use super::handshake::{Failure, Handshake, Keys, Step};
use super::identity::Identity;
use crate::address::RawAddress;
use crate::limits::HANDSHAKE_TRIES_MAX;

/// A handshake, or that there is to be one.
pub struct Secrecy {
    active: bool,
    expected: Vec<Fingerprint>,
    tries: u32,
    running: Option<Handshake>,
    /// Where its datagrams come from and go to, once one came.
    peer: Option<RawAddress>,
    keys: Option<Keys>,
}

impl Secrecy {
    /// Nothing was said yet. `active`: we begin, towards a party with one of these certificates.
    pub fn new(active: bool, expected: Vec<Fingerprint>) -> Secrecy {
        Secrecy {
            active,
            expected,
            tries: 0,
            running: None,
            peer: None,
            keys: None,
        }
    }

    /// Another engine has made these keys. Without any there will be none: a new handshake would
    /// show a certificate that the party does not expect.
    pub fn resume(&mut self, keys: Option<Keys>) {
        if keys.is_none() {
            self.tries = HANDSHAKE_TRIES_MAX;
        }
        self.keys = keys;
    }

    /// What the handshake has made.
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// Where its datagrams go.
    pub fn peer(&self) -> Option<RawAddress> {
        self.peer
    }

    /// When [`Self::tick`] is wanted at the latest.
    pub fn due_ns(&self) -> Option<u64> {
        self.running.as_ref().and_then(Handshake::due_ns)
    }

    /// A datagram came from a source that may send; none: it has no meaning here.
    pub fn shake(
        &mut self,
        identity: &Arc<Identity>,
        source: &RawAddress,
        packet: &[u8],
        now_ns: u64,
    ) -> Option<Step> {
        if self.running.is_none() && !self.begin(identity, source, now_ns) {
            return None;
        }
        let running = self.running.as_mut()?;
        self.peer = Some(*source);
        let result = running.take(packet, now_ns);
        Some(self.after(identity, result))
    }

    /// Does what is due; `remote` is where the party is, as far as that is known.
    pub fn tick(
        &mut self,
        identity: &Arc<Identity>,
        remote: Option<&RawAddress>,
        now_ns: u64,
    ) -> Step {
        let begins = self.active && self.running.is_none() && self.keys.is_none();
        if begins && let Some(remote) = remote {
            self.peer = Some(*remote);
            self.begin(identity, remote, now_ns);
        }
        match &mut self.running {
            Some(running) if running.due_ns().is_some_and(|due_ns| due_ns <= now_ns) => {
                let result = running.tick(now_ns);
                self.after(identity, result)
            }
            _ => Step::default(),
        }
    }

    /// Begins a handshake, unless there were enough or too many are under way.
    fn begin(&mut self, identity: &Arc<Identity>, peer: &RawAddress, now_ns: u64) -> bool {
        if self.keys.is_some() {
            // The connection is over; a new one needs a new agreement.
            return false;
        }
        let may = self.tries < HANDSHAKE_TRIES_MAX;
        let expected = self.expected.clone();
        let source = peer.to_std().filter(|_| may).map(|address| address.ip());
        let begin = |source| Handshake::begin(identity, self.active, expected, source, now_ns);
        self.running = source.and_then(begin);
        if self.running.is_none() {
            identity.counts.refused.add(1);
            if self.active {
                // Asked again by time, an active end would never rest; a passive one is asked
                // again by its peer.
                self.tries = HANDSHAKE_TRIES_MAX.max(self.tries);
            }
        } else {
            self.tries += 1;
        }
        self.running.is_some()
    }

    fn after(&mut self, identity: &Identity, result: Result<Step, Failure>) -> Step {
        let counts = &identity.counts;
        match result {
            Ok(step) => {
                if step.keys.is_some() {
                    counts.handshakes.add(1);
                    self.keys.clone_from(&step.keys);
                }
                step
            }
            Err(failure) => {
                // What was agreed before stays in use: an end that cannot be believed ends nothing.
                self.running = None;
                if self.keys.is_none() {
                    counts.failed.add(1);
                    counts
                        .mismatched
                        .add(u64::from(failure == Failure::Mismatch));
                }
                Step::default()
            }
        }
    }
}
