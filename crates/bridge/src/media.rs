//! The media engine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use parking_lot::Mutex;
use raftpbx_media::{Interface, MediaConfig, MediaEngine, MediaEvent, RecordingFormat, RoomEvent};
use serde::{Deserialize, Serialize};

use crate::{Sink, deliver, failure, options};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMediaOptions {
    interfaces: Vec<WireInterface>,
    port_from: u16,
    port_to: u16,
    workers: usize,
    ng_listen: Option<SocketAddr>,
    ng_tcp_listen: Option<SocketAddr>,
    media_timeout_s: u64,
    recordings: Option<PathBuf>,
    prompts: Option<PathBuf>,
    fast_path: bool,
    recording_format: WireRecordingFormat,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum WireRecordingFormat {
    Wav,
    Opus,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireInterface {
    local: IpAddr,
    advertised: Option<IpAddr>,
}

#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum WireMediaEvent {
    Timeout {
        call_id: String,
        silent_s: u64,
    },
    Latched {
        call_id: String,
        tag: String,
        source: SocketAddr,
    },
    Dtmf {
        call_id: String,
        tag: String,
        digit: char,
        duration_ms: u32,
        in_band: bool,
    },
    PlayEnd {
        call_id: String,
        tag: String,
        played_ms: u64,
    },
    RoomJoined {
        room: String,
        call_id: String,
        tag: String,
    },
    RoomLeft {
        room: String,
        call_id: String,
        tag: String,
        reason: &'static str,
    },
    RoomTalking {
        room: String,
        call_id: String,
        tag: String,
        talking: bool,
    },
    RoomSpeaker {
        room: String,
        call_id: String,
        tag: String,
    },
    RoomPlayEnd {
        room: String,
        played_ms: u64,
    },
}

/// None for an event that JavaScript has no name for.
fn wire_room_event(room: String, event: RoomEvent) -> Option<WireMediaEvent> {
    Some(match event {
        RoomEvent::Joined { call_id, tag } => WireMediaEvent::RoomJoined { room, call_id, tag },
        RoomEvent::Left {
            call_id,
            tag,
            reason,
        } => WireMediaEvent::RoomLeft {
            room,
            call_id,
            tag,
            reason,
        },
        RoomEvent::Talking {
            call_id,
            tag,
            talking,
        } => WireMediaEvent::RoomTalking {
            room,
            call_id,
            tag,
            talking,
        },
        RoomEvent::Speaker { call_id, tag } => WireMediaEvent::RoomSpeaker { room, call_id, tag },
        RoomEvent::PlayEnd { played_ms } => WireMediaEvent::RoomPlayEnd { room, played_ms },
        _ => return None,
    })
}

/// None for an event that JavaScript has no name for.
fn wire_event(event: MediaEvent) -> Option<WireMediaEvent> {
    match event {
        MediaEvent::Timeout { call_id, silent_s } => {
            Some(WireMediaEvent::Timeout { call_id, silent_s })
        }
        MediaEvent::Latched {
            call_id,
            tag,
            source,
        } => Some(WireMediaEvent::Latched {
            call_id,
            tag,
            source,
        }),
        MediaEvent::Dtmf {
            call_id,
            tag,
            digit,
            duration_ms,
            in_band,
            ..
        } => Some(WireMediaEvent::Dtmf {
            call_id,
            tag,
            digit,
            duration_ms,
            in_band,
        }),
        MediaEvent::PlayEnd {
            call_id,
            tag,
            played_ms,
        } => Some(WireMediaEvent::PlayEnd {
            call_id,
            tag,
            played_ms,
        }),
        MediaEvent::Room { room, event } => wire_room_event(room, event),
        _ => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireMediaStats {
    sessions: u64,
    legs: u64,
    packets: u64,
    bytes: u64,
    dropped: u64,
    ports_free: u64,
}

/// Who sends an NG message that did not come over the network.
const IN_PROCESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The media engine of this server; empty once it was shut down.
#[napi]
pub struct NativeMedia {
    engine: Mutex<Option<MediaEngine>>,
}

/// Starts the relay's threads and the NG listener.
#[napi]
pub fn start_media(wire: String, sink: Sink) -> napi::Result<NativeMedia> {
    let wire: WireMediaOptions = options(&wire)?;
    let config = MediaConfig {
        interfaces: wire
            .interfaces
            .into_iter()
            .map(|interface| Interface {
                local: interface.local,
                advertised: interface.advertised,
            })
            .collect(),
        ports: wire.port_from..=wire.port_to,
        workers: wire.workers,
        ng_listen: wire.ng_listen,
        ng_tcp_listen: wire.ng_tcp_listen,
        media_timeout_s: wire.media_timeout_s,
        recordings: wire.recordings,
        prompts: wire.prompts,
        fast_path: wire.fast_path,
        recording_format: match wire.recording_format {
            WireRecordingFormat::Wav => RecordingFormat::Wav,
            WireRecordingFormat::Opus => RecordingFormat::Opus,
        },
    };
    let events = Box::new(move |events: Vec<MediaEvent>| {
        let batch: Vec<WireMediaEvent> = events.into_iter().filter_map(wire_event).collect();
        deliver(&sink, &batch);
    });
    let engine = MediaEngine::start(config, events).map_err(failure)?;
    Ok(NativeMedia {
        engine: Mutex::new(Some(engine)),
    })
}

impl NativeMedia {
    fn with<T>(&self, ask: impl FnOnce(&MediaEngine) -> T) -> napi::Result<T> {
        self.engine
            .lock()
            .as_ref()
            .map(ask)
            .ok_or_else(|| failure("PBX_MEDIA_CLOSED: the media engine was shut down"))
    }
}

#[napi]
impl NativeMedia {
    /// One NG message, the same bytes as over UDP.
    #[napi]
    pub fn ng(&self, message: Buffer) -> napi::Result<Buffer> {
        self.with(|engine| engine.ng(&message, IN_PROCESS).into())
    }

    /// Where the NG listener really is.
    #[napi]
    pub fn ng_address(&self) -> napi::Result<Option<String>> {
        self.with(|engine| engine.ng_address().map(|address| address.to_string()))
    }

    /// Counters, JSON.
    #[napi]
    pub fn stats(&self) -> napi::Result<String> {
        let stats = self.with(MediaEngine::stats)?;
        let wire = WireMediaStats {
            sessions: stats.sessions,
            legs: stats.legs,
            packets: stats.packets,
            bytes: stats.bytes,
            dropped: stats.wrong_source + stats.not_rtp + stats.unsent,
            ports_free: stats.ports_free,
        };
        serde_json::to_string(&wire).map_err(failure)
    }

    /// Prometheus text.
    #[napi]
    pub fn metrics(&self) -> napi::Result<String> {
        self.with(MediaEngine::metrics)
    }

    /// Ends the threads and closes every socket; a second call does nothing.
    #[napi]
    pub fn shutdown(&self) {
        if let Some(engine) = self.engine.lock().take() {
            engine.shutdown();
        }
    }
}
