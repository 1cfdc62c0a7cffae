//! The media engine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use napi::bindgen_prelude::{Buffer, Status};
use napi::threadsafe_function::{
    ThreadsafeFunction, ThreadsafeFunctionCallMode, UnknownReturnValue,
};
use napi_derive::napi;
use parking_lot::Mutex;
use raftpbx_media::limits::TAP_BATCHES_MAX;
use raftpbx_media::{
    Floating, ForwardTo, Interface, MediaConfig, MediaEngine, MediaEvent, PacketIo,
    RecordingFormat, RoomEvent,
};
use serde::{Deserialize, Serialize};

use crate::{Sink, deliver, failure, options};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMediaOptions {
    interfaces: Vec<WireInterface>,
    floating: Option<WireFloating>,
    port_from: u16,
    port_to: u16,
    workers: usize,
    ng_listen: Option<SocketAddr>,
    ng_tcp_listen: Option<SocketAddr>,
    media_timeout_s: u64,
    recordings: Option<PathBuf>,
    prompts: Option<PathBuf>,
    fast_path: bool,
    packet_io: WirePacketIo,
    recording_format: WireRecordingFormat,
    codecs: Vec<PathBuf>,
    forward_to: Option<String>,
    forward_rate_hz: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WirePacketIo {
    Auto,
    Epoll,
    IoUring,
    SkLookup,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFloating {
    interface: Option<String>,
    addresses: Vec<IpAddr>,
    group: Vec<IpAddr>,
}

#[derive(Serialize)]
struct WireHeld {
    address: IpAddr,
    calls: usize,
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
    Lost {
        call_id: String,
    },
    Changed {
        call_id: String,
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
        MediaEvent::Lost { call_id } => Some(WireMediaEvent::Lost { call_id }),
        MediaEvent::Changed { call_id } => Some(WireMediaEvent::Changed { call_id }),
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

/// A JavaScript function that takes batches of samples; a batch too many is refused. Weak, as all.
type SoundSink =
    ThreadsafeFunction<Buffer, UnknownReturnValue, Buffer, Status, false, true, TAP_BATCHES_MAX>;

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
        floating: wire.floating.map(|floating| Floating {
            interface: floating.interface,
            addresses: floating.addresses,
            group: floating.group,
        }),
        ports: wire.port_from..=wire.port_to,
        workers: wire.workers,
        ng_listen: wire.ng_listen,
        ng_tcp_listen: wire.ng_tcp_listen,
        media_timeout_s: wire.media_timeout_s,
        recordings: wire.recordings,
        prompts: wire.prompts,
        fast_path: wire.fast_path,
        packet_io: match wire.packet_io {
            WirePacketIo::Auto => PacketIo::Auto,
            WirePacketIo::Epoll => PacketIo::Epoll,
            WirePacketIo::IoUring => PacketIo::IoUring,
            WirePacketIo::SkLookup => PacketIo::SkLookup,
        },
        recording_format: match wire.recording_format {
            WireRecordingFormat::Wav => RecordingFormat::Wav,
            WireRecordingFormat::Opus => RecordingFormat::Opus,
        },
        codecs: wire.codecs,
        forward: match wire.forward_to {
            Some(consumer) => Some(ForwardTo {
                consumer: consumer.parse().map_err(failure)?,
                rate_hz: wire.forward_rate_hz,
            }),
            None => None,
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

    /// Writes a call down for another engine, JSON. Secret: keys are in it.
    #[napi]
    pub fn snapshot(&self, call_id: String) -> napi::Result<String> {
        self.with(|engine| engine.snapshot(&call_id))?
            .map_err(failure)
    }

    /// Goes on with a call that another engine has written down, once its address is here.
    #[napi]
    pub fn restore(&self, state: String) -> napi::Result<()> {
        self.with(|engine| engine.restore(&state))?.map_err(failure)
    }

    /// Brings a floating address here.
    #[napi]
    pub fn activate(&self, address: String) -> napi::Result<()> {
        let address = address.parse().map_err(failure)?;
        self.with(|engine| engine.activate(address))?
            .map_err(failure)
    }

    /// Lets a floating address go; false when it was not here.
    #[napi]
    pub fn deactivate(&self, address: String) -> napi::Result<bool> {
        let address = address.parse().map_err(failure)?;
        self.with(|engine| engine.deactivate(address))
    }

    /// Floating addresses that are here, JSON.
    #[napi]
    pub fn held(&self) -> napi::Result<String> {
        let held = self.with(MediaEngine::held)?;
        let wire = held.into_iter().map(|one| WireHeld {
            address: one.address,
            calls: one.calls,
        });
        serde_json::to_string(&wire.collect::<Vec<_>>()).map_err(failure)
    }

    /// Batches of what taps hear go to `sink` from now on; see `raftpbx_media::TapSink`.
    #[napi]
    pub fn on_sound(&self, sink: SoundSink) -> napi::Result<()> {
        let take = move |batch: Vec<u8>| {
            let mode = ThreadsafeFunctionCallMode::NonBlocking;
            sink.call(batch.into(), mode) == Status::Ok
        };
        self.with(|engine| engine.on_sound(Box::new(take)))?
            .map_err(failure)
    }

    /// Listens to a party; the number of the tap.
    #[napi]
    pub fn tap(&self, call_id: String, tag: String, rate_hz: u32) -> napi::Result<u32> {
        self.with(|engine| engine.tap(&call_id, &tag, rate_hz))?
            .map_err(failure)
    }

    /// Ends a tap; false when it has ended before.
    #[napi]
    pub fn untap(&self, tap: u32) -> napi::Result<bool> {
        self.with(|engine| engine.untap(tap))
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
