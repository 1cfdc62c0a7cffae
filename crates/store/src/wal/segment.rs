//! Segment files: `segment-{number}.wal`, a head, records, zeros.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// First bytes of every segment; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"RPBXWAL\x01";

/// Bytes before the first record: magic, number, checksum of both.
pub const HEAD_BYTES: u64 = 8 + 8 + 4;

/// Written at once while a file is filled.
const ZEROS: usize = 1 << 20;

/// Where a segment lives.
pub fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("segment-{number:016}.wal"))
}

/// Where the segment lives that is being prepared.
pub fn prepared_path(directory: &Path) -> PathBuf {
    directory.join("segment.next")
}

/// Numbers of the segments in a directory, in order.
pub fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = name
            .strip_prefix("segment-")
            .and_then(|name| name.strip_suffix(".wal"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Creates a file of zeros of the full size and flushes it.
pub fn prepare(directory: &Path, bytes: u64) -> io::Result<File> {
    let path = prepared_path(directory);
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .clone();
    let file = options.open(path)?;
    let zeros = vec![0; ZEROS];
    let mut at = 0;
    while at < bytes {
        let piece = usize::try_from(bytes - at).unwrap_or(ZEROS).min(ZEROS);
        file.write_all_at(&zeros[..piece], at)?;
        at += piece as u64;
    }
    file.sync_all()?;
    Ok(file)
}

/// Turns the prepared file into segment `number`: writes the head and renames it.
pub fn adopt(directory: &Path, file: &File, number: u64) -> io::Result<()> {
    file.write_all_at(&head(number), 0)?;
    file.sync_data()?;
    std::fs::rename(prepared_path(directory), path(directory, number))?;
    sync_directory(directory)
}

/// The first bytes of segment `number`.
pub fn head(number: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(20);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&number.to_le_bytes());
    let checksum = crc32c::crc32c(&head);
    head.extend_from_slice(&checksum.to_le_bytes());
    head
}

/// Makes creations, renames and deletions in a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
