//! Codecs against vectors made with libspandsp 0.0.6 (its decoders of G.711 agree with sox), and
//! what strangers may send.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

fn hash(bytes: impl IntoIterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.into_iter().collect();
    Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The noise the vectors were made from.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }
}

/// Four seconds of noise at many levels, then softened in many degrees; never so loud that what
/// comes back is cut off, which libspandsp does not do.
fn input(noise: &mut Noise) -> Vec<i16> {
    let mut last = 0_i32;
    let mut sample = |n: usize| {
        let value = i32::from((noise.next() >> 16) as i16) >> 1;
        let kind = n / 4_000 % 16;
        if kind < 8 {
            return (value >> kind) as i16;
        }
        last += (value - last) / (1 << (kind - 7));
        last as i16
    };
    (0..64_000).map(&mut sample).collect()
}

#[test]
fn g711_is_bit_exact() {
    let all = || i16::MIN..=i16::MAX;
    let ulaw = "5ee7cf5f273f842d2234121e4cb0c98d6b20a99ac29026f94e05b36955b195be";
    assert_eq!(hash(all().map(ulaw_encode)), ulaw);
    let alaw = "38488f6fd710f4686360edc4d38639f96c491595ef93f8eb8d62d5e07ca6ce7b";
    assert_eq!(hash(all().map(alaw_encode)), alaw);
    let codes = || 0..=u8::MAX;
    let ulaw = "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827";
    assert_eq!(
        hash(codes().flat_map(|code| ulaw_decode(code).to_le_bytes())),
        ulaw
    );
    let alaw = "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174";
    assert_eq!(
        hash(codes().flat_map(|code| alaw_decode(code).to_le_bytes())),
        alaw
    );
}

#[test]
fn g722_is_bit_exact() {
    let mut noise = Noise(1);
    let samples = input(&mut noise);
    let mut payload = vec![0; 32_000];
    let mut decoded = vec![0; 64_000];
    let mut coder = G722::default();
    for (samples, payload) in samples.chunks(320).zip(payload.chunks_mut(160)) {
        assert_eq!(coder.encode(samples, payload), Some(160));
    }
    for (payload, decoded) in payload.chunks(160).zip(decoded.chunks_mut(320)) {
        assert_eq!(coder.decode(payload, decoded), Some(320));
    }
    let encoded_hash = "ec136ce467b6e4609ffaf81f7f9b9d80299d520c125a672ca3eea86f04c46d7a";
    assert_eq!(hash(payload.iter().copied()), encoded_hash);
    let decoded_hash = "3c1b57da40e6e9e89fa698259e0ea4a14f860e3ebf108e3dc0f81e2f9551babd";
    assert_eq!(
        hash(decoded.iter().flat_map(|sample| sample.to_le_bytes())),
        decoded_hash
    );
}

const ALL: [Codec; 6] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::L16(8_000),
    Codec::L16(48_000),
    Codec::Opus,
];

#[test]
fn a_tone_survives_every_codec() {
    for codec in ALL {
        let mut coder = codec.coder(codec.rate_hz()).expect("memory");
        let rate_hz = coder.rate_hz();
        let frame = rate_hz as usize / 50;
        let mut tone = crate::dsp::tone::Oscillators::new(rate_hz, -10.0);
        let (mut pcm, mut payload) = (vec![0; frame], vec![0; 2_000]);
        let mut back = vec![0; frame];
        let mut loudest = 0;
        for n in 0..25 {
            tone.fill([440.0, 0.0], &mut pcm);
            let length = coder.encode(&pcm, &mut payload).expect("encoded");
            assert_eq!(
                coder.decode(&payload[..length], &mut back),
                Some(frame),
                "{codec:?}"
            );
            if n > 10 {
                loudest = back
                    .iter()
                    .map(|s| s.unsigned_abs())
                    .max()
                    .unwrap_or(0)
                    .max(loudest);
            }
        }
        // -10 dBm0 is an amplitude of 7,217.
        assert!((6_000..8_500).contains(&loudest), "{codec:?}: {loudest}");
    }
}

#[test]
fn opus_fills_a_gap_and_the_others_say_that_they_cannot() {
    let mut pcm = [0; 320];
    let mut opus = Codec::Opus.coder(16_000).expect("memory");
    let mut payload = [0; 500];
    let length = opus.encode(&[1_000; 320], &mut payload).expect("encoded");
    opus.decode(&payload[..length], &mut pcm).expect("decoded");
    assert!(opus.conceal(&mut pcm));
    assert!(!opus.conceal(&mut pcm[..33]));
    assert!(!Codec::Pcmu.coder(8_000).expect("memory").conceal(&mut pcm));
}

#[test]
fn names_are_read_and_written_alike() {
    for codec in ALL {
        let text = codec.rtpmap();
        let mut parts = text.split('/');
        let name = parts.next().expect("a name");
        let mut number = || {
            parts
                .next()
                .map_or(1, |part| part.parse().expect("a number"))
        };
        assert_eq!(Codec::from_rtpmap(name, number(), number()), Some(codec));
        if let Some(payload_type) = codec.static_type() {
            assert_eq!(Codec::from_static(payload_type), Some(codec));
        }
    }
    assert_eq!(Codec::from_rtpmap("opus", 48_000, 1), None);
    assert_eq!(Codec::from_rtpmap("L16", 44_100, 2), None);
}

proptest! {
    #[test]
    fn no_payload_makes_a_decoder_panic(
        codec in 0_usize..6,
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..4),
        room in 0_usize..1_000,
    ) {
        let mut coder = ALL[codec].coder(8_000).expect("memory");
        let mut pcm = vec![0; room];
        for payload in payloads {
            if let Some(samples) = coder.decode(&payload, &mut pcm) {
                prop_assert!(samples <= room);
            }
        }
    }

    #[test]
    fn no_samples_make_an_encoder_panic(
        codec in 0_usize..6,
        samples in prop::collection::vec(any::<i16>(), 0..1_000),
        room in 0_usize..1_000,
    ) {
        let mut coder = ALL[codec].coder(8_000).expect("memory");
        if let Some(length) = coder.encode(&samples, &mut vec![0; room]) {
            prop_assert!(length <= room);
        }
    }
}
