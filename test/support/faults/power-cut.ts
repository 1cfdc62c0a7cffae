/**
 * What a disk holds after a power cut: everything that was flushed, and any part of the rest.
 *
 * `fault.c` notes every write with the bytes it replaces, and every flush. Here the writes that no
 * flush covers are taken back, and some of them, or their first sectors, are done again.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Dice } from './dice.ts';

const kinds = { write: 1, zeros: 2, flushed: 3, flushFailed: 4, durable: 5 } as const;
const magic = 0x31544c46;
const headBytes = 48;
const sectorBytes = 512;

interface Write {
  /** Where its record is in the journal. */
  position: number;
  at: number;
  oldSize: number;
  old: Buffer;
  fresh: Buffer;
  /** A flush of it has failed: no later flush makes it durable. */
  doomed: boolean;
}

/** How much of what was not flushed may still reach the disk. */
export type Survival = 'none' | 'some';

export interface PowerCut {
  /** Writes that were not flushed, in all files. */
  unflushed: number;
  /** Of those, how many were to the write-ahead log. */
  unflushedLog: number;
  /** Of all of them, how many are gone or torn. */
  lost: number;
}

/** Takes back what a power cut would have lost below `directory`, and empties the journal. */
export function cutPower(
  directory: string,
  journal: string,
  dice: Dice,
  survival: Survival,
): PowerCut {
  const pending = pendingWrites(journal);
  const paths = pathsByInode(directory);
  const sum: PowerCut = { unflushed: 0, unflushedLog: 0, lost: 0 };
  for (const [inode, writes] of pending) {
    const path = paths.get(inode);
    if (path !== undefined && writes.length > 0) {
      sum.unflushed += writes.length;
      sum.unflushedLog += path.startsWith(join(directory, 'log/')) ? writes.length : 0;
      sum.lost += damage(path, writes, dice, survival);
    }
  }
  truncateSync(journal, 0);
  return sum;
}

/** Cuts off a record that kill -9 has torn, and all of them when nothing is left to lose. */
export function mendJournal(journal: string): void {
  if (existsSync(journal)) {
    const isFlushed = [...pendingWrites(journal).values()].every((writes) => writes.length === 0);
    const whole = isFlushed ? 0 : scan(readFileSync(journal), () => undefined);
    truncateSync(journal, whole);
  }
}

function damage(path: string, writes: readonly Write[], dice: Dice, survival: Survival): number {
  const file = openSync(path, 'r+');
  try {
    for (const write of writes.toReversed()) {
      writeSync(file, write.old, 0, write.old.length, write.at);
      if (statSync(path).size > write.oldSize && write.at + write.fresh.length > write.oldSize) {
        ftruncateSync(file, write.oldSize);
      }
    }
    let lost = 0;
    for (const { at, fresh, doomed } of writes) {
      const sectors = Math.ceil(fresh.length / sectorBytes);
      const kept = survival === 'none' || doomed ? 0 : dice.pick([0, sectors, dice.below(sectors)]);
      lost += kept < sectors ? 1 : 0;
      writeSync(file, fresh, 0, Math.min(kept * sectorBytes, fresh.length), at);
    }
    return lost;
  } finally {
    closeSync(file);
  }
}

function pendingWrites(journal: string): Map<bigint, Write[]> {
  const pending = new Map<bigint, Write[]>();
  const bytes = existsSync(journal) ? readFileSync(journal) : Buffer.alloc(0);
  scan(bytes, ({ kind, inode, at, write }) => {
    const before = pending.get(inode) ?? [];
    if (write !== null) {
      const kept = before.some((one) => one.doomed) ? dropDoomed(before, write) : before;
      kept.push(write);
      pending.set(inode, kept);
    } else if (kind === kinds.flushed) {
      pending.set(
        inode,
        before.filter((one) => one.doomed || one.position >= at),
      );
    } else if (kind === kinds.flushFailed) {
      for (const one of before.filter(({ position }) => position < at)) {
        one.doomed = true;
      }
    } else {
      pending.delete(inode);
    }
  });
  return pending;
}

/** What was lost and then written again counts as written again. */
function dropDoomed(before: readonly Write[], write: Write): Write[] {
  const end = write.at + write.fresh.length;
  return before.filter(
    (one) => !one.doomed || write.at > one.at || end < one.at + one.fresh.length,
  );
}

interface Found {
  kind: number;
  inode: bigint;
  at: number;
  write: Write | null;
}

/** Calls `see` for every whole record; answers where they end. */
function scan(bytes: Buffer, see: (found: Found) => void): number {
  let position = 0;
  while (position + headBytes <= bytes.length && bytes.readUInt32LE(position) === magic) {
    const word = (index: number) => Number(bytes.readBigUInt64LE(position + 8 + index * 8));
    const kind = bytes.readUInt32LE(position + 4);
    const inode = bytes.readBigUInt64LE(position + 8);
    const [at, length, oldSize, oldLength] = [word(1), word(2), word(3), word(4)];
    const oldFrom = position + headBytes;
    const freshFrom = oldFrom + oldLength;
    const end = freshFrom + (kind === kinds.write ? length : 0);
    if (end > bytes.length) {
      break;
    }
    const isWrite = kind === kinds.write || kind === kinds.zeros;
    const fresh = kind === kinds.write ? bytes.subarray(freshFrom, end) : Buffer.alloc(length);
    const old = bytes.subarray(oldFrom, freshFrom);
    const write = { position, at, oldSize, old, fresh, doomed: false };
    see({ kind, inode, at, write: isWrite ? write : null });
    position = end;
  }
  return position;
}

function pathsByInode(directory: string): Map<bigint, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  return new Map(paths.map((path) => [statSync(path, { bigint: true }).ino, path]));
}
