use super::*;
use crate::sdp::{Coding, Format, Takes};

const PCMU: Codec = Codec::Pcmu;

fn takes(codec: Codec, ptime_ms: u32, repack: Repack) -> Takes {
    let format = Format {
        payload_type: 96,
        coding: Coding::Audio(codec),
    };
    Takes {
        formats: Box::new([format]),
        ptime_ms,
        repack,
    }
}

/// Sends packets of a codec; number, time and length in ms of what goes out.
fn sent(takes: Takes, from: Codec, packets: &[(u16, usize)]) -> Vec<(u16, u32, u32)> {
    let to = takes.first_audio().expect("a codec").1;
    let mut bridge = Bridge::new(takes);
    let mut out = Vec::new();
    let mut coder = from.coder(8_000).expect("memory");
    let mut time = 0;
    for (sequence, ms) in packets {
        let mut room = [0; 2_000];
        room[0] = 0x80;
        let pcm = vec![100; coder.rate_hz() as usize / 1_000 * ms];
        let length = coder.encode(&pcm, &mut room[12..]).expect("encoded");
        let header = RtpHeader {
            payload_type: 0,
            sequence: *sequence,
            timestamp: time,
            ssrc: 1,
            payload_at: 12,
        };
        time += from.clock_hz() / 1_000 * *ms as u32;
        let coding = Some(Coding::Audio(from));
        let mut next = bridge.pass(&header, coding, &mut room, 12 + length);
        while let Some((header, length)) = next {
            assert_eq!((header.payload_type, header.ssrc), (96, 1));
            let lasts_ms = to.packet_ms(&room[12..length]).expect("whole");
            out.push((header.sequence, header.timestamp, lasts_ms));
            next = bridge.more(&mut room);
        }
    }
    out
}

#[test]
fn who_sends_what_is_wanted_is_left_alone() {
    let wanted = takes(PCMU, 20, Repack::Always);
    let packets = [(7, 20), (9, 20), (8, 20)];
    let out = sent(wanted, PCMU, &packets);
    assert_eq!(out, [(7, 0, 20), (9, 160, 20), (8, 320, 20)]);
}

#[test]
fn packets_are_joined_and_cut_with_numbers_of_their_own() {
    let out = sent(
        takes(PCMU, 30, Repack::Always),
        PCMU,
        &[(7, 20), (8, 20), (9, 20), (10, 20)],
    );
    assert_eq!(out, [(7, 0, 30), (8, 240, 30)]);
    let out = sent(takes(PCMU, 10, Repack::Always), PCMU, &[(7, 20), (8, 40)]);
    let expected: Vec<_> = (0..6).map(|n| (7 + n, u32::from(n) * 80, 10)).collect();
    assert_eq!(out, expected);
}

#[test]
fn what_changes_the_codec_changes_the_length_too() {
    let wanted = takes(Codec::Opus, 40, Repack::Bridged);
    let out = sent(wanted, PCMU, &[(7, 30), (8, 30), (9, 30)]);
    assert_eq!(out, [(7, 0, 40), (8, 1_920, 40)]);
    let wanted = takes(PCMU, 30, Repack::Bridged);
    let out = sent(wanted, Codec::Opus, &[(7, 20), (8, 20), (9, 20)]);
    assert_eq!(out, [(7, 0, 30), (8, 240, 30)]);
    // Opus has no frames of 30 ms.
    let out = sent(takes(Codec::Opus, 30, Repack::Always), PCMU, &[(7, 60)]);
    assert_eq!(out.len(), 3);
    assert_eq!(out[2], (9, 1_920, 20));
}

#[test]
fn nobody_who_has_said_nothing_gets_packets_of_another_length() {
    let out = sent(takes(Codec::Opus, 20, Repack::Never), PCMU, &[(7, 40)]);
    assert_eq!(out, [(7, 0, 40)]);
}

#[test]
fn late_packets_wait_for_nothing_and_other_kinds_have_their_place() {
    let mut bridge = Bridge::new(takes(PCMU, 40, Repack::Always));
    let mut room = [0; 2_000];
    let header = |sequence: u16| RtpHeader {
        payload_type: 0,
        sequence,
        timestamp: u32::from(sequence) * 160,
        ssrc: 1,
        payload_at: 12,
    };
    let mut pass = |sequence, coding| {
        let passed = bridge.pass(&header(sequence), coding, &mut room, 172);
        (
            passed.map(|(header, _)| header.sequence),
            bridge.is_waiting(),
        )
    };
    let sound = Some(Coding::Audio(PCMU));
    assert_eq!(pass(1, sound), (None, true));
    assert_eq!(pass(2, sound), (Some(1), false));
    assert_eq!(pass(2, sound), (None, true), "a double");
    // A payload type that nobody knows.
    assert_eq!(pass(3, None), (Some(2), false));
    assert_eq!(pass(4, sound), (None, true));
    assert_eq!(pass(5, sound), (Some(3), false));
}
