//! Any bytes as segment files.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;

use super::recovery::{self, Recovered};
use super::segment::{self, Head};
use super::writer::{Setting, Writer};
use super::{Job, Note, Record, encode};
use crate::disk::{Disk, SimulatedDisk};

const SMALL: u64 = 4_096;

const NONCE: u64 = 0x0123_4567_89ab_cdef;

const DIRECTORY: &str = "/log";

/// Entries of the log that is bent by mode 1.
const ENTRIES: u64 = 60;

/// The first byte picks what the rest is: whole files, records behind a good head, or changes to
/// the files of a good log. Whatever recovery accepts must be the same the second time, and the
/// log must go on behind it.
pub fn fuzz_recovery(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let disk = SimulatedDisk::new(u64::from(*mode));
    match mode % 3 {
        0 => {
            let (first, second) = rest.split_at(rest.len() / 2);
            put(&disk, 1, first);
            put(&disk, 2, second);
        }
        1 => bend(&disk, rest),
        _ => {
            let mut content = Head::new(1, NONCE).encode();
            content.extend_from_slice(rest);
            put(&disk, 1, &content);
        }
    }
    let Ok(first) = recover(&disk) else {
        return;
    };
    check(&first);
    let Ok(writer) = open(&disk, &first) else {
        return;
    };
    let next = first
        .entries
        .back()
        .map_or(1, |(index, _)| index.wrapping_add(1));
    append(writer, next);
    let again = recover(&disk).expect("what was accepted and written to is accepted");
    check(&again);
    let mut expected = first.entries;
    expected.push_back((next, Bytes::from_static(b"next")));
    let purged = again.purged.as_ref().map_or(0, |(index, _)| *index);
    if next > purged {
        assert_eq!(again.entries, expected);
    }
}

fn put(disk: &SimulatedDisk, number: u64, content: &[u8]) {
    let path = segment::path(Path::new(DIRECTORY), number);
    disk.replace(&path, content).expect("room");
}

fn recover(disk: &SimulatedDisk) -> std::io::Result<Recovered> {
    recovery::recover(disk, Path::new(DIRECTORY), SMALL)
}

fn open(disk: &SimulatedDisk, recovered: &Recovered) -> std::io::Result<Writer> {
    let setting = Setting {
        disk: Arc::new(disk.clone()),
        directory: DIRECTORY.into(),
        segment_bytes: SMALL,
        stats: Arc::default(),
        threads: false,
    };
    Writer::open(setting, recovered)
}

fn append(mut writer: Writer, index: u64) {
    let payload = Bytes::from_static(b"next");
    write(&mut writer, &Record::Append { index, payload });
    writer.prove();
}

fn write(writer: &mut Writer, record: &Record) {
    let mut bytes = Vec::new();
    encode(record, &mut bytes).expect("small");
    let (_jobs, queue) = sync_channel(1);
    let last_index = match record {
        Record::Append { index, .. } => Some(*index),
        _ => None,
    };
    let note = Note {
        last_index,
        ..Note::default()
    };
    let done: super::Flushed = Box::new(|outcome| outcome.expect("the disk works"));
    let job = Job {
        bytes,
        note,
        done: Some(done),
    };
    let served = writer.serve(job, &queue);
    writer.report(served);
}

/// A good log of some segments, changed by triples of place (two bytes) and mask.
fn bend(disk: &SimulatedDisk, changes: &[u8]) {
    let recovered = recover(disk).expect("nothing is there");
    let mut writer = open(disk, &recovered).expect("works");
    for index in 1..=ENTRIES {
        let payload = Bytes::from(vec![u8::try_from(index).unwrap_or(0); 150]);
        write(&mut writer, &Record::Append { index, payload });
    }
    drop(writer);
    for change in changes.chunks_exact(3) {
        let place = u64::from(u16::from_le_bytes([change[0], change[1]]));
        let path = segment::path(Path::new(DIRECTORY), 1 + place / SMALL % 3);
        for bit in (0..8).filter(|bit| change[2] & (1 << bit) != 0) {
            disk.flip(&path, place % SMALL, bit).expect("there");
        }
    }
    if let Ok(recovered) = recover(disk) {
        let last = recovered.entries.back().map_or(0, |(index, _)| *index);
        // Up to three flipped bits in three bytes never look like a torn write of 512.
        assert!(
            last == ENTRIES || recovered.recovering.is_some() || changes.len() > 9,
            "entries are gone and nobody knows"
        );
    }
}

fn check(recovered: &Recovered) {
    let indexes = recovered.entries.iter().map(|(index, _)| *index);
    let consecutive = indexes.clone().zip(indexes.skip(1));
    for (one, next) in consecutive {
        assert_eq!(one + 1, next, "entries with a gap");
    }
}
