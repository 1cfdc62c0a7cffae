//! The log against crashes and damage: power losses of every shape, every flipped bit.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

use bytes::Bytes;

use super::recovery::Recovered;
use super::writer::{Setting, Writer};
use super::*;
use crate::disk::{Disk, SimulatedDisk};

const SMALL: u64 = 4_096;

const DIRECTORY: &str = "/log";

fn entry(index: u64) -> Record {
    let payload = Bytes::from(vec![u8::try_from(index % 251).unwrap_or(0) + 1; 40]);
    Record::Append { index, payload }
}

fn vote(text: &'static str) -> Record {
    Record::Vote(Bytes::from_static(text.as_bytes()))
}

fn purge(index: u64) -> Record {
    let payload = Bytes::from_static(b"p");
    Record::Purge { index, payload }
}

/// A log on a simulated disk, written without threads.
struct Log {
    disk: SimulatedDisk,
    writer: Writer,
    jobs: SyncSender<Job>,
    queue: Receiver<Job>,
}

fn recover(disk: &SimulatedDisk) -> io::Result<Recovered> {
    recovery::recover(disk, Path::new(DIRECTORY), SMALL)
}

impl Log {
    fn open(disk: &SimulatedDisk) -> (Log, Recovered) {
        let recovered = recover(disk).expect("readable");
        let setting = Setting {
            disk: Arc::new(disk.clone()),
            directory: DIRECTORY.into(),
            segment_bytes: SMALL,
            stats: Arc::default(),
            threads: false,
        };
        let writer = Writer::open(setting, &recovered).expect("writable");
        let (jobs, queue) = sync_channel(64);
        let disk = disk.clone();
        let log = Log {
            disk,
            writer,
            jobs,
            queue,
        };
        (log, recovered)
    }

    /// Writes records with one flush; answers whether they were acknowledged.
    fn write(&mut self, records: &[Record]) -> bool {
        let (done, outcome) = channel();
        let done: Flushed = Box::new(move |result| done.send(result).expect("the test waits"));
        self.jobs.send(job(records, Some(done))).expect("room");
        let first = self.queue.try_recv().expect("just sent");
        let served = self.writer.serve(first, &self.queue);
        self.writer.report(served);
        outcome.recv().expect("a report").is_ok()
    }

    fn close(mut self) {
        self.writer.prove();
    }

    fn segments(&self) -> Vec<u64> {
        segment::list(&self.disk, Path::new(DIRECTORY)).expect("readable")
    }
}

fn job(records: &[Record], done: Option<Flushed>) -> Job {
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
        let carried = matches!(
            record,
            Record::Vote(_) | Record::Committed(_) | Record::Purge { .. }
        );
        if carried {
            let bytes = bytes[start..].to_vec();
            let kind = record.kind();
            note.carry.push(Carry { kind, bytes });
        }
    }
    Job { bytes, note, done }
}

fn last_index(recovered: &Recovered) -> u64 {
    recovered.entries.back().map_or(0, |(index, _)| *index)
}

fn newest_vote(recovered: &Recovered) -> Option<&Bytes> {
    let copies = recovered.vote_copies.payloads.iter();
    copies.chain(&recovered.vote).max()
}

/// A log of one segment: a vote, then entries 1 to `count`, each flushed.
fn one_segment(count: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = Log::open(&disk);
    assert!(log.write(&[vote("v1")]));
    (1..=count).for_each(|index| assert!(log.write(&[entry(index)])));
    log.close();
    disk
}

fn used(disk: &SimulatedDisk, path: &Path) -> u64 {
    let bytes = disk.read(path).expect("readable");
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last as u64 + 1)
}

#[test]
fn everything_written_is_read_back_from_a_real_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = crate::disk::real();
    let open = || Wal::open_sized(disk.clone(), directory.path(), SMALL).expect("opens");
    let (wal, _) = open();
    let batches = [
        vec![vote("v1"), entry(1), entry(2), entry(3)],
        vec![Record::Truncate { from: 3 }, entry(3), entry(4)],
        vec![Record::Committed(Bytes::from_static(b"c")), purge(1)],
    ];
    for records in &batches {
        let (done, outcome) = channel();
        let done: Flushed = Box::new(move |result| done.send(result).expect("the test waits"));
        wal.submit(job(records, Some(done))).expect("open");
        outcome.recv().expect("a report").expect("written");
    }
    drop(wal);
    let (_wal, recovered) = open();
    let indexes: Vec<_> = recovered.entries.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [2, 3, 4]);
    assert_eq!(recovered.vote.as_deref(), Some(&b"v1"[..]));
    assert_eq!(recovered.committed.as_deref(), Some(&b"c"[..]));
    assert_eq!(recovered.purged, Some((1, Bytes::from_static(b"p"))));
    assert_eq!((recovered.torn_bytes, recovered.recovering), (0, None));
}

/// Writes until a flush is interrupted by a power loss; answers the last acknowledged index.
fn write_and_lose_power(disk: &SimulatedDisk, log: &mut Log, from: u64, seed: u64) -> u64 {
    let mut acknowledged = from;
    for round in 0..seed % 7 {
        let count = 1 + (seed + round) % 9;
        let records: Vec<_> = (1..=count).map(|i| entry(acknowledged + i)).collect();
        assert!(log.write(&records));
        acknowledged += count;
    }
    // A flush that fails leaves any part of the group behind, as an interrupted one does.
    disk.fail_syncs(true);
    let torn: Vec<_> = (1..=1 + seed % 40)
        .map(|i| entry(acknowledged + i))
        .collect();
    assert!(!log.write(&torn));
    disk.fail_syncs(false);
    disk.lose_power();
    acknowledged
}

#[test]
fn a_power_loss_at_any_time_loses_nothing_acknowledged_and_is_not_called_damage() {
    for seed in 0..400 {
        let disk = SimulatedDisk::new(seed);
        let (mut log, _) = Log::open(&disk);
        assert!(log.write(&[vote("v1")]));
        let mut acknowledged = 0;
        for life in 0..4 {
            acknowledged = write_and_lose_power(&disk, &mut log, acknowledged, seed + life);
            let (next, recovered) = Log::open(&disk);
            assert_eq!(recovered.recovering, None, "seed {seed}, life {life}");
            let last = last_index(&recovered);
            assert!(
                last >= acknowledged,
                "seed {seed}: {last} of {acknowledged}"
            );
            assert_eq!(
                newest_vote(&recovered).map(|vote| &vote[..]),
                Some(&b"v1"[..])
            );
            acknowledged = last;
            log = next;
        }
    }
}

#[test]
fn no_flipped_bit_loses_anything_silently() {
    let path = segment::path(Path::new(DIRECTORY), 1);
    let whole = one_segment(12);
    let used = used(&whole, &path);
    for byte in 0..used {
        let disk = one_segment(12);
        let bit = u8::try_from(byte % 8).unwrap_or(0);
        disk.flip(&path, byte, bit).expect("there");
        let (log, recovered) = Log::open(&disk);
        let last = last_index(&recovered);
        assert!(
            last == 12 || recovered.recovering.is_some(),
            "byte {byte}: {last} entries, and nobody knows"
        );
        assert_eq!(
            newest_vote(&recovered).map(|vote| &vote[..]),
            Some(&b"v1"[..])
        );
        // What was kept is whole, and the mark stays until it is taken away.
        log.close();
        let (_, again) = Log::open(&disk);
        assert_eq!(last_index(&again), last, "byte {byte}");
        assert_eq!(again.recovering.is_some(), recovered.recovering.is_some());
    }
}

#[test]
fn damage_to_the_last_flush_is_told_from_a_torn_one_without_a_proof() {
    let path = segment::path(Path::new(DIRECTORY), 1);
    let disk = one_segment(3);
    let (mut log, _) = Log::open(&disk);
    let start = used(&disk, &path);
    assert!(log.write(&[entry(4), entry(5)]));
    disk.lose_power();
    let end = used(&disk, &path);
    let bytes = disk.read(&path).expect("readable");
    for byte in start..end {
        let disk = SimulatedDisk::new(1);
        disk.replace(&path, &bytes).expect("room");
        let votes = Path::new(DIRECTORY).join("votes");
        disk.replace(&votes, &log.disk.read(&votes).expect("readable"))
            .expect("room");
        disk.flip(&path, byte, 3).expect("there");
        let (_, recovered) = Log::open(&disk);
        assert!(
            recovered.recovering.is_some(),
            "byte {byte} of {start}..{end}"
        );
    }
}

#[test]
fn damage_in_an_older_segment_keeps_what_stands_before_it() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = Log::open(&disk);
    assert!(log.write(&[vote("v1")]));
    (1..=200).for_each(|index| assert!(log.write(&[entry(index)])));
    assert!(log.segments().len() > 3);
    log.close();
    let second = segment::path(Path::new(DIRECTORY), 2);
    disk.flip(&second, 1_000, 0).expect("there");
    let (mut log, recovered) = Log::open(&disk);
    let kept = last_index(&recovered);
    assert!(kept > 10 && kept < 100, "{kept}");
    let why = recovered.recovering.expect("it is known");
    assert!(why.contains("log segment 2"), "{why}");
    assert_eq!(log.segments(), [1, 2]);
    assert!(log.write(&[entry(kept + 1)]));
    log.close();
    let aside = disk.names(&Path::new(DIRECTORY).join("damaged"));
    assert!(aside.expect("readable").len() > 1);
    assert_eq!(last_index(&recover(&disk).expect("readable")), kept + 1);
}

#[test]
fn a_damaged_log_without_any_copy_of_the_vote_is_refused() {
    let disk = one_segment(3);
    let votes = Path::new(DIRECTORY).join("votes");
    disk.flip(&votes, 10, 1).expect("there");
    assert_eq!(last_index(&recover(&disk).expect("one copy is left")), 3);
    disk.flip(&votes, (8 << 10) + 10, 1).expect("there");
    assert_eq!(last_index(&recover(&disk).expect("the log has it too")), 3);
    let path = segment::path(Path::new(DIRECTORY), 1);
    disk.flip(&path, 200, 1).expect("there");
    let error = recover(&disk).expect_err("refused").to_string();
    assert!(error.starts_with("[PBX_STORE_VOTE_LOST]"), "{error}");
}

#[test]
fn a_later_format_is_refused_and_the_first_one_is_read() {
    let disk = one_segment(3);
    let path = segment::path(Path::new(DIRECTORY), 1);
    let mut later = disk.read(&path).expect("readable");
    later[7] = 9;
    later[24] ^= 1;
    disk.replace(&path, &later).expect("room");
    let error = recover(&disk).expect_err("refused").to_string();
    assert!(error.starts_with("[PBX_STORE_FORMAT_NEWER]"), "{error}");

    let disk = SimulatedDisk::new(1);
    let head = segment::Head {
        version: 1,
        number: 1,
        nonce: 0,
    };
    let mut first = head.encode();
    for record in [vote("v1"), entry(1), entry(2)] {
        encode(&record, &mut first).expect("small");
    }
    first.resize(usize::try_from(SMALL).unwrap_or(0), 0);
    disk.replace(&path, &first).expect("room");
    let (mut log, recovered) = Log::open(&disk);
    assert_eq!(last_index(&recovered), 2);
    assert!(log.write(&[entry(3)]));
    assert_eq!(
        log.segments(),
        [1, 2],
        "the new format has segments of its own"
    );
    log.close();
    let recovered = recover(&disk).expect("readable");
    assert_eq!((last_index(&recovered), recovered.recovering), (3, None));
}

#[test]
fn purged_segments_are_deleted_and_the_vote_survives_them() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = Log::open(&disk);
    assert!(log.write(&[vote("v1")]) && log.write(&[vote("v2")]));
    (1..=500).for_each(|index| assert!(log.write(&[entry(index)])));
    let before = log.segments().len();
    assert!(log.write(&[purge(480)]));
    let after = log.segments().len();
    assert!(before > 4 && after <= 2, "{before} segments, then {after}");
    log.close();
    let recovered = recover(&disk).expect("readable");
    assert_eq!(recovered.vote.as_deref(), Some(&b"v2"[..]));
    let purged = recovered.purged.as_ref().map(|(index, _)| *index);
    assert_eq!((purged, recovered.entries.len()), (Some(480), 20));
}

#[test]
fn a_failed_flush_is_reported_to_everyone_and_for_ever() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = Log::open(&disk);
    assert!(log.write(&[entry(1)]));
    disk.fail_syncs(true);
    assert!(!log.write(&[entry(2)]));
    disk.fail_syncs(false);
    let syncs = disk.syncs();
    assert!(!log.write(&[entry(2)]), "a flush is never tried again");
    assert_eq!(disk.syncs(), syncs);
}

#[test]
fn what_was_read_at_the_start_survives_the_next_power_cut() {
    for seed in 0..32 {
        let disk = SimulatedDisk::new(seed);
        let (mut log, _) = Log::open(&disk);
        assert!(log.write(&[entry(1)]));
        disk.fail_syncs(true);
        assert!(!log.write(&[entry(2)]));
        disk.fail_syncs(false);
        drop(log);
        // The process ended, the page cache did not: the entry counts as this node's from here on.
        let (log, recovered) = Log::open(&disk);
        assert_eq!(last_index(&recovered), 2);
        drop(log);
        disk.lose_power();
        let recovered = recover(&disk).expect("readable");
        assert_eq!(last_index(&recovered), 2, "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = SimulatedDisk::new(1);
    let (wal, _) =
        Wal::open_sized(Arc::new(disk.clone()), Path::new(DIRECTORY), SMALL).expect("opens");
    disk.set_capacity(4 * SMALL);
    let (done, outcome) = channel();
    for index in 1..=400 {
        let done = done.clone();
        let told: Flushed = Box::new(move |result| {
            let _ = done.send(result);
        });
        wal.submit(job(&[entry(index)], Some(told))).expect("open");
    }
    while !wal.stats().full.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    disk.set_capacity(u64::MAX);
    for _ in 1..=400 {
        outcome
            .recv()
            .expect("a report")
            .expect("written in the end");
    }
    assert!(!wal.stats().full.load(Ordering::Acquire));
}

#[test]
fn a_record_over_the_limit_is_refused() {
    let payload = Bytes::from(vec![0; crate::limits::RECORD_BYTES_MAX]);
    assert!(encode(&Record::Append { index: 1, payload }, &mut Vec::new()).is_err());
}
