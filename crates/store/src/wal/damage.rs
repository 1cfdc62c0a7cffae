//! What is done with damaged segments: marked, put aside, replaced by their good part.
//!
//! The mark is written first and stays until the node has everything it may have acknowledged,
//! so a crash at any point leaves a node that still knows that it lacks something.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::group::{self, GROUP_BYTES, Group};
use super::recovery::Recovered;
use super::segment::{self, Head};
use crate::disk::Disk;
use crate::limits::DAMAGED_FILES_MAX;

fn mark_path(directory: &Path) -> PathBuf {
    directory.join("recovering")
}

/// Why this node may lack what it acknowledged, if it does.
pub fn read_mark(disk: &dyn Disk, directory: &Path) -> io::Result<Option<String>> {
    let path = mark_path(directory);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    let text = disk.read(&path)?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// Notes that this node may lack what it acknowledged.
pub fn write_mark(disk: &dyn Disk, directory: &Path, why: &str) -> io::Result<()> {
    disk.replace(&mark_path(directory), why.as_bytes())
}

/// The node has everything again.
pub fn remove_mark(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let path = mark_path(directory);
    if disk.exists(&path)? {
        disk.remove(&path)?;
        disk.sync_directory(directory)?;
    }
    Ok(())
}

/// The first damage of a log.
pub struct Broken<'a> {
    /// The segment that is damaged or missing.
    pub number: u64,
    /// Where its good part ends.
    pub at: u64,
    /// What is wrong.
    pub why: String,
    /// What is there of it and of the segments behind it.
    pub aside: &'a [u64],
}

/// What stands in for the damaged segments.
pub struct Replaced {
    why: String,
    number: u64,
    head: Head,
    end: u64,
    sequence: u64,
}

impl Replaced {
    /// Makes it the end of what was recovered.
    pub fn adopt(self, recovered: &mut Recovered) {
        let known = recovered.segments.last().map(|(number, _)| *number);
        if known != Some(self.number) {
            recovered.segments.push((self.number, 0));
        }
        recovered.nonce = self.head.nonce;
        recovered.end = self.end;
        recovered.sequence = self.sequence.max(recovered.sequence);
        recovered.recovering = Some(self.why);
    }
}

/// Moves the damaged segment and all behind it to `damaged/` and writes the good part anew.
pub fn put_aside(
    disk: &dyn Disk,
    directory: &Path,
    broken: &Broken<'_>,
    bytes: &Bytes,
    segment_bytes: u64,
) -> io::Result<Replaced> {
    let Broken { number, at, .. } = *broken;
    let why = format!("log segment {number}, byte {at}: {}", broken.why);
    tracing::error!(%why, "the log is damaged; this node re-syncs from the others");
    write_mark(disk, directory, &why)?;
    let (head, good) = match Head::decode(bytes, number) {
        Ok(head) if at >= head.bytes() => (head, at),
        _ => {
            let head = Head::new(number, disk.random()?);
            (head, head.bytes())
        }
    };
    let mut content = head.encode();
    let kept = usize::try_from(good).unwrap_or(usize::MAX).min(bytes.len());
    content.extend_from_slice(bytes.get(content.len()..kept).unwrap_or_default());
    if head.version > 1 {
        // Ends the group that was cut.
        let start = group::start_behind(content.len() as u64);
        content.resize(usize::try_from(start).unwrap_or(0), 0);
        let group = Group {
            sequence: 0,
            nonce: head.nonce,
            at: content.len() as u64,
            synced: content.len() as u64,
            bytes: 0,
            empty_sectors: 0,
        };
        let start = content.len();
        content.resize(start + GROUP_BYTES, 0);
        group.put(&mut content[start..]);
    }
    let size = segment_bytes.max(content.len() as u64);
    for number in broken.aside.iter().rev() {
        keep_file(disk, directory, &segment::path(directory, *number))?;
    }
    let file = segment::prepare(disk, directory, size)?;
    file.write_all_at(&content, 0)?;
    segment::adopt(disk, directory, file.as_ref(), &head)?;
    let end = if head.version == 1 {
        size
    } else {
        group::start_behind(content.len() as u64)
    };
    Ok(Replaced {
        why,
        number,
        head,
        end,
        sequence: 0,
    })
}

/// Moves a damaged file to `damaged/` in a directory; the oldest ones there make room.
pub fn keep_file(disk: &dyn Disk, directory: &Path, path: &Path) -> io::Result<()> {
    let aside = directory.join("damaged");
    disk.create_directory(&aside)?;
    let names = disk.names(&aside)?;
    let number = |name: &String| name.split('-').next()?.parse::<u64>().ok();
    let next = names
        .iter()
        .filter_map(number)
        .max()
        .map_or(1, |last| last + 1);
    let excess = (names.len() + 1).saturating_sub(DAMAGED_FILES_MAX);
    for name in names.iter().take(excess) {
        disk.remove(&aside.join(name))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    disk.rename(path, &aside.join(format!("{next:08}-{name}")))?;
    disk.sync_directory(&aside)?;
    disk.sync_directory(path.parent().unwrap_or(directory))
}
