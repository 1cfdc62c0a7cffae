//! Which directions of a flow the kernel may relay; see [`crate::fastpath`].

use super::{Flow, Side};
use crate::address::RawAddress;
use crate::fastpath::layout::Wanted;
use crate::fastpath::{FastPath, Moved, Offload};
use crate::limits::ESTABLISHED_PACKETS;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What looks like RTCP when the marker bit is set (RFC 5761 section 4): types 64 to 95.
const LIKE_RTCP: u128 = 0xffff_ffff << 64;
/// The newest packet of a stream that runs is not older, ns.
const RUNNING_NS: u64 = 1_000_000_000;
/// Numbers that the kernel and we may be apart: a burst, or events that only we see.
const APART_MAX: u16 = 1_000;

impl Flow {
    /// What the kernel is to do with packets of `side`; none when they are ours alone.
    fn wanted(&self, side: usize) -> Option<Wanted> {
        let (own, other) = (&self.sides[side], &self.sides[1 - side]);
        let is_plain = |one: &Side| one.secure.is_none() && one.leg.is_none();
        let plain = is_plain(own) && is_plain(other) && self.audio.is_none();
        let listeners = self.listeners.as_ref();
        let pressed = listeners.is_some_and(|known| known[side].is_running());
        if self.opaque || !plain || pressed || self.is_copied(side) {
            return None;
        }
        let (at, source) = (own.ports.local, other.ports.local);
        let from = own.rtp.settled()?.to_std()?;
        let target = other.rtp.remote().copied().and_then(RawAddress::to_std)?;
        let same = |address: SocketAddr| address.is_ipv4() == at.is_ipv4();
        if !same(source) || !same(target) || !is_reached(target) {
            return None;
        }
        let (ssrc, ..) = own.rtp.quality.newest()?;
        Some(Wanted {
            at,
            from,
            source,
            target,
            ssrc,
            clock_hz: self.clock_hz,
            refused: self.special[side] | LIKE_RTCP,
            tos: self.tos,
        })
    }

    /// Directions the kernel relays.
    pub fn offloaded(&self) -> usize {
        self.offloads.iter().flatten().count()
    }

    /// Whether what the kernel was told is no longer so.
    fn is_misplaced(&self) -> bool {
        let wrong = |side: usize, offload: &Offload| {
            let newest = self.sides[side].rtp.quality.newest();
            let number = newest.map_or(0, |(_, number, _)| number);
            let apart = number.wrapping_sub(offload.newest()) as i16;
            !offload.is_current()
                || self.wanted(side).as_ref() != Some(offload.wanted())
                || apart.unsigned_abs() > APART_MAX
        };
        let mut offloads = self.offloads.iter().enumerate();
        offloads.any(|(side, offload)| offload.as_ref().is_some_and(|offload| wrong(side, offload)))
    }

    /// Hands the directions that are established to the kernel.
    pub fn offload(&mut self, path: &Arc<FastPath>, now_ns: u64) {
        for side in 0..2 {
            let stream = &self.sides[side].rtp;
            let counters = stream.counters;
            let runs = now_ns.saturating_sub(counters.last_packet_ns) < RUNNING_NS;
            if self.offloads[side].is_some() || counters.packets < ESTABLISHED_PACKETS || !runs {
                continue;
            }
            if let Some(wanted) = self.wanted(side) {
                self.offloads[side] = path.offload(wanted, stream.quality.tally());
            }
        }
    }

    /// Takes the kernel's counts over; what is new in them.
    pub fn refresh(&mut self) -> Moved {
        let mut sum = Moved::default();
        for (side, offload) in self.sides.iter_mut().zip(&mut self.offloads) {
            let Some(offload) = offload else { continue };
            let (moved, tally) = offload.moved();
            side.rtp.fold(moved, offload.wanted().ssrc, &tally);
            sum.packets += moved.packets;
            sum.bytes += moved.bytes;
        }
        sum
    }

    /// [`Self::recall`], when the kernel would do what is no longer right.
    pub fn recall_if_misplaced(&mut self) -> Moved {
        if self.is_misplaced() {
            self.recall()
        } else {
            Moved::default()
        }
    }

    /// From now on every packet is ours; what the kernel's counts had new.
    pub fn recall(&mut self) -> Moved {
        self.offloads.iter_mut().flatten().for_each(Offload::leave);
        let moved = self.refresh();
        self.offloads = [None, None];
        moved
    }
}

/// An address that one interface leads to without more being said.
fn is_reached(target: SocketAddr) -> bool {
    let local = match target.ip() {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let ip = target.ip();
    target.port() != 0 && !local && !ip.is_multicast() && !ip.is_unspecified()
}
