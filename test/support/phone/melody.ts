/**
 * Sound that fits itself at one place only: notes in an order that a seed decides, so that what
 * was heard can be found in what was said. A tone would fit everywhere, and a count of packets
 * says nothing about what is in them. Low notes without gaps pass codecs and filters unchanged.
 */
import { encodeMuLaw, frameSamples } from './tone.ts';

/** Melodies begin again after this. */
export const melodyMs = 4000;
const noteMs = 80;
/** Whole cycles in a note: each begins where the one before has ended. */
const stepHertz = 12.5;
const lowest = 20;
const notes = 48;
const rate = 8000;
/** As loud as the tone of a phone. */
const amplitude = 12_000;
const samplesInAll = (melodyMs * rate) / 1000;

/** A number that nobody would guess of two others (Fowler, Noll and Vo; finished by Murmur). */
function scattered(seed: number, n: number): number {
  let hash = Math.imul(Math.imul(seed ^ 0x811c9dc5, 0x01000193) ^ n, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** The sample at `index` of an endless melody, -1 to 1. */
export function melodyAt(seed: number, index: number, sampleRate: number): number {
  const ms = ((index * 1000) / sampleRate) % melodyMs;
  const note = Math.floor(ms / noteMs);
  const hertz = stepHertz * (lowest + (scattered(seed, note) % notes));
  return Math.sin((2 * Math.PI * hertz * (ms - note * noteMs)) / 1000);
}

/** Frame `index` of the melody in PCMU. */
export function melodyFrame(seed: number, index: number): Buffer {
  const frame = Buffer.allocUnsafe(frameSamples);
  for (let i = 0; i < frameSamples; i += 1) {
    const sample = melodyAt(seed, index * frameSamples + i, rate);
    frame[i] = encodeMuLaw(Math.round(amplitude * sample));
  }
  return frame;
}

export interface Fit {
  /** Pearson's coefficient where it fits best: 1 is the same, about 0 something else. */
  correlation: number;
  /** Where in the melody. */
  atMs: number;
}

/** Finds what was heard, samples at 8 kHz, in a melody. */
export function fitOf(heard: readonly number[], seed: number): Fit {
  const length = Math.min(heard.length, rate / 2);
  const sound = Float64Array.from(heard.slice(heard.length - length));
  const power = sound.reduce((sum, sample) => sum + sample * sample, 0);
  if (length < rate / 4 || power < length) {
    return { correlation: 0, atMs: 0 };
  }
  const melody = Float64Array.from({ length: samplesInAll + length }, (_, i) =>
    melodyAt(seed, i, rate),
  );
  let best = { correlation: 0, atMs: 0 };
  for (let at = 0; at < samplesInAll; at += 1) {
    let product = 0;
    let square = 0;
    for (let i = 0; i < length; i += 1) {
      const said = melody[at + i] as number;
      product += said * (sound[i] as number);
      square += said * said;
    }
    const correlation = product / Math.sqrt(power * square);
    if (correlation > best.correlation) {
      best = { correlation, atMs: (at * 1000) / rate };
    }
  }
  return best;
}
