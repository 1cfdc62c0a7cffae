//! What comes from a party, as even frames: ordered, decoded, gaps filled.
//!
//! Pure. Packets wait in the adaptive buffer; each frame takes as many as it needs. What is lost
//! is made up, by the codec or from what was heard before, and fades out when nothing follows. Who
//! has said what its silence is like (RFC 3389) is heard so while it sends nothing.

use crate::codec::{Codec, Coder, PACKET_MS_MAX, SAMPLES_MAX};
use crate::dsp::conceal::Concealer;
use crate::dsp::jitter::{JitterBuffer, JitterCounts, Played};
use crate::dsp::noise::{Background, NoiseMaker};
use crate::dsp::resample::Resampler;
use crate::packet::RtpHeader;
use crate::sdp::Coding;

use super::FRAME_MS;

/// Frames that are made up when nothing comes any more; later ones are silence.
const DRY_FRAMES: u32 = 3;

/// Frames of noise after the last packet: half a minute. Who is silent for longer has gone.
const QUIET_FRAMES: u32 = 1_500;

/// Packets taken for one frame at most: senders of 2.5 ms are not served.
const PACKETS_A_FRAME: usize = 8;

/// How payloads become samples.
struct Reader {
    codec: Codec,
    coder: Box<dyn Coder>,
    /// For codecs that cannot fill gaps themselves.
    concealer: Concealer,
    resampler: Option<Resampler>,
    /// Samples of the last packet, at the coder's rate.
    packet: usize,
}

/// Listens to one party.
pub struct Ear {
    rate_hz: u32,
    buffer: JitterBuffer,
    ssrc: Option<u32>,
    reader: Option<Reader>,
    /// Samples at the room's rate that no frame has taken yet.
    ready: Box<[i16]>,
    held: usize,
    pcm: Box<[i16]>,
    dry: u32,
    /// Its silence, while it says nothing.
    noise: Option<NoiseMaker>,
    /// Frames of it since the last packet.
    quiet: u32,
}

impl Ear {
    /// For frames at this rate.
    pub fn new(rate_hz: u32) -> Ear {
        Ear {
            rate_hz,
            buffer: JitterBuffer::default(),
            ssrc: None,
            reader: None,
            ready: vec![0; rate_hz as usize / 1_000 * (PACKET_MS_MAX + FRAME_MS as usize)].into(),
            held: 0,
            pcm: vec![0; SAMPLES_MAX].into(),
            dry: DRY_FRAMES,
            noise: None,
            quiet: 0,
        }
    }

    /// What the buffer has counted.
    pub fn counts(&self) -> JitterCounts {
        self.buffer.counts()
    }

    /// Takes a packet. What is no sound (events) holds its place as silence.
    pub fn put(&mut self, header: &RtpHeader, coding: Option<Coding>, content: &[u8]) {
        if self.ssrc.replace(header.ssrc) != Some(header.ssrc) {
            self.buffer = JitterBuffer::default();
        }
        let content = match coding {
            Some(Coding::Noise(_)) => {
                return self
                    .buffer
                    .put_aside(header.sequence, header.timestamp, content);
            }
            Some(Coding::Audio(codec)) => {
                if !self.reads(codec) {
                    return;
                }
                content
            }
            _ => &[],
        };
        self.buffer.put(header.sequence, header.timestamp, content);
    }

    /// Makes the reader of a codec, unless it is there.
    fn reads(&mut self, codec: Codec) -> bool {
        if self
            .reader
            .as_ref()
            .is_some_and(|known| known.codec == codec)
        {
            return true;
        }
        let Some(coder) = codec.coder(self.rate_hz) else {
            return false;
        };
        let from_hz = coder.rate_hz();
        let resampler = Resampler::new(from_hz, self.rate_hz);
        if resampler.is_none() && from_hz != self.rate_hz {
            return false;
        }
        if self.reader.is_some() {
            // Packets of another codec wait no longer.
            self.buffer = JitterBuffer::default();
        }
        self.reader = Some(Reader {
            codec,
            coder,
            concealer: Concealer::new(from_hz),
            resampler,
            packet: (from_hz / 1_000 * FRAME_MS) as usize,
        });
        true
    }

    /// Fills a frame; whether there was anything.
    pub fn next(&mut self, frame: &mut [i16]) -> bool {
        let Some(reader) = &mut self.reader else {
            frame.fill(0);
            return false;
        };
        for _ in 0..PACKETS_A_FRAME {
            if self.held >= frame.len() {
                break;
            }
            let count = match self.buffer.take() {
                Played::Packet(_, content) => {
                    (self.dry, self.noise) = (0, None);
                    reader.read(content, &mut self.pcm)
                }
                Played::Aside(content) => {
                    (self.dry, self.quiet) = (DRY_FRAMES, 0);
                    let background = Background::parse(content);
                    self.noise = background.map(NoiseMaker::new);
                    reader.quiet(&mut self.noise, &mut self.pcm)
                }
                Played::Lost => reader.conceal(reader.packet, &mut self.pcm),
                Played::Nothing if self.noise.is_some() && self.quiet < QUIET_FRAMES => {
                    self.quiet += 1;
                    reader.quiet(&mut self.noise, &mut self.pcm)
                }
                Played::Nothing if self.dry < DRY_FRAMES => {
                    self.dry += 1;
                    // No more than this frame needs: it may come in a moment.
                    let frame = reader.coder.rate_hz() / 1_000 * FRAME_MS;
                    reader.conceal(frame as usize, &mut self.pcm)
                }
                Played::Nothing => break,
            };
            let room = &mut self.ready[self.held..];
            self.held += match &mut reader.resampler {
                Some(resampler) => resampler.run(&self.pcm[..count], room),
                None => {
                    let count = count.min(room.len());
                    room[..count].copy_from_slice(&self.pcm[..count]);
                    count
                }
            };
        }
        let there = self.held.min(frame.len());
        frame[..there].copy_from_slice(&self.ready[..there]);
        frame[there..].fill(0);
        self.ready.copy_within(there..self.held, 0);
        self.held -= there;
        there > 0
    }
}

impl Reader {
    /// Reads a payload; the number of samples.
    fn read(&mut self, content: &[u8], pcm: &mut [i16]) -> usize {
        if content.is_empty() {
            pcm[..self.packet].fill(0);
            return self.packet;
        }
        let Some(count) = self.coder.decode(content, pcm).filter(|count| *count > 0) else {
            return self.conceal(self.packet, pcm);
        };
        self.packet = count;
        if self.codec != Codec::Opus {
            self.concealer.heard(&mut pcm[..count]);
        }
        count
    }

    /// A frame of silence as the party describes it.
    fn quiet(&mut self, noise: &mut Option<NoiseMaker>, pcm: &mut [i16]) -> usize {
        let samples = (self.coder.rate_hz() / 1_000 * FRAME_MS) as usize;
        let frame = &mut pcm[..samples];
        match noise {
            Some(noise) => noise.fill(frame),
            None => frame.fill(0),
        }
        // What follows is joined to what was heard before, not to something made up.
        self.concealer.heard(frame);
        samples
    }

    /// Makes up so many samples; how many there are then.
    fn conceal(&mut self, samples: usize, pcm: &mut [i16]) -> usize {
        let missing = &mut pcm[..samples];
        if !self.coder.conceal(missing) {
            self.concealer.conceal(missing);
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(sequence: u16, ssrc: u32) -> RtpHeader {
        RtpHeader {
            payload_type: 0,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            payload_at: 12,
        }
    }

    fn put(ear: &mut Ear, sequence: u16, codec: Codec, value: i16, samples: usize) {
        let content = match codec {
            Codec::Pcmu => vec![crate::codec::ulaw_encode(value); samples],
            _ => value.to_be_bytes().repeat(samples),
        };
        ear.put(&header(sequence, 1), Some(Coding::Audio(codec)), &content);
    }

    #[test]
    fn packets_of_any_length_become_even_frames() {
        for (packet, frames) in [(80, 10), (160, 20), (480, 60)] {
            let mut ear = Ear::new(8_000);
            (0..20).for_each(|n| put(&mut ear, n, Codec::L16(8_000), 100, packet));
            let mut frame = [0; 160];
            for n in 0..frames {
                assert!(ear.next(&mut frame), "{packet} {n}");
                assert_eq!(frame, [100; 160], "{packet} {n}");
            }
        }
    }

    #[test]
    fn rates_are_brought_to_that_of_the_room() {
        let mut ear = Ear::new(48_000);
        (0..10).for_each(|n| put(&mut ear, n, Codec::Pcmu, 8_000, 160));
        let mut frame = [0; 960];
        (0..5).for_each(|_| assert!(ear.next(&mut frame)));
        assert!(frame.iter().all(|sample| (7_500..8_500).contains(sample)));
    }

    #[test]
    fn a_gap_is_filled_and_an_end_fades_out() {
        let mut ear = Ear::new(8_000);
        for n in [0, 1, 3] {
            put(&mut ear, n, Codec::L16(8_000), 4_000, 160);
        }
        let mut frame = [0; 160];
        for _ in 0..4 {
            assert!(ear.next(&mut frame));
            assert!(frame.iter().any(|sample| *sample > 1_000));
        }
        let mut sounding = 0;
        while ear.next(&mut frame) {
            sounding += 1;
            assert!(sounding <= DRY_FRAMES);
        }
        assert_eq!((frame, ear.counts().lost), ([0; 160], 1));
    }

    #[test]
    fn events_are_silence_in_their_place_and_no_loss() {
        let mut ear = Ear::new(8_000);
        put(&mut ear, 0, Codec::L16(8_000), 4_000, 160);
        ear.put(&header(1, 1), Some(Coding::Events(8_000)), &[1, 10, 0, 160]);
        ear.put(&header(2, 1), None, &[60]);
        put(&mut ear, 3, Codec::L16(8_000), 4_000, 160);
        let mut frame = [0; 160];
        assert!(ear.next(&mut frame));
        for _ in 0..2 {
            assert!(ear.next(&mut frame));
            assert_eq!(frame, [0; 160]);
        }
        assert!(ear.next(&mut frame) && frame[159] == 4_000);
        assert_eq!(ear.counts(), JitterCounts::default());
    }

    #[test]
    fn who_says_nothing_is_heard_as_the_noise_it_describes() {
        let mut ear = Ear::new(16_000);
        put(&mut ear, 0, Codec::Pcmu, 4_000, 160);
        ear.put(&header(1, 1), Some(Coding::Noise(8_000)), &[50]);
        let mut frame = [0; 320];
        assert!(ear.next(&mut frame));
        for n in 0..100 {
            assert!(ear.next(&mut frame), "{n}");
            if n > 1 {
                let power: f32 = frame.iter().map(|s| f32::from(*s).powi(2)).sum();
                let level = 10.0 * (power / 320.0 / 32_768.0_f32.powi(2)).log10();
                assert!((-55.0..-46.0).contains(&level), "{n}: {level}");
            }
        }
        put(&mut ear, 2, Codec::Pcmu, 4_000, 160);
        assert!(ear.next(&mut frame));
        assert!(frame[300] > 3_000, "and then as it speaks");
    }

    #[test]
    fn a_new_source_and_a_new_codec_go_on_at_once() {
        let mut ear = Ear::new(16_000);
        put(&mut ear, 9, Codec::L16(8_000), 1_000, 160);
        let mut frame = [0; 320];
        assert!(ear.next(&mut frame));
        let content = 2_000_i16.to_be_bytes().repeat(320);
        for n in 0..3 {
            let coding = Some(Coding::Audio(Codec::L16(16_000)));
            ear.put(&header(50_000 + n, 2), coding, &content);
        }
        assert!(ear.next(&mut frame) && ear.next(&mut frame));
        assert_eq!(frame, [2_000; 320]);
    }

    /// A number, a kind, a payload, and how many frames are taken then.
    fn packet() -> impl Strategy<Value = (u16, u8, Vec<u8>, u8)> {
        let content = prop::collection::vec(any::<u8>(), 0..400);
        (any::<u16>(), 0_u8..8, content, 0_u8..3)
    }

    proptest! {
        #[test]
        fn no_packets_make_it_panic(
            packets in prop::collection::vec(packet(), 0..60),
            rate in 0_usize..3,
        ) {
            let rate_hz = [8_000, 16_000, 48_000][rate];
            let mut ear = Ear::new(rate_hz);
            let mut frame = vec![0; rate_hz as usize / 50];
            for (sequence, kind, content, frames) in packets {
                let coding = match kind {
                    0 => None,
                    1 => Some(Coding::Events(8_000)),
                    2 => Some(Coding::Audio(Codec::Opus)),
                    3 => Some(Coding::Audio(Codec::G722)),
                    4 => Some(Coding::Audio(Codec::L16(48_000))),
                    _ => Some(Coding::Audio(Codec::Pcma)),
                };
                ear.put(&header(sequence, u32::from(kind / 4)), coding, &content);
                for _ in 0..frames {
                    ear.next(&mut frame);
                }
                prop_assert!(ear.held <= ear.ready.len());
            }
        }
    }
}
