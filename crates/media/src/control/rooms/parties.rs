//! Who joins and leaves a room, and what is asked for him.

use super::{Control, unix_s};
use crate::epoll::monotonic_ns;
use crate::mix::party::{GAIN_DB, Place, Who, Wishes};
use crate::mix::room::{Left, joined, left};
use crate::mix::state::Settings;
use crate::ng::Refusal;
use crate::ng::bencode::{Dict, dict};
use crate::ng::request::Request;
use crate::ng::rooms::RoomRequest;

/// A party of a call: its name and its line of sound.
struct Found {
    who: Who,
    dialogue: usize,
    line: usize,
    side: usize,
}

impl Control {
    /// The party a command names by `from-tag` or `label`; of several branches the answered one.
    fn find_party(&self, request: &Request) -> Result<Found, Refusal> {
        if request.call_id.is_empty() {
            return Err(Refusal::error("No call-id in message"));
        }
        let call = self.calls.get(&request.call_id[..]);
        let call = call.ok_or_else(|| Refusal::error("Unknown call-ID"))?;
        if request.from_tag.is_none() && request.label.is_none() {
            return Err(Refusal::error("No participant party specified"));
        }
        let mut best: Option<(bool, Found)> = None;
        for (n, dialogue) in call.dialogues.iter().enumerate() {
            for (side, party) in dialogue.parties.iter().enumerate() {
                let named = match (&request.label, &request.from_tag) {
                    (Some(label), _) => party.label.as_ref() == Some(label),
                    (None, tag) => party.tag.as_deref() == tag.as_deref(),
                };
                let line = dialogue.lines.iter().position(|line| line.is_sound());
                let (true, Some(tag), Some(line)) = (named, &party.tag, line) else {
                    continue;
                };
                if best
                    .as_ref()
                    .is_none_or(|(answered, _)| dialogue.answered && !answered)
                {
                    let (call_id, tag) = (call.id.clone(), tag.clone());
                    let found = Found {
                        who: Who { call_id, tag },
                        dialogue: n,
                        line,
                        side,
                    };
                    best = Some((dialogue.answered, found));
                }
            }
        }
        let (_, found) = best.ok_or_else(|| {
            Refusal::error(if request.label.is_some() {
                "No monologue matching the given label"
            } else {
                "From-tag given, but no such tag exists"
            })
        })?;
        Ok(found)
    }

    pub(super) fn join_room(
        &mut self,
        request: &Request,
        asked: &RoomRequest,
    ) -> Result<Dict, Refusal> {
        let found = self.find_party(request)?;
        let entry = self.rooms.get(&asked.room)?;
        let (worker, id) = (entry.worker, entry.id);
        let awaited = entry.awaited.get(&found.who).cloned();
        let table = self.workers[worker].table();
        let room = table.rooms.get(id);
        let known = room.and_then(|room| {
            let at = room.find(&found.who)?;
            Some((room.parties[at].wishes.clone(), room.parties[at].place))
        });
        let full = room.is_none_or(|room| room.parties.len() >= room.settings.parties_max);
        drop(table);
        let call = &self.calls[&found.who.call_id];
        let line = &call.dialogues[found.dialogue].lines[found.line];
        let place = Place {
            key: line.key,
            side: found.side,
        };
        let before = known.as_ref().map(|(wishes, _)| wishes.clone());
        let before = before.or(awaited).unwrap_or_default();
        let wishes = wanted(before, asked, &found.who);
        match known {
            // Joining twice changes what is asked for.
            Some((_, at)) if at == place && line.worker == worker => {
                self.in_room(&asked.room, |table, id| {
                    table.wish(id, &found.who, wishes).then_some(())
                })?;
                return Ok(Dict::new());
            }
            // It has another line since.
            Some(_) => drop(self.workers[worker].table().leave(id, &found.who)),
            None if full => return Err(Refusal::full("Too many parties in room")),
            None => {}
        }
        self.leave_others(&found);
        let place = self.bring(&found, worker)?;
        let who = found.who;
        self.rooms.get(&asked.room)?.awaited.remove(&who);
        self.rooms.told.push(joined(&asked.room, &who));
        self.in_room(&asked.room, |table, id| {
            table.enter(id, who, place, wishes, unix_s()).then_some(())
        })?;
        Ok(Dict::new())
    }

    /// A party is in one room at a time: it goes from where it is.
    fn leave_others(&mut self, found: &Found) -> bool {
        let Some(call) = self.calls.get(&found.who.call_id) else {
            return false;
        };
        let line = &call.dialogues[found.dialogue].lines[found.line];
        let mut table = self.workers[line.worker].table();
        let seat = table
            .get_mut(line.key)
            .and_then(|flow| flow.seat(found.side));
        let Some(id) = seat.map(|seat| seat.room) else {
            return false;
        };
        let name = table.rooms.get(id).map(|room| room.name.clone());
        let gone = table.leave(id, &found.who);
        drop(table);
        if let Some(name) = name.filter(|_| gone) {
            self.rooms.told.push(left(&name, &found.who, Left::Asked));
        }
        gone
    }

    /// Brings the line of a party to the worker of its room.
    fn bring(&mut self, found: &Found, worker: usize) -> Result<Place, Refusal> {
        let call = self.calls.get_mut(&found.who.call_id);
        let call = call.ok_or_else(|| Refusal::error("Unknown call-ID"))?;
        call.signalled_ns = monotonic_ns();
        let line = &mut call.dialogues[found.dialogue].lines[found.line];
        if line.worker != worker {
            let table = self.workers[line.worker].table();
            if table.get(line.key).is_some_and(|flow| flow.is_in_room()) {
                return Err(Refusal::error("Other party is in a room of another thread"));
            }
            drop(table);
            let moved = self.workers[line.worker].hand_over(line.key, &self.workers[worker]);
            let (key, there) = moved.ok_or_else(|| Refusal::error("Unknown call-ID"))?;
            line.key = key;
            if !there {
                return Err(Refusal::error("Failed to move the media of the call"));
            }
            line.worker = worker;
        }
        Ok(Place {
            key: line.key,
            side: found.side,
        })
    }

    pub(super) fn leave_room(
        &mut self,
        request: &Request,
        asked: &RoomRequest,
    ) -> Result<Dict, Refusal> {
        let found = self.find_party(request)?;
        if asked.room.is_empty() {
            return if self.leave_others(&found) {
                Ok(Dict::new())
            } else {
                Err(Refusal::error("Party is in no room"))
            };
        }
        let who = found.who;
        self.rooms.get(&asked.room)?.awaited.remove(&who);
        let gone = self.in_room(&asked.room, |table, id| Some(table.leave(id, &who)))?;
        if !gone {
            return Err(Refusal::error("Party is not in this room"));
        }
        self.rooms.told.push(left(&asked.room, &who, Left::Asked));
        Ok(Dict::new())
    }

    pub(super) fn change_room(
        &mut self,
        request: &Request,
        asked: &RoomRequest,
    ) -> Result<Dict, Refusal> {
        if request.call_id.is_empty() && !request.all {
            return self.change_settings(asked);
        }
        let only = if request.all {
            None
        } else {
            Some(self.find_party(request)?.who)
        };
        let changed = self.in_room(&asked.room, |table, id| {
            let parties = &table.rooms.get(id)?.parties;
            let meant = parties
                .iter()
                .filter(|party| only.as_ref().is_none_or(|who| party.who == *who));
            let wishes: Vec<(Who, Wishes)> = meant
                .map(|party| {
                    let wishes = wanted(party.wishes.clone(), asked, &party.who);
                    (party.who.clone(), wishes)
                })
                .collect();
            let count = wishes.len() as u64;
            for (who, wishes) in wishes {
                table.wish(id, &who, wishes);
            }
            Some(count)
        })?;
        if changed == 0 && only.is_some() {
            return Err(Refusal::error("Party is not in this room"));
        }
        Ok(dict([("parties", changed.into())]))
    }

    fn change_settings(&mut self, asked: &RoomRequest) -> Result<Dict, Refusal> {
        self.in_room(&asked.room, |table, id| {
            let room = table.rooms.get_mut(id)?;
            let known = room.settings;
            // The rate stays: everybody's memory depends on it.
            let settings = Settings {
                rate_hz: known.rate_hz,
                speakers: asked.speakers.unwrap_or(known.speakers),
                parties_max: asked.parties_max.unwrap_or(known.parties_max),
                auto_level: asked.auto_level.unwrap_or(known.auto_level),
            };
            room.settings = settings.bounded();
            Some(())
        })?;
        Ok(Dict::new())
    }
}

/// What is asked for a party once a command was carried out.
fn wanted(before: Wishes, asked: &RoomRequest, who: &Who) -> Wishes {
    let whisper_to = match asked.whisper_to.as_deref() {
        None => before.whisper_to,
        Some("") => None,
        Some(tag) => Some(Who {
            call_id: match &asked.whisper_call_id {
                Some(call_id) => call_id.as_str().into(),
                None => who.call_id.clone(),
            },
            tag: tag.into(),
        }),
    };
    let gain_db = asked.gain_db.unwrap_or(before.gain_db);
    Wishes {
        muted: asked.muted.unwrap_or(before.muted),
        deaf: asked.deaf.unwrap_or(before.deaf),
        listen_only: asked.listen_only.unwrap_or(before.listen_only),
        gain_db: gain_db.clamp(*GAIN_DB.start(), *GAIN_DB.end()),
        whisper_to,
    }
}
