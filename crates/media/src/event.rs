//! What the engine tells its owner without being asked.

use std::net::SocketAddr;

use crate::mix::event::RoomEvent;

/// Something that happened to media without a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MediaEvent {
    /// No valid packet arrived on any stream of the call. Reported once until packets
    /// flow again; the call is kept.
    Timeout {
        /// NG `call-id`.
        call_id: String,
        /// Seconds since the last packet (or since the call was set up).
        silent_s: u64,
    },
    /// A stream learned where its peer really sends from.
    Latched {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party whose packets came.
        tag: String,
        /// The learned source.
        source: SocketAddr,
    },
    /// A party pressed a key and let it go.
    Dtmf {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party.
        tag: String,
        /// 0 to 9, `*`, `#`, A to D.
        digit: char,
        /// How long, ms.
        duration_ms: u32,
        /// Level below 0 dBm0; 0 when it was found in the sound.
        volume: u8,
        /// Found in the sound, not sent as an event (RFC 4733).
        in_band: bool,
    },
    /// What was played has come to its end by itself.
    PlayEnd {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party that heard it.
        tag: String,
        /// How much of it was heard, ms.
        played_ms: u64,
    },
    /// The thread that carried the call has failed: the call is gone, as if it had been deleted.
    Lost {
        /// NG `call-id`.
        call_id: String,
    },
    /// A command has changed the call since it was written down for another engine. Told once,
    /// until it is written down anew.
    Changed {
        /// NG `call-id`.
        call_id: String,
    },
    /// Something happened in a room.
    Room {
        /// Name of the room.
        room: String,
        /// What it was.
        event: RoomEvent,
    },
}

/// Takes what happened, in batches, on an engine thread; must not block.
pub type EventSink = Box<dyn Fn(Vec<MediaEvent>) + Send + Sync>;
