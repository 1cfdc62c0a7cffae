/** Tones: PCMU frames of a sine, and finding the frequency in audio again. */

/** Samples of one millisecond at 8 kHz. */
export const samplesPerMs = 8;
/** Samples in one 20 ms frame at 8 kHz. */
export const frameSamples = 160;
const rate = 8000;

/** Frame `index` of an endless sine: the same bytes for the same index, so they can be compared. */
export function toneFrame(hertz: number, index: number): Buffer {
  const frame = Buffer.allocUnsafe(frameSamples);
  for (let i = 0; i < frameSamples; i += 1) {
    // Whole cycles are taken off first, or rounding would tell equal frames apart.
    const cycles = (((index * frameSamples + i) * hertz) % rate) / rate;
    frame[i] = encodeMuLaw(Math.round(12000 * Math.sin(2 * Math.PI * cycles)));
  }
  return frame;
}

/** ITU-T G.711 mu-law. */
export function encodeMuLaw(sample: number): number {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), 32635) + 132;
  const exponent = 31 - Math.clz32(magnitude) - 7;
  const mantissa = (magnitude >> (exponent + 3)) & 0x0f;
  return ~(sign | (exponent << 4) | mantissa) & 0xff;
}

export function decodeMuLaw(code: number): number {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 132) << ((bits & 0x70) >> 4)) - 132;
  return (bits & 0x80) === 0 ? magnitude : -magnitude;
}

/** Power of one frequency in the samples (Goertzel). */
function power(samples: ArrayLike<number>, sampleRate: number, hertz: number): number {
  const coefficient = 2 * Math.cos((2 * Math.PI * hertz) / sampleRate);
  let before = 0;
  let last = 0;
  for (let i = 0; i < samples.length; i += 1) {
    const next = (samples[i] as number) + coefficient * last - before;
    before = last;
    last = next;
  }
  return last * last + before * before - coefficient * last * before;
}

/** The strongest frequency between 200 and 2000 Hz in steps of 10, 0 for silence. */
export function dominantHertz(samples: ArrayLike<number>, sampleRate: number): number {
  let best = { hertz: 0, power: samples.length * samples.length };
  for (let hertz = 200; hertz <= 2000; hertz += 10) {
    const found = power(samples, sampleRate, hertz);
    if (found > best.power) {
      best = { hertz, power: found };
    }
  }
  return best.hertz;
}

/** The longest run of samples quieter than `threshold`, in milliseconds. */
export function longestSilenceMs(
  samples: ArrayLike<number>,
  sampleRate: number,
  threshold = 200,
): number {
  let longest = 0;
  let run = 0;
  for (let i = 0; i < samples.length; i += 1) {
    run = Math.abs(samples[i] as number) < threshold ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return Math.round((longest * 1000) / sampleRate);
}
