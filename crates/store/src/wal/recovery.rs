//! Reading the log back after a start.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use super::record::{self, Found, Record};
use super::{Carry, segment};

/// Everything the log holds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Entries in index order, without gaps.
    pub entries: VecDeque<(u64, Bytes)>,
    /// The vote in force.
    pub vote: Option<Bytes>,
    /// The last entry known to be committed.
    pub committed: Option<Bytes>,
    /// The last purged entry.
    pub purged: Option<(u64, Bytes)>,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
    /// Segments in order, with the highest index appended to each.
    pub segments: Vec<(u64, u64)>,
    /// Where the next record goes in the last segment.
    pub end: u64,
    /// Records a new segment has to begin with.
    pub carry: Vec<Carry>,
}

fn damaged(number: u64, at: u64, why: &str) -> io::Error {
    let text = format!(
        "log segment {number} is damaged at byte {at} ({why}); acknowledged entries may be lost. \
         Remove this node's directory and let it join again under a new id"
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Reads all segments. Only the last one that was used may end in a torn record.
pub fn recover(directory: &Path, segment_bytes: u64) -> io::Result<Recovered> {
    let mut recovered = Recovered::default();
    let numbers = segment::list(directory)?;
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        return Err(damaged(pair[0] + 1, 0, "missing"));
    }
    for (position, number) in numbers.iter().enumerate() {
        let last = position + 1 == numbers.len();
        let path = segment::path(directory, *number);
        let bytes = Bytes::from(std::fs::read(&path)?);
        if !bytes.starts_with(&segment::head(*number)) {
            return Err(damaged(*number, 0, "not a segment head"));
        }
        let (end, highest, whole) =
            replay(&bytes, &mut recovered).map_err(|(at, why)| damaged(*number, at, why))?;
        if !whole && !last {
            return Err(damaged(
                *number,
                end,
                "bad record before the end of the log",
            ));
        }
        if !whole {
            recovered.torn_bytes = cut(&path, &bytes, end, segment_bytes)?;
        }
        recovered.segments.push((*number, highest));
        recovered.end = end;
    }
    Ok(recovered)
}

type Replayed = (u64, u64, bool);

/// Applies the records of one segment; answers where they end, the highest index appended, and
/// whether they ended in zeros rather than in damage.
fn replay(bytes: &Bytes, recovered: &mut Recovered) -> Result<Replayed, (u64, &'static str)> {
    let mut at = usize::try_from(segment::HEAD_BYTES).unwrap_or(0);
    let mut highest = 0;
    loop {
        match record::decode(bytes, at) {
            Found::End => return Ok((at as u64, highest, true)),
            Found::Damaged => return Ok((at as u64, highest, false)),
            Found::Record(record, size) => {
                if let Record::Append { index, .. } = &record {
                    highest = highest.max(*index);
                }
                keep_carry(&record, recovered);
                recovered.apply(record).map_err(|why| (at as u64, why))?;
                at += size;
            }
        }
    }
}

fn keep_carry(record: &Record, recovered: &mut Recovered) {
    let carried = matches!(
        record,
        Record::Vote(_) | Record::Committed(_) | Record::Purge { .. }
    );
    let mut bytes = Vec::new();
    if carried && record::encode(record, &mut bytes).is_ok() {
        recovered.carry.retain(|carry| carry.kind != record.kind());
        recovered.carry.push(Carry {
            kind: record.kind(),
            bytes,
        });
    }
}

impl Recovered {
    fn apply(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::Vote(payload) => self.vote = Some(payload),
            Record::Committed(payload) => self.committed = Some(payload),
            Record::Truncate { from } => {
                while self.entries.back().is_some_and(|(index, _)| *index >= from) {
                    self.entries.pop_back();
                }
            }
            Record::Purge { index, payload } => {
                while self
                    .entries
                    .front()
                    .is_some_and(|(first, _)| *first <= index)
                {
                    self.entries.pop_front();
                }
                if self
                    .purged
                    .as_ref()
                    .is_none_or(|(purged, _)| *purged <= index)
                {
                    self.purged = Some((index, payload));
                }
            }
            Record::Append { index, payload } => {
                let purged = self.purged.as_ref().map(|(purged, _)| *purged);
                let next = self.entries.back().map(|(last, _)| last + 1);
                if purged.is_some_and(|purged| index <= purged) {
                    return Ok(());
                }
                // The log may begin anywhere: what came before was purged with its segment.
                if next.is_some_and(|next| next != index) {
                    return Err("entries are not consecutive");
                }
                // Not a slice: it would keep the whole segment in memory.
                self.entries
                    .push_back((index, Bytes::copy_from_slice(&payload)));
            }
        }
        Ok(())
    }
}

/// Overwrites a torn tail with zeros, so that nothing of it can ever be read as a record.
fn cut(path: &Path, bytes: &Bytes, end: u64, segment_bytes: u64) -> io::Result<u64> {
    let start = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
    let torn = bytes[start..]
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let file = OpenOptions::new().write(true).open(path)?;
    let size = segment_bytes.max(bytes.len() as u64);
    let zeros = usize::try_from(size - end).unwrap_or(0);
    file.write_all_at(&vec![0; zeros], end)?;
    file.sync_all()?;
    tracing::warn!(path = %path.display(), at = end, torn, "cut a torn tail off the log");
    Ok(torn as u64)
}
