//! A room as it is carried elsewhere: who is in it, what was asked for each, where the music is
//! and how long the recording.

use serde::{Deserialize, Serialize};

use super::party::{Who, Wishes};
use crate::limits::{ROOM_PARTIES_MAX, ROOM_SPEAKERS, ROOM_SPEAKERS_MAX, SEQUENCE_MAX};

/// What was asked for a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Rate of its sound: 8, 16 or 48 kHz.
    pub rate_hz: u32,
    /// How many are heard at once.
    pub speakers: usize,
    /// How many may be in it.
    pub parties_max: usize,
    /// Soft voices become louder and loud ones softer.
    pub auto_level: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            rate_hz: 16_000,
            speakers: ROOM_SPEAKERS,
            parties_max: ROOM_PARTIES_MAX,
            auto_level: false,
        }
    }
}

impl Settings {
    /// What can be done of it.
    #[must_use]
    pub fn bounded(self) -> Settings {
        Settings {
            rate_hz: match self.rate_hz {
                0..=8_000 => 8_000,
                8_001..=16_000 => 16_000,
                _ => 48_000,
            },
            speakers: self.speakers.clamp(1, ROOM_SPEAKERS_MAX),
            parties_max: self.parties_max.clamp(1, ROOM_PARTIES_MAX),
            auto_level: self.auto_level,
        }
    }
}

/// What is played in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Playback {
    /// Names as the command gave them.
    pub files: Vec<String>,
    /// Which of them it is at.
    pub sound: usize,
    /// Where in that one, ms.
    pub position_ms: u64,
    /// How often all of it; none: for ever.
    pub times: Option<u32>,
    /// Loudness; 256 is as it was recorded.
    pub volume: i32,
}

/// A recording of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recorded {
    /// What the name of its file begins with.
    pub name: String,
    /// How long it is, with its parts at other servers, ms.
    pub position_ms: u64,
    /// What comes is left out.
    pub paused: bool,
}

/// One of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name.
    #[serde(flatten)]
    pub who: Who,
    /// What was asked for it.
    #[serde(flatten)]
    pub wishes: Wishes,
}

/// A whole room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomState {
    /// Its name.
    pub room: String,
    /// What was asked for it.
    pub settings: Settings,
    /// Who is in it.
    pub members: Vec<Member>,
    /// What is played.
    pub playback: Option<Playback>,
    /// Its recording.
    pub recording: Option<Recorded>,
}

impl RoomState {
    /// Reads what [`RoomState::text`] wrote; none when it is something else or too much.
    pub fn parse(text: &str) -> Option<RoomState> {
        let state: RoomState = serde_json::from_str(text).ok()?;
        let files = state
            .playback
            .as_ref()
            .map_or(0, |played| played.files.len());
        let fits = state.members.len() <= ROOM_PARTIES_MAX && files <= SEQUENCE_MAX;
        fits.then_some(state)
    }

    /// As JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
