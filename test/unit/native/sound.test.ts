import { expect, test } from 'vitest';
import { readChunks } from '../../../src/native/sound.ts';

function chunk(tap: number, position: number, samples: readonly number[]): Buffer {
  const bytes = Buffer.alloc(16 + samples.length * 2);
  bytes.writeUInt32LE(tap, 0);
  bytes.writeUInt32LE(samples.length, 4);
  bytes.writeBigUInt64LE(BigInt(position), 8);
  for (const [n, sample] of samples.entries()) {
    bytes.writeInt16LE(sample, 16 + 2 * n);
  }
  return bytes;
}

test('a batch is the chunks of all taps', () => {
  const batch = Buffer.concat([chunk(1, 320, [1, -2, 32_767]), chunk(2, 0, []), chunk(3, 8, [5])]);
  expect(readChunks(batch)).toEqual([
    { tap: 1, position: 320, pcm: Int16Array.of(1, -2, 32_767) },
    { tap: 2, position: 0, pcm: Int16Array.of() },
    { tap: 3, position: 8, pcm: Int16Array.of(5) },
  ]);
});

test('a batch at an odd address is read as well', () => {
  const batch = Buffer.concat([Buffer.alloc(1), chunk(1, 0, [-7])]).subarray(1);
  expect(readChunks(batch)).toEqual([{ tap: 1, position: 0, pcm: Int16Array.of(-7) }]);
});

test('a batch that is cut off is refused', () => {
  expect(() => readChunks(chunk(1, 0, [1, 2]).subarray(0, 18))).toThrow('PBX_TAP_BATCH');
});
