/** Sealed files: what goes in comes out, and damage is never taken for content. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isAge, open, seal } from '../../../src/cli/age.ts';

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) {
    yield bytes.subarray(at, at + size);
  }
}

async function gather(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of source) {
    parts.push(part);
  }
  return Buffer.concat(parts);
}

const passphrase = 'correct horse battery staple';
const chunk = 64 * 1024;
/** Fast; what is written for people takes a second. */
const factor = 10;

describe('a sealed file', () => {
  it.each([0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk])('holds %i bytes', async (length) => {
    const plain = randomBytes(length);
    const sealed = await gather(seal(pieces(plain, 10_007), passphrase, factor));
    expect(isAge(sealed)).toBe(true);
    const opened = await gather(open(pieces(sealed, 4_099), passphrase));
    expect(opened.equals(plain)).toBe(true);
  });

  it('opens with the right passphrase only, and says so before anything is read', async () => {
    const sealed = await gather(seal(pieces(Buffer.from('secret'), 10), passphrase, factor));
    await expect(gather(open(pieces(sealed, 100), 'wrong horse'))).rejects.toMatchObject({
      code: 'PBX_BACKUP_PASSPHRASE',
    });
  });

  it('is refused when it was cut or changed', async () => {
    const sealed = await gather(
      seal(pieces(randomBytes(2 * chunk + 5), chunk), passphrase, factor),
    );
    const last = sealed.length - 1;
    const damaged = [
      sealed.subarray(0, 20),
      sealed.subarray(0, last),
      // Whole chunks are missing: the mark of the last one tells.
      sealed.subarray(0, sealed.length - 21),
      ...[30, 120, 200, last].map((at) => {
        const copy = Buffer.from(sealed);
        copy[at] = (copy[at] ?? 0) ^ 1;
        return copy;
      }),
    ];
    for (const bytes of damaged) {
      await expect(gather(open(pieces(bytes, 999), passphrase))).rejects.toMatchObject({
        code: expect.stringMatching(/^PBX_BACKUP_(DAMAGED|PASSPHRASE|SEALED)$/),
      });
    }
  });

  it('does not let a header ask for all the memory of this machine', async () => {
    const sealed = await gather(seal(pieces(Buffer.from('x'), 1), passphrase, factor));
    const greedy = Buffer.from(sealed.toString('latin1').replace(' 10\n', ' 30\n'), 'latin1');
    await expect(gather(open(pieces(greedy, 999), passphrase))).rejects.toMatchObject({
      code: 'PBX_BACKUP_DAMAGED',
    });
  });
});
