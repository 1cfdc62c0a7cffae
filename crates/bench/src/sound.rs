//! What phones say: two seconds of something like speech, encoded once for all.

use raftpbx_media::codec::Codec;

use crate::BenchError;

/// Packets of 20 ms before it begins again.
const PACKETS: usize = 100;

/// Longest payload, bytes.
const PAYLOAD_BYTES_MAX: usize = 1_500;

/// The packets of a voice, or of silence.
///
/// # Errors
/// The codec cannot be made.
pub fn voice(codec: Codec, pitch_hz: f64, silent: bool) -> Result<Vec<Vec<u8>>, BenchError> {
    let failed = || BenchError::Usage("the codec cannot be made".into());
    let mut coder = codec.coder(16_000).ok_or_else(failed)?;
    let rate_hz = f64::from(coder.rate_hz());
    let samples = coder.rate_hz() as usize / 50;
    let mut noise = 1_u32;
    let packet = |number: usize| {
        let sample = |n: usize| {
            let at = (number * samples + n) as f64 / rate_hz;
            // A buzz with the harmonics of a voice, in syllables of a quarter of a second.
            let harmonic = |k: u32| {
                let angle = std::f64::consts::TAU * pitch_hz * f64::from(k) * at;
                angle.sin() / f64::from(k)
            };
            let buzz: f64 = (1..=12).map(harmonic).sum();
            let syllable = (std::f64::consts::TAU * 2.0 * at).sin().max(0.0);
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            let hiss = f64::from(noise % 64) - 32.0;
            let loudness = if silent { 0.0 } else { 6_000.0 * syllable };
            (buzz * loudness + hiss * loudness / 300.0) as i16
        };
        let pcm: Vec<i16> = (0..samples).map(sample).collect();
        let mut payload = vec![0; PAYLOAD_BYTES_MAX];
        let length = coder.encode(&pcm, &mut payload).ok_or_else(failed)?;
        payload.truncate(length);
        Ok(payload)
    };
    (0..PACKETS).map(packet).collect()
}
