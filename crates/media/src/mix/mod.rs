//! Rooms: everybody hears the sum of all others.
//!
//! Pure: time, packets and sockets are the worker's. Invariant: nobody hears himself, and whoever
//! hears the same in the same form gets the same bytes, encoded once.
//!
//! ```text
//!   packets -> ear (each party) -> meter -> who is heard -> mixer: total, limiter
//!   total            -> one writer for each form of packets -> all who only listen
//!   total minus self -> a writer of its own                 -> each who talks
//! ```
//!
//! A party that begins to talk takes a copy of the writer it heard, with its memory, so that its
//! decoder notices nothing; when it comes back, the next packet of the common writer is one that
//! needs no memory. Both happen between two packets.
//!
//! # Layout
//! - `room`: a room frame by frame. `party`: one of it. `state`: how it is carried elsewhere.
//! - `event`: what is told about it.
//! - `ear`: packets to frames. `meter`: level, talking, automatic level.
//! - `mixer`, `limiter`: sums. `writer`: a mix to packets. `hall`: who shares which writer.

pub mod ear;
pub mod event;
pub mod hall;
pub mod limiter;
pub mod meter;
pub mod mixer;
pub mod party;
pub mod room;
pub mod state;
pub mod writer;

/// The frame of a room, ms.
pub const FRAME_MS: u32 = 20;
