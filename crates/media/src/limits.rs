//! Named bounds of the media engine, each with its reason.

/// Most calls held at once: a refusal is better than memory without end.
pub const SESSIONS_MAX: usize = 20_000;

/// Most legs (tags) of one call: both parties plus the branches of a forked call.
pub const LEGS_MAX: usize = 16;

/// Most `m=` lines of one SDP.
pub const MEDIA_LINES_MAX: usize = 8;

/// Largest SDP body, bytes.
pub const SDP_BYTES_MAX: usize = 16 * 1024;
