//! A flow one or both of whose parties are in a room.

use super::sound::fresh;
use super::{Flow, SocketId, Verdict};
use crate::audio::seat::Seat;
use crate::mix::writer::Form;
use crate::packet::{Kind, RTP_HEADER_BYTES, RtpHeader, put_header};

impl Flow {
    /// A party takes its place in a room. While it is there it hears the room alone, and nobody
    /// hears it elsewhere.
    pub fn sit(&mut self, side: usize, seat: Seat) {
        let lanes = &mut self.audio().lanes;
        lanes[side].seat = Some(Box::new(seat));
        lanes[1 - side].end_noise();
    }

    /// A party leaves its place; what is relayed to it goes on behind what the room said.
    pub fn stand_up(&mut self, side: usize) {
        let Some(audio) = &mut self.audio else { return };
        if audio.lanes[side].seat.take().is_some() {
            audio.lanes.iter_mut().for_each(|lane| lane.out.break_off());
        }
    }

    /// The place of a party in a room.
    pub fn seat(&mut self, side: usize) -> Option<&mut Seat> {
        self.audio.as_mut()?.lanes[side].seat.as_deref_mut()
    }

    /// Whether a party of it is in a room.
    pub fn is_in_room(&self) -> bool {
        let mut lanes = self.audio.iter().flat_map(|audio| &audio.lanes);
        lanes.any(|lane| lane.seat.is_some())
    }

    /// How packets to a party look; none when it takes none that we can make, and while something
    /// else is said to it.
    pub fn form(&self, side: usize) -> Option<Form> {
        let speaking = self.audio.as_ref()?.lanes[1 - side].due_ns().is_some();
        let voice = self.voice(side).filter(|_| !speaking)?;
        Some(Form {
            codec: voice.audio.1,
            // Rooms have frames of 20 ms.
            packet_ms: if voice.frame_ms == 30 {
                20
            } else {
                voice.frame_ms
            },
        })
    }

    /// Nothing was said to a party for a while: the next packet has the time it is then.
    pub fn interrupt(&mut self, side: usize) {
        if let Some(seat) = self.seat(side) {
            seat.timestamp = None;
        }
    }

    /// Makes in `room` the packet with this payload for a party.
    pub fn say(
        &mut self,
        side: usize,
        payload: &[u8],
        packet_ms: u32,
        room: &mut [u8],
        now_ns: u64,
    ) -> Option<Verdict> {
        let (payload_type, codec) = self.voice(side)?.audio;
        let lanes = &mut self.audio.as_mut()?.lanes;
        let known = lanes[side].seat.as_ref()?.timestamp;
        let out = &mut lanes[1 - side].out;
        let clock_hz = codec.clock_hz();
        let timestamp = known.unwrap_or_else(|| out.begin(clock_hz, now_ns, fresh()));
        let head = out.own(timestamp, 0, now_ns);
        let next = timestamp.wrapping_add(clock_hz / 1_000 * packet_ms);
        if let Some(seat) = &mut lanes[side].seat {
            seat.timestamp = Some(next);
        }
        let length = RTP_HEADER_BYTES + payload.len();
        room.get_mut(RTP_HEADER_BYTES..length)?
            .copy_from_slice(payload);
        let marker = if known.is_none() { 0x80 } else { 0 };
        put_header(room, 0x80, marker | payload_type, head);
        let header = RtpHeader {
            payload_type,
            sequence: head.sequence,
            timestamp: head.timestamp,
            ssrc: head.ssrc,
            payload_at: RTP_HEADER_BYTES,
        };
        let at = SocketId::new(1 - side, false);
        Some(self.pass_on(at, Kind::Rtp(header), room, length, false))
    }
}
