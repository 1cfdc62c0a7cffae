//! Records: `length u32 | crc32c u32 | kind u8 | index u64 | payload`, little endian.
//!
//! The length counts kind, index and payload; it is never zero, so that zeros mean "nothing here
//! yet". The checksum covers the length too.

use bytes::Bytes;

use crate::limits::RECORD_BYTES_MAX;

/// Bytes before the payload.
pub const HEAD_BYTES: usize = 4 + 4 + 1 + 8;

/// Bytes of length and checksum.
pub const FRAME_BYTES: usize = 8;

pub const APPEND: u8 = 1;
pub const VOTE: u8 = 2;
pub const COMMITTED: u8 = 3;
pub const TRUNCATE: u8 = 4;
pub const PURGE: u8 = 5;
pub const GROUP: u8 = 6;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A log entry.
    Append {
        /// Its index.
        index: u64,
        /// The entry.
        payload: Bytes,
    },
    /// The vote in force.
    Vote(Bytes),
    /// The last entry known to be committed.
    Committed(Bytes),
    /// Entries at or after this index are void.
    Truncate {
        /// First void index.
        from: u64,
    },
    /// Entries up to and including this index are part of a snapshot.
    Purge {
        /// Last purged index.
        index: u64,
        /// Identity of that entry.
        payload: Bytes,
    },
    /// The head of what was written with one flush; the writer alone makes these.
    Group {
        /// Counts the flushes of this log.
        sequence: u64,
        /// See `group`.
        payload: Bytes,
    },
}

impl Record {
    /// The kind as written on disk.
    pub fn kind(&self) -> u8 {
        match self {
            Record::Append { .. } => APPEND,
            Record::Vote(_) => VOTE,
            Record::Committed(_) => COMMITTED,
            Record::Truncate { .. } => TRUNCATE,
            Record::Purge { .. } => PURGE,
            Record::Group { .. } => GROUP,
        }
    }

    fn parts(&self) -> (u64, &[u8]) {
        match self {
            Record::Append { index, payload } | Record::Purge { index, payload } => {
                (*index, payload)
            }
            Record::Vote(payload) | Record::Committed(payload) => (0, payload),
            Record::Truncate { from } => (*from, &[]),
            Record::Group { sequence, payload } => (*sequence, payload),
        }
    }
}

/// Appends the record's bytes to `out`; refuses one that is too large.
pub fn encode(record: &Record, out: &mut Vec<u8>) -> std::io::Result<()> {
    let (index, payload) = record.parts();
    let length = 1 + 8 + payload.len();
    if length > RECORD_BYTES_MAX {
        let text = format!("a log record of {length} bytes is over the limit {RECORD_BYTES_MAX}");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
    }
    let length_bytes = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let start = out.len();
    out.extend_from_slice(&length_bytes);
    out.extend_from_slice(&[0; 4]);
    out.push(record.kind());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(payload);
    let checksum = checksum(&length_bytes, &out[start + FRAME_BYTES..]);
    out[start + 4..start + FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// Checksum of a record whose length and body (kind, index, payload) are given.
pub fn checksum(length: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(length), body)
}

/// What was found at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A record and its size on disk.
    Record(Record, usize),
    /// Zeros: nothing was written here.
    End,
    /// Something that is not a whole record.
    Damaged,
}

/// Reads the record at `at`.
pub fn decode(segment: &Bytes, at: usize) -> Found {
    let rest = &segment[at.min(segment.len())..];
    let Some((length_bytes, behind)) = rest.split_first_chunk::<4>() else {
        return if rest.iter().all(|byte| *byte == 0) {
            Found::End
        } else {
            Found::Damaged
        };
    };
    let length = u32::from_le_bytes(*length_bytes) as usize;
    if length == 0 {
        // A torn write can leave its first bytes unwritten; what follows then is not zero.
        let head = &rest[..rest.len().min(HEAD_BYTES)];
        return if head.iter().all(|byte| *byte == 0) {
            Found::End
        } else {
            Found::Damaged
        };
    }
    let whole = FRAME_BYTES + length;
    if !(9..=RECORD_BYTES_MAX).contains(&length) || rest.len() < whole {
        return Found::Damaged;
    }
    let body = &rest[FRAME_BYTES..whole];
    if behind[..4] != checksum(length_bytes, body).to_le_bytes() {
        return Found::Damaged;
    }
    let mut index = [0; 8];
    index.copy_from_slice(&body[1..9]);
    let index = u64::from_le_bytes(index);
    let payload = segment.slice(at + HEAD_BYTES..at + whole);
    match body[0] {
        APPEND => Found::Record(Record::Append { index, payload }, whole),
        VOTE => Found::Record(Record::Vote(payload), whole),
        COMMITTED => Found::Record(Record::Committed(payload), whole),
        TRUNCATE => Found::Record(Record::Truncate { from: index }, whole),
        PURGE => Found::Record(Record::Purge { index, payload }, whole),
        GROUP => Found::Record(
            Record::Group {
                sequence: index,
                payload,
            },
            whole,
        ),
        _ => Found::Damaged,
    }
}
