//! One media line of a call: two sides, each with a port for RTP and one for RTCP.
//!
//! Pure apart from owning its sockets. Decides for every datagram where it goes; the worker
//! does the sending.

use std::sync::Arc;

use crate::address::RawAddress;
use crate::packet::{Kind, classify};
use crate::ports::PortPair;
use crate::stream::{Named, Source, Stream};

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

    /// For the two low bits of an event tag.
    pub const fn bits(self) -> u64 {
        self.0 as u64
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
    /// What comes in on the even port.
    pub rtp: Stream,
    /// What comes in on the odd port.
    pub rtcp: Stream,
}

impl Side {
    /// A side whose party is not known yet.
    pub fn new(ports: PortPair) -> Side {
        Side {
            ports,
            tag: "".into(),
            mux: false,
            rtp: Stream::new(),
            rtcp: Stream::new(),
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

    fn stream(&mut self, rtcp: bool) -> &mut Stream {
        if rtcp { &mut self.rtcp } else { &mut self.rtp }
    }
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
    },
    /// Dropped: not from the peer.
    WrongSource,
    /// Dropped: neither RTP nor RTCP.
    NotRtp,
    /// Dropped: the other side has no address.
    Nowhere,
}

impl Flow {
    /// Judges one datagram that came in on `at` from `source`.
    pub fn judge(
        &mut self,
        at: SocketId,
        source: &RawAddress,
        packet: &[u8],
        now_ns: u64,
    ) -> Verdict {
        let (opaque, clock_hz) = (self.opaque, self.clock_hz);
        let stream = self.sides[at.side()].stream(at.rtcp());
        let kind = if opaque {
            Kind::Other
        } else {
            classify(packet)
        };
        let fits = match kind {
            Kind::Rtp(_) => !at.rtcp(),
            Kind::Rtcp => true,
            Kind::Other => opaque,
        };
        if !fits {
            stream.counters.errors += 1;
            return Verdict::NotRtp;
        }
        let learned = match stream.judge(source) {
            Source::Wrong => {
                stream.counters.errors += 1;
                return Verdict::WrongSource;
            }
            Source::Accepted => false,
            Source::Learned => true,
        };
        stream.count(packet.len(), now_ns);
        if let Kind::Rtp(header) = kind {
            stream.quality.take(&header, clock_hz, now_ns);
        }
        let other = 1 - at.side();
        let rtcp = match kind {
            Kind::Rtcp => !self.sides[other].mux,
            Kind::Rtp(_) => false,
            Kind::Other => at.rtcp(),
        };
        if self.remote(SocketId::new(other, rtcp)).is_none() {
            return Verdict::Nowhere;
        }
        Verdict::Send {
            from: SocketId::new(other, rtcp),
            learned,
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
