//! The packets of one party on a line of time.
//!
//! Pure. A packet stands where its timestamp puts it after the one before; when that is far from
//! where its arrival puts it (a new source, another codec, a hold, a jump) it is the arrival that
//! counts. So both parties stay together whatever their clocks say.

use std::collections::VecDeque;

use super::Heard;
use crate::codec::{Codec, Coder, SAMPLES_MAX};
use crate::dsp::resample::Resampler;

/// Sound that waits to be written, s: what is late by less finds its place.
const WINDOW_S: u32 = 4;

/// A packet whose timestamp and arrival differ by more begins anew, ms.
const DRIFT_MS: u64 = 300;

/// Where a packet stands, for those after it.
struct Anchor {
    ssrc: u32,
    timestamp: u32,
    position: u64,
}

/// How payloads become samples of the recording.
struct Reader {
    codec: Codec,
    coder: Box<dyn Coder>,
    resampler: Option<Resampler>,
}

/// One party.
pub struct Track {
    rate_hz: u32,
    reader: Option<Reader>,
    anchor: Option<Anchor>,
    /// Samples from `taken` on; what nobody said is silence.
    waiting: VecDeque<i16>,
    taken: u64,
    pcm: Box<[i16]>,
    rough: Box<[i16]>,
}

impl Track {
    /// A party that has been silent for `taken` samples.
    pub fn new(rate_hz: u32, taken: u64) -> Track {
        Track {
            rate_hz,
            reader: None,
            anchor: None,
            waiting: VecDeque::with_capacity((rate_hz * WINDOW_S) as usize),
            taken,
            pcm: vec![0; SAMPLES_MAX].into(),
            rough: vec![0; SAMPLES_MAX].into(),
        }
    }

    /// Time has made a jump: what comes stands where it arrives.
    pub fn break_off(&mut self) {
        self.anchor = None;
    }

    /// Takes a packet that arrived at this place.
    pub(super) fn put(&mut self, heard: &Heard, arrived: u64) {
        let Some(count) = self.read(heard) else {
            return;
        };
        let position = self.place(heard, arrived);
        self.anchor = Some(Anchor {
            ssrc: heard.ssrc,
            timestamp: heard.timestamp,
            position,
        });
        // What is late has lost its place, what is early beyond the window has none.
        let late = self.taken.saturating_sub(position).min(count as u64) as usize;
        let from = position.saturating_sub(self.taken) as usize;
        let room = (self.rate_hz * WINDOW_S) as usize;
        let until = (from + count - late).min(room);
        if self.waiting.len() < until {
            self.waiting.resize(until, 0);
        }
        let places = self.waiting.range_mut(from.min(until)..until);
        for (place, sample) in places.zip(&self.pcm[late..count]) {
            *place = *sample;
        }
    }

    /// Reads a payload into `pcm`.
    fn read(&mut self, heard: &Heard) -> Option<usize> {
        if self
            .reader
            .as_ref()
            .is_none_or(|reader| reader.codec != heard.codec)
        {
            let coder = heard.codec.coder(self.rate_hz)?;
            let resampler = Resampler::new(coder.rate_hz(), self.rate_hz);
            if resampler.is_none() && coder.rate_hz() != self.rate_hz {
                return None;
            }
            self.anchor = None;
            self.reader = Some(Reader {
                codec: heard.codec,
                coder,
                resampler,
            });
        }
        let reader = self.reader.as_mut()?;
        let Some(resampler) = &mut reader.resampler else {
            return reader.coder.decode(&heard.payload, &mut self.pcm);
        };
        let count = reader.coder.decode(&heard.payload, &mut self.rough)?;
        Some(resampler.run(&self.rough[..count], &mut self.pcm))
    }

    fn place(&self, heard: &Heard, arrived: u64) -> u64 {
        let by_time = self
            .anchor
            .as_ref()
            .filter(|anchor| anchor.ssrc == heard.ssrc);
        let by_time = by_time.and_then(|anchor| {
            let step = i64::from(heard.timestamp.wrapping_sub(anchor.timestamp) as i32);
            let units = step * i64::from(self.rate_hz) / i64::from(heard.codec.clock_hz());
            anchor.position.checked_add_signed(units)
        });
        let near = u64::from(self.rate_hz) * DRIFT_MS / 1_000;
        by_time
            .filter(|place| place.abs_diff(arrived) <= near)
            .unwrap_or(arrived)
    }

    /// Takes everything before a place out, silence where nothing came.
    pub fn take(&mut self, until: u64, out: &mut Vec<i16>) {
        out.clear();
        let wanted = until.saturating_sub(self.taken) as usize;
        let there = self.waiting.len().min(wanted);
        out.extend(self.waiting.drain(..there));
        out.resize(wanted, 0);
        self.taken = self.taken.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ulaw_encode;
    use proptest::prelude::*;

    fn heard(codec: Codec, ssrc: u32, timestamp: u32, value: i16) -> Heard {
        let payload = match codec {
            Codec::Pcmu => vec![ulaw_encode(value); 160],
            _ => value.to_be_bytes().repeat(160),
        };
        Heard {
            session: 0,
            party: 0,
            codec,
            ssrc,
            timestamp,
            at_ns: 0,
            payload: payload.into(),
        }
    }

    fn taken(track: &mut Track, until: u64) -> Vec<i16> {
        let mut out = Vec::new();
        track.take(until, &mut out);
        out
    }

    #[test]
    fn packets_stand_where_their_timestamps_put_them_however_they_arrive() {
        let mut track = Track::new(8_000, 0);
        track.put(&heard(Codec::L16(8_000), 1, 1_000, 1), 0);
        track.put(&heard(Codec::L16(8_000), 1, 1_320, 3), 350);
        track.put(&heard(Codec::L16(8_000), 1, 1_160, 2), 360);
        let samples = taken(&mut track, 480);
        assert_eq!([samples[0], samples[160], samples[320]], [1, 2, 3]);
        assert_eq!(taken(&mut track, 640), [0; 160]);
    }

    #[test]
    fn a_new_source_a_new_codec_and_a_hold_go_on_where_they_arrive() {
        let mut track = Track::new(8_000, 0);
        track.put(&heard(Codec::L16(8_000), 1, 0, 1), 0);
        track.put(&heard(Codec::L16(8_000), 2, 77_777, 2), 160);
        track.put(&heard(Codec::Pcmu, 2, 9, 1_000), 320);
        // The timestamps stood still during a hold of a second.
        track.put(&heard(Codec::Pcmu, 2, 169, 1_000), 8_480);
        let samples = taken(&mut track, 8_640);
        assert_eq!([samples[0], samples[160]], [1, 2]);
        assert!((900..1_100).contains(&samples[320]) && samples[480] == 0);
        assert!((900..1_100).contains(&samples[8_480]));
    }

    #[test]
    fn what_comes_too_late_is_left_out() {
        let mut track = Track::new(8_000, 0);
        assert_eq!(taken(&mut track, 8_000).len(), 8_000);
        track.put(&heard(Codec::L16(8_000), 1, 0, 5), 7_920);
        assert_eq!(taken(&mut track, 8_160), [[5; 80], [0; 80]].concat());
    }

    proptest! {
        #[test]
        fn as_much_comes_out_as_time_has_passed(
            packets in prop::collection::vec((any::<u8>(), any::<u32>(), 0_u64..2_000), 0..60),
        ) {
            let mut track = Track::new(16_000, 0);
            let mut now = 0;
            let mut total = 0;
            for (kind, timestamp, step) in packets {
                now += step;
                let codec = [Codec::Pcmu, Codec::L16(48_000), Codec::G722, Codec::Opus]
                    [usize::from(kind % 4)];
                let timestamp = if kind > 128 { timestamp } else { now as u32 };
                track.put(&heard(codec, u32::from(kind % 3), timestamp, 100), now);
                if kind % 5 == 0 {
                    total += taken(&mut track, now).len() as u64;
                    prop_assert_eq!(total, now);
                }
                prop_assert!(track.waiting.len() <= 64_000);
            }
        }
    }
}
