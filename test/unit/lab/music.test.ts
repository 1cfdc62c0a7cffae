import { expect, test } from 'vitest';
import { holdMusic } from '../../../src/lab/music.ts';

test('the music is loud enough to be heard, never too loud, and without a step at its end', () => {
  const wav = holdMusic();
  expect(wav.toString('latin1', 0, 4)).toBe('RIFF');
  expect(wav.readUInt32LE(40)).toBe(wav.length - 44);
  const samples = Array.from({ length: (wav.length - 44) / 2 }, (_, i) =>
    wav.readInt16LE(44 + i * 2),
  );
  expect(samples.length).toBe(12 * 16_000);
  const loudest = highest(samples);
  expect(loudest).toBeGreaterThan(4_000);
  expect(loudest).toBeLessThan(32_000);
  const steps = samples.map((sample, i) => Math.abs(sample - (samples.at(i - 1) ?? 0)));
  expect(steps[0]).toBeLessThanOrEqual(highest(steps.slice(1)));
});

function highest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
