//! Groups: what one flush writes, behind a head that proves what earlier flushes wrote.
//!
//! ```text
//!  record head | nonce u64 | at u64 | synced u64 | bytes u32 | empty sectors u32
//! ```
//!
//! `nonce` is the segment's random number: bytes of a request cannot pretend to be a group.
//! `at` is the group's own place. Everything before `synced` was on disk when the group was
//! written. `bytes` follow the head, and `empty sectors` of the group hold nothing but zeros:
//! when more do, the group was torn, because a disk writes a sector completely or not at all.

use std::ops::Range;

use bytes::Bytes;

use super::record::{self, FRAME_BYTES, Found, GROUP, HEAD_BYTES, Record};

/// Bytes of a group's head.
pub const GROUP_BYTES: usize = HEAD_BYTES + PAYLOAD_BYTES;

const PAYLOAD_BYTES: usize = 8 + 8 + 8 + 4 + 4;

/// What a disk writes completely or not at all.
const SECTOR_BYTES: usize = 512;

/// The head of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Counts the flushes of this log.
    pub sequence: u64,
    /// Random number of the segment.
    pub nonce: u64,
    /// Where the head stands in its segment.
    pub at: u64,
    /// Everything before this place of the segment was on disk already.
    pub synced: u64,
    /// Bytes behind the head.
    pub bytes: u32,
    /// Sectors of the group that are zeros on purpose.
    pub empty_sectors: u32,
}

/// Where a group may begin that follows `at`: its head never crosses the end of a sector, so an
/// interrupted write leaves it whole or leaves nothing of it.
pub fn start_behind(at: u64) -> u64 {
    let sector = SECTOR_BYTES as u64;
    if at % sector + GROUP_BYTES as u64 > sector {
        at.next_multiple_of(sector)
    } else {
        at
    }
}

fn position(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl Group {
    /// Writes the head into the first bytes of `out`, which must have room for it.
    pub fn put(&self, out: &mut [u8]) {
        let length = u32::try_from(GROUP_BYTES - FRAME_BYTES).unwrap_or(0);
        let length = length.to_le_bytes();
        out[..4].copy_from_slice(&length);
        out[FRAME_BYTES] = GROUP;
        let fields = [self.sequence, self.nonce, self.at, self.synced];
        let mut at = FRAME_BYTES + 1;
        for field in fields {
            out[at..at + 8].copy_from_slice(&field.to_le_bytes());
            at += 8;
        }
        out[at..at + 4].copy_from_slice(&self.bytes.to_le_bytes());
        out[at + 4..at + 8].copy_from_slice(&self.empty_sectors.to_le_bytes());
        let checksum = record::checksum(&length, &out[FRAME_BYTES..GROUP_BYTES]);
        out[4..FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the payload of a group record.
    pub fn parse(sequence: u64, payload: &[u8]) -> Option<Group> {
        let (fields, counts) = payload.split_at_checked(24)?;
        let (bytes, empty_sectors) = counts.split_first_chunk::<4>()?;
        let mut numbers = fields.chunks_exact(8).map(|field| {
            let mut number = [0; 8];
            number.copy_from_slice(field);
            u64::from_le_bytes(number)
        });
        Some(Group {
            sequence,
            nonce: numbers.next()?,
            at: numbers.next()?,
            synced: numbers.next()?,
            bytes: u32::from_le_bytes(*bytes),
            empty_sectors: u32::from_le_bytes(empty_sectors.try_into().ok()?),
        })
    }

    /// Where the group ends.
    pub fn end(&self) -> u64 {
        self.at + GROUP_BYTES as u64 + u64::from(self.bytes)
    }

    fn range(&self) -> Range<usize> {
        position(self.at)..position(self.end())
    }
}

/// Counts the sectors of a file whose part inside `bytes`, which stand at `at`, is all zeros.
pub fn empty_sectors(bytes: &[u8], at: u64) -> u32 {
    let into = usize::try_from(at % SECTOR_BYTES as u64).unwrap_or(0);
    let first = (SECTOR_BYTES - into).min(bytes.len());
    let (first, rest) = bytes.split_at(first);
    let parts = std::iter::once(first).chain(rest.chunks(SECTOR_BYTES));
    let empty = parts.filter(|part| !part.is_empty() && is_zero(part));
    u32::try_from(empty.count()).unwrap_or(u32::MAX)
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What follows the last good record of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Zeros: the log ends here.
    Clean,
    /// The rest of a write that was interrupted and never acknowledged.
    Torn,
    /// Something that was written completely and is not what was written.
    Damaged(&'static str),
}

/// Tells an interrupted write from damage. `group` is the last head before `end`.
pub fn tail(bytes: &Bytes, end: u64, nonce: u64, group: Option<&Group>) -> Tail {
    let from = position(end).min(bytes.len());
    let inside = group.filter(|group| end < group.end());
    if inside.is_none() && is_zero(&bytes[from..]) {
        return Tail::Clean;
    }
    if proven(bytes, end, nonce) {
        return Tail::Damaged("a later flush proves that this one was complete");
    }
    if let Some(group) = inside {
        let range = group.range();
        let written = &bytes[range.start.min(bytes.len())..range.end.min(bytes.len())];
        if range.end > bytes.len() || empty_sectors(written, group.at) > group.empty_sectors {
            return Tail::Torn;
        }
        return Tail::Damaged("all of it was written, but not as it is now");
    }
    // A head belongs here. When its sector was not written, the rest of the sector is zeros.
    let boundary = (from / SECTOR_BYTES + 1) * SECTOR_BYTES;
    if is_zero(&bytes[from..boundary.min(bytes.len())]) {
        return Tail::Torn;
    }
    Tail::Damaged("the head of a group is not what was written")
}

/// Whether a group behind `end` says that `end` had been flushed before.
fn proven(bytes: &Bytes, end: u64, nonce: u64) -> bool {
    let length = u32::try_from(GROUP_BYTES - FRAME_BYTES).unwrap_or(0);
    let length = length.to_le_bytes();
    let from = position(end).saturating_add(1).min(bytes.len());
    let places = bytes[from..].windows(FRAME_BYTES + 1);
    let places = places
        .enumerate()
        .filter(|(_, head)| head[FRAME_BYTES] == GROUP && head[..4] == length);
    let mut groups = places.filter_map(|(distance, _)| {
        let at = from + distance;
        let Found::Record(Record::Group { sequence, payload }, _) = record::decode(bytes, at)
        else {
            return None;
        };
        let group = Group::parse(sequence, &payload)?;
        (group.nonce == nonce && group.at == at as u64).then_some(group)
    });
    groups.any(|group| group.synced > end)
}
