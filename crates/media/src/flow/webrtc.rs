//! What a flow does with the packets of ICE and DTLS; see [`crate::webrtc`].

use std::sync::Arc;

use super::{Flow, Side, SocketId, Verdict, renewed};
use crate::address::RawAddress;
use crate::control::unix_us;
use crate::security::rtcp_index;
use crate::srtp::sdes::Crypto;
use crate::stream::{Named, Source};
use crate::webrtc::{Control, Identity, Leg, Spec, Taken};

/// Shortest time between two looks at the legs of a flow.
const TICK_NS: u64 = 1_000_000;

impl Side {
    /// Signalling has agreed on ICE and DTLS, or on none. Keys of a handshake before stay until
    /// there are others.
    pub fn reach(&mut self, identity: &Arc<Identity>, spec: Spec, now_ns: u64) {
        let had = self.has_dtls();
        if spec.is_empty() {
            self.leg = None;
        } else if let Some(leg) = &mut self.leg {
            leg.settle(spec, now_ns);
        } else {
            self.leg = Some(Box::new(Leg::new(identity, spec, now_ns)));
        }
        if had != self.has_dtls() {
            self.secure = None;
        }
        if !self.shakes_apart() {
            self.rtcp_secure = None;
        }
        let checked = self.has_ice();
        for stream in [&mut self.rtp, &mut self.rtcp] {
            let named = *stream.named();
            if named.checked != checked {
                stream.name(Named { checked, ..named });
            }
        }
    }

    /// Where the party is, checks tell.
    pub fn has_ice(&self) -> bool {
        self.leg.as_ref().is_some_and(|leg| leg.has_ice())
    }

    /// Its keys come from a handshake.
    pub fn has_dtls(&self) -> bool {
        self.leg.as_ref().is_some_and(|leg| leg.has_dtls())
    }

    /// RTCP has a port and a handshake of its own.
    pub fn shakes_apart(&self) -> bool {
        self.leg.as_ref().is_some_and(|leg| leg.shakes_apart())
    }

    /// Nothing may be let through the port of RTP, or of RTCP, yet.
    pub fn waits_for_keys(&self, rtcp: bool) -> bool {
        let secure = if rtcp && self.shakes_apart() {
            &self.rtcp_secure
        } else {
            &self.secure
        };
        secure.is_none() && self.has_dtls()
    }

    /// Takes what a leg made of a datagram; true when the party is somewhere else than before.
    fn follow(&mut self, rtcp: bool, source: &RawAddress, taken: Taken) -> bool {
        let stream = if rtcp { &mut self.rtcp } else { &mut self.rtp };
        let moved = match taken.valid {
            Some(nominated) => {
                stream.learn(source);
                stream.prove(source, nominated)
            }
            None => false,
        };
        if let Some(keys) = taken.keys {
            let theirs = Crypto {
                tag: 0,
                key: keys.theirs,
                mki_bytes: 0,
            };
            let secure = if rtcp {
                &mut self.rtcp_secure
            } else {
                &mut self.secure
            };
            let keys = Some((theirs, keys.ours));
            *secure = renewed(secure.take(), keys, rtcp_index(unix_us()));
        }
        moved
    }
}

impl Flow {
    /// Takes a datagram that is none of media; none: it is one, or this party has no others.
    pub(super) fn take_control(
        &mut self,
        at: SocketId,
        source: &RawAddress,
        packet: &[u8],
        now_ns: u64,
    ) -> Option<Verdict> {
        let side = &mut self.sides[at.side()];
        let leg = side.leg.as_mut()?;
        let stream = if at.rtcp() { &side.rtcp } else { &side.rtp };
        let taken = match Control::of(packet)? {
            Control::Stun => leg.hear(at.rtcp(), source, packet, now_ns),
            Control::Dtls if stream.judge(source) == Source::Wrong => {
                return Some(self.refuse(at, Verdict::WrongSource));
            }
            Control::Dtls if at.rtcp() && !leg.shakes_apart() => {
                return Some(self.refuse(at, Verdict::NotRtp));
            }
            Control::Dtls => leg.shake(at.rtcp(), source, packet, now_ns),
        };
        if taken.strange {
            return Some(self.refuse(at, Verdict::Forged));
        }
        let learned = side.follow(at.rtcp(), source, taken);
        Some(Verdict::Control { learned })
    }

    fn refuse(&mut self, at: SocketId, verdict: Verdict) -> Verdict {
        let side = &mut self.sides[at.side()];
        let stream = if at.rtcp() {
            &mut side.rtcp
        } else {
            &mut side.rtp
        };
        stream.counters.errors += 1;
        verdict
    }

    /// Does what is due on its legs; answers the datagrams that are to be sent.
    pub fn tick_legs(&mut self, now_ns: u64) -> Vec<(SocketId, RawAddress, Vec<u8>)> {
        let mut out = Vec::new();
        for (n, side) in self.sides.iter_mut().enumerate() {
            let Some(leg) = &mut side.leg else { continue };
            let [rtp, rtcp] = leg.tick([side.rtp.remote(), side.rtcp.remote()], now_ns);
            let outgoing = leg.take_outgoing().into_iter();
            out.extend(outgoing.map(|one| (SocketId::new(n, one.rtcp), one.to, one.bytes)));
            if rtp {
                side.rtp.forget();
            }
            if rtcp {
                side.rtcp.forget();
            }
        }
        out
    }

    /// When [`Self::tick_legs`] is wanted next, unless that was told before.
    pub fn take_leg_due(&mut self, now_ns: u64) -> Option<u64> {
        let legs = self.sides.iter().filter_map(|side| side.leg.as_ref());
        let due_ns = legs.filter_map(|leg| leg.due_ns()).min()?;
        // What is due at once was done at once: nobody may keep the worker busy.
        let due_ns = due_ns.max(now_ns + TICK_NS);
        if self.timer_ns.is_some_and(|known_ns| known_ns <= due_ns) {
            return None;
        }
        self.timer_ns = Some(due_ns);
        Some(due_ns)
    }

    /// A time that was told has come; false when an earlier one was told since.
    pub fn leg_was_due(&mut self, due_ns: u64) -> bool {
        let latest = self.timer_ns == Some(due_ns);
        if latest {
            self.timer_ns = None;
        }
        latest
    }

    /// It is at another worker now, which was told no time yet.
    pub fn forget_leg_due(&mut self) {
        self.timer_ns = None;
    }

    /// Whether a party has ICE or DTLS.
    pub fn has_legs(&self) -> bool {
        self.sides.iter().any(|side| side.leg.is_some())
    }
}
