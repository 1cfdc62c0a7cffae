//! One party of a flow as far as ICE and DTLS go: lives with the flow, on its worker. Pure but for
//! random numbers.

use std::sync::Arc;

use super::fingerprint::Fingerprint;
use super::handshake::{Keys, Step};
use super::ice::{Agent, Credentials, Heard, Remote};
use super::identity::Identity;
use super::secrecy::Secrecy;
use super::state::{KeyState, LegState};
use crate::address::RawAddress;

/// What signalling has agreed on for one party.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Spec {
    /// Credentials of ours, and what the party said.
    pub ice: Option<(Credentials, Remote)>,
    /// Whether we begin the handshake, and the party's certificates.
    pub dtls: Option<(bool, Vec<Fingerprint>)>,
    /// RTCP has a port of its own, so ICE has two components (RFC 8445 section 5.1.1.1) and DTLS
    /// two associations (RFC 5764 section 4.2). Known once both parties have spoken.
    #[serde(default)]
    pub apart: bool,
}

impl Spec {
    /// Nothing that would need a leg.
    pub fn is_empty(&self) -> bool {
        self.ice.is_none() && self.dtls.is_none()
    }

    /// ICE without the ways that RTCP does not need (RFC 5761 section 5.1.3).
    fn ways(&self) -> Option<(Credentials, Remote)> {
        let (ours, mut theirs) = self.ice.clone()?;
        if !self.apart {
            theirs.candidates[1].clear();
        }
        Some((ours, theirs))
    }
}

/// What a datagram is by its first byte (RFC 7983 section 7); media are all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
}

impl Control {
    /// Reads the first byte.
    pub fn of(packet: &[u8]) -> Option<Control> {
        match packet.first()? {
            0..=3 => Some(Control::Stun),
            20..=63 => Some(Control::Dtls),
            _ => None,
        }
    }
}

/// What became of a datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// It was not what it has to be.
    pub strange: bool,
    /// Its source is the party's; true when it is to be used from now on.
    pub valid: Option<bool>,
    /// The handshake is over.
    pub keys: Option<Keys>,
}

impl Taken {
    fn strange() -> Taken {
        Taken {
            strange: true,
            ..Taken::default()
        }
    }
}

/// A datagram of ours.
pub struct Outgoing {
    /// From the port of RTCP.
    pub rtcp: bool,
    /// Where it goes.
    pub to: RawAddress,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// One party.
pub struct Leg {
    spec: Spec,
    identity: Arc<Identity>,
    agent: Option<Agent>,
    /// For the port of RTP, and for RTCP on a port of its own.
    secrecy: [Option<Box<Secrecy>>; 2],
    outgoing: Vec<Outgoing>,
}

impl Leg {
    /// Begins what signalling agreed on.
    pub fn new(identity: &Arc<Identity>, spec: Spec, now_ns: u64) -> Leg {
        let mut leg = Leg {
            spec: Spec::default(),
            identity: Arc::clone(identity),
            agent: None,
            secrecy: [None, None],
            outgoing: Vec::new(),
        };
        leg.settle(spec, now_ns);
        leg
    }

    /// Goes on where another engine was; keys that were made there stay.
    pub fn restored(identity: &Arc<Identity>, state: &LegState, now_ns: u64) -> Leg {
        let mut leg = Leg::new(identity, state.spec(), now_ns);
        for (secrecy, keys) in leg.secrecy.iter_mut().zip(state.keys()) {
            if let Some(secrecy) = secrecy {
                secrecy.resume(keys.and_then(KeyState::keys));
            }
        }
        leg
    }

    /// What another engine needs to go on; `remotes` is where the ports of the party are.
    pub fn state(&self, remotes: [Option<&RawAddress>; 2]) -> LegState {
        let remotes = remotes.map(|remote| remote.and_then(|remote| remote.to_std()));
        LegState::of(
            &self.spec,
            [false, true].map(|rtcp| self.keys(rtcp)),
            remotes,
        )
    }

    /// Signalling has agreed again: what stays the same goes on, what is new begins anew.
    pub fn settle(&mut self, spec: Spec, now_ns: u64) {
        let names = |spec: &Spec| {
            let (ours, theirs) = spec.ice.clone()?;
            Some((ours, theirs.credentials, theirs.lite))
        };
        if names(&self.spec) != names(&spec) {
            let begin = |(ours, theirs)| Agent::new(ours, theirs, now_ns);
            self.agent = spec.ways().map(begin);
        } else if let (Some(agent), Some((_, theirs))) = (&mut self.agent, spec.ways()) {
            agent.candidates(theirs, now_ns);
        }
        let anew = self.spec.dtls != spec.dtls;
        for (secrecy, wanted) in self.secrecy.iter_mut().zip([true, spec.apart]) {
            if anew || !wanted || secrecy.is_none() {
                let dtls = spec.dtls.clone().filter(|_| wanted);
                let begin = |(active, expected)| Box::new(Secrecy::new(active, expected));
                *secrecy = dtls.map(begin);
            }
        }
        self.spec = spec;
    }

    /// What it was made from.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The keys of the handshake on the port of RTP, or of RTCP, once it is over.
    pub fn keys(&self, rtcp: bool) -> Option<&Keys> {
        self.secrecy[usize::from(rtcp)].as_ref()?.keys()
    }

    /// Sources are told by checks and not learned.
    pub fn has_ice(&self) -> bool {
        self.agent.is_some()
    }

    /// Keys come from a handshake: without any, nothing is let through.
    pub fn has_dtls(&self) -> bool {
        self.secrecy[0].is_some()
    }

    /// RTCP has a handshake of its own.
    pub fn shakes_apart(&self) -> bool {
        self.secrecy[1].is_some()
    }

    /// A STUN message came.
    pub fn hear(&mut self, rtcp: bool, source: &RawAddress, packet: &[u8], now_ns: u64) -> Taken {
        let counts = &self.identity.counts;
        let (Some(agent), Some(address)) = (&mut self.agent, source.to_std()) else {
            return Taken::strange();
        };
        let (valid, reply) = match agent.hear(rtcp, address, packet, now_ns) {
            Heard::Strange => {
                counts.strange_checks.add(1);
                return Taken::strange();
            }
            Heard::Noise => (None, None),
            Heard::Reply(reply) => (None, Some(reply)),
            Heard::Valid { nominated, reply } => (Some(nominated), reply),
        };
        if let Some(bytes) = reply {
            counts.checks.add(1);
            let to = *source;
            self.outgoing.push(Outgoing { rtcp, to, bytes });
        }
        Taken {
            valid,
            ..Taken::default()
        }
    }

    /// A DTLS datagram came from a source that may send, on the port of RTP or RTCP.
    pub fn shake(&mut self, rtcp: bool, source: &RawAddress, packet: &[u8], now_ns: u64) -> Taken {
        let Some(secrecy) = &mut self.secrecy[usize::from(rtcp)] else {
            return Taken::strange();
        };
        let Some(step) = secrecy.shake(&self.identity, source, packet, now_ns) else {
            return Taken::strange();
        };
        let to = secrecy.peer();
        let keys = self.note(rtcp, to, step);
        // A source that finishes the handshake is the party's.
        Taken {
            valid: keys.is_some().then_some(true),
            keys,
            ..Taken::default()
        }
    }

    /// Does what is due; `remotes` is where the ports of the party are, as far as that is known.
    /// Answers true when the party's consent to packets on the port of RTP, and of RTCP, is gone.
    pub fn tick(&mut self, remotes: [Option<&RawAddress>; 2], now_ns: u64) -> [bool; 2] {
        let mut lost = [false; 2];
        if let Some(agent) = &mut self.agent {
            while let Some(rtcp) = agent.lost_consent(now_ns) {
                lost[usize::from(rtcp)] = true;
            }
            while let Some(check) = agent.next_check(now_ns) {
                self.outgoing.push(Outgoing {
                    rtcp: check.rtcp,
                    to: RawAddress::from(check.to),
                    bytes: check.bytes,
                });
            }
        }
        for rtcp in [false, true] {
            let at = usize::from(rtcp);
            if let Some(secrecy) = &mut self.secrecy[at] {
                let step = secrecy.tick(&self.identity, remotes[at], now_ns);
                let to = secrecy.peer();
                self.note(rtcp, to, step);
            }
        }
        lost
    }

    /// Takes what a step of a handshake says; answers the keys it has made.
    fn note(&mut self, rtcp: bool, to: Option<RawAddress>, step: Step) -> Option<Keys> {
        if let Some(to) = to {
            let out = |bytes| Outgoing { rtcp, to, bytes };
            self.outgoing.extend(step.packets.into_iter().map(out));
        }
        step.keys
    }

    /// When [`Self::tick`] is wanted at the latest.
    pub fn due_ns(&self) -> Option<u64> {
        let checks = self.agent.as_ref().and_then(Agent::due_ns);
        let running = self.secrecy.iter().flatten();
        let repeats = running.filter_map(|secrecy| secrecy.due_ns());
        checks.into_iter().chain(repeats).min()
    }

    /// Datagrams of ours that wait to be sent.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }
}

#[cfg(test)]
mod tests;
