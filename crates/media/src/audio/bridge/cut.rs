//! Packets of one length made of packets of another.
//!
//! Where both sides have the same codec and its bytes can be cut anywhere, that is all; else the
//! sound is read and written anew. It begins with the first packet of another length than wanted:
//! who sends what the other one wants is left alone.

use super::Bridge;
use crate::audio::packer::{Numbers, Packer};
use crate::codec::Codec;
use crate::packet::{RTP_HEADER_BYTES, RtpHeader, payload};
use crate::sdp::Repack;

/// What is held of packets that came.
enum Held {
    Bytes(Packer<u8>),
    Samples(Packer<i16>),
}

/// How the packets of a source are cut.
pub struct Cutting {
    codecs: (Codec, Codec),
    packet_ms: u32,
    numbers: Numbers,
    held: Held,
    /// Of the packet that came last.
    payload_type: u8,
    marker: bool,
}

impl Bridge {
    /// Whether packets are to be cut, and how long this one is, ms.
    pub(super) fn is_cut(&self, from: Codec, to: Codec, content: &[u8]) -> Option<u32> {
        if self.takes.repack == Repack::Never {
            return None;
        }
        let came_ms = from.packet_ms(content)?;
        let wanted_ms = to.possible_ms(self.takes.ptime_ms);
        (self.cutting.is_some() || came_ms != wanted_ms).then_some(came_ms)
    }

    /// Whether packets are cut, and so have numbers of their own.
    pub fn is_cutting(&self) -> bool {
        self.cutting.is_some()
    }

    /// The packet that came last waits for others: nothing is wrong with it.
    pub fn is_waiting(&self) -> bool {
        self.waits
    }

    /// Takes a packet of sound whose header is that of the other side already; the first packet
    /// that is full with it.
    pub(super) fn cut_sound(
        &mut self,
        header: &RtpHeader,
        codecs: (Codec, Codec),
        came_ms: u32,
        room: &mut [u8],
        length: usize,
    ) -> Option<(RtpHeader, usize)> {
        // Unless a packet is full.
        self.waits = true;
        let packet_ms = codecs.1.possible_ms(self.takes.ptime_ms);
        let mut cutting = match self.cutting.take() {
            Some(known) if known.numbers.ssrc() == header.ssrc && known.codecs == codecs => known,
            known => {
                let held = self.held(codecs, packet_ms)?;
                let known = known.map(|known| known.numbers);
                let numbers = known.filter(|numbers| numbers.ssrc() == header.ssrc);
                Cutting {
                    codecs,
                    packet_ms,
                    numbers: numbers.unwrap_or_else(|| Numbers::from(header.ssrc, header.sequence)),
                    held,
                    payload_type: header.payload_type,
                    marker: false,
                }
            }
        };
        if cutting.numbers.take(header.sequence, came_ms, packet_ms) {
            cutting.payload_type = header.payload_type;
            cutting.marker |= room[1] & 0x80 != 0;
            let content = payload(&room[..length], header);
            match &mut cutting.held {
                Held::Bytes(packer) => packer.put(header.timestamp, content),
                Held::Samples(packer) => {
                    let transcoder = self.transcoder(codecs.0, codecs.1);
                    if let Some(pcm) = transcoder.and_then(|coder| coder.read(content)) {
                        packer.put(header.timestamp, pcm);
                    }
                }
            }
        }
        self.cutting = Some(cutting);
        let first = self.more(room);
        self.waits = first.is_none();
        first
    }

    /// Another packet is looked at.
    pub fn begin(&mut self) {
        self.waits = false;
    }

    fn held(&mut self, (from, to): (Codec, Codec), packet_ms: u32) -> Option<Held> {
        let units_per_ms = to.clock_hz() / 1_000;
        if let Some(per_ms) = to.bytes_per_ms().filter(|_| from == to) {
            return Some(Held::Bytes(Packer::new(packet_ms, per_ms, units_per_ms)));
        }
        let per_ms = self.transcoder(from, to)?.rate_hz() as usize / 1_000;
        Some(Held::Samples(Packer::new(packet_ms, per_ms, units_per_ms)))
    }

    /// A further packet that is full.
    pub fn more(&mut self, room: &mut [u8]) -> Option<(RtpHeader, usize)> {
        let cutting = self.cutting.as_mut()?;
        let place = room.get_mut(RTP_HEADER_BYTES..)?;
        let (timestamp, written) = match &mut cutting.held {
            Held::Bytes(packer) => packer.next(|at, bytes| {
                let place = place.get_mut(..bytes.len());
                (
                    at,
                    place
                        .map(|place| place.copy_from_slice(bytes))
                        .map(|()| bytes.len()),
                )
            })?,
            Held::Samples(packer) => {
                let transcoder = self.transcoder.as_mut()?;
                let packet = (transcoder.rate_hz() / 1_000 * cutting.packet_ms) as usize;
                packer.next(|at, pcm| (at, transcoder.write(pcm, packet, place)))?
            }
        };
        let header = RtpHeader {
            payload_type: cutting.payload_type,
            sequence: cutting.numbers.give(),
            timestamp,
            ssrc: cutting.numbers.ssrc(),
            payload_at: RTP_HEADER_BYTES,
        };
        // Neither padding nor an extension goes along.
        let marker = std::mem::take(&mut cutting.marker);
        (room[0], room[1]) = (0x80, if marker { 0x80 } else { 0 });
        Some((header, RTP_HEADER_BYTES + written?))
    }

    /// A packet that is no sound of ours to cut: it has its place among those that are. None for
    /// one that is late.
    pub(super) fn renumbered(&mut self, header: RtpHeader) -> Option<RtpHeader> {
        let Some(cutting) = &mut self.cutting else {
            return Some(header);
        };
        if cutting.numbers.ssrc() != header.ssrc {
            self.cutting = None;
            return Some(header);
        }
        match &mut cutting.held {
            Held::Bytes(packer) => packer.clear(),
            Held::Samples(packer) => packer.clear(),
        }
        let packet_ms = cutting.packet_ms;
        self.waits = !cutting.numbers.take(header.sequence, packet_ms, packet_ms);
        (!self.waits).then(|| RtpHeader {
            sequence: cutting.numbers.give(),
            ..header
        })
    }
}

#[cfg(test)]
mod tests;
