//! The entrances of the fuzzers with arbitrary and with mutated bytes, as part of every test run.

use proptest::prelude::*;
use raftpbx_store::fuzzing;

/// Bytes that are nearly something: pieces that mean something, in any order, with flaws.
fn nearly(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(pieces.to_vec()).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const RESP: &[&[u8]] = &[
    b"*",
    b"$",
    b"\r\n",
    b"1",
    b"-1",
    b"3",
    b"PING",
    b"*1\r\n$4\r\nPING\r\n",
    b"SET a b\r\n",
    b"\"",
    b"99999999999999999999",
    b"\\x",
    b"'",
];

const FRAMES: &[&[u8]] = &[
    &[10, 0, 0, 0],
    &[3],
    &[7],
    &[9],
    &[12],
    &[0; 8],
    &[255; 9],
    &[1, 2, 3],
    &[0x80; 5],
    &[40, 0, 0, 0],
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn resp_takes_any_bytes(input in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::resp(&input);
    }

    #[test]
    fn resp_takes_near_misses(input in nearly(RESP)) {
        fuzzing::resp(&input);
    }

    #[test]
    fn the_transport_takes_any_bytes(input in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::raft_frame(&input);
    }

    #[test]
    fn the_transport_takes_near_misses(input in nearly(FRAMES)) {
        fuzzing::raft_frame(&input);
    }

    #[test]
    fn the_log_takes_any_bytes(input in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::wal_recovery(&input);
    }

    #[test]
    fn the_log_takes_any_change(changes in prop::collection::vec(any::<u8>(), 3..30)) {
        fuzzing::wal_recovery(&[&[1], &changes[..]].concat());
    }
}
