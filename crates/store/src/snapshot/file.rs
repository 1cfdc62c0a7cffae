//! Writing and reading the file format of snapshots.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::{Frozen, Head, Pace, PacedFile};
use crate::error::StoreError;
use crate::keyspace::{Keyspace, Record, Restore};
use crate::limits::FRAME_BYTES_MAX;

/// First bytes; the last one is the version of the format.
pub const MAGIC: &[u8; 8] = b"RPBXSNP\x04";

/// Buffer of file reads and writes.
const BUFFER_BYTES: usize = 256 << 10;

/// Passes bytes on and keeps their checksum.
struct Summed<T> {
    inner: T,
    checksum: u32,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes[..read]);
        Ok(read)
    }
}

fn damaged(text: &str) -> StoreError {
    StoreError::Storage(format!("the snapshot is damaged: {text}"))
}

/// Writes and flushes a snapshot, at a bounded speed.
pub fn write(path: &Path, frozen: &Frozen) -> Result<(), StoreError> {
    let head = Head {
        index: frozen.index,
        raft: frozen.raft.clone(),
        clock_ms: frozen.dump.clock_ms,
        expired: frozen.dump.expired,
        records: frozen.dump.count() as u64,
        sql_index: frozen.sql_index,
        origins: frozen.origins.clone(),
    };
    let mut writing = Writing::begin(path, &head)?;
    for record in frozen.dump.records() {
        writing.record(&encode(&record)?)?;
    }
    writing.finish()
}

/// A snapshot that is being written, record by record.
pub struct Writing {
    out: Summed<BufWriter<PacedFile>>,
}

impl Writing {
    /// Creates the file.
    pub fn begin(path: &Path, head: &Head) -> Result<Writing, StoreError> {
        let file = PacedFile::new(File::create(path)?, Pace::default());
        let mut out = Summed {
            inner: BufWriter::with_capacity(BUFFER_BYTES, file),
            checksum: 0,
        };
        out.write_all(MAGIC)?;
        write_part(&mut out, &encode(head)?)?;
        Ok(Writing { out })
    }

    /// Adds an encoded record.
    pub fn record(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        write_part(&mut self.out, bytes)?;
        Ok(())
    }

    /// Adds the checksum and flushes.
    pub fn finish(self) -> Result<(), StoreError> {
        let Summed {
            mut inner,
            checksum,
        } = self.out;
        inner.write_all(&checksum.to_le_bytes())?;
        let file = inner
            .into_inner()
            .map_err(|error| StoreError::Storage(error.to_string()))?;
        file.finish()?;
        Ok(())
    }
}

/// Which encoding [`encode_record`] has; it changes with the format of snapshots.
pub fn encoding() -> u8 {
    MAGIC[7]
}

/// A record as it is written.
pub fn encode_record(record: &Record) -> Result<Vec<u8>, StoreError> {
    encode(record)
}

/// Refuses bytes that are no record.
pub fn check_record(bytes: &[u8]) -> Result<(), StoreError> {
    let record: Result<Record, _> = postcard::from_bytes(bytes);
    record.map(drop).map_err(|_| damaged("unreadable record"))
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(|error| StoreError::Storage(error.to_string()))
}

fn write_part(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)
}

fn read_part(input: &mut impl Read, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    // A key of the largest allowed values stays far below; more is damage, not content.
    if length > FRAME_BYTES_MAX * 16 {
        return Err(damaged("a part is too long"));
    }
    buffer.resize(length, 0);
    input.read_exact(buffer)?;
    Ok(())
}

/// Checks magic and checksum of a whole file and answers its head.
pub fn verify(path: &Path) -> Result<Head, StoreError> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let content = size.checked_sub(4).ok_or_else(|| damaged("too short"))?;
    let mut summed = Summed {
        inner: BufReader::with_capacity(BUFFER_BYTES, file),
        checksum: 0,
    };
    io::copy(&mut (&mut summed).take(content), &mut io::sink())?;
    let computed = summed.checksum;
    let mut stored = [0; 4];
    summed.inner.read_exact(&mut stored)?;
    if computed != u32::from_le_bytes(stored) {
        return Err(damaged("wrong checksum"));
    }
    let mut input = BufReader::new(File::open(path)?);
    read_head(&mut input)
}

fn read_head(input: &mut impl Read) -> Result<Head, StoreError> {
    let mut magic = [0; 8];
    input.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(damaged("not a snapshot of this version"));
    }
    let mut buffer = Vec::new();
    read_part(input, &mut buffer)?;
    postcard::from_bytes(&buffer).map_err(|_| damaged("unreadable head"))
}

/// Reads a whole snapshot.
pub fn read(path: &Path) -> Result<(Head, Keyspace), StoreError> {
    verify(path)?;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    let head = read_head(&mut input)?;
    let mut restore = Restore::default();
    let mut buffer = Vec::new();
    for _ in 0..head.records {
        read_part(&mut input, &mut buffer)?;
        restore.add(postcard::from_bytes(&buffer).map_err(|_| damaged("unreadable record"))?);
    }
    let space = restore.finish(head.clock_ms, head.expired);
    Ok((head, space))
}
