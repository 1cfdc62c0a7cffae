//! One party of a flow as far as ICE and DTLS go: lives with the flow, on its worker. Pure but for
//! random numbers.

use std::sync::Arc;

use super::fingerprint::Fingerprint;
use super::handshake::{Failure, Handshake, Keys, Step};
use super::ice::{Agent, Credentials, Heard, Remote};
use super::identity::Identity;
use super::state::LegState;
use crate::address::RawAddress;
use crate::limits::HANDSHAKE_TRIES_MAX;

/// What signalling has agreed on for one party.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Spec {
    /// Credentials of ours, and what the party said.
    pub ice: Option<(Credentials, Remote)>,
    /// Whether we begin the handshake, and the party's certificates.
    pub dtls: Option<(bool, Vec<Fingerprint>)>,
}

impl Spec {
    /// Nothing that would need a leg.
    pub fn is_empty(&self) -> bool {
        self.ice.is_none() && self.dtls.is_none()
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

/// A handshake, or that there is to be one.
struct Secrecy {
    active: bool,
    expected: Vec<Fingerprint>,
    tries: u32,
    running: Option<Handshake>,
    /// Where its datagrams come from and go to, once one came.
    peer: Option<RawAddress>,
    keys: Option<Keys>,
}

/// One party.
pub struct Leg {
    spec: Spec,
    identity: Arc<Identity>,
    agent: Option<Agent>,
    secrecy: Option<Secrecy>,
    outgoing: Vec<Outgoing>,
}

impl Leg {
    /// Begins what signalling agreed on.
    pub fn new(identity: &Arc<Identity>, spec: Spec, now_ns: u64) -> Leg {
        let mut leg = Leg {
            spec: Spec::default(),
            identity: Arc::clone(identity),
            agent: None,
            secrecy: None,
            outgoing: Vec::new(),
        };
        leg.settle(spec, now_ns);
        leg
    }

    /// Goes on where another engine was; keys that were made there stay.
    pub fn restored(identity: &Arc<Identity>, state: &LegState, now_ns: u64) -> Leg {
        let mut leg = Leg::new(identity, state.spec(), now_ns);
        if let (Some(secrecy), Some(dtls)) = (&mut leg.secrecy, &state.dtls) {
            secrecy.keys = dtls.keys.as_ref().and_then(super::KeyState::keys);
        }
        leg
    }

    /// What another engine needs to go on; `remote` is where the party is.
    pub fn state(&self, remote: Option<&RawAddress>) -> LegState {
        let remote = remote.and_then(|remote| remote.to_std());
        LegState::of(&self.spec, self.keys(), remote)
    }

    /// Signalling has agreed again: what stays the same goes on, what is new begins anew.
    pub fn settle(&mut self, spec: Spec, now_ns: u64) {
        let names = |spec: &Spec| {
            let (ours, theirs) = spec.ice.clone()?;
            Some((ours, theirs.credentials, theirs.lite))
        };
        if names(&self.spec) != names(&spec) {
            let begin = |(ours, theirs)| Agent::new(ours, theirs, now_ns);
            self.agent = spec.ice.clone().map(begin);
        } else if let (Some(agent), Some((_, theirs))) = (&mut self.agent, &spec.ice) {
            agent.candidates(theirs.clone(), now_ns);
        }
        if self.spec.dtls != spec.dtls {
            self.secrecy = spec.dtls.clone().map(|(active, expected)| Secrecy {
                active,
                expected,
                tries: 0,
                running: None,
                peer: None,
                keys: None,
            });
        }
        self.spec = spec;
    }

    /// What it was made from.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The keys of the handshake, once it is over.
    pub fn keys(&self) -> Option<&Keys> {
        self.secrecy.as_ref()?.keys.as_ref()
    }

    /// Sources are told by checks and not learned.
    pub fn has_ice(&self) -> bool {
        self.agent.is_some()
    }

    /// Keys come from a handshake: without any, nothing is let through.
    pub fn has_dtls(&self) -> bool {
        self.secrecy.is_some()
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

    /// A DTLS datagram came from a source that may send.
    pub fn shake(&mut self, source: &RawAddress, packet: &[u8], now_ns: u64) -> Taken {
        let Some(secrecy) = &mut self.secrecy else {
            return Taken::strange();
        };
        if secrecy.running.is_none() && !secrecy.begin(&self.identity, source, now_ns) {
            return Taken::strange();
        }
        let Some(running) = &mut secrecy.running else {
            return Taken::strange();
        };
        secrecy.peer = Some(*source);
        let result = running.take(packet, now_ns);
        let keys = self.after(result);
        // A source that finishes the handshake is the party's.
        Taken {
            valid: keys.is_some().then_some(true),
            keys,
            ..Taken::default()
        }
    }

    /// Does what is due; `remote` is where the party is, as far as that is known. Answers true when
    /// the party's consent to packets on the port of RTP, and of RTCP, is gone.
    pub fn tick(&mut self, remote: Option<&RawAddress>, now_ns: u64) -> [bool; 2] {
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
        if let Some(secrecy) = &mut self.secrecy {
            let begins = secrecy.active && secrecy.running.is_none() && secrecy.keys.is_none();
            if begins && let Some(remote) = remote {
                secrecy.peer = Some(*remote);
                secrecy.begin(&self.identity, remote, now_ns);
            }
            if let Some(running) = &mut secrecy.running
                && running.due_ns().is_some_and(|due_ns| due_ns <= now_ns)
            {
                let result = running.tick(now_ns);
                self.after(result);
            }
        }
        lost
    }

    /// When [`Self::tick`] is wanted at the latest.
    pub fn due_ns(&self) -> Option<u64> {
        let checks = self.agent.as_ref().and_then(Agent::due_ns);
        let running = self.secrecy.as_ref().and_then(|s| s.running.as_ref());
        let repeats = running.and_then(Handshake::due_ns);
        checks.into_iter().chain(repeats).min()
    }

    /// Datagrams of ours that wait to be sent.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    fn after(&mut self, result: Result<Step, Failure>) -> Option<Keys> {
        let secrecy = self.secrecy.as_mut()?;
        let counts = &self.identity.counts;
        match result {
            Ok(step) => {
                if let Some(to) = secrecy.peer {
                    let out = |bytes| Outgoing {
                        rtcp: false,
                        to,
                        bytes,
                    };
                    self.outgoing.extend(step.packets.into_iter().map(out));
                }
                if step.keys.is_some() {
                    counts.handshakes.add(1);
                    secrecy.keys.clone_from(&step.keys);
                }
                step.keys
            }
            Err(failure) => {
                // What was agreed before stays in use: an end that cannot be believed ends nothing.
                secrecy.running = None;
                if secrecy.keys.is_none() {
                    counts.failed.add(1);
                    counts
                        .mismatched
                        .add(u64::from(failure == Failure::Mismatch));
                }
                None
            }
        }
    }
}

impl Secrecy {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn raw(text: &str) -> RawAddress {
        RawAddress::from(text.parse::<SocketAddr>().expect("an address"))
    }

    fn identity() -> Arc<Identity> {
        Identity::new().expect("an identity")
    }

    fn now() -> u64 {
        crate::epoll::monotonic_ns()
    }

    fn leg(own: &Arc<Identity>, active: bool, other: &Arc<Identity>) -> Leg {
        let dtls = Some((active, vec![other.fingerprint().clone()]));
        Leg::new(own, Spec { ice: None, dtls }, now())
    }

    /// Carries datagrams between two legs until nothing is said any more.
    fn shake(legs: &mut [Leg; 2]) {
        let remote = raw("10.0.0.1:1");
        for leg in legs.iter_mut() {
            leg.tick(Some(&remote), now());
        }
        while let Some(n) = (0..2).find(|&n| !legs[n].outgoing.is_empty()) {
            for out in legs[n].take_outgoing() {
                legs[1 - n].shake(&remote, &out.bytes, now());
            }
        }
    }

    #[test]
    fn the_active_end_begins_once_it_knows_where_and_both_have_keys() {
        let (a, b) = (identity(), identity());
        let mut legs = [leg(&a, true, &b), leg(&b, false, &a)];
        legs[0].tick(None, now());
        assert!(legs[0].outgoing.is_empty());
        shake(&mut legs);
        let [one, other] = &legs;
        let (one, other) = (one.keys().expect("keys"), other.keys().expect("keys"));
        assert_eq!((&one.ours, &one.theirs), (&other.theirs, &other.ours));
        assert_eq!(
            (a.counts.handshakes.get(), b.counts.handshakes.get()),
            (1, 1)
        );
    }

    #[test]
    fn what_stays_the_same_goes_on_and_another_certificate_begins_anew() {
        let (a, b, c) = (identity(), identity(), identity());
        let mut legs = [leg(&a, true, &b), leg(&b, false, &a)];
        shake(&mut legs);
        let before = legs[0].keys().cloned();
        let same = legs[0].spec().clone();
        legs[0].settle(same, now());
        assert_eq!(legs[0].keys().cloned(), before);
        let dtls = Some((true, vec![c.fingerprint().clone()]));
        legs[0].settle(Spec { ice: None, dtls }, now());
        legs[1] = leg(&c, false, &a);
        assert_eq!(legs[0].keys(), None);
        shake(&mut legs);
        assert_ne!(legs[0].keys().cloned(), before);
        assert_eq!(
            legs[0].keys().map(|keys| &keys.ours),
            legs[1].keys().map(|keys| &keys.theirs)
        );
    }

    #[test]
    fn a_wrong_certificate_is_counted_and_not_tried_for_ever() {
        let (a, b, c) = (identity(), identity(), identity());
        let mut legs = [leg(&a, true, &c), leg(&b, false, &a)];
        for _ in 0..HANDSHAKE_TRIES_MAX + 2 {
            shake(&mut legs);
            legs[1] = leg(&b, false, &a);
        }
        assert!(legs[0].keys().is_none());
        assert_eq!(a.counts.mismatched.get(), u64::from(HANDSHAKE_TRIES_MAX));
        assert!(a.counts.refused.get() > 0 && a.running() == 0);
    }

    #[test]
    fn what_is_written_down_goes_on_elsewhere_with_the_same_keys() {
        let (a, b, c) = (identity(), identity(), identity());
        let (ours, theirs) = (Credentials::random(), Credentials::random());
        let mut legs = [leg(&a, false, &b), leg(&b, true, &a)];
        shake(&mut legs);
        let mut spec = legs[0].spec().clone();
        let remote = Remote {
            credentials: theirs.clone(),
            ..Remote::default()
        };
        spec.ice = Some((ours.clone(), remote));
        legs[0].settle(spec, now());
        let at = raw("10.0.0.9:4000");
        let written = serde_json::to_string(&legs[0].state(Some(&at))).expect("JSON");
        let state: LegState = serde_json::from_str(&written).expect("a state");
        let mut other = Leg::restored(&c, &state, now());
        assert_eq!(other.keys(), legs[0].keys());
        assert_eq!(other.state(Some(&at)), state);
        let check = super::super::stun::Check {
            username: &format!("{}:{}", ours.name, theirs.name),
            password: &ours.password,
            priority: 1,
            controlling: true,
            tie_breaker: 1,
            nominates: true,
        };
        let check = super::super::stun::request([1; 12], &check);
        let taken = other.hear(false, &at, &check, now());
        assert_eq!(
            taken.valid,
            Some(true),
            "who knew the old one knows this one"
        );
        let shown = format!("{state:?}");
        assert!(
            !shown.contains(&ours.password),
            "secrets do not end up in logs"
        );
    }

    #[test]
    fn the_first_byte_tells() {
        let of = |byte: u8| Control::of(&[byte]);
        assert_eq!([of(0), of(3)], [Some(Control::Stun); 2]);
        assert_eq!([of(20), of(63)], [Some(Control::Dtls); 2]);
        assert_eq!([of(4), of(19), of(64), of(128), of(191)], [None; 5]);
        assert_eq!(Control::of(&[]), None);
    }
}
