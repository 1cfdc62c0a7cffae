//! Rooms carried from one server to another.

use super::Control;
use crate::epoll::monotonic_ns;
use crate::mix::state::{Member, Recorded, RoomState};
use crate::ng::Refusal;
use crate::ng::bencode::{Dict, Value, dict};
use crate::ng::request::Request;
use crate::ng::rooms::RoomRequest;

impl Control {
    /// Everything about a room that another server needs to go on with it.
    pub(super) fn capture_room(&mut self, name: &str) -> Result<Dict, Refusal> {
        let now_ns = monotonic_ns();
        let entry = self.rooms.get(name)?;
        let recording = entry.recording.as_ref().map(|recorded| Recorded {
            name: recorded.name.clone(),
            position_ms: recorded.position_ms(now_ns),
            paused: recorded.since_ns.is_none(),
        });
        let awaited: Vec<Member> = entry
            .awaited
            .iter()
            .map(|(who, wishes)| Member {
                who: who.clone(),
                wishes: wishes.clone(),
            })
            .collect();
        let state = self.in_room(name, |table, id| {
            let room = table.rooms.get(id)?;
            let members = room.parties.iter().map(|party| Member {
                who: party.who.clone(),
                wishes: party.wishes.clone(),
            });
            Some(RoomState {
                room: name.to_owned(),
                settings: room.settings,
                members: members.chain(awaited).collect(),
                playback: room.playback().filter(|played| !played.files.is_empty()),
                recording,
            })
        })?;
        Ok(dict([("state", state.text().into())]))
    }

    /// Makes a captured room anew. Parties whose calls are here come in at once, for the others
    /// it is remembered what was asked for them.
    pub(super) fn restore_room(&mut self, mut asked: RoomRequest) -> Result<Dict, Refusal> {
        let Some(state) = asked.state.take() else {
            return Err(Refusal::error("No valid 'state' specified"));
        };
        if self.rooms.entries.contains_key(&state.room[..]) {
            return Err(Refusal::error("Room exists already"));
        }
        self.open_room(&state.room, state.settings.bounded())?;
        let entry = self.rooms.get(&state.room)?;
        let members = state.members.iter();
        entry
            .awaited
            .extend(members.map(|member| (member.who.clone(), member.wishes.clone())));
        let mut missing: Vec<Value> = Vec::new();
        for Member { who, .. } in &state.members {
            let request = Request {
                call_id: who.call_id.to_string(),
                from_tag: Some(who.tag.to_string()),
                ..Request::default()
            };
            if self.join_room(&request, &asked).is_err() {
                missing.push(super::name_of(who).into());
            }
        }
        let joined = (state.members.len() - missing.len()) as u64;
        let mut answer = dict([("joined", joined.into()), ("missing", missing.into())]);
        if asked.play.is_some() {
            self.play_room(RoomRequest {
                room: state.room.clone(),
                play: asked.play,
                ..RoomRequest::default()
            })?;
        }
        if let Some(recorded) = state.recording {
            answer.extend(self.go_on_recording(&state.room, recorded));
        }
        Ok(answer)
    }

    /// A recording goes on in a file of its own; without one the room goes on.
    fn go_on_recording(&mut self, room: &str, recorded: Recorded) -> Dict {
        let begun = self.begin_recording(room, recorded.name, recorded.position_ms);
        if let Err(refusal) = begun {
            tracing::error!(
                room,
                reason = refusal.reason,
                "a room is no longer recorded"
            );
            return dict([("recording-error", refusal.reason.into())]);
        }
        let request = Request::default();
        if recorded.paused {
            let paused = crate::ng::sound::Recorded::Pause;
            drop(self.record_room(room, &request, paused));
        }
        let entry = self.rooms.entries.get(room);
        let recording = entry.and_then(|entry| entry.recording.as_ref());
        let base = recording.map(|recorded| recorded.recording.base.to_string_lossy().into_owned());
        dict([("recording", base.unwrap_or_default().into())])
    }
}
