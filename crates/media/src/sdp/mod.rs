//! Session descriptions (RFC 8866): read what the relay must know, write what it changes.
//!
//! Pure. Everything the relay does not understand passes through untouched.

mod formats;
mod parse;
mod rewrite;

pub use formats::{Coding, Format, Repack, STATIC_NOISE, Takes, packet_time};
pub use parse::{Media, Sdp, is_rtp};
pub use rewrite::{FormatsOut, MediaOut, Rewrite, Way, rewrite};

use std::fmt;

/// Who sends on a media line (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// The writer of the SDP.
    SendOnly,
    /// The reader of the SDP.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// From the attribute name.
    pub fn from_attribute(name: &str) -> Option<Direction> {
        Some(match name {
            "sendrecv" => Direction::SendRecv,
            "sendonly" => Direction::SendOnly,
            "recvonly" => Direction::RecvOnly,
            "inactive" => Direction::Inactive,
            _ => return None,
        })
    }

    /// True when the writer of the SDP sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// True when the writer of the SDP receives.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        })
    }
}

/// Why an SDP is refused; the words are rtpengine's where it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not an SDP.
    #[error("Failed to parse SDP")]
    Malformed,
    /// A media line without an address.
    #[error("Incomplete SDP specification")]
    Incomplete,
    /// No media line.
    #[error("Error rewriting SDP")]
    NoMedia,
    /// More bytes, lines or media lines than the limits allow.
    #[error("SDP body too large")]
    TooLarge,
}
