//! A room, frame by frame.
//!
//! Pure: what comes from parties and goes to them passes through a [`Floor`]. Each call of
//! [`Room::run`] is one frame: everybody is heard, the loudest are chosen, sums are made,
//! packets are written.

use std::sync::Arc;

use super::FRAME_MS;
use super::hall::Hall;
use super::mixer::Mixer;
use super::party::{Hears, Party, Place, Who, Wishes};
use super::state::{Playback, Settings};
use super::writer::Form;
use crate::audio::speaker::{Order, Playing};
use crate::codec::{Codec, SAMPLES_MAX};
use crate::limits::{ROOM_SPEAKER_CHANGE_MS, ROOM_STAYS_DB};
use crate::packet::RtpHeader;
use crate::record::Tap;
use crate::{MediaEvent, RoomEvent};

/// What came from a party in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Sound, or what was made up for it.
    Sound,
    /// Nothing.
    Silence,
    /// Its flow is no more.
    Gone,
}

/// Where the parties of a room are.
pub trait Floor {
    /// Fills a frame with what comes from a place.
    fn hear(&mut self, place: Place, frame: &mut [i16]) -> Heard;

    /// The form of packets that a place takes now; none when it is to get nothing.
    fn form(&mut self, place: Place) -> Option<Form>;

    /// Sends a packet to a place.
    fn say(&mut self, place: Place, payload: &[u8], packet_ms: u32);
}

/// Something that is played to all.
struct Player {
    playing: Playing,
    playback: Playback,
}

/// Why somebody is no longer in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// A command wanted it.
    Asked,
    /// The call has ended.
    Gone,
    /// The room has ended.
    Closed,
}

impl Left {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Left::Asked => "asked",
            Left::Gone => "gone",
            Left::Closed => "closed",
        }
    }
}

/// A room.
pub struct Room {
    /// Never used for another room.
    pub id: u64,
    /// Its name.
    pub name: Arc<str>,
    /// What was asked for it.
    pub settings: Settings,
    /// Who is in it.
    pub parties: Vec<Party>,
    /// Takes what is said, for a recording.
    pub tap: Option<Tap>,
    mixer: Mixer,
    hall: Hall,
    player: Option<Player>,
    /// Frames so far.
    frame: u64,
    /// The mix at hand, and room to change the rate of what is played.
    mix: Box<[i16]>,
    rough: Box<[i16]>,
    octets: Vec<u8>,
    /// Who is likely to be heard: level and index.
    loudest: Vec<(f32, usize)>,
    /// Who speaks most, and who has been louder for how many frames.
    foremost: Option<Who>,
    rising: Option<(Who, u32)>,
}

impl Room {
    /// An empty room.
    pub fn new(id: u64, name: Arc<str>, settings: Settings) -> Room {
        let samples = (settings.rate_hz / 1_000 * FRAME_MS) as usize;
        Room {
            id,
            name,
            settings,
            parties: Vec::new(),
            tap: None,
            mixer: Mixer::new(samples),
            hall: Hall::default(),
            player: None,
            frame: 0,
            mix: vec![0; samples].into(),
            rough: vec![0; SAMPLES_MAX].into(),
            octets: Vec::new(),
            loudest: Vec::new(),
            foremost: None,
            rising: None,
        }
    }

    /// Somebody comes in.
    pub fn enter(&mut self, who: Who, place: Place, wishes: Wishes, since_s: u64) {
        let samples = self.mix.len();
        let party = Party::new(who, place, wishes, samples, since_s);
        self.parties.push(party);
    }

    /// The one with this name.
    pub fn find(&self, who: &Who) -> Option<usize> {
        self.parties.iter().position(|party| party.who == *who)
    }

    /// Somebody goes; his place.
    pub fn leave(&mut self, who: &Who) -> Option<Place> {
        let at = self.find(who)?;
        Some(self.parties.remove(at).place)
    }

    /// Plays to all, in place of what was played.
    pub fn play(&mut self, order: Order, playback: Playback) {
        let mut playing = Playing::begin(order, self.settings.rate_hz);
        if playback.sound > 0 || playback.position_ms > 0 {
            playing.seek(playback.sound, playback.position_ms);
        }
        self.player = Some(Player { playing, playback });
    }

    /// Stops playing; where it was, ms.
    pub fn stop(&mut self) -> Option<u64> {
        self.player
            .take()
            .map(|player| player.playing.position_ms())
    }

    /// What is played, and where it is.
    pub fn playback(&self) -> Option<Playback> {
        let player = self.player.as_ref()?;
        Some(Playback {
            sound: player.playing.sound(),
            position_ms: player.playing.position_ms(),
            ..player.playback.clone()
        })
    }

    /// Who speaks most.
    pub fn foremost(&self) -> Option<&Who> {
        self.foremost.as_ref()
    }

    /// Common writers, and frames that were encoded so far.
    pub fn shared(&self) -> (usize, u64) {
        (self.hall.classes(), self.hall.encoded)
    }

    /// One frame.
    pub fn run(&mut self, floor: &mut impl Floor, now_ns: u64, happened: &mut Vec<MediaEvent>) {
        self.hear(floor, happened);
        self.choose();
        self.sum(happened);
        self.tell(happened);
        self.speak(floor);
        self.record(now_ns);
        self.frame += 1;
    }

    fn hear(&mut self, floor: &mut impl Floor, happened: &mut Vec<MediaEvent>) {
        let name = &self.name;
        self.parties.retain_mut(|party| {
            match floor.hear(party.place, &mut party.voice) {
                Heard::Gone => {
                    happened.push(left(name, &party.who, Left::Gone));
                    return false;
                }
                Heard::Sound if party.wishes.speaks() => party.meter.take(&party.voice),
                _ => {
                    party.voice.fill(0);
                    party.meter.take_silence();
                }
            }
            true
        });
        let places: Vec<(usize, Who)> = self
            .parties
            .iter()
            .enumerate()
            .filter_map(|(n, party)| Some((n, party.wishes.whisper_to.clone()?)))
            .collect();
        for party in &mut self.parties {
            (party.whispers_to, party.whispered_to) = (None, false);
        }
        for (n, target) in places {
            // Whoever whispers to somebody who is not there is heard by nobody.
            let target = self.find(&target).unwrap_or(n);
            self.parties[n].whispers_to = Some(target);
        }
    }

    /// The loudest are heard; who is heard already stays so unless somebody is clearly louder.
    fn choose(&mut self) {
        self.loudest.clear();
        for (n, party) in self.parties.iter().enumerate() {
            if party.wishes.speaks() && party.whispers_to.is_none() && party.meter.is_active() {
                let stays = if party.chosen { ROOM_STAYS_DB } else { 0.0 };
                self.loudest.push((party.meter.level() + stays, n));
            }
        }
        let most = self.settings.speakers;
        if self.loudest.len() > most {
            self.loudest
                .select_nth_unstable_by(most, |one, other| other.0.total_cmp(&one.0));
            self.loudest.truncate(most);
        }
        for party in &mut self.parties {
            let whispers = party.whispers_to.is_some();
            party.chosen = whispers && party.meter.is_active();
        }
        for (_, n) in &self.loudest {
            self.parties[*n].chosen = true;
        }
    }

    fn sum(&mut self, happened: &mut Vec<MediaEvent>) {
        self.mixer.clear();
        let auto_level = self.settings.auto_level;
        for n in 0..self.parties.len() {
            self.parties[n].raise(auto_level);
            let party = &self.parties[n];
            match party.whispers_to {
                None if party.speaks => self.mixer.add(&party.voice),
                Some(target) if party.speaks && target != n => {
                    self.parties[target].whispered_to = true;
                }
                _ => {}
            }
        }
        if let Some(player) = &mut self.player {
            let rate_hz = self.settings.rate_hz;
            let heard_ms = player.playing.fill(rate_hz, &mut self.mix, &mut self.rough);
            self.mixer.add(&self.mix);
            if player.playing.has_ended(heard_ms, FRAME_MS) {
                let played_ms = player.playing.played_ms();
                happened.push(told(&self.name, RoomEvent::PlayEnd { played_ms }));
                self.player = None;
            }
        }
        self.mixer.settle();
    }

    /// Tells who begins and ceases to talk, and who speaks most.
    fn tell(&mut self, happened: &mut Vec<MediaEvent>) {
        let mut loudest: Option<(f32, usize)> = None;
        for (n, party) in self.parties.iter_mut().enumerate() {
            let talking = party.meter.is_talking() && party.whispers_to.is_none();
            if talking != party.told_talking {
                party.told_talking = talking;
                let event = RoomEvent::Talking {
                    call_id: party.who.call_id.to_string(),
                    tag: party.who.tag.to_string(),
                    talking,
                };
                happened.push(told(&self.name, event));
            }
            if talking && party.chosen && loudest.is_none_or(|(most, _)| party.meter.level() > most)
            {
                loudest = Some((party.meter.level(), n));
            }
        }
        let Some((_, n)) = loudest else {
            self.rising = None;
            return;
        };
        let who = &self.parties[n].who;
        if self.foremost.as_ref() == Some(who) {
            self.rising = None;
            return;
        }
        let frames = match &self.rising {
            Some((rising, frames)) if rising == who => frames + 1,
            _ => 1,
        };
        if frames * FRAME_MS < ROOM_SPEAKER_CHANGE_MS {
            self.rising = Some((who.clone(), frames));
            return;
        }
        let event = RoomEvent::Speaker {
            call_id: who.call_id.to_string(),
            tag: who.tag.to_string(),
        };
        happened.push(told(&self.name, event));
        (self.foremost, self.rising) = (Some(who.clone()), None);
    }

    fn speak(&mut self, floor: &mut impl Floor) {
        let rate_hz = self.settings.rate_hz;
        self.hall.clear();
        for party in &mut self.parties {
            match floor.form(party.place) {
                Some(form) => self.hall.seat(party, form, rate_hz, self.frame),
                None => party.turn_away(),
            }
        }
        self.hall.write(&self.mixer, &mut self.mix);
        for n in 0..self.parties.len() {
            let Some(mut own) = self.parties[n].own.take() else {
                continue;
            };
            self.mix_for(n);
            own.write(&self.mix);
            self.hall.encoded += own.payloads().count() as u64;
            self.parties[n].own = Some(own);
        }
        for party in &self.parties {
            let Some(writer) = self.hall.writer(party) else {
                continue;
            };
            for payload in writer.payloads() {
                floor.say(party.place, payload, writer.form().packet_ms);
            }
        }
    }

    /// Makes what one party hears.
    fn mix_for(&mut self, n: usize) {
        let party = &self.parties[n];
        let own = (party.speaks && party.whispers_to.is_none()).then_some(&party.voice[..]);
        match (party.hears(), own) {
            (Hears::Silence, _) => self.mix.fill(0),
            (Hears::All, _) => self.mixer.all(&mut self.mix),
            (Hears::Own, Some(own)) if !party.whispered_to => {
                self.mixer.without(own, &mut self.mix);
            }
            (Hears::Own, own) => {
                let to_it = |other: &&Party| other.speaks && other.whispers_to == Some(n);
                let whispers = self.parties.iter().filter(to_it);
                let whispers = whispers.map(|other| &other.voice[..]);
                self.mixer.special(own, whispers, &mut self.mix);
            }
        }
    }

    /// Hands what all hear to the recording.
    fn record(&mut self, now_ns: u64) {
        let Some(tap) = &self.tap else { return };
        self.mixer.all(&mut self.mix);
        self.octets.clear();
        self.octets
            .extend(self.mix.iter().flat_map(|sample| sample.to_be_bytes()));
        let header = RtpHeader {
            payload_type: 0,
            sequence: self.frame as u16,
            timestamp: (self.frame as u32).wrapping_mul(self.mix.len() as u32),
            ssrc: 1,
            payload_at: 0,
        };
        tap.take(
            Codec::L16(self.settings.rate_hz),
            &header,
            &self.octets,
            now_ns,
        );
    }
}

/// Something has happened in a room.
fn told(room: &str, event: RoomEvent) -> MediaEvent {
    let room = room.into();
    MediaEvent::Room { room, event }
}

/// Somebody has come into a room.
pub fn joined(room: &str, who: &Who) -> MediaEvent {
    let event = RoomEvent::Joined {
        call_id: who.call_id.to_string(),
        tag: who.tag.to_string(),
    };
    told(room, event)
}

/// Somebody is no longer in a room.
pub fn left(room: &str, who: &Who, why: Left) -> MediaEvent {
    let event = RoomEvent::Left {
        call_id: who.call_id.to_string(),
        tag: who.tag.to_string(),
        reason: why.name(),
    };
    told(room, event)
}

#[cfg(test)]
mod tests;
