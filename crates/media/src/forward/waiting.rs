//! What a connection has still to get: its beginning, then sound. Pure.
//!
//! Bounded. While nobody takes it the oldest sound goes, so that who comes back hears what was
//! said last; while somebody reads too slowly the newest goes and silence takes its place, so that
//! the time in the connection stays right.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits::{FORWARD_SILENCE_S_MAX, FORWARD_WAITS_MS};

/// Bytes of a sample.
const SAMPLE: usize = 2;

/// What is to be written.
pub struct Waiting {
    /// What the connection begins with, and a zero.
    head: Vec<u8>,
    /// Bytes of it that are written.
    begun: usize,
    sound: VecDeque<u8>,
    /// Bytes of sound that wait at most.
    room: usize,
    rate_hz: u32,
    /// Samples of silence behind `sound` that did not fit.
    owed: u64,
    /// Position behind all of that; none before the first sound.
    next: Option<u64>,
}

impl Waiting {
    /// Nothing yet.
    pub fn new(rate_hz: u32) -> Waiting {
        let samples = u64::from(rate_hz) * FORWARD_WAITS_MS / 1_000;
        Waiting {
            head: Vec::new(),
            begun: 0,
            sound: VecDeque::new(),
            room: samples as usize * SAMPLE,
            rate_hz,
            owed: 0,
            next: None,
        }
    }

    /// A connection begins, with this.
    pub fn begin(&mut self, metadata: &Arc<str>) {
        self.head = metadata.as_bytes().to_vec();
        self.head.push(0);
        self.begun = 0;
        // The other half of this sample went to the connection before.
        if !self.sound.len().is_multiple_of(SAMPLE) {
            self.sound.pop_front();
        }
    }

    /// Takes a chunk that begins at `position`, samples; false when sound had to be left out for
    /// it, or it was left out itself. `taken`: somebody takes the connection's bytes.
    pub fn put(&mut self, position: u64, samples: &[u8], taken: bool) -> bool {
        let count = (samples.len() / SAMPLE) as u64;
        let missing = position.saturating_sub(self.next.unwrap_or(position));
        self.next = Some(position + count);
        self.owed += missing;
        if self.owed > u64::from(self.rate_hz) * FORWARD_SILENCE_S_MAX {
            // As in rtpengine: who was away for so long begins anew.
            self.owed = 0;
        }
        if !taken {
            return self.put_newest(samples);
        }
        self.settle();
        if self.owed > 0 || self.sound.len() + samples.len() > self.room {
            self.owed += count;
            return false;
        }
        self.sound.extend(samples);
        true
    }

    /// Puts a chunk where nobody takes anything: the oldest makes room.
    fn put_newest(&mut self, samples: &[u8]) -> bool {
        let silence = self.owed.min((self.room / SAMPLE) as u64) as usize * SAMPLE;
        self.owed = 0;
        self.sound.extend(std::iter::repeat_n(0, silence));
        self.sound.extend(samples);
        let over = self.sound.len().saturating_sub(self.room);
        self.sound.drain(..over);
        over == 0
    }

    /// Silence that fits takes its place.
    fn settle(&mut self) {
        let fits = self.room.saturating_sub(self.sound.len()) / SAMPLE;
        let silence = self.owed.min(fits as u64);
        self.owed -= silence;
        let bytes = silence as usize * SAMPLE;
        self.sound.extend(std::iter::repeat_n(0, bytes));
    }

    /// What is to be written next; empty when there is nothing.
    pub fn front(&self) -> &[u8] {
        match &self.head[self.begun..] {
            [] => self.sound.as_slices().0,
            head => head,
        }
    }

    /// So many bytes of that are written.
    pub fn wrote(&mut self, bytes: usize) {
        if self.begun < self.head.len() {
            self.begun += bytes;
            return;
        }
        self.sound.drain(..bytes);
        self.settle();
    }

    /// Whether no sound waits. Silence at the end is nothing to wait for.
    pub fn is_empty(&self) -> bool {
        self.sound.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A chunk of a millisecond at 8 kHz.
    fn chunk(value: u8) -> Vec<u8> {
        vec![value; 16]
    }

    /// Everything that waits.
    fn all(waiting: &mut Waiting) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let front = waiting.front().to_vec();
            if front.is_empty() {
                return out;
            }
            waiting.wrote(front.len());
            out.extend(front);
        }
    }

    fn samples(bytes: &[u8], value: u8) -> usize {
        bytes.iter().filter(|byte| **byte == value).count() / SAMPLE
    }

    #[test]
    fn a_connection_begins_with_its_metadata_and_a_zero() {
        let mut waiting = Waiting::new(8_000);
        waiting.begin(&"who".into());
        assert!(waiting.put(800, &chunk(1), true));
        assert!(waiting.put(808, &chunk(2), true));
        let expected = [&b"who\0"[..], &chunk(1), &chunk(2)].concat();
        assert_eq!(
            all(&mut waiting),
            expected,
            "and no silence before the first sound"
        );
        waiting.begin(&"".into());
        assert_eq!(all(&mut waiting), [0]);
    }

    #[test]
    fn what_is_missing_is_silence_but_for_half_a_minute() {
        let mut waiting = Waiting::new(8_000);
        waiting.put(0, &chunk(1), true);
        waiting.put(40, &chunk(2), true);
        let out = all(&mut waiting);
        assert_eq!((out.len(), samples(&out, 0)), (48 * SAMPLE, 32));
        waiting.put(48 + 8_000 * (FORWARD_SILENCE_S_MAX + 1), &chunk(3), true);
        assert_eq!(all(&mut waiting), chunk(3));
    }

    #[test]
    fn a_slow_reader_loses_the_newest_and_no_time() {
        let mut waiting = Waiting::new(8_000);
        let chunks = FORWARD_WAITS_MS as usize;
        let kept = (0..chunks + 100).filter(|n| {
            let position = 8 * *n as u64;
            waiting.put(position, &chunk(if *n == 0 { 1 } else { 2 }), true)
        });
        assert_eq!(kept.count(), chunks, "the others are counted");
        let out = all(&mut waiting);
        assert_eq!((out[0], samples(&out, 2)), (1, (chunks - 1) * 8));
        // It has caught up: what it lost is silence of the same length.
        assert_eq!((samples(&out, 0), out.len()), (800, (chunks + 100) * 16));
        assert!(waiting.put(8 * (chunks as u64 + 100), &chunk(3), true));
        assert_eq!(all(&mut waiting), chunk(3));
    }

    #[test]
    fn who_was_away_hears_what_was_said_last() {
        let mut waiting = Waiting::new(8_000);
        let chunks = FORWARD_WAITS_MS;
        for n in 0..chunks {
            assert!(waiting.put(8 * n, &chunk(1), false));
        }
        assert!(!waiting.put(8 * chunks, &chunk(2), false));
        // Half a sample went to a connection that broke.
        waiting.wrote(1);
        waiting.begin(&"m".into());
        let out = all(&mut waiting);
        assert_eq!(
            (out[..2].to_vec(), samples(&out[2..], 2)),
            (b"m\0".to_vec(), 8)
        );
        assert_eq!(samples(&out[2..], 1), chunks as usize * 8 - 9);
        // Silence that is longer than what waits is no more than that.
        assert!(!waiting.put(8 * chunks + 80_000, &chunk(3), false));
        assert_eq!(all(&mut waiting).len(), waiting.room);
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_keeps_time_while_somebody_reads(
            steps in prop::collection::vec((0_u64..9_000, 1_usize..700, 0_usize..4_000), 1..200),
        ) {
            let mut waiting = Waiting::new(8_000);
            let (mut position, mut out) = (0, 0);
            let begins = steps[0].0;
            for (gap, length, reads) in steps {
                position += gap;
                waiting.put(position, &vec![1; length * SAMPLE], true);
                position += length as u64;
                prop_assert!(waiting.sound.len() <= waiting.room);
                let reads = waiting.front().len().min(reads);
                waiting.wrote(reads);
                out += reads;
            }
            let waits = waiting.sound.len() as u64 + waiting.owed * SAMPLE as u64;
            let told = out as u64 + waits;
            // Silence beyond half a minute is left out.
            prop_assert!(told <= (position - begins) * SAMPLE as u64);
            prop_assert!(waiting.owed > 0 || told.is_multiple_of(SAMPLE as u64));
        }
    }
}
