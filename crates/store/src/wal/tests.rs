//! The log against crashes: every length of a torn tail, every flipped bit, many segments.

use std::sync::mpsc::channel;

use bytes::Bytes;

use super::*;

const SMALL: u64 = 4_096;

fn entry(index: u64) -> Record {
    let payload = Bytes::from(vec![u8::try_from(index % 251).unwrap_or(0); 40]);
    Record::Append { index, payload }
}

fn write(wal: &Wal, records: &[Record]) {
    let mut bytes = Vec::new();
    let mut note = Note::default();
    for record in records {
        let start = bytes.len();
        encode(record, &mut bytes).expect("small records are accepted");
        match record {
            Record::Append { index, .. } => note.last_index = Some(*index),
            Record::Purge { index, .. } => note.purge_to = Some(*index),
            _ => {}
        }
        if matches!(
            record,
            Record::Vote(_) | Record::Committed(_) | Record::Purge { .. }
        ) {
            let bytes = bytes[start..].to_vec();
            note.carry.push(Carry {
                kind: record.kind(),
                bytes,
            });
        }
    }
    let (done, outcome) = channel();
    let done: Flushed = Box::new(move |result| done.send(result).expect("the test waits"));
    wal.submit(Job {
        bytes,
        note,
        done: Some(done),
    })
    .expect("the log is open");
    outcome.recv().expect("a report").expect("written");
}

fn reopen(directory: &Path) -> Recovered {
    Wal::open_sized(directory, SMALL).expect("the log opens").1
}

fn last_index(recovered: &Recovered) -> u64 {
    recovered.entries.back().map_or(0, |(index, _)| *index)
}

/// A log of one segment with entries 1 to `count`; answers the bytes of its file.
fn one_segment(directory: &Path, count: u64) -> Vec<u8> {
    let (wal, _) = Wal::open_sized(directory, SMALL).expect("a new log opens");
    write(&wal, &[Record::Vote(Bytes::from_static(b"vote"))]);
    (1..=count).for_each(|index| write(&wal, &[entry(index)]));
    drop(wal);
    std::fs::read(segment::path(directory, 1)).expect("the segment is there")
}

#[test]
fn what_was_written_is_read_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let (wal, empty) = Wal::open_sized(directory.path(), SMALL).expect("a new log opens");
    assert!(empty.entries.is_empty());
    write(
        &wal,
        &[
            Record::Vote(Bytes::from_static(b"v1")),
            entry(1),
            entry(2),
            entry(3),
        ],
    );
    write(&wal, &[Record::Truncate { from: 3 }, entry(3), entry(4)]);
    write(&wal, &[Record::Committed(Bytes::from_static(b"c"))]);
    write(
        &wal,
        &[Record::Purge {
            index: 1,
            payload: Bytes::from_static(b"p"),
        }],
    );
    drop(wal);
    let recovered = reopen(directory.path());
    let indexes: Vec<_> = recovered.entries.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [2, 3, 4]);
    assert_eq!(recovered.vote.as_deref(), Some(&b"v1"[..]));
    assert_eq!(recovered.committed.as_deref(), Some(&b"c"[..]));
    assert_eq!(recovered.purged, Some((1, Bytes::from_static(b"p"))));
    assert_eq!(recovered.torn_bytes, 0);
}

#[test]
fn a_tail_torn_at_any_byte_loses_only_the_torn_record() {
    let directory = tempfile::tempdir().expect("a directory");
    let whole = one_segment(directory.path(), 5);
    let used = whole.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    let record = record::HEAD_BYTES + 40;
    for kept in (used - 2 * record)..used {
        let mut torn = whole.clone();
        torn[kept..].fill(0);
        std::fs::write(segment::path(directory.path(), 1), &torn).expect("written");
        let recovered = reopen(directory.path());
        let lost = (used - kept).div_ceil(record) as u64;
        assert_eq!(
            last_index(&recovered),
            5 - lost,
            "kept {kept} of {used} bytes"
        );
        assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
        // What was cut stays cut, and the log goes on behind it.
        let (wal, _) = Wal::open_sized(directory.path(), SMALL).expect("opens");
        write(&wal, &[entry(last_index(&recovered) + 1)]);
        drop(wal);
        assert_eq!(last_index(&reopen(directory.path())), 6 - lost);
    }
}

#[test]
fn a_flipped_bit_in_the_last_record_loses_that_record_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let whole = one_segment(directory.path(), 3);
    let used = whole.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    for at in used - (record::HEAD_BYTES + 40)..used {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            std::fs::write(segment::path(directory.path(), 1), &flipped).expect("written");
            assert_eq!(
                last_index(&reopen(directory.path())),
                2,
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn damage_before_the_last_segment_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let (wal, _) = Wal::open_sized(directory.path(), SMALL).expect("a new log opens");
    (1..=200).for_each(|index| write(&wal, &[entry(index)]));
    drop(wal);
    assert_eq!(last_index(&reopen(directory.path())), 200);
    let path = segment::path(directory.path(), 1);
    let mut bytes = std::fs::read(&path).expect("the segment is there");
    bytes[1_000] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let Err(error) = Wal::open_sized(directory.path(), SMALL) else {
        panic!("it opened")
    };
    assert!(
        error.to_string().contains("segment 1 is damaged"),
        "{error}"
    );
}

#[test]
fn purged_segments_are_deleted_and_the_vote_survives_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let (wal, _) = Wal::open_sized(directory.path(), SMALL).expect("a new log opens");
    write(&wal, &[Record::Vote(Bytes::from_static(b"old"))]);
    write(&wal, &[Record::Vote(Bytes::from_static(b"vote"))]);
    (1..=500).for_each(|index| write(&wal, &[entry(index)]));
    let before = segment::list(directory.path()).expect("readable").len();
    write(
        &wal,
        &[Record::Purge {
            index: 480,
            payload: Bytes::from_static(b"p"),
        }],
    );
    drop(wal);
    let after = segment::list(directory.path()).expect("readable").len();
    assert!(before > 4 && after <= 2, "{before} segments, then {after}");
    let recovered = reopen(directory.path());
    assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(
        recovered.purged.as_ref().map(|(index, _)| *index),
        Some(480)
    );
    assert_eq!(recovered.entries.len(), 20);
}

#[test]
fn a_record_over_the_limit_is_refused() {
    let payload = Bytes::from(vec![0; crate::limits::RECORD_BYTES_MAX]);
    assert!(encode(&Record::Append { index: 1, payload }, &mut Vec::new()).is_err());
}
