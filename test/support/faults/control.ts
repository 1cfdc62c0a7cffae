/** The words through which a test tells `fault.c` in a running node what to do to it. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

/** In the order of `struct control`. */
const words = [
  'wallOffsetNs',
  'monotonicOffsetNs',
  'flushDelayUs',
  'flushFails',
  'writeFails',
  'wallReadsShifted',
  'monotonicReadsShifted',
  'flushes',
  'flushesDelayed',
  'flushesFailed',
  'writesFailed',
] as const;

type Word = (typeof words)[number];

/** What a fault does to writes. */
export const writeFails = { none: 0, extendingNoSpace: 1, allNoSpace: 2, allEio: 3 } as const;

const wordBytes = 8;

export class Control {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'w+');
    writeSync(this.#file, Buffer.alloc(words.length * wordBytes), 0, words.length * wordBytes, 0);
  }

  set(word: Word, value: number): void {
    const bytes = Buffer.alloc(wordBytes);
    bytes.writeBigInt64LE(BigInt(Math.round(value)));
    writeSync(this.#file, bytes, 0, wordBytes, words.indexOf(word) * wordBytes);
  }

  get(word: Word): number {
    const bytes = Buffer.alloc(wordBytes);
    readSync(this.#file, bytes, 0, wordBytes, words.indexOf(word) * wordBytes);
    return Number(bytes.readBigInt64LE());
  }

  close(): void {
    closeSync(this.#file);
  }
}
