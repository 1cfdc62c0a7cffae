//! What sound costs: microseconds of processor time for 20 ms of one stream.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;

use raftpbx_media::codec::Codec;
use raftpbx_media::dsp::detect::Detector;
use raftpbx_media::dsp::resample::Resampler;
use raftpbx_media::dsp::tone::Oscillators;

/// Frames done between two looks at the clock.
const FRAMES: usize = 500;

/// How long each thing is measured: far longer than the steps of the clock, which are 4 ms.
const MEASURED_NS: f64 = 300e6;

/// Nanoseconds this thread has had a processor for; others on the machine do not count.
fn processor_ns() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    first.unwrap_or(0.0)
}

/// Microseconds for one frame.
fn cost(mut frame: impl FnMut(usize)) -> f64 {
    let began_ns = processor_ns();
    let mut frames = 0;
    while processor_ns() - began_ns < MEASURED_NS {
        (frames..frames + FRAMES).for_each(&mut frame);
        frames += FRAMES;
    }
    (processor_ns() - began_ns) / 1e3 / frames as f64
}

/// Something like speech: a tone that changes.
fn sound(rate_hz: u32) -> Vec<i16> {
    let mut pcm = vec![0; rate_hz as usize];
    let mut tone = Oscillators::new(rate_hz, -15.0);
    for (n, piece) in pcm.chunks_mut(rate_hz as usize / 50).enumerate() {
        let hz = 200.0 + (n * 37 % 900) as f32;
        tone.fill([hz, hz * 2.7], piece);
    }
    pcm
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    for (codec, rate_hz) in [
        (Codec::Pcmu, 8_000),
        (Codec::Pcma, 8_000),
        (Codec::G722, 16_000),
        (Codec::Opus, 8_000),
        (Codec::Opus, 16_000),
        (Codec::Opus, 48_000),
    ] {
        let mut coder = codec.coder(rate_hz).ok_or("no memory")?;
        let frame = rate_hz as usize / 50;
        let pcm = sound(rate_hz);
        let piece = |n: usize| &pcm[n % 50 * frame..][..frame];
        let mut payload = [0; 2_000];
        let encode = cost(|n| {
            black_box(coder.encode(piece(n), &mut payload));
        });
        let length = coder.encode(piece(0), &mut payload).ok_or("not encoded")?;
        let mut back = vec![0; frame];
        let decode = cost(|_| {
            black_box(coder.decode(&payload[..length], &mut back));
        });
        writeln!(
            out,
            "{codec:?} at {rate_hz}: encode {encode:.2}, decode {decode:.2}"
        )?;
    }
    for (from_hz, to_hz) in [
        (8_000, 16_000),
        (16_000, 8_000),
        (8_000, 48_000),
        (48_000, 8_000),
    ] {
        let mut resampler = Resampler::new(from_hz, to_hz).ok_or("no such ratio")?;
        let (pcm, mut room) = (sound(from_hz), [0; 960]);
        let frame = from_hz as usize / 50;
        let run = cost(|n| {
            black_box(resampler.run(&pcm[n % 50 * frame..][..frame], &mut room));
        });
        writeln!(out, "{from_hz} to {to_hz}: {run:.2}")?;
    }
    let (pcm, mut detector) = (sound(8_000), Detector::default());
    let listen = cost(|n| detector.take(&pcm[n % 50 * 160..][..160], |_| {}));
    writeln!(out, "digits in sound: {listen:.2}")?;
    Ok(())
}
