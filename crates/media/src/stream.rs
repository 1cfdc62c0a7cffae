//! What comes in from one peer port: whom it is accepted from and how well it arrives.
//!
//! Pure. Invariant: once locked, packets are accepted from exactly one source until
//! signalling names the peer again.

mod state;

use std::net::{IpAddr, SocketAddr};

pub use state::StreamState;

use crate::address::RawAddress;
use crate::fastpath::Moved;
use crate::fastpath::layout::Tally;
use crate::limits::PROVED_MAX;
use crate::packet::RtpHeader;

/// What signalling says about one port of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Named {
    /// Address and port of the SDP; none for a disabled or held one (`0.0.0.0`).
    pub address: Option<SocketAddr>,
    /// Where its signalling comes from: a peer behind NAT really sends from there.
    pub signalling: Option<IpAddr>,
    /// The peer sends from another port than it receives on: never learn from its packets.
    pub asymmetric: bool,
    /// Checks of ICE tell where it sends from, and nothing else does.
    pub checked: bool,
}

/// Answer to a packet's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The peer's.
    Accepted,
    /// The peer's, and its address is to be learned from this packet.
    Learned,
    /// Somebody else's.
    Wrong,
}

/// Counters of one direction of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// Valid packets that came in.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams dropped: wrong source, malformed, or not to be sent on.
    pub errors: u64,
    /// When the last valid packet came, `CLOCK_MONOTONIC` nanoseconds; 0 for never.
    pub last_packet_ns: u64,
}

/// One port of a peer, as its packets show it.
pub struct Stream {
    named: Named,
    /// Where packets to the peer go: as named, later as learned.
    remote: Option<RawAddress>,
    locked: bool,
    /// Sources that checks have proved to be the peer's, the latest last.
    proved: Vec<RawAddress>,
    /// Counters of what came in.
    pub counters: Counters,
    /// Arrival quality of RTP.
    pub quality: Quality,
}

impl Stream {
    /// A port nobody has named yet: everything from it is refused.
    pub fn new() -> Stream {
        Stream {
            named: Named::default(),
            remote: None,
            locked: false,
            proved: Vec::new(),
            counters: Counters::default(),
            quality: Quality::default(),
        }
    }

    /// Signalling names the peer. The same name as before keeps the learned address but
    /// allows it to change once more (the peer may have moved behind its NAT).
    pub fn name(&mut self, named: Named) {
        if named.checked {
            // What the checks have found stays until they find something else.
            if !self.named.checked {
                self.remote = None;
            }
        } else if named.address != self.named.address {
            self.remote = named.address.map(RawAddress::from);
        }
        self.named = named;
        self.locked = false;
    }

    /// Where packets to this peer go.
    pub fn remote(&self) -> Option<&RawAddress> {
        self.remote.as_ref()
    }

    /// Signalling's word about this port.
    pub fn named(&self) -> &Named {
        &self.named
    }

    /// A check has proved that the peer is here; `nominated`: packets to it go there.
    pub fn prove(&mut self, source: &RawAddress, nominated: bool) -> bool {
        if !self.named.checked {
            return false;
        }
        if !self.proved.iter().any(|one| one.same(source)) {
            if self.proved.len() == PROVED_MAX {
                let used = |one: &RawAddress| self.remote.is_some_and(|remote| remote.same(one));
                let oldest = self.proved.iter().position(|one| !used(one));
                self.proved.remove(oldest.unwrap_or(0));
            }
            self.proved.push(*source);
        }
        let moves = match &self.remote {
            Some(remote) => nominated && !remote.same(source),
            None => true,
        };
        if moves {
            self.remote = Some(*source);
        }
        moves
    }

    /// The peer wants no packets any more.
    pub fn forget(&mut self) {
        (self.remote, self.locked) = (None, false);
        self.proved.clear();
    }

    /// Judges the source of a packet; what is learned from it waits for [`Self::learn`].
    pub fn judge(&self, source: &RawAddress) -> Source {
        if self.named.checked {
            let proved = self.proved.iter().any(|one| one.same(source));
            return if proved {
                Source::Accepted
            } else {
                Source::Wrong
            };
        }
        if self.locked
            && let Some(remote) = &self.remote
        {
            return if remote.same(source) {
                Source::Accepted
            } else {
                Source::Wrong
            };
        }
        let Some(ip) = source.to_std().map(|address| address.ip()) else {
            return Source::Wrong;
        };
        let named = self.named.address.map(|address| address.ip());
        if named != Some(ip) && (named.is_none() || self.named.signalling != Some(ip)) {
            return Source::Wrong;
        }
        if self.named.asymmetric {
            return Source::Accepted;
        }
        match &self.remote {
            Some(remote) if remote.same(source) => Source::Accepted,
            _ => Source::Learned,
        }
    }

    /// The packet that was judged is genuine: from now on it is this source or none.
    pub fn learn(&mut self, source: &RawAddress) {
        if !self.locked && !self.named.asymmetric && !self.named.checked {
            self.remote = Some(*source);
            self.locked = true;
        }
    }

    /// The peer, once packets from elsewhere are refused.
    pub fn settled(&self) -> Option<RawAddress> {
        self.remote.filter(|_| self.locked)
    }

    /// Counts what the kernel relayed of source `ssrc`.
    pub fn fold(&mut self, moved: Moved, ssrc: u32, tally: &Tally) {
        if moved.packets == 0 {
            return;
        }
        self.counters.packets += moved.packets;
        self.counters.bytes += moved.bytes;
        self.counters.last_packet_ns = self.counters.last_packet_ns.max(tally.last_ns);
        if self.quality.ssrc == Some(ssrc) {
            self.quality.fold(moved.packets, tally);
        }
    }

    /// Counts a valid packet.
    pub fn count(&mut self, bytes: usize, now_ns: u64) {
        self.counters.packets += 1;
        self.counters.bytes += bytes as u64;
        self.counters.last_packet_ns = now_ns;
    }
}

/// Loss and jitter of received RTP, RFC 3550 appendix A.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quality {
    /// Source the figures below belong to; none before the first packet.
    ssrc: Option<u32>,
    base: u32,
    highest: u32,
    received: u64,
    /// Loss of earlier sources of this stream.
    lost_before: u64,
    transit: i64,
    jitter_scaled: u64,
    /// Media time of the newest packet.
    timestamp: u32,
}

/// A jump of this many packets is a restart, not a loss (RFC 3550 A.1: `MAX_DROPOUT`).
const DROPOUT_MAX: u16 = 3_000;

impl Quality {
    /// Takes one packet. `clock_hz` is the clock of its payload type.
    pub fn take(&mut self, header: &RtpHeader, clock_hz: u32, now_ns: u64) {
        let arrival = (u128::from(now_ns) * u128::from(clock_hz) / 1_000_000_000) as i64;
        let transit = arrival.wrapping_sub(i64::from(header.timestamp)) & 0xffff_ffff;
        let step = header.sequence.wrapping_sub(self.highest as u16);
        let backwards = step > 0x8000;
        let jump = step > DROPOUT_MAX && step < u16::MAX - DROPOUT_MAX;
        if self.ssrc != Some(header.ssrc) || jump {
            self.lost_before = self.lost();
            self.ssrc = Some(header.ssrc);
            self.base = u32::from(header.sequence);
            self.highest = self.base;
            self.received = 1;
            self.transit = transit;
            self.timestamp = header.timestamp;
            return;
        }
        self.received += 1;
        if !backwards {
            self.highest = self.highest.wrapping_add(u32::from(step));
            self.timestamp = header.timestamp;
        }
        // A.8: the difference of relative transit times, in 32-bit arithmetic because the
        // media timestamp wraps.
        let difference = (transit - self.transit) as i32;
        self.transit = transit;
        let scaled = self.jitter_scaled as i64;
        let new = scaled + i64::from(difference.unsigned_abs()) - ((scaled + 8) >> 4);
        self.jitter_scaled = new.max(0) as u64;
    }

    /// Where somebody else who counts begins.
    pub fn tally(&self) -> Tally {
        Tally {
            transit: self.transit as u32,
            jitter_scaled: self.jitter_scaled as u32,
            timestamp: self.timestamp,
            sequence: self.highest as u16,
            ..Tally::default()
        }
    }

    /// Takes over what somebody else counted: `packets` of the source of now.
    fn fold(&mut self, packets: u64, tally: &Tally) {
        self.received += packets;
        let step = tally.sequence.wrapping_sub(self.highest as u16);
        if step < 0x8000 {
            self.highest = self.highest.wrapping_add(u32::from(step));
            self.timestamp = tally.timestamp;
        }
        self.transit = i64::from(tally.transit);
        self.jitter_scaled = u64::from(tally.jitter_scaled);
    }

    /// Source of the stream now.
    pub fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// Source, number and media time of the newest packet.
    pub fn newest(&self) -> Option<(u32, u16, u32)> {
        Some((self.ssrc?, self.highest as u16, self.timestamp))
    }

    /// Packets lost so far; packets received twice make it smaller, never below zero.
    pub fn lost(&self) -> u64 {
        let expected = match self.ssrc {
            Some(_) => u64::from(self.highest.wrapping_sub(self.base)) + 1,
            None => 0,
        };
        self.lost_before + expected.saturating_sub(self.received)
    }

    /// Interarrival jitter, units of the payload's clock.
    pub fn jitter(&self) -> u64 {
        self.jitter_scaled >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawAddress {
        RawAddress::from(text.parse::<SocketAddr>().expect("an address"))
    }

    /// Judges a packet and learns from it when it is accepted.
    fn judged(stream: &mut Stream, text: &str) -> Source {
        let source = raw(text);
        let verdict = stream.judge(&source);
        if verdict != Source::Wrong {
            stream.learn(&source);
        }
        verdict
    }

    fn named(text: &str) -> Named {
        Named {
            address: Some(text.parse().expect("an address")),
            ..Named::default()
        }
    }

    #[test]
    fn only_the_named_host_is_learned_and_then_only_its_port_counts() {
        let mut stream = Stream::new();
        assert_eq!(judged(&mut stream, "10.0.0.1:4000"), Source::Wrong);
        stream.name(named("10.0.0.1:4000"));
        assert_eq!(judged(&mut stream, "10.0.0.2:4000"), Source::Wrong);
        assert_eq!(judged(&mut stream, "10.0.0.1:4444"), Source::Learned);
        assert_eq!(judged(&mut stream, "10.0.0.1:4000"), Source::Wrong);
        assert_eq!(judged(&mut stream, "10.0.0.1:4444"), Source::Accepted);
    }

    #[test]
    fn a_peer_behind_nat_may_send_from_where_its_signalling_comes_from() {
        let mut stream = Stream::new();
        let signalling = Some("203.0.113.7".parse().expect("an address"));
        stream.name(Named {
            signalling,
            ..named("192.168.1.5:4000")
        });
        assert_eq!(judged(&mut stream, "203.0.113.8:4000"), Source::Wrong);
        assert_eq!(judged(&mut stream, "203.0.113.7:61000"), Source::Learned);
        assert!(
            stream
                .remote()
                .is_some_and(|r| r.same(&raw("203.0.113.7:61000")))
        );
    }

    #[test]
    fn the_same_name_again_keeps_the_learned_address_and_allows_a_move() {
        let mut stream = Stream::new();
        stream.name(named("10.0.0.1:4000"));
        judged(&mut stream, "10.0.0.1:4444");
        stream.name(named("10.0.0.1:4000"));
        assert!(
            stream
                .remote()
                .is_some_and(|r| r.same(&raw("10.0.0.1:4444")))
        );
        assert_eq!(judged(&mut stream, "10.0.0.1:5555"), Source::Learned);
        stream.name(named("10.0.0.1:4002"));
        assert!(
            stream
                .remote()
                .is_some_and(|r| r.same(&raw("10.0.0.1:4002")))
        );
    }

    #[test]
    fn an_asymmetric_peer_is_never_learned() {
        let mut stream = Stream::new();
        stream.name(Named {
            asymmetric: true,
            ..named("10.0.0.1:4000")
        });
        assert_eq!(judged(&mut stream, "10.0.0.1:4444"), Source::Accepted);
        assert!(
            stream
                .remote()
                .is_some_and(|r| r.same(&raw("10.0.0.1:4000")))
        );
    }

    #[test]
    fn a_peer_with_ice_is_where_its_checks_come_from_and_moves_by_nomination() {
        let mut stream = Stream::new();
        let named = Named {
            checked: true,
            ..named("10.0.0.1:4000")
        };
        stream.name(named);
        assert!(stream.remote().is_none());
        assert_eq!(judged(&mut stream, "10.0.0.1:4000"), Source::Wrong);
        let (first, second) = (raw("10.0.0.9:1"), raw("10.0.0.9:2"));
        assert!(stream.prove(&first, false), "better than none");
        assert!(!stream.prove(&second, false));
        assert_eq!(judged(&mut stream, "10.0.0.9:2"), Source::Accepted);
        assert!(stream.remote().is_some_and(|remote| remote.same(&first)));
        assert!(stream.prove(&second, true));
        stream.name(named);
        assert!(stream.remote().is_some_and(|remote| remote.same(&second)));
        for port in 3..30 {
            stream.prove(&raw(&format!("10.0.0.9:{port}")), false);
        }
        assert_eq!(stream.proved.len(), PROVED_MAX);
        stream.forget();
        assert!(stream.remote().is_none());
        assert_eq!(judged(&mut stream, "10.0.0.9:2"), Source::Wrong);
    }

    fn packet(sequence: u16, ssrc: u32) -> RtpHeader {
        let timestamp = u32::from(sequence) * 160;
        RtpHeader {
            payload_type: 0,
            sequence,
            timestamp,
            ssrc,
            payload_at: 12,
        }
    }

    #[test]
    fn losses_are_counted_over_the_wrap_and_over_a_new_source() {
        let mut quality = Quality::default();
        for sequence in [65_533_u16, 65_534, 0, 1, 3] {
            quality.take(&packet(sequence, 1), 8_000, 0);
        }
        assert_eq!(quality.lost(), 2);
        for sequence in [100, 102] {
            quality.take(&packet(sequence, 2), 8_000, 0);
        }
        assert_eq!(quality.lost(), 3);
    }

    #[test]
    fn what_the_kernel_counted_is_no_loss_and_what_it_missed_is() {
        let mut stream = Stream::new();
        for sequence in [65_533_u16, 65_534] {
            stream.quality.take(&packet(sequence, 7), 8_000, 0);
        }
        // 65535, 0 and 2: 1 is lost.
        let tally = Tally {
            sequence: 2,
            timestamp: 320,
            last_ns: 9,
            ..stream.quality.tally()
        };
        let moved = Moved {
            packets: 3,
            bytes: 516,
        };
        stream.fold(moved, 7, &tally);
        assert_eq!(stream.quality.lost(), 1);
        assert_eq!(stream.quality.newest(), Some((7, 2, 320)));
        stream.quality.take(&packet(3, 7), 8_000, 0);
        assert_eq!(stream.quality.lost(), 1);
        // Of another source only packets and bytes count.
        stream.fold(moved, 8, &tally);
        assert_eq!(
            (stream.counters.packets, stream.counters.last_packet_ns),
            (6, 9)
        );
        assert_eq!(stream.quality.lost(), 1);
    }

    #[test]
    fn a_late_packet_is_no_loss() {
        let mut quality = Quality::default();
        for sequence in [1, 2, 4, 3, 5] {
            quality.take(&packet(sequence, 1), 8_000, 0);
        }
        assert_eq!(quality.lost(), 0);
    }

    #[test]
    fn even_arrival_has_no_jitter_and_uneven_arrival_has() {
        let run = |wobble_ns: u64| {
            let mut quality = Quality::default();
            for n in 0..200_u16 {
                let now_ns = u64::from(n) * 20_000_000 + u64::from(n % 2) * wobble_ns;
                quality.take(&packet(n, 1), 8_000, now_ns);
            }
            quality.jitter()
        };
        assert_eq!(run(0), 0);
        // 5 ms back and forth are 40 units of 8 kHz.
        assert!((38..=40).contains(&run(5_000_000)), "{}", run(5_000_000));
    }
}
