//! Backups: all of the state as of one log index, as one stream of bytes.
//!
//! ```text
//!  magic | frame*          frame: kind u8 | length u32 | crc32c u32 | body
//!  frames: head, keys*, sql*, end
//! ```
//!
//! The head says what it is and of when; the end repeats the numbers and has the SHA-256 of
//! everything before it, so that a stream that was cut is never taken for a whole one. Encryption
//! is not done here: a backup may be wrapped in an `age` file.
//!
//! - [`take`]: a running node gives one while it serves.
//! - [`reading`]: checks one piece by piece.
//! - [`restore`]: makes the directory of a node that is to begin from it.

mod reading;
mod restore;
mod take;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::error::StoreError;

pub use reading::Reading;
pub(crate) use restore::RESTORING;
pub use restore::{Restore, RestoreConfig};
pub use take::Backup;
pub(crate) use take::Origin;

/// First bytes; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"RPBXBAK\x01";

/// Bytes of kind, length and checksum of a frame.
const FRAME_HEAD: usize = 9;

/// What a frame carries.
const HEAD: u8 = 1;
const KEYS: u8 = 2;
const SQL: u8 = 3;
const END: u8 = 4;

/// What a backup is, and of when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Version of the program that made it.
    pub version: String,
    /// The node it was taken from.
    pub node: u64,
    /// Index of the last entry in it.
    pub index: u64,
    /// The Raft term at that time.
    pub term: u64,
    /// When it was taken, Unix milliseconds of the node's clock.
    pub taken_ms: u64,
    /// The logical clock.
    pub clock_ms: u64,
    /// Number of expired keys.
    pub expired: u64,
    /// Encoding of the keys: the version of the snapshots' format.
    pub encoding: u8,
    /// Number of records of keys.
    pub records: u64,
    /// Bytes of the SQLite file.
    pub sql_bytes: u64,
}

/// The last frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// Number of records of keys.
    pub records: u64,
    /// Bytes of the SQLite file.
    pub sql_bytes: u64,
    /// SHA-256 of everything before this frame, hexadecimal.
    pub sha256: String,
}

/// A file that is no backup, or is damaged.
fn damaged(text: &str) -> StoreError {
    StoreError::Backup {
        code: "PBX_BACKUP_DAMAGED",
        text: format!("{text}; take another copy of the file, or another backup"),
    }
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), body)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
