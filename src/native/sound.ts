/** Batches of samples as the media engine writes them (`crates/media/src/tap/batch.rs`). */
import type { TapChunk } from './types.ts';

/** Tap, number of samples and position. */
const headBytes = 16;
const sampleBytes = 2;

/** The chunks of a batch; their samples are those of the batch itself, not copies. */
export function readChunks(batch: Buffer): TapChunk[] {
  const chunks: TapChunk[] = [];
  let at = 0;
  while (at + headBytes <= batch.length) {
    const samples = batch.readUInt32LE(at + 4);
    const begin = at + headBytes;
    const end = begin + samples * sampleBytes;
    if (end > batch.length) {
      throw new Error('PBX_TAP_BATCH: a batch of samples ends before its last chunk');
    }
    chunks.push({
      tap: batch.readUInt32LE(at),
      position: Number(batch.readBigUInt64LE(at + 8)),
      pcm: samplesOf(batch.subarray(begin, end)),
    });
    at = end;
  }
  return chunks;
}

/** A view where memory allows it: arrays of 16 bits begin at even addresses. */
function samplesOf(bytes: Buffer): Int16Array {
  const even = bytes.byteOffset % sampleBytes === 0 ? bytes : Uint8Array.from(bytes);
  return new Int16Array(even.buffer, even.byteOffset, even.length / sampleBytes);
}
