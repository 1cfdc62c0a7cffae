//! Reading the log back after a start.
//!
//! A write that was interrupted is cut off: nobody was told of it. Anything else that is not what
//! was written is damage: the log keeps what stands before it, the files go to `damaged/`, and
//! the node may not vote until it has from the others what it may have acknowledged
//! ([`Recovered::recovering`]).

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use bytes::Bytes;

use super::group::{self, Group, Tail};
use super::record::{self, Found, Record};
use super::segment::{self, BadHead, Head};
use super::{Carry, damage, votes};
use crate::disk::{Disk, DiskFile};

/// Everything the log holds.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Entries in index order, without gaps.
    pub entries: VecDeque<(u64, Bytes)>,
    /// The vote in force according to the log.
    pub vote: Option<Bytes>,
    /// The copies of the vote in a file of their own.
    pub vote_copies: votes::Copies,
    /// The last entry known to be committed.
    pub committed: Option<Bytes>,
    /// The last purged entry.
    pub purged: Option<(u64, Bytes)>,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
    /// Whether records were cut off or files put aside.
    pub cut: bool,
    /// Why this node may lack what it acknowledged.
    pub recovering: Option<String>,
    /// Segments in order, with the highest index appended to each.
    pub segments: Vec<(u64, u64)>,
    /// Where the next group goes in the last segment.
    pub end: u64,
    /// Random number of the last segment.
    pub nonce: u64,
    /// Of the last group.
    pub sequence: u64,
    /// Records a new segment has to begin with.
    pub carry: Vec<Carry>,
}

/// Damage of one segment.
struct Damaged {
    at: u64,
    why: String,
}

impl Damaged {
    fn new(at: u64, why: &str) -> Damaged {
        let why = why.to_owned();
        Damaged { at, why }
    }
}

fn newer(number: u64, version: u8) -> io::Error {
    let text = format!(
        "[PBX_STORE_FORMAT_NEWER] log segment {number} has format {version}, this program reads up to {}; \
         start the program version that wrote it, or a later one",
        segment::VERSION
    );
    io::Error::new(io::ErrorKind::Unsupported, text)
}

fn vote_lost() -> io::Error {
    let text = "[PBX_STORE_VOTE_LOST] the log is damaged and so are both copies of this node's \
                vote, so it might vote twice; remove its directory and let it join again under a \
                new id";
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Reads all segments, cuts off what is torn and puts aside what is damaged.
pub fn recover(disk: &dyn Disk, directory: &Path, segment_bytes: u64) -> io::Result<Recovered> {
    let mut recovered = Recovered {
        vote_copies: votes::read(disk, directory)?,
        recovering: damage::read_mark(disk, directory)?,
        ..Recovered::default()
    };
    let numbers = segment::list(disk, directory)?;
    for (position, number) in numbers.iter().enumerate() {
        let expected = recovered.segments.last().map_or(*number, |last| last.0 + 1);
        let path = segment::path(directory, *number);
        let (bytes, outcome) = if expected == *number {
            let bytes = Bytes::from(disk.read(&path)?);
            let last = position + 1 == numbers.len();
            let outcome = read_segment(&bytes, *number, last, &mut recovered)?;
            (bytes, outcome)
        } else {
            (Bytes::new(), Err(Damaged::new(0, "the segment is missing")))
        };
        match outcome {
            Ok(torn) if torn => recovered.torn_bytes = cut(disk, &path, &bytes, &mut recovered)?,
            Ok(_) => {}
            Err(Damaged { at, why }) => {
                check_vote(&recovered)?;
                let broken = damage::Broken {
                    number: expected,
                    at,
                    why,
                    aside: &numbers[position..],
                };
                damage::put_aside(disk, directory, &broken, &bytes, segment_bytes)?
                    .adopt(&mut recovered);
                return Ok(recovered);
            }
        }
    }
    if numbers.is_empty() && !recovered.vote_copies.payloads.is_empty() {
        let why = "all segments of the log are gone".to_owned();
        damage::write_mark(disk, directory, &why)?;
        recovered.recovering = Some(why);
    }
    if recovered.recovering.is_some() {
        check_vote(&recovered)?;
    }
    Ok(recovered)
}

/// A damaged log may hold an old vote. It is enough that a copy of the newest is elsewhere.
pub fn check_vote(recovered: &Recovered) -> io::Result<()> {
    let copies = &recovered.vote_copies;
    if copies.payloads.is_empty() && !copies.unused {
        return Err(vote_lost());
    }
    Ok(())
}

/// Reads one segment; answers whether its end is torn.
fn read_segment(
    bytes: &Bytes,
    number: u64,
    last: bool,
    recovered: &mut Recovered,
) -> io::Result<Result<bool, Damaged>> {
    let head = match Head::decode(bytes, number) {
        Ok(head) => head,
        Err(BadHead::Newer(version)) => return Err(newer(number, version)),
        Err(BadHead::Damaged) => return Ok(Err(Damaged::new(0, "the head is unreadable"))),
    };
    recovered.nonce = head.nonce;
    let replayed = replay(bytes, &head, recovered);
    recovered.end = replayed.end;
    recovered.segments.push((number, replayed.highest));
    if let Some(why) = replayed.wrong {
        return Ok(Err(Damaged::new(replayed.end, why)));
    }
    let tail = if head.version == 1 {
        let rest = usize::try_from(replayed.end).unwrap_or(usize::MAX);
        if group::is_zero(&bytes[rest.min(bytes.len())..]) {
            Tail::Clean
        } else {
            Tail::Damaged("torn or damaged; format 1 cannot tell")
        }
    } else {
        group::tail(bytes, replayed.end, head.nonce, replayed.group.as_ref())
    };
    Ok(match tail {
        Tail::Clean => {
            if head.version == 1 {
                // Nothing of the new format goes into an old segment.
                recovered.end = recovered.end.max(bytes.len() as u64);
            }
            Ok(false)
        }
        Tail::Torn if last => Ok(true),
        Tail::Torn => Err(Damaged::new(replayed.end, "records are missing")),
        Tail::Damaged(why) => Err(Damaged::new(replayed.end, why)),
    })
}

/// Where the next group may begin.
fn behind(at: usize) -> usize {
    usize::try_from(group::start_behind(at as u64)).unwrap_or(usize::MAX)
}

/// What the records of a segment came to.
struct Replayed {
    /// Where the good records end.
    end: u64,
    /// The highest index appended.
    highest: u64,
    /// The last group's head.
    group: Option<Group>,
    /// A record that is whole and cannot be right.
    wrong: Option<&'static str>,
}

/// Applies the records of one segment up to the first one that is not good.
fn replay(bytes: &Bytes, head: &Head, recovered: &mut Recovered) -> Replayed {
    let mut at = usize::try_from(head.bytes()).unwrap_or(0);
    let mut replayed = Replayed {
        end: at as u64,
        highest: 0,
        group: None,
        wrong: None,
    };
    loop {
        let inside = |group: &Group| (at as u64) < group.end();
        if head.version > 1 && !replayed.group.as_ref().is_some_and(inside) {
            at = behind(at);
            replayed.end = at as u64;
        }
        let (record, size) = match record::decode(bytes, at) {
            Found::Record(record, size) => (record, size),
            // Behind a group that was cut off, the next one may begin in the next sector.
            _ if head.version > 1 && behind(at) > at => match record::decode(bytes, behind(at)) {
                Found::Record(group @ Record::Group { .. }, size) => {
                    at = behind(at);
                    (group, size)
                }
                _ => break,
            },
            _ => break,
        };
        if let Record::Group { sequence, payload } = &record {
            let group = Group::parse(*sequence, payload);
            let group = group.filter(|group| group.nonce == head.nonce && group.at == at as u64);
            let Some(group) = group else { break };
            recovered.sequence = group.sequence;
            replayed.group = Some(group);
        } else {
            let inside = |group: &Group| (at as u64) < group.end();
            if head.version > 1 && !replayed.group.as_ref().is_some_and(inside) {
                break;
            }
            if let Record::Append { index, .. } = &record {
                replayed.highest = replayed.highest.max(*index);
            }
            keep_carry(&record, recovered);
            if let Err(why) = recovered.apply(record) {
                replayed.wrong = Some(why);
                break;
            }
        }
        at += size;
        replayed.end = at as u64;
    }
    replayed
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
            Record::Group { .. } => {}
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
fn cut(disk: &dyn Disk, path: &Path, bytes: &Bytes, recovered: &mut Recovered) -> io::Result<u64> {
    let end = recovered.end;
    let start = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
    let torn = bytes[start..]
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let file: Box<dyn DiskFile> = disk.open(path)?;
    file.write_all_at(&vec![0; torn], end)?;
    file.sync()?;
    recovered.cut = true;
    tracing::warn!(path = %path.display(), at = end, torn, "cut a torn tail off the log");
    Ok(torn as u64)
}
