//! The vote in a file of its own, twice: no damaged sector can lose it.
//!
//! The log has it too, but damage there can take the last vote and leave an older one in force.
//! The copies are written after the log was flushed and before anybody is told.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::record::{self, Found, Record};
use crate::disk::{Disk, DiskFile};

/// Distance of the copies; no sector and no page holds both.
const SLOT_BYTES: usize = 8 << 10;

/// Copies of the vote.
const SLOTS: usize = 2;

fn path(directory: &Path) -> PathBuf {
    directory.join("votes")
}

/// What the file says.
#[derive(Debug, Default)]
pub struct Copies {
    /// Every copy that can be read, as the payload of its record.
    pub payloads: Vec<Bytes>,
    /// Whether the file is as it was made: this node has never voted.
    pub unused: bool,
}

/// Reads the copies.
pub fn read(disk: &dyn Disk, directory: &Path) -> io::Result<Copies> {
    let path = path(directory);
    if !disk.exists(&path)? {
        return Ok(Copies::default());
    }
    let bytes = Bytes::from(disk.read(&path)?);
    let copies = (0..SLOTS).filter_map(|slot| match record::decode(&bytes, slot * SLOT_BYTES) {
        Found::Record(Record::Vote(payload), _) => Some(payload),
        _ => None,
    });
    Ok(Copies {
        payloads: copies.collect(),
        unused: bytes.len() == SLOTS * SLOT_BYTES && super::group::is_zero(&bytes),
    })
}

/// Opens the file, or creates it without a vote.
pub fn open(disk: &dyn Disk, directory: &Path) -> io::Result<Box<dyn DiskFile>> {
    let path = path(directory);
    if disk.exists(&path)? {
        return disk.open(&path);
    }
    let file = disk.create_filled(&path, (SLOTS * SLOT_BYTES) as u64)?;
    disk.sync_directory(directory)?;
    Ok(file)
}

/// Writes both copies of an encoded vote record, one after the other: a write that is torn
/// leaves the other copy whole.
pub fn write(file: &dyn DiskFile, record: &[u8]) -> io::Result<()> {
    for slot in 0..SLOTS {
        file.write_all_at(record, (slot * SLOT_BYTES) as u64)?;
        file.sync()?;
    }
    Ok(())
}
