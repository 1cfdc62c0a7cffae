//! What is told about rooms: events and figures.

/// Something that happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// A party has come in.
    Joined {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party.
        tag: String,
    },
    /// A party is no longer there.
    Left {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party.
        tag: String,
        /// `asked`, `gone` (its call has ended) or `closed` (the room has ended).
        reason: &'static str,
    },
    /// A party begins or ceases to talk.
    Talking {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party.
        tag: String,
        /// It begins.
        talking: bool,
    },
    /// Another party is the one who speaks most.
    Speaker {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party.
        tag: String,
    },
    /// What was played to all has come to its end by itself.
    PlayEnd {
        /// How much of it was heard, ms.
        played_ms: u64,
    },
}

/// Figures of all rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RoomStats {
    /// Rooms now.
    pub rooms: u64,
    /// Their parties now.
    pub parties: u64,
    /// Encoders now that several parties share.
    pub shared: u64,
    /// Packets encoded.
    pub encoded: u64,
    /// Packets sent.
    pub packets: u64,
    /// Frames left out because the processor was too slow.
    pub late: u64,
}
