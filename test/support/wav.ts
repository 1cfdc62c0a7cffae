/** Reads what a real phone recorded: 16-bit PCM WAV files, first channel. */
import { readFileSync } from 'node:fs';

export interface Recording {
  samples: Int16Array;
  sampleRate: number;
}

/** While it is written a file says it has no samples: its size counts. */
export function readWav(path: string): Recording {
  const bytes = readFileSync(path);
  const channels = bytes.readUInt16LE(22);
  const sampleRate = bytes.readUInt32LE(24);
  const begin = bytes.indexOf('data') + 8;
  const count = Math.floor((bytes.length - begin) / 2 / channels);
  const samples = Int16Array.from({ length: count }, (_, i) =>
    bytes.readInt16LE(begin + i * 2 * channels),
  );
  return { samples, sampleRate };
}
