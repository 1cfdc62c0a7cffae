import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeSettled, encodeRequests } from '../../../src/native/codec.ts';
import type { Command } from '../../../src/native/types.ts';

const argument = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 50 }),
  fc.string({ unit: 'binary', maxLength: 50 }),
  fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
);
const requests = fc.array(fc.array(fc.array(argument, { maxLength: 4 }), { maxLength: 3 }), {
  maxLength: 3,
});

/** Reads what was written, as the addon does. */
function decode(bytes: Buffer): Buffer[][][] {
  let at = 0;
  const next = (width: number) => {
    at += width;
    return bytes.readUIntLE(at - width, width);
  };
  const many = <T>(count: number, read: () => T) => Array.from({ length: count }, read);
  const all = many(next(4), () =>
    many(next(2), () =>
      many(next(2), () => {
        const length = next(4);
        at += length;
        return bytes.subarray(at - length, at);
      }),
    ),
  );
  expect(at).toBe(bytes.length);
  return all;
}

test('requests arrive as they were given, whatever is in them', () => {
  fc.assert(
    fc.property(requests, (given: Command[][]) => {
      const bytes = (one: Command[number]) =>
        Buffer.isBuffer(one) ? one : Buffer.from(String(one));
      const wanted = given.map((request) => request.map((command) => command.map(bytes)));
      expect(decode(encodeRequests(given))).toEqual(wanted);
    }),
  );
});

test('replies come back to who asked, with and without bytes', () => {
  const settled = [
    { id: 7, reply: Buffer.from('+OK\r\n') },
    { id: 0xffff_fffe, reply: null },
    { id: 1, reply: Buffer.alloc(0) },
  ];
  const bytes = settled.map(({ id, reply }) => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(id);
    head.writeUInt32LE(reply?.length ?? 0xffff_ffff, 4);
    return Buffer.concat([head, reply ?? Buffer.alloc(0)]);
  });
  expect(decodeSettled(Buffer.concat(bytes))).toEqual(settled);
  expect(decodeSettled(Buffer.alloc(0))).toEqual([]);
});
