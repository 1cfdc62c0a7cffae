//! One media line of a call: two sides, each with a port for RTP and one for RTCP.
//!
//! Pure apart from owning its sockets and its offloads in the kernel. Decides for every datagram
//! where it goes; the worker does the sending.

mod carry;
mod copies;
mod kernel;
mod seat;
mod sound;
mod webrtc;

use std::sync::Arc;

pub use carry::FlowState;
pub use copies::CopyTo;

use crate::MediaEvent;
use crate::address::RawAddress;
use crate::audio::Audio;
use crate::audio::event::EventListener;
use crate::fastpath::Offload;
use crate::packet::{Kind, classify};
use crate::ports::PortPair;
use crate::reports::{self, Item, Passed, Reported};
use crate::sdp::Takes;
use crate::security::SideKeys;
use crate::srtp::{Inbound, Outbound, Unopened};
use crate::stream::{Named, Source, Stream};
use crate::webrtc::Leg;

/// Which of the four sockets of a flow: side 0 or 1, RTP or RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketId(u8);

impl SocketId {
    /// Socket of `side` (0 or 1).
    pub const fn new(side: usize, rtcp: bool) -> SocketId {
        SocketId(((side as u8 & 1) << 1) | rtcp as u8)
    }

    /// From the two low bits of an event tag.
    pub const fn from_bits(bits: u64) -> SocketId {
        SocketId((bits & 3) as u8)
    }

    /// Side 0 or 1.
    pub const fn side(self) -> usize {
        (self.0 >> 1) as usize
    }

    /// True for the odd port.
    pub const fn rtcp(self) -> bool {
        self.0 & 1 == 1
    }
}

/// One side of a flow: the ports facing one party and what comes in on them.
pub struct Side {
    /// The sockets facing the party.
    pub ports: PortPair,
    /// Tag of the party, for events.
    pub tag: Arc<str>,
    /// The party takes RTCP on its RTP port (RFC 5761).
    pub mux: bool,
    /// Keys between us and the party; none: plain RTP.
    pub secure: Option<Box<Secure>>,
    /// Those of the port of RTCP, where a handshake of its own makes them (RFC 5764 section 4.2).
    rtcp_secure: Option<Box<Secure>>,
    /// ICE and DTLS with the party; none: it has neither.
    pub leg: Option<Box<Leg>>,
    /// What comes in on the even port.
    pub rtp: Stream,
    /// What comes in on the odd port.
    pub rtcp: Stream,
    /// What may be sent to the party.
    pub takes: Takes,
    /// What it was told that it may send.
    pub sends: Takes,
    /// What the other party reports of its stream.
    pub reported: Reported,
    /// Its newest sender report.
    passed: Option<Passed>,
}

impl Side {
    /// A side whose party is not known yet.
    pub fn new(ports: PortPair) -> Side {
        Side {
            ports,
            tag: "".into(),
            mux: false,
            secure: None,
            rtcp_secure: None,
            leg: None,
            rtp: Stream::new(),
            rtcp: Stream::new(),
            takes: Takes::default(),
            sends: Takes::default(),
            reported: Reported::default(),
            passed: None,
        }
    }

    /// Signalling names the party's two ports.
    pub fn name(&mut self, tag: &str, rtp: Named, rtcp: Named) {
        if &*self.tag != tag {
            self.tag = tag.into();
        }
        self.rtp.name(rtp);
        self.rtcp.name(rtcp);
    }

    /// Signalling has agreed on keys, or on none. A context whose key stays goes on counting.
    /// `rtcp_index`: see [`Outbound::new`].
    pub fn secure(&mut self, keys: SideKeys, rtcp_index: u32) {
        self.secure = renewed(self.secure.take(), keys, rtcp_index);
    }
}

/// Contexts with these keys: those that are known where the key is the same, so that they go on
/// counting.
fn renewed(known: Option<Box<Secure>>, keys: SideKeys, rtcp_index: u32) -> Option<Box<Secure>> {
    let (theirs, ours) = keys?;
    let (inbound, outbound) = match known.map(|secure| *secure) {
        Some(Secure { inbound, outbound }) => (Some(inbound), Some(outbound)),
        None => (None, None),
    };
    let inbound = inbound.filter(|inbound| *inbound.key() == theirs.key);
    let outbound = outbound.filter(|outbound| *outbound.key() == ours);
    Some(Box::new(Secure {
        inbound: inbound.unwrap_or_else(|| Inbound::new(theirs.key, theirs.mki_bytes)),
        outbound: outbound.unwrap_or_else(|| Outbound::new(ours, rtcp_index)),
    }))
}

/// The keys of both directions between us and a party.
pub struct Secure {
    inbound: Inbound,
    outbound: Outbound,
}

/// One relayed media line.
pub struct Flow {
    /// NG `call-id`, for events.
    pub call_id: Arc<str>,
    /// Clock of the first payload type, Hz, for jitter.
    pub clock_hz: u32,
    /// Not RTP (such as T.38 over UDPTL): relayed without a look inside.
    pub opaque: bool,
    /// The two sides.
    pub sides: [Side; 2],
    /// Payload types that need more than to be passed on, of what each party sends, a bit each:
    /// events, and noise that the other one does not take.
    special: [u128; 2],
    /// What is done with sound; none: it is relayed.
    audio: Option<Box<Audio>>,
    /// Those who wait for the end of a digit; none before the first one.
    listeners: Option<Box<[EventListener; 2]>>,
    /// Type of service of what is sent.
    tos: u8,
    /// Who gets copies of what each party sends.
    copies: [Vec<CopyTo>; 2],
    /// Directions that the kernel relays.
    offloads: [Option<Offload>; 2],
    /// When its legs want to be asked again, as far as the worker knows.
    timer_ns: Option<u64>,
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To be sent from this socket to its peer; `learned` when the source was new.
    Send {
        /// The socket to send from.
        from: SocketId,
        /// The peer it came from was learned from this packet.
        learned: bool,
        /// Bytes to be sent.
        length: usize,
    },
    /// Dropped: not from the peer.
    WrongSource,
    /// Dropped: neither RTP nor RTCP.
    NotRtp,
    /// Dropped: its authentication is wrong.
    Forged,
    /// Neither RTP nor RTCP, and taken by ICE or DTLS; `learned` as above.
    Control {
        /// The peer it came from was learned from this packet.
        learned: bool,
    },
    /// Kept back, as a command wants it; `learned` as above.
    Withheld {
        /// The peer it came from was learned from this packet.
        learned: bool,
    },
    /// Held until what comes next makes it a whole packet; `learned` as above.
    Waits {
        /// The peer it came from was learned from this packet.
        learned: bool,
    },
    /// Dropped: it was seen before.
    Replayed,
    /// Dropped: the other side has no address, or must not get this packet.
    Nowhere,
}

impl Flow {
    /// A line between two parties that nobody has named yet.
    pub fn new(call_id: Arc<str>, clock_hz: u32, opaque: bool, ports: [PortPair; 2]) -> Flow {
        Flow {
            call_id,
            clock_hz,
            opaque,
            sides: ports.map(Side::new),
            special: [0; 2],
            audio: None,
            listeners: None,
            tos: 0,
            copies: [Vec::new(), Vec::new()],
            offloads: [None, None],
            timer_ns: None,
        }
    }

    /// Judges one datagram of `length` bytes at the beginning of `room` that came in on `at` from
    /// `source`, and makes of it what is to be sent. What was heard in it goes to `happened`.
    pub fn judge(
        &mut self,
        at: SocketId,
        source: &RawAddress,
        room: &mut [u8],
        length: usize,
        now_ns: u64,
        happened: &mut Vec<MediaEvent>,
    ) -> Verdict {
        if let Some(verdict) = self.take_control(at, source, &room[..length], now_ns) {
            return verdict;
        }
        // Encryption leaves the headers as they are.
        let kind = if self.opaque {
            Kind::Other
        } else {
            classify(&room[..length])
        };
        let taken = self.take(at, source, kind, &mut room[..length], now_ns);
        if let Ok((length, _)) = taken {
            self.send_copies(at.side(), kind, &room[..length]);
        }
        match taken {
            Ok((length, learned)) if !self.is_treated(at.side(), kind) => {
                self.pass_on(at, kind, room, length, learned)
            }
            Ok((length, learned)) => {
                match self.treat(at.side(), kind, room, length, now_ns, happened) {
                    Some(length) => self.pass_on(at, kind, room, length, learned),
                    None if self.is_waiting(at.side()) => Verdict::Waits { learned },
                    None => Verdict::Withheld { learned },
                }
            }
            Err(refused) => refused,
        }
    }

    /// Lets a packet in: its length without encryption, and whether its source was new.
    fn take(
        &mut self,
        at: SocketId,
        source: &RawAddress,
        kind: Kind,
        packet: &mut [u8],
        now_ns: u64,
    ) -> Result<(usize, bool), Verdict> {
        let (opaque, clock_hz) = (self.opaque, self.clock_hz);
        let side = &mut self.sides[at.side()];
        let waits = side.waits_for_keys(at.rtcp());
        let apart = at.rtcp() && side.shakes_apart();
        let stream = if at.rtcp() {
            &mut side.rtcp
        } else {
            &mut side.rtp
        };
        let fits = match kind {
            Kind::Rtp(_) => !at.rtcp(),
            Kind::Rtcp => true,
            Kind::Other => opaque,
        };
        if !fits {
            stream.counters.errors += 1;
            return Err(Verdict::NotRtp);
        }
        let learned = match stream.judge(source) {
            Source::Wrong => {
                stream.counters.errors += 1;
                return Err(Verdict::WrongSource);
            }
            Source::Accepted => false,
            Source::Learned => true,
        };
        if waits {
            return Err(Verdict::Forged);
        }
        let length = packet.len();
        let secure = if apart {
            &mut side.rtcp_secure
        } else {
            &mut side.secure
        };
        let opened = match secure {
            Some(secure) => open(&mut secure.inbound, kind, packet),
            None => Ok(length),
        };
        let plain = opened.inspect_err(|_| stream.counters.errors += 1)?;
        stream.learn(source);
        stream.count(length, now_ns);
        if let Kind::Rtp(header) = kind {
            stream.quality.take(&header, clock_hz, now_ns);
        }
        if kind == Kind::Rtcp {
            self.note_reports(at.side(), &packet[..plain], now_ns);
        }
        Ok((plain, learned))
    }

    /// Notes what a party's RTCP says about the stream it hears.
    fn note_reports(&mut self, side: usize, packet: &[u8], now_ns: u64) {
        let clock_hz = self.clock_hz;
        // The other party's stream may have another name here, when we speak on it.
        let renamed = self.audio.is_some();
        let [first, second] = &mut self.sides;
        let (own, other) = match side {
            0 => (first, second),
            _ => (second, first),
        };
        reports::read(packet, |item| match item {
            Item::Sent(time) => own.passed = Some((time, now_ns)),
            Item::Block(block) => {
                if renamed || other.rtp.quality.ssrc() == Some(block.ssrc) {
                    let heard = block.heard(clock_hz, other.passed, now_ns);
                    other.reported.take(heard, now_ns);
                }
            }
        });
    }

    /// Makes of a plain packet what the other side is to get.
    fn pass_on(
        &mut self,
        at: SocketId,
        kind: Kind,
        room: &mut [u8],
        length: usize,
        learned: bool,
    ) -> Verdict {
        let other = 1 - at.side();
        let rtcp = match kind {
            Kind::Rtcp => !self.sides[other].mux,
            Kind::Rtp(_) => false,
            Kind::Other => at.rtcp(),
        };
        let from = SocketId::new(other, rtcp);
        if self.sides[other].waits_for_keys(rtcp) || self.remote(from).is_none() {
            return Verdict::Nowhere;
        }
        let side = &mut self.sides[other];
        let secure = if rtcp && side.shakes_apart() {
            &mut side.rtcp_secure
        } else {
            &mut side.secure
        };
        let length = match secure {
            Some(secure) => close(&mut secure.outbound, kind, room, length),
            None => Some(length),
        };
        length.map_or(Verdict::Nowhere, |length| Verdict::Send {
            from,
            learned,
            length,
        })
    }

    /// Marks what is sent from now on (`TOS`, RFC 2474).
    pub fn mark(&mut self, tos: u8) {
        self.tos = tos;
        for side in &self.sides {
            side.ports.mark(tos);
        }
    }

    /// Address of the peer of a socket.
    pub fn remote(&self, socket: SocketId) -> Option<&RawAddress> {
        let side = &self.sides[socket.side()];
        if socket.rtcp() {
            side.rtcp.remote()
        } else {
            side.rtp.remote()
        }
    }

    /// When the last valid packet came on any socket, `CLOCK_MONOTONIC` ns; 0 for never.
    pub fn last_packet_ns(&self) -> u64 {
        let streams = self.sides.iter().flat_map(|side| [&side.rtp, &side.rtcp]);
        streams
            .map(|stream| stream.counters.last_packet_ns)
            .max()
            .unwrap_or(0)
    }
}

/// Opens a packet of an encrypted party; answers its plain length.
fn open(inbound: &mut Inbound, kind: Kind, packet: &mut [u8]) -> Result<usize, Verdict> {
    let opened = match kind {
        Kind::Rtp(_) => inbound.open_rtp(packet),
        Kind::Rtcp => inbound.open_rtcp(packet),
        Kind::Other => Err(Unopened::Malformed),
    };
    opened.map_err(|reason| match reason {
        Unopened::Malformed => Verdict::NotRtp,
        Unopened::Forged => Verdict::Forged,
        Unopened::Replayed => Verdict::Replayed,
    })
}

/// Protects a packet for an encrypted party; answers the length to be sent.
fn close(outbound: &mut Outbound, kind: Kind, room: &mut [u8], length: usize) -> Option<usize> {
    match kind {
        Kind::Rtp(_) => outbound.protect_rtp(room, length),
        Kind::Rtcp => outbound.protect_rtcp(room, length),
        Kind::Other => None,
    }
}
