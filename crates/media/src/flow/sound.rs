//! What a flow does with the sound of its packets; see [`crate::audio`].

use super::{Flow, SocketId, Verdict};
use crate::MediaEvent;
use crate::audio::Audio;
use crate::audio::bridge::Bridge;
use crate::audio::choir::Member;
use crate::audio::event::{Event, EventListener, Pressed};
use crate::audio::lane::{Blocks, Lane};
use crate::audio::outgoing::{Head, Outgoing};
use crate::audio::reports::{Renaming, rename};
use crate::audio::speaker::{DigitOrder, Order, Sound, Voice};
use crate::dsp::noise::Background;
use crate::ng::Refusal;
use crate::packet::{Kind, RtpHeader, payload};
use crate::record::Tap;
use crate::sdp::{Coding, STATIC_NOISE, Takes};
use crate::tap::Feed;

impl Flow {
    /// Signalling says what each party takes and what it was told that it may send.
    pub fn agree_formats(&mut self, takes: [Takes; 2], sends: [Takes; 2]) {
        for (side, (takes, sends)) in self.sides.iter_mut().zip(takes.into_iter().zip(sends)) {
            (side.takes, side.sends) = (takes, sends);
        }
        for side in 0..2 {
            let [own, other] = [&self.sides[side], &self.sides[1 - side]];
            let said = own.sends.events_mask();
            let events = if said == 0 {
                own.takes.events_mask()
            } else {
                said
            };
            // Noise that the other party does not take is made by us, also for who sends it
            // without having agreed on it.
            let unknown = other.takes.first_audio().is_some() && other.takes.noise_mask() == 0;
            let noise = if unknown {
                own.takes.noise_mask() | own.sends.noise_mask() | 1 << STATIC_NOISE
            } else {
                0
            };
            self.special[side] = events | noise;
            let needed = Bridge::is_needed(&own.sends, &other.takes);
            let bridge = needed.then(|| Bridge::new(other.takes.clone()));
            let voice = self.voice(1 - side);
            if bridge.is_some() || self.audio.is_some() {
                self.audio().lanes[side].change_voice(voice);
                self.audio().lanes[side].change_bridge(bridge);
            }
        }
    }

    /// Whether both parties have said what sound they take.
    pub fn has_agreed(&self) -> bool {
        let mut sides = self.sides.iter();
        sides.all(|side| side.takes.first_audio().is_some())
    }

    /// How packets to a party have to look; none when it takes no sound that we can make.
    pub fn voice(&self, side: usize) -> Option<Voice> {
        let takes = &self.sides[side].takes;
        let audio = takes.first_audio()?;
        Some(Voice {
            audio,
            events: takes.events(audio.1.clock_hz()),
            frame_ms: audio.1.possible_ms(takes.ptime_ms),
        })
    }

    /// What the payload type of a packet from `side` means.
    fn coding(&self, side: usize, payload_type: u8) -> Option<Coding> {
        let own = &self.sides[side];
        let said = own.sends.coding(payload_type);
        let known = said.or_else(|| own.takes.coding(payload_type));
        let noise = payload_type == STATIC_NOISE;
        known.or_else(|| noise.then_some(Coding::Noise(8_000)))
    }

    /// Whether a packet needs more than to be passed on.
    pub(super) fn is_treated(&self, side: usize, kind: Kind) -> bool {
        let event = match kind {
            Kind::Rtp(header) => self.special[side] >> header.payload_type & 1 != 0,
            _ => false,
        };
        event || self.audio.is_some() || self.listeners.is_some()
    }

    /// Listens to a plain packet and changes it as was asked for; its new length, none when it is
    /// kept back.
    pub(super) fn treat(
        &mut self,
        side: usize,
        kind: Kind,
        room: &mut [u8],
        length: usize,
        now_ns: u64,
        happened: &mut Vec<MediaEvent>,
    ) -> Option<usize> {
        let header = match kind {
            Kind::Rtp(header) => header,
            // Its reports are about streams of the room, which nobody else knows.
            Kind::Rtcp if self.is_in_room() => return None,
            Kind::Rtcp => {
                self.rename_reports(side, &mut room[..length]);
                return Some(length);
            }
            Kind::Other => return Some(length),
        };
        let coding = self.coding(side, header.payload_type);
        let content = payload(&room[..length], &header);
        let told = self.listen_for_events(side, &header, coding, content, now_ns);
        for pressed in told.into_iter().flatten() {
            let (id, tag) = (&self.call_id, &self.sides[side].tag);
            happened.push(dtmf(id, tag, pressed, false));
            self.sound_out(side, pressed, now_ns);
        }
        let quiet = self.quiet_voice(side, coding);
        let Some(audio) = &mut self.audio else {
            return Some(length);
        };
        let deaf = audio.lanes[1 - side].seat.is_some();
        let lane = &mut audio.lanes[side];
        lane.begin();
        lane.hand_out(&header, coding, content, now_ns);
        // Who has sent events means them.
        if lane.listening
            && self
                .listeners
                .as_ref()
                .is_none_or(|known| !known[side].has_heard())
        {
            let (id, tag) = (&self.call_id, &self.sides[side].tag);
            lane.listen(coding, content, |pressed| {
                happened.push(dtmf(id, tag, pressed, true))
            });
        }
        if let Some(seat) = &mut lane.seat {
            if !lane.blocks.media && !lane.blocks.sound {
                seat.take(&header, coding, content);
            }
            return None;
        }
        if deaf {
            // Who is in a room hears the room alone.
            return None;
        }
        if let Some(voice) = quiet {
            if let Some(background) = Background::parse(content) {
                lane.soothe(background, voice, now_ns, fresh());
            }
            return None;
        }
        lane.relay(&header, coding, room, length, now_ns)
    }

    /// Makes a further packet of what came from `side`, when it was longer than the other party
    /// wants.
    pub fn more(&mut self, side: usize, room: &mut [u8], now_ns: u64) -> Option<Verdict> {
        let lane = &mut self.audio.as_mut()?.lanes[side];
        let (header, length) = lane.more(room, now_ns)?;
        let at = SocketId::new(side, false);
        Some(self.pass_on(at, Kind::Rtp(header), room, length, false))
    }

    /// Whether the packet that came last from `side` waits for others.
    pub(super) fn is_waiting(&self, side: usize) -> bool {
        let audio = self.audio.as_ref();
        audio.is_some_and(|audio| audio.lanes[side].is_waiting())
    }

    /// When a packet says that its party is silent, in words that the other one does not know: how
    /// that one is told, by noise.
    fn quiet_voice(&mut self, side: usize, coding: Option<Coding>) -> Option<Voice> {
        let is_noise = matches!(coding, Some(Coding::Noise(_)));
        if !is_noise || self.sides[1 - side].takes.noise_mask() != 0 {
            return None;
        }
        let voice = self.voice(1 - side)?;
        if self.audio.is_none() {
            // The packet at hand counts as relayed, and is not.
            self.audio().lanes[side].out.take_back();
        }
        Some(voice)
    }

    fn listen_for_events(
        &mut self,
        side: usize,
        header: &RtpHeader,
        coding: Option<Coding>,
        content: &[u8],
        now_ns: u64,
    ) -> [Option<Pressed>; 2] {
        let Some(Coding::Events(clock_hz)) = coding else {
            let listeners = self.listeners.as_mut();
            return [listeners.and_then(|known| known[side].poll(now_ns)), None];
        };
        let listeners = self.listeners.get_or_insert_default();
        let Some(event) = Event::parse(content) else {
            return [None; 2];
        };
        let heard: &mut EventListener = &mut listeners[side];
        heard.take(header.ssrc, header.timestamp, event, clock_hz, now_ns)
    }

    /// A digit for a party behind a bridge that does not understand events: as tones, once its
    /// length is known.
    fn sound_out(&mut self, side: usize, pressed: Pressed, now_ns: u64) {
        let Some(audio) = &self.audio else { return };
        let lane = &audio.lanes[side];
        let deaf = lane
            .bridge
            .as_ref()
            .is_some_and(|bridge| !bridge.takes_events());
        if !deaf || lane.blocks.dtmf || lane.blocks.media || self.is_in_room() {
            return;
        }
        let order = DigitOrder {
            digit: pressed.digit,
            lasts_ms: pressed.lasted_ms.clamp(100, 5_000),
            pause_ms: 100,
            volume: pressed.volume.clamp(3, 20),
        };
        if self.press(side, order, now_ns).is_err() {
            tracing::debug!(
                call_id = &*self.call_id,
                "too many digits wait: one is lost"
            );
        }
    }

    /// Reports of a party name our streams as it knows them; the other one knows others.
    fn rename_reports(&self, side: usize, packet: &mut [u8]) {
        let Some(audio) = &self.audio else { return };
        let known = |lane: &Lane| Some((lane.out.changed_source()?, lane.out.ssrc()?));
        let lane = &audio.lanes[side];
        let newest = self.sides[side].rtp.quality.newest();
        let bridged = lane
            .bridge
            .as_ref()
            .and(newest)
            .map(|(source, ..)| ((source, 0), source));
        let renamed = known(lane).or(bridged);
        let sender = renamed.map(|((source, _), name)| (source, name));
        let step = renamed.map_or(0, |((_, step), _)| step);
        let convert = |time: u32| {
            let bridge = lane.bridge.as_ref();
            let time = bridge.map_or(time, |bridge| bridge.convert_time(time));
            time.wrapping_add(step)
        };
        let time: Option<&dyn Fn(u32) -> u32> = Some(&convert);
        let reported = known(&audio.lanes[1 - side]).map(|((source, _), name)| (name, source));
        let renaming = Renaming {
            sender,
            time,
            reported,
        };
        rename(packet, renaming);
    }

    /// Directions that lead to a party with other formats.
    pub fn bridged(&self) -> usize {
        let lanes = self.audio.iter().flat_map(|audio| &audio.lanes);
        lanes.filter(|lane| lane.bridge.is_some()).count()
    }

    /// The sound of the flow, made when there is none.
    pub fn audio(&mut self) -> &mut Audio {
        let sides = &self.sides;
        self.audio.get_or_insert_with(|| {
            let lane = |side: usize| {
                let rtp = &sides[side].rtp;
                let out = rtp.quality.newest().map(|(ssrc, sequence, timestamp)| {
                    Outgoing::after(ssrc, sequence, timestamp, rtp.counters.last_packet_ns)
                });
                Lane::on(out.unwrap_or_default())
            };
            Box::new(Audio::new([lane(0), lane(1)]))
        })
    }

    /// Listens, or no longer, for digits in the sound of a party.
    pub fn listen(&mut self, side: usize, wanted: bool) {
        if wanted || self.audio.is_some() {
            self.audio().lanes[side].listening = wanted;
        }
    }

    /// Records, or no longer, the sound of a party.
    pub fn record(&mut self, side: usize, tap: Option<Tap>) {
        if tap.is_some() || self.audio.is_some() {
            self.audio().lanes[side].tap = tap;
        }
    }

    /// Number of the feed that the sound of a party is forwarded by.
    pub fn forwarded_by(&self, side: usize) -> Option<u32> {
        let feed = self.audio.as_ref()?.lanes[side].forward.as_ref()?;
        Some(feed.id())
    }

    /// Forwards, or no longer, the sound of a party.
    pub fn forward(&mut self, side: usize, feed: Option<Feed>) {
        if feed.is_some() || self.audio.is_some() {
            self.audio().lanes[side].forward = feed;
        }
    }

    /// Keeps back, or no longer, what comes from a party.
    pub fn block(&mut self, side: usize, change: impl FnOnce(&mut Blocks)) {
        if self.audio.is_none() {
            let mut blocks = Blocks::default();
            change(&mut blocks);
            if blocks == Blocks::default() {
                return;
            }
            self.audio().lanes[side].blocks = blocks;
        } else {
            change(&mut self.audio().lanes[side].blocks);
        }
    }

    /// Plays to a party.
    ///
    /// # Errors
    /// When it takes no sound that we can make.
    pub fn play(&mut self, to: usize, order: Order, now_ns: u64) -> Result<(), Refusal> {
        let source_hz = order.sounds.iter().map(|sound| match sound {
            Sound::Clip(clip) => clip.rate_hz,
            Sound::Signal(_) | Sound::Noise(_) => 8_000,
        });
        let source_hz = source_hz.max().unwrap_or(8_000);
        let voice = self.voice(to).ok_or_else(no_codec)?;
        let lane = &mut self.audio().lanes[1 - to];
        let speaker = lane.speaker(voice, source_hz, now_ns, fresh());
        speaker.ok_or_else(no_codec)?.play(order);
        Ok(())
    }

    /// Lets a party hear with others what they hear.
    ///
    /// # Errors
    /// When it takes no sound that we can make.
    pub fn join(&mut self, to: usize, member: Member, now_ns: u64) -> Result<(), Refusal> {
        let voice = self.voice(to).ok_or_else(no_codec)?;
        let lane = &mut self.audio().lanes[1 - to];
        // The others' coder is used, not this one.
        let speaker = lane.speaker(voice, 8_000, now_ns, fresh());
        speaker.ok_or_else(no_codec)?.join(member);
        Ok(())
    }

    /// Stops playing to a party; where it was, ms.
    pub fn stop(&mut self, to: usize) -> Option<u64> {
        self.audio.as_mut()?.lanes[1 - to].stop()
    }

    /// Sends a digit to the other party as if it came from `side`.
    ///
    /// # Errors
    /// When the other one takes neither events nor sound that we can make, or too many wait.
    pub fn press(&mut self, side: usize, order: DigitOrder, now_ns: u64) -> Result<(), Refusal> {
        let voice = self.voice(1 - side).ok_or_else(no_injection)?;
        let lane = &mut self.audio().lanes[side];
        let speaker = lane
            .speaker(voice, 8_000, now_ns, fresh())
            .ok_or_else(no_injection)?;
        if speaker.press(order) {
            Ok(())
        } else {
            Err(Refusal::full("Too many DTMF events queued"))
        }
    }

    /// When it wants to speak next, unless that was told before.
    pub fn take_due(&mut self) -> Option<u64> {
        let audio = self.audio.as_mut().filter(|audio| !audio.scheduled)?;
        let due_ns = audio.due_ns()?;
        audio.scheduled = true;
        Some(due_ns)
    }

    /// It was given the word: the next time has to be told anew.
    pub fn was_roused(&mut self) {
        if let Some(audio) = &mut self.audio {
            audio.scheduled = false;
        }
    }

    /// Makes the packet that is due towards the other party of `side`.
    pub fn speak(
        &mut self,
        side: usize,
        room: &mut [u8],
        now_ns: u64,
        happened: &mut Vec<MediaEvent>,
    ) -> Option<Verdict> {
        let spoken = self.audio.as_mut()?.lanes[side].speak(room, now_ns);
        if let Some(end) = spoken.ended {
            happened.push(MediaEvent::PlayEnd {
                call_id: self.call_id.to_string(),
                tag: self.sides[1 - side].tag.to_string(),
                played_ms: end.played_ms,
            });
        }
        let (length, header) = spoken.packet?;
        let at = SocketId::new(side, false);
        Some(self.pass_on(at, Kind::Rtp(header), room, length, false))
    }
}

fn no_codec() -> Refusal {
    Refusal::error("No supported codec in SDP to play media with")
}

fn no_injection() -> Refusal {
    Refusal::error("Monologue has no media capable of DTMF injection")
}

/// A stream that nobody can guess, for a party that never got a packet.
pub(super) fn fresh() -> Head {
    Head {
        ssrc: rand::random(),
        sequence: rand::random::<u16>() >> 1,
        timestamp: rand::random(),
    }
}

fn dtmf(call_id: &str, tag: &str, pressed: Pressed, in_band: bool) -> MediaEvent {
    MediaEvent::Dtmf {
        call_id: call_id.into(),
        tag: tag.into(),
        digit: pressed.digit.key(),
        duration_ms: pressed.lasted_ms,
        volume: pressed.volume,
        in_band,
    }
}
