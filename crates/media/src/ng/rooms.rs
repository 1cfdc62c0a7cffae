//! Commands about rooms: words of ours in the manner of rtpengine's.

use std::path::Path;

use parking_lot::Mutex;

use super::Refusal;
use super::bencode::Dict;
use super::request::{Request, text};
use super::sound::{Recorded, number, play, sound};
use crate::Core;
use crate::audio::clip::Clips;
use crate::audio::speaker::Order;
use crate::limits::{NAME_BYTES_MAX, ROOM_NAME_BYTES_MAX};
use crate::mix::state::{Playback, RoomState};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomCommand {
    /// `room create`.
    Create,
    /// `room delete`.
    Delete,
    /// `room join`.
    Join,
    /// `room leave`.
    Leave,
    /// `room change`: a party, all parties, or the room itself.
    Change,
    /// `room query`.
    Query,
    /// `room list`.
    List,
    /// `room play`.
    Play,
    /// `room stop`.
    Stop,
    /// `room start recording`, `room stop recording`, `room pause recording`.
    Record(Recorded),
    /// `room capture`.
    Capture,
    /// `room restore`.
    Restore,
}

impl RoomCommand {
    /// From the name of the command.
    pub fn from_name(name: &str) -> Option<RoomCommand> {
        Some(match name {
            "room create" => RoomCommand::Create,
            "room delete" => RoomCommand::Delete,
            "room join" => RoomCommand::Join,
            "room leave" => RoomCommand::Leave,
            "room change" => RoomCommand::Change,
            "room query" => RoomCommand::Query,
            "room list" => RoomCommand::List,
            "room play" => RoomCommand::Play,
            "room stop" => RoomCommand::Stop,
            "room start recording" => RoomCommand::Record(Recorded::Start),
            "room stop recording" => RoomCommand::Record(Recorded::Stop),
            "room pause recording" => RoomCommand::Record(Recorded::Pause),
            "room capture" => RoomCommand::Capture,
            "room restore" => RoomCommand::Restore,
            _ => return None,
        })
    }
}

/// What a command says beyond the call and the party.
#[derive(Debug, Default)]
pub struct RoomRequest {
    /// `room`; empty when missing.
    pub room: String,
    /// `rate`, Hz.
    pub rate_hz: Option<u32>,
    /// `speakers`.
    pub speakers: Option<usize>,
    /// `max-parties`.
    pub parties_max: Option<usize>,
    /// `auto-level`.
    pub auto_level: Option<bool>,
    /// `muted`.
    pub muted: Option<bool>,
    /// `deaf`.
    pub deaf: Option<bool>,
    /// `listen-only`.
    pub listen_only: Option<bool>,
    /// `gain`, dB.
    pub gain_db: Option<i32>,
    /// `whisper-to`, a tag; empty for nobody.
    pub whisper_to: Option<String>,
    /// `whisper-call-id`; the party's own call when missing.
    pub whisper_call_id: Option<String>,
    /// What to play, and how it is remembered.
    pub play: Option<(Order, Playback)>,
    /// `state` of a captured room.
    pub state: Option<RoomState>,
}

/// Carries out a command.
pub(crate) fn execute(
    core: &Core,
    command: RoomCommand,
    dict: &Dict,
    request: &Request,
) -> Result<Dict, Refusal> {
    // Files are read before calls are locked.
    let asked = read(command, dict, &core.clips)?;
    let mut control = core.control.lock();
    let answer = control.room(command, request, asked);
    let told = control.rooms.take_told();
    drop(control);
    if !told.is_empty() {
        (core.report)(told);
    }
    let mut answer = answer?;
    answer.insert(b"result".to_vec(), "ok".into());
    Ok(answer)
}

/// Reads what a command says, files too.
fn read(command: RoomCommand, dict: &Dict, clips: &Mutex<Clips>) -> Result<RoomRequest, Refusal> {
    let flag = |key: &str| match text(dict, key).as_deref() {
        Some("yes" | "on" | "1" | "true") => Some(true),
        Some("no" | "off" | "0" | "false") => Some(false),
        _ => None,
    };
    let name = |key: &str| text(dict, key).filter(|name| name.len() <= NAME_BYTES_MAX);
    let room = text(dict, "room").unwrap_or_default();
    if room.len() > ROOM_NAME_BYTES_MAX {
        return Err(Refusal::error("Name too long"));
    }
    let size = |key: &str| number(dict, key).and_then(|value| usize::try_from(value).ok());
    let mut asked = RoomRequest {
        room,
        rate_hz: number(dict, "rate").and_then(|hz| u32::try_from(hz).ok()),
        speakers: size("speakers"),
        parties_max: size("max-parties"),
        auto_level: flag("auto-level"),
        muted: flag("muted"),
        deaf: flag("deaf"),
        listen_only: flag("listen-only"),
        gain_db: number(dict, "gain").map(|db| db.clamp(-100, 100) as i32),
        whisper_to: name("whisper-to"),
        whisper_call_id: name("whisper-call-id"),
        ..RoomRequest::default()
    };
    match command {
        RoomCommand::Play => {
            let order = play(dict, clips)?;
            let playback = Playback {
                files: order.names.to_vec(),
                sound: 0,
                position_ms: order.start_ms,
                times: order.times,
                volume: order.volume,
            };
            asked.play = Some((order, playback));
        }
        RoomCommand::Restore => {
            let state = text(dict, "state").and_then(|state| RoomState::parse(&state));
            let state = state.ok_or_else(|| Refusal::error("No valid 'state' specified"))?;
            asked.play = state
                .playback
                .as_ref()
                .and_then(|played| resume(played, clips));
            asked.room.clone_from(&state.room);
            asked.state = Some(state);
        }
        _ => {}
    }
    Ok(asked)
}

/// What was played elsewhere; none when a file of it is not here.
fn resume(playback: &Playback, clips: &Mutex<Clips>) -> Option<(Order, Playback)> {
    let read = |name: &String| {
        let sound = sound(name.as_bytes(), clips);
        sound.inspect_err(|refusal| {
            let file = Path::new(name).display();
            tracing::warn!(%file, reason = refusal.reason, "a room goes on without its music");
        })
    };
    let sounds: Vec<_> = playback
        .files
        .iter()
        .map(read)
        .collect::<Result<_, _>>()
        .ok()?;
    let order = Order {
        sounds,
        names: playback.files.clone().into(),
        times: playback.times,
        first: 0,
        start_ms: 0,
        lasts_ms: None,
        volume: playback.volume,
        shared: false,
    };
    (!order.sounds.is_empty()).then(|| (order, playback.clone()))
}
