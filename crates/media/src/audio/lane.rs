//! One direction of a flow: what becomes of the packets of one party before the other gets them,
//! and what we say to that other one.
//!
//! Pure. While we speak, relayed packets are withheld: a phone plays one stream, not two.

use super::bridge::Bridge;
use super::inband::InBand;
use super::outgoing::{Head, Outgoing, OutgoingState};
use super::seat::Seat;
use super::speaker::{Order, PlayEnd, PlayingState, Sound, Speaker, Voice};
use crate::codec::{Codec, Coder};
use crate::dsp::noise::Background;
use crate::packet::{RTP_HEADER_BYTES, RtpHeader, put_header};
use crate::record::Tap;
use crate::sdp::Coding;
use crate::tap::Feed;

/// What commands keep back from the other party.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Blocks {
    /// All of it.
    pub media: bool,
    /// Events (RFC 4733).
    pub dtmf: bool,
    /// Sound: silence takes its place.
    pub sound: bool,
}

/// What we say at the moment.
struct Speaking {
    speaker: Speaker,
    /// When the next frame is due, `CLOCK_MONOTONIC` ns.
    due_ns: u64,
    /// Its media time.
    timestamp: u32,
    /// Noise while the party is silent: what it says next ends it.
    soothing: bool,
}

/// How long a party is heard as noise after it has said last what its silence is like, ms.
const SOOTHED_MS: u64 = 30_000;

/// More than this behind, the clock begins anew instead of sending a burst.
const BEHIND_NS_MAX: u64 = 200_000_000;

/// One direction.
#[derive(Default)]
pub struct Lane {
    /// The stream towards the other party.
    pub out: Outgoing,
    /// What is kept back.
    pub blocks: Blocks,
    speaking: Option<Speaking>,
    inband: Option<InBand>,
    /// Listen for digits in the sound.
    pub listening: bool,
    /// What the other party gets in place of what it does not understand.
    pub bridge: Option<Bridge>,
    /// Where the sound is recorded.
    pub tap: Option<Tap>,
    /// Who recognises speech in it.
    pub feeds: Vec<Feed>,
    /// Where the sound goes outside.
    pub forward: Option<Feed>,
    silencer: Option<(Codec, Box<dyn Coder>)>,
    /// The place in a room of the party that this direction comes from.
    pub seat: Option<Box<Seat>>,
}

/// A packet of ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spoken {
    /// Its bytes; none: nothing is sent this time.
    pub packet: Option<(usize, RtpHeader)>,
    /// What was played has ended.
    pub ended: Option<PlayEnd>,
}

/// Silence of 20 ms in Opus: a frame without content.
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

impl Lane {
    /// A lane on a stream that may be under way.
    pub fn on(out: Outgoing) -> Lane {
        Lane {
            out,
            ..Lane::default()
        }
    }

    /// Gives a packet to those who record the party, or listen to it.
    pub fn hand_out(
        &self,
        header: &RtpHeader,
        coding: Option<Coding>,
        content: &[u8],
        now_ns: u64,
    ) {
        if let (Some(tap), Some(Coding::Audio(codec))) = (&self.tap, coding) {
            tap.take(codec, header, content, now_ns);
        }
        for feed in self.feeds.iter().chain(&self.forward) {
            feed.take(header, coding, content);
        }
    }

    /// Treats a relayed packet in place; its new length, none when it is kept back.
    pub fn relay(
        &mut self,
        header: &RtpHeader,
        coding: Option<Coding>,
        room: &mut [u8],
        length: usize,
        now_ns: u64,
    ) -> Option<usize> {
        if coding.is_some() {
            self.end_noise();
        }
        if self.speaking.is_some() {
            return None;
        }
        let event = matches!(coding, Some(Coding::Events(_)));
        if self.blocks.media || (self.blocks.dtmf && event) {
            self.out.break_off();
            return None;
        }
        let length = match coding {
            Some(Coding::Audio(codec)) if self.blocks.sound => {
                self.silence(codec, header, room, length)?
            }
            // What cannot be silenced is kept back.
            None if self.blocks.sound => return None,
            _ => length,
        };
        let Some(bridge) = &mut self.bridge else {
            let clock_hz = coding.map_or(8_000, Coding::clock_hz);
            if let Some(head) = self.out.relay(header, clock_hz, now_ns) {
                put_header(room, room[0], room[1], head);
            }
            return Some(length);
        };
        let Some((header, length)) = bridge.pass(header, coding, room, length) else {
            if !bridge.is_waiting() {
                self.out.break_off();
            }
            return None;
        };
        let clock_hz = bridge.clock_hz();
        self.put_head(&header, clock_hz, room, now_ns);
        Some(length)
    }

    /// A further packet that came of the one that was relayed last.
    pub fn more(&mut self, room: &mut [u8], now_ns: u64) -> Option<(RtpHeader, usize)> {
        let bridge = self.bridge.as_mut()?;
        let (header, length) = bridge.more(room)?;
        let clock_hz = bridge.clock_hz();
        self.put_head(&header, clock_hz, room, now_ns);
        Some((header, length))
    }

    /// Another packet is looked at.
    pub fn begin(&mut self) {
        if let Some(bridge) = &mut self.bridge {
            bridge.begin();
        }
    }

    /// The packet that came last waits for others.
    pub fn is_waiting(&self) -> bool {
        self.bridge.as_ref().is_some_and(Bridge::is_waiting)
    }

    fn put_head(&mut self, header: &RtpHeader, clock_hz: u32, room: &mut [u8], now_ns: u64) {
        let head = self.out.relay(header, clock_hz, now_ns);
        let head = head.unwrap_or(Head {
            ssrc: header.ssrc,
            sequence: header.sequence,
            timestamp: header.timestamp,
        });
        put_header(room, room[0], room[1] & 0x80 | header.payload_type, head);
    }

    /// Writes silence over a payload of the same codec.
    fn silence(
        &mut self,
        codec: Codec,
        header: &RtpHeader,
        room: &mut [u8],
        length: usize,
    ) -> Option<usize> {
        let payload = room.get_mut(header.payload_at..length)?;
        if codec == Codec::Opus {
            let room = payload.first_chunk_mut::<3>()?;
            *room = OPUS_SILENCE;
            return Some(header.payload_at + OPUS_SILENCE.len());
        }
        // What cannot be silenced is kept back.
        codec.bytes_per_ms()?;
        if self
            .silencer
            .as_ref()
            .is_none_or(|(known, _)| *known != codec)
        {
            self.silencer = Some((codec, codec.coder(8_000)?));
        }
        let (_, coder) = self.silencer.as_mut()?;
        let pause = [0; 160];
        let per_pause = match codec {
            Codec::G722 => 80,
            Codec::L16(_) => 320,
            _ => 160,
        };
        for piece in payload.chunks_mut(per_pause) {
            let samples = piece.len() * pause.len() / per_pause;
            coder.encode(&pause[..samples], piece);
        }
        Some(length)
    }

    /// Listens for digits in the sound of a packet.
    pub fn listen(
        &mut self,
        coding: Option<Coding>,
        payload: &[u8],
        told: impl FnMut(super::event::Pressed),
    ) {
        let (true, Some(Coding::Audio(codec))) = (self.listening, coding) else {
            return;
        };
        if self
            .inband
            .as_ref()
            .is_none_or(|known| known.codec() != codec)
        {
            self.inband = InBand::new(codec);
        }
        if let Some(inband) = &mut self.inband {
            inband.take(payload, told);
        }
    }

    /// The one who speaks here, made if there is none; none without memory.
    pub fn speaker(
        &mut self,
        voice: Voice,
        source_hz: u32,
        now_ns: u64,
        fresh: Head,
    ) -> Option<&mut Speaker> {
        if self.speaking.is_none() {
            let speaker = Speaker::new(voice, source_hz)?;
            let timestamp = self.out.begin(voice.audio.1.clock_hz(), now_ns, fresh);
            self.speaking = Some(Speaking {
                speaker,
                due_ns: now_ns,
                timestamp,
                soothing: false,
            });
        }
        let speaking = self.speaking.as_mut()?;
        speaking.soothing = false;
        Some(&mut speaking.speaker)
    }

    /// Whether noise is heard because the party is silent.
    fn is_soothing(&self) -> bool {
        let speaking = self.speaking.as_ref();
        speaking.is_some_and(|speaking| speaking.soothing)
    }

    /// What is relayed is heard in place of noise.
    pub fn end_noise(&mut self) {
        if self.is_soothing() {
            self.speaking = None;
            self.out.break_off();
        }
    }

    /// The party is silent in this way (RFC 3389): noise, until it says something or for half a
    /// minute. What is played or kept back comes first.
    pub fn soothe(&mut self, background: Background, voice: Voice, now_ns: u64, fresh: Head) {
        let kept_back = self.blocks.media || self.blocks.sound;
        if kept_back || self.speaking.is_some() && !self.is_soothing() {
            return;
        }
        let order = Order {
            sounds: vec![Sound::Noise(background)],
            times: None,
            names: std::sync::Arc::default(),
            first: 0,
            start_ms: 0,
            lasts_ms: Some(SOOTHED_MS),
            volume: 256,
            shared: false,
        };
        if let Some(speaker) = self.speaker(voice, 8_000, now_ns, fresh) {
            speaker.play(order);
        }
        if let Some(speaking) = &mut self.speaking {
            speaking.soothing = true;
        }
    }

    /// The party's description has changed.
    pub fn change_voice(&mut self, voice: Option<Voice>) {
        if let (Some(speaking), Some(voice)) = (&mut self.speaking, voice)
            && speaking.speaker.voice() != voice
        {
            speaking.speaker.change_voice(voice);
        }
    }

    /// The stream for another engine; none while its numbers are those of the source.
    pub fn out_state(&self, now_ns: u64) -> Option<OutgoingState> {
        let renumbered = self.bridge.as_ref().is_some_and(Bridge::is_cutting);
        self.out.state(renumbered, now_ns)
    }

    /// Signalling has agreed anew. A bridge to the same place keeps its memory.
    pub fn change_bridge(&mut self, bridge: Option<Bridge>) {
        let same = match (&self.bridge, &bridge) {
            (Some(known), Some(new)) => known.leads_where(new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.bridge = bridge;
            // The clock may be another one now.
            self.out.break_off();
        }
    }

    /// What is played, for another engine.
    pub fn playing(&self) -> Option<PlayingState> {
        let speaking = self.speaking.as_ref();
        // Noise comes again with what its party says next.
        let asked = speaking.filter(|speaking| !speaking.soothing);
        asked.and_then(|speaking| speaking.speaker.state())
    }

    /// Stops playing; where it was, ms from the beginning of the clip.
    pub fn stop(&mut self) -> Option<u64> {
        let speaking = self
            .speaking
            .as_mut()
            .filter(|speaking| !speaking.soothing)?;
        let position_ms = speaking.speaker.position_ms();
        speaking.speaker.stop();
        self.settle();
        position_ms
    }

    /// Lets the relayed stream through again once all is said.
    fn settle(&mut self) {
        if self
            .speaking
            .as_ref()
            .is_some_and(|speaking| speaking.speaker.is_done())
        {
            self.speaking = None;
            self.out.break_off();
        }
    }

    /// When the next frame is due, `CLOCK_MONOTONIC` ns.
    pub fn due_ns(&self) -> Option<u64> {
        self.speaking.as_ref().map(|speaking| speaking.due_ns)
    }

    /// Writes the frame that is due into `room`.
    pub fn speak(&mut self, room: &mut [u8], now_ns: u64) -> Spoken {
        let Some(speaking) = self
            .speaking
            .as_mut()
            .filter(|speaking| speaking.due_ns <= now_ns)
        else {
            return Spoken::default();
        };
        let soothing = speaking.soothing;
        let voice = speaking.speaker.voice();
        let (frame, ended) = speaking.speaker.next(&mut room[RTP_HEADER_BYTES..]);
        let clock = speaking.timestamp;
        let frame_ns = u64::from(voice.frame_ms) * 1_000_000;
        let units = voice.audio.1.clock_hz() / 1_000 * voice.frame_ms;
        speaking.timestamp = speaking.timestamp.wrapping_add(units);
        speaking.due_ns += frame_ns;
        if now_ns.saturating_sub(speaking.due_ns) > BEHIND_NS_MAX {
            speaking.due_ns = now_ns + frame_ns;
        }
        let packet = frame.length.map(|length| {
            let head = self.out.own(clock, frame.back, now_ns);
            let marker = if frame.marker { 0x80 } else { 0 };
            put_header(room, 0x80, marker | frame.payload_type, head);
            let header = RtpHeader {
                payload_type: frame.payload_type,
                sequence: head.sequence,
                timestamp: head.timestamp,
                ssrc: head.ssrc,
                payload_at: RTP_HEADER_BYTES,
            };
            (RTP_HEADER_BYTES + length, header)
        });
        self.settle();
        // Nobody has asked for noise.
        let ended = ended.filter(|_| !soothing);
        Spoken { packet, ended }
    }
}
