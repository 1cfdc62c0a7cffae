//! Segment files: `segment-{number}.wal`, a head, groups of records, zeros.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};

/// First bytes of every segment but the version of the format, which is the eighth.
const MAGIC: &[u8; 7] = b"RPBXWAL";

/// The format that is written. Version 1 had no groups and no nonce.
pub const VERSION: u8 = 2;

/// Bytes before the first group: magic, version, number, nonce, checksum of all.
pub const HEAD_BYTES: u64 = 8 + 8 + 8 + 4;

const HEAD_BYTES_1: u64 = 8 + 8 + 4;

/// Where a segment lives.
pub fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("segment-{number:016}.wal"))
}

/// Where the segment lives that is being prepared.
pub fn prepared_path(directory: &Path) -> PathBuf {
    directory.join("segment.next")
}

/// Numbers of the segments in a directory, in order.
pub fn list(disk: &dyn Disk, directory: &Path) -> io::Result<Vec<u64>> {
    let names = disk.names(directory)?;
    let numbers = names.iter().filter_map(|name| {
        let number = name.strip_prefix("segment-")?.strip_suffix(".wal")?;
        number.parse::<u64>().ok()
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Creates the file of the next segment, zeros of the full size.
pub fn prepare(disk: &dyn Disk, directory: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
    disk.create_filled(&prepared_path(directory), bytes)
}

/// Turns the prepared file into a segment: writes the head and renames it.
pub fn adopt(
    disk: &dyn Disk,
    directory: &Path,
    file: &dyn DiskFile,
    head: &Head,
) -> io::Result<()> {
    file.write_all_at(&head.encode(), 0)?;
    file.sync()?;
    disk.rename(&prepared_path(directory), &path(directory, head.number))?;
    disk.sync_directory(directory)
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Version of the format.
    pub version: u8,
    /// Place in the row of segments.
    pub number: u64,
    /// Random number that its groups repeat; 0 in version 1.
    pub nonce: u64,
}

/// Why a head cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHead {
    /// Not what was written.
    Damaged,
    /// Written by a later version of this program.
    Newer(u8),
}

impl Head {
    /// The head of a new segment.
    pub fn new(number: u64, nonce: u64) -> Head {
        Head {
            version: VERSION,
            number,
            nonce,
        }
    }

    /// Bytes before the first record.
    pub fn bytes(&self) -> u64 {
        if self.version == 1 {
            HEAD_BYTES_1
        } else {
            HEAD_BYTES
        }
    }

    /// The head as it stands in the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(28);
        head.extend_from_slice(MAGIC);
        head.push(self.version);
        head.extend_from_slice(&self.number.to_le_bytes());
        if self.version > 1 {
            head.extend_from_slice(&self.nonce.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&head);
        head.extend_from_slice(&checksum.to_le_bytes());
        head
    }

    /// Reads the head of segment `number`.
    pub fn decode(bytes: &[u8], number: u64) -> Result<Head, BadHead> {
        let version = bytes.get(7).copied().unwrap_or(0);
        let mut nonce = [0; 8];
        if version > 1 {
            let place = bytes.get(16..24).ok_or(BadHead::Damaged)?;
            nonce.copy_from_slice(place);
        }
        let head = Head {
            version,
            number,
            nonce: u64::from_le_bytes(nonce),
        };
        if !bytes.starts_with(MAGIC) || version == 0 {
            return Err(BadHead::Damaged);
        }
        // Where a later version keeps its checksum is not known: a flipped bit in the version
        // of a head of ours is told by the checksum that fits the version we write.
        let ours = Head {
            version: VERSION,
            nonce: head.nonce,
            number,
        };
        let fits = |head: &Head| bytes.starts_with(&head.encode());
        if version > VERSION {
            let rest = ours.encode();
            let flipped = bytes.get(8..rest.len()) == rest.get(8..);
            return Err(if flipped {
                BadHead::Damaged
            } else {
                BadHead::Newer(version)
            });
        }
        if fits(&head) {
            Ok(head)
        } else {
            Err(BadHead::Damaged)
        }
    }
}
