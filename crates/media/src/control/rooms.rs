//! Rooms as commands know them: where each is, who joins and leaves, what is asked for whom.
//!
//! Owner of the names of rooms. Who is in a room stands there alone, under its worker's lock.

mod carried;
mod parties;

use std::collections::HashMap;
use std::sync::Arc;

use super::{Control, unix_us};
use crate::MediaEvent;
use crate::epoll::monotonic_ns;
use crate::limits::{ABANDONED_AFTER_S, LIST_MAX, ROOMS_MAX};
use crate::mix::party::{Party, Who, Wishes};
use crate::mix::room::{Left, Room, left};
use crate::mix::state::{Playback, Settings};
use crate::ng::Refusal;
use crate::ng::bencode::{Dict, Value, dict};
use crate::ng::request::Request;
use crate::ng::rooms::{RoomCommand, RoomRequest};
use crate::ng::sound::Recorded;
use crate::record::{RecordError, Recording};
use crate::worker::Table;

/// Where a room is.
pub struct RoomEntry {
    worker: usize,
    id: u64,
    recording: Option<RoomRecording>,
    /// What is asked for parties that are expected after a restoration.
    awaited: HashMap<Who, Wishes>,
    /// When a command was about it last, or somebody was in it, `CLOCK_MONOTONIC` ns.
    used_ns: u64,
}

/// The recording of a room.
struct RoomRecording {
    recording: Recording,
    name: String,
    /// How long its parts elsewhere are, and what it has without the stretch that runs, ms.
    before_ms: u64,
    /// Since when it runs, `CLOCK_MONOTONIC` ns; none while it is paused.
    since_ns: Option<u64>,
}

impl RoomRecording {
    fn position_ms(&self, now_ns: u64) -> u64 {
        let runs_ns = self.since_ns.map_or(0, |since_ns| now_ns - since_ns);
        self.before_ms + runs_ns / 1_000_000
    }
}

/// All rooms, by name.
#[derive(Default)]
pub struct RoomBook {
    entries: HashMap<Arc<str>, RoomEntry>,
    next: u64,
    told: Vec<MediaEvent>,
}

impl RoomBook {
    /// What is to be told about the last command.
    pub fn take_told(&mut self) -> Vec<MediaEvent> {
        std::mem::take(&mut self.told)
    }

    /// Ends all recordings.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn get(&mut self, name: &str) -> Result<&mut RoomEntry, Refusal> {
        let entry = self.entries.get_mut(name);
        let entry = entry.ok_or_else(|| Refusal::error("Unknown room"))?;
        entry.used_ns = monotonic_ns();
        Ok(entry)
    }
}

impl Control {
    /// Carries out a command about a room; what the answer says beyond that it was.
    ///
    /// # Errors
    /// Unknown rooms, calls and parties; limits.
    pub fn room(
        &mut self,
        command: RoomCommand,
        request: &Request,
        asked: RoomRequest,
    ) -> Result<Dict, Refusal> {
        if asked.room.is_empty() && !matches!(command, RoomCommand::List | RoomCommand::Leave) {
            return Err(Refusal::error("No room in message"));
        }
        match command {
            RoomCommand::Create => self.create_room(&asked),
            RoomCommand::Delete => self.delete_room(&asked.room),
            RoomCommand::Join => self.join_room(request, &asked),
            RoomCommand::Leave => self.leave_room(request, &asked),
            RoomCommand::Change => self.change_room(request, &asked),
            RoomCommand::Query => self.query_room(&asked.room),
            RoomCommand::List => Ok(self.list_rooms(request.limit)),
            RoomCommand::Play | RoomCommand::Stop => self.play_room(asked),
            RoomCommand::Record(wanted) => self.record_room(&asked.room, request, wanted),
            RoomCommand::Capture => self.capture_room(&asked.room),
            RoomCommand::Restore => self.restore_room(asked),
        }
    }

    /// Does something with a room, under its worker's lock.
    fn in_room<T>(
        &mut self,
        name: &str,
        act: impl FnOnce(&mut Table, u64) -> Option<T>,
    ) -> Result<T, Refusal> {
        let entry = self.rooms.get(name)?;
        let (worker, id) = (entry.worker, entry.id);
        let done = act(&mut self.workers[worker].table(), id);
        self.workers[worker].wake();
        done.ok_or_else(|| Refusal::error("Unknown room"))
    }

    fn create_room(&mut self, asked: &RoomRequest) -> Result<Dict, Refusal> {
        let settings = Settings::default();
        let settings = Settings {
            rate_hz: asked.rate_hz.unwrap_or(settings.rate_hz),
            speakers: asked.speakers.unwrap_or(settings.speakers),
            parties_max: asked.parties_max.unwrap_or(settings.parties_max),
            auto_level: asked.auto_level.unwrap_or(settings.auto_level),
        };
        // A command that comes twice, after a takeover for example, finds the room as it is.
        let known = self.rooms.entries.contains_key(&asked.room[..]);
        if !known {
            self.open_room(&asked.room, settings.bounded())?;
        }
        let created = u64::from(!known);
        Ok(dict([("created", created.into())]))
    }

    /// Opens a room at the worker with the fewest parties of rooms.
    fn open_room(&mut self, name: &str, settings: Settings) -> Result<(), Refusal> {
        if self.rooms.entries.len() >= ROOMS_MAX {
            return Err(Refusal::full("Too many rooms"));
        }
        let parties = |worker: &usize| self.workers[*worker].table().rooms.parties();
        let alive = |worker: &usize| !self.workers[*worker].table().has_ended;
        let worker = (0..self.workers.len()).filter(alive).min_by_key(parties);
        let worker = worker.ok_or_else(|| Refusal::full("No worker is left"))?;
        let (id, name) = (self.rooms.next, Arc::<str>::from(name));
        self.rooms.next += 1;
        let room = Room::new(id, Arc::clone(&name), settings);
        self.workers[worker].open_room(room);
        let entry = RoomEntry {
            worker,
            id,
            recording: None,
            awaited: HashMap::new(),
            used_ns: monotonic_ns(),
        };
        self.rooms.entries.insert(name, entry);
        Ok(())
    }

    fn delete_room(&mut self, name: &str) -> Result<Dict, Refusal> {
        let Some(entry) = self.rooms.entries.remove(name) else {
            return Err(Refusal::error("Unknown room"));
        };
        let gone = self.workers[entry.worker].table().close(entry.id);
        let told = gone.iter().map(|who| left(name, who, Left::Closed));
        self.rooms.told.extend(told);
        Ok(dict([("parties", (gone.len() as u64).into())]))
    }

    fn play_room(&mut self, asked: RoomRequest) -> Result<Dict, Refusal> {
        let mut answer = Dict::new();
        if let Some((order, playback)) = asked.play {
            if let Some(lasts_ms) = super::sound::lasts_ms(&order) {
                answer.insert(b"duration".to_vec(), lasts_ms.into());
            }
            self.in_room(&asked.room, |table, id| {
                table.rooms.get_mut(id)?.play(order, playback);
                Some(())
            })?;
            return Ok(answer);
        }
        let position_ms = self.in_room(&asked.room, |table, id| {
            Some(table.rooms.get_mut(id)?.stop())
        })?;
        if let Some(position_ms) = position_ms {
            answer.insert(b"last-frame-pos".to_vec(), position_ms.into());
        }
        Ok(answer)
    }

    fn record_room(
        &mut self,
        name: &str,
        request: &Request,
        wanted: Recorded,
    ) -> Result<Dict, Refusal> {
        let now_ns = monotonic_ns();
        let known = self.rooms.get(name)?.recording.is_some();
        if wanted == Recorded::Start && !known {
            let begun = request.recording_file.as_deref().unwrap_or(name).to_owned();
            self.begin_recording(name, begun, 0)?;
        }
        let entry = self.rooms.get(name)?;
        let mut answer = Dict::new();
        match (wanted, &mut entry.recording) {
            (Recorded::Start, Some(recorded)) => {
                if recorded.since_ns.is_none() {
                    recorded.recording.resume(now_ns);
                    recorded.since_ns = Some(now_ns);
                }
                let base = recorded.recording.base.to_string_lossy().into_owned();
                answer.insert(b"recording".to_vec(), base.into());
            }
            (Recorded::Pause, Some(recorded)) => {
                recorded.recording.pause(now_ns);
                recorded.before_ms = recorded.position_ms(now_ns);
                recorded.since_ns = None;
            }
            (Recorded::Stop, Some(_)) => {
                entry.recording = None;
                self.in_room(name, |table, id| {
                    table.rooms.get_mut(id)?.tap = None;
                    Some(())
                })?;
            }
            (_, None) => {}
        }
        Ok(answer)
    }

    /// Begins to record a room. `before_ms`: how long its parts elsewhere are.
    fn begin_recording(&mut self, room: &str, name: String, before_ms: u64) -> Result<(), Refusal> {
        let now_ns = monotonic_ns();
        let rate_hz = self.in_room(room, |table, id| {
            Some(table.rooms.get(id)?.settings.rate_hz)
        })?;
        let recording = self.recorder.record_mix(&name, rate_hz > 8_000, now_ns);
        let recording = recording.map_err(|error| Refusal {
            limit: matches!(error, RecordError::Full),
            ..Refusal::error(&error.to_string())
        })?;
        let tap = recording.tap(0);
        self.in_room(room, |table, id| {
            table.rooms.get_mut(id)?.tap = Some(tap);
            Some(())
        })?;
        self.rooms.get(room)?.recording = Some(RoomRecording {
            recording,
            name,
            before_ms,
            since_ns: Some(now_ns),
        });
        Ok(())
    }

    fn list_rooms(&self, limit: Option<usize>) -> Dict {
        let rooms = self.rooms.entries.iter().map(|(name, entry)| {
            let table = self.workers[entry.worker].table();
            let parties = table
                .rooms
                .get(entry.id)
                .map_or(0, |room| room.parties.len());
            let room = [
                ("room", (&**name).into()),
                ("parties", (parties as u64).into()),
            ];
            Value::from(dict(room))
        });
        let most = limit.unwrap_or(LIST_MAX).min(LIST_MAX);
        let rooms: Vec<Value> = rooms.take(most).collect();
        dict([("rooms", rooms.into())])
    }

    fn query_room(&mut self, name: &str) -> Result<Dict, Refusal> {
        let now_ns = monotonic_ns();
        let recorded = self.rooms.get(name)?.recording.as_ref();
        let recorded = recorded.map(|recorded| {
            let base = recorded.recording.base.to_string_lossy().into_owned();
            (base, recorded.position_ms(now_ns))
        });
        let mut answer = self.in_room(name, |table, id| {
            let room = table.rooms.get(id)?;
            let settings = room.settings;
            let mut answer = dict([
                ("rate", u64::from(settings.rate_hz).into()),
                ("speakers", (settings.speakers as u64).into()),
                ("max-parties", (settings.parties_max as u64).into()),
                ("auto-level", yes(settings.auto_level)),
                ("shared", (room.shared().0 as u64).into()),
            ]);
            if let Some(who) = room.foremost() {
                answer.insert(b"speaker".to_vec(), name_of(who).into());
            }
            if let Some(playback) = room.playback() {
                answer.insert(b"playing".to_vec(), playing(&playback).into());
            }
            let entries: Vec<(Dict, _)> = room
                .parties
                .iter()
                .map(|party| (party_figures(party), party.place))
                .collect();
            let parties = entries.into_iter().map(|(mut figures, place)| {
                let seat = table
                    .get_mut(place.key)
                    .and_then(|flow| flow.seat(place.side));
                if let Some(seat) = seat {
                    let (late, lost) = seat.late_and_lost();
                    figures.insert(b"late".to_vec(), late.into());
                    figures.insert(b"lost".to_vec(), lost.into());
                }
                Value::from(figures)
            });
            let parties: Vec<Value> = parties.collect();
            answer.insert(b"parties".to_vec(), parties.into());
            Some(answer)
        })?;
        if let Some((base, position_ms)) = recorded {
            let recording = dict([("recording", base.into()), ("position", position_ms.into())]);
            answer.extend(recording);
        }
        Ok(answer)
    }

    /// Forgets the rooms that are no longer at a worker.
    pub(super) fn forget_rooms(&mut self, worker: usize) {
        let table = self.workers[worker].table();
        let entries = &mut self.rooms.entries;
        entries.retain(|_, entry| entry.worker != worker || table.rooms.get(entry.id).is_some());
    }

    /// Ends rooms that nobody has been in for long: their owner must have died.
    pub fn sweep_rooms(&mut self, now_ns: u64) {
        let mut abandoned = Vec::new();
        for (name, entry) in &mut self.rooms.entries {
            let table = self.workers[entry.worker].table();
            if table
                .rooms
                .get(entry.id)
                .is_some_and(|room| !room.parties.is_empty())
            {
                entry.used_ns = now_ns;
            }
            if now_ns.saturating_sub(entry.used_ns) / 1_000_000_000 >= ABANDONED_AFTER_S {
                abandoned.push(Arc::clone(name));
            }
        }
        for name in abandoned {
            tracing::warn!(room = &*name, "removed a room that nobody has cared for");
            drop(self.delete_room(&name));
        }
    }
}

fn yes(value: bool) -> Value {
    if value { "yes" } else { "no" }.into()
}

fn name_of(who: &Who) -> Dict {
    dict([
        ("call-id", (&*who.call_id).into()),
        ("tag", (&*who.tag).into()),
    ])
}

fn playing(playback: &Playback) -> Dict {
    let files = playback.files.iter().map(|file| file.as_str().into());
    let files: Vec<Value> = files.collect();
    dict([
        ("files", files.into()),
        ("file", (playback.sound as u64).into()),
        ("position", playback.position_ms.into()),
    ])
}

fn party_figures(party: &Party) -> Dict {
    let wishes = &party.wishes;
    let mut figures = name_of(&party.who);
    figures.extend(dict([
        ("muted", yes(wishes.muted)),
        ("deaf", yes(wishes.deaf)),
        ("listen-only", yes(wishes.listen_only)),
        ("gain", i64::from(wishes.gain_db).into()),
        ("level", (party.meter.level().round() as i64).into()),
        ("talking", yes(party.meter.is_talking())),
        ("since", party.since_s.into()),
    ]));
    if let Some(target) = &wishes.whisper_to {
        figures.insert(b"whisper-to".to_vec(), name_of(target).into());
    }
    figures
}

/// Seconds since 1970.
fn unix_s() -> u64 {
    unix_us() / 1_000_000
}
