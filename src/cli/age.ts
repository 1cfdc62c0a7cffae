/**
 * Files that only a passphrase opens, in the format of `age` (age-encryption.org/v1, scrypt
 * recipient): any `age` program opens what is written here. Streams, memory is one chunk.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  scrypt,
  timingSafeEqual,
} from 'node:crypto';
import { promisify } from 'node:util';
import { CliError } from './failure.ts';

const derive = promisify(scrypt) as (
  password: string,
  salt: Buffer,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>;

const intro = 'age-encryption.org/v1';
/** scrypt work factor, as a power of two: about a second and 256 MiB, as `age` does it. */
const workFactor = 18;
/** A file that asks for more would stop this machine: 2^20 needs 1 GiB. */
const workFactorMax = 20;
const keyBytes = 16;
const chunkBytes = 64 * 1024;
const tagBytes = 16;
/** Longer headers are not those of a passphrase. */
const headerBytesMax = 1024;

type Bytes = AsyncIterable<Buffer>;

/** Whether a file begins like an `age` file. */
export function isAge(start: Buffer): boolean {
  return start.subarray(0, intro.length).toString('latin1') === intro;
}

/** Encrypts a stream. Another work factor is for tests. */
export async function* seal(
  source: Bytes,
  passphrase: string,
  factor = workFactor,
): AsyncGenerator<Buffer> {
  const [fileKey, salt, nonce] = [randomBytes(keyBytes), randomBytes(16), randomBytes(16)];
  const wrapped = encrypt(await wrapKey(passphrase, salt, factor), Buffer.alloc(12), fileKey);
  const stanza = `-> scrypt ${base64(salt)} ${factor}\n${base64(wrapped)}\n`;
  const header = `${intro}\n${stanza}---`;
  yield Buffer.from(`${header} ${base64(headerMac(fileKey, header))}\n`);
  yield nonce;
  const key = payloadKey(fileKey, nonce);
  let number = 0;
  for await (const { chunk, last } of chunks(source, chunkBytes)) {
    yield encrypt(key, chunkNonce(number, last), chunk);
    number += 1;
  }
}

/** Decrypts a stream. Throws `CliError` when the passphrase is wrong or the file is damaged. */
export async function* open(source: Bytes, passphrase: string): AsyncGenerator<Buffer> {
  const { header, rest } = await splitHeader(source);
  const fileKey = await openHeader(header, passphrase);
  const { first, others } = await splitNonce(rest);
  const key = payloadKey(fileKey, first);
  let number = 0;
  for await (const { chunk, last } of chunks(others, chunkBytes + tagBytes)) {
    const plain = decrypt(key, chunkNonce(number, last), chunk);
    if (plain === null) {
      throw damaged();
    }
    yield plain;
    number += 1;
  }
}

async function openHeader(header: string, passphrase: string): Promise<Buffer> {
  const code = '([A-Za-z0-9+/]{43})';
  const stanza = `-> scrypt ([A-Za-z0-9+/]{22}) ([1-9][0-9]?)\n${code}`;
  const pattern = new RegExp(`^(${intro}\n${stanza}\n---) ${code}$`);
  const [, signed, salt, factor, wrapped, mac] = pattern.exec(header) ?? [];
  if (signed === undefined || salt === undefined || wrapped === undefined || mac === undefined) {
    throw new CliError(
      'PBX_BACKUP_SEALED',
      'the file is sealed, but not with a passphrase',
      "open it with the program that sealed it: 'age -d'",
    );
  }
  if (Number(factor) > workFactorMax) {
    throw damaged();
  }
  const wrap = await wrapKey(passphrase, Buffer.from(salt, 'base64'), Number(factor));
  const fileKey = decrypt(wrap, Buffer.alloc(12), Buffer.from(wrapped, 'base64'));
  if (fileKey === null) {
    throw new CliError(
      'PBX_BACKUP_PASSPHRASE',
      'the passphrase is wrong',
      'give the passphrase the backup was made with; nothing was changed',
    );
  }
  if (!timingSafeEqual(headerMac(fileKey, signed), Buffer.from(mac, 'base64'))) {
    throw damaged();
  }
  return fileKey;
}

function damaged(): CliError {
  return new CliError(
    'PBX_BACKUP_DAMAGED',
    'the sealed file is damaged or cut',
    'take another copy of the file, or another backup; nothing was changed',
  );
}

function wrapKey(passphrase: string, salt: Buffer, factor: number): Promise<Buffer> {
  const label = Buffer.from(`${intro}/scrypt`);
  const N = 2 ** factor;
  const cost = { N, r: 8, p: 1, maxmem: 128 * N * 8 + 64 * 1024 * 1024 };
  return derive(passphrase.normalize('NFC'), Buffer.concat([label, salt]), 32, cost);
}

function headerMac(fileKey: Buffer, header: string): Buffer {
  const key = Buffer.from(hkdfSync('sha256', fileKey, '', 'header', 32));
  return createHmac('sha256', key).update(header).digest();
}

function payloadKey(fileKey: Buffer, nonce: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32));
}

/** Eleven bytes of counter, one that marks the last chunk. */
function chunkNonce(number: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(number, 5, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

const algorithm = 'chacha20-poly1305';

function encrypt(key: Buffer, nonce: Buffer, plain: Buffer): Buffer {
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Null when the tag does not fit. */
function decrypt(key: Buffer, nonce: Buffer, sealed: Buffer): Buffer | null {
  if (sealed.length < tagBytes) {
    return null;
  }
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  const plain = decipher.update(sealed.subarray(0, sealed.length - tagBytes));
  try {
    return Buffer.concat([plain, decipher.final()]);
  } catch {
    return null;
  }
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}

/** Cuts a stream into chunks of one size; only the last one may be shorter. */
async function* chunks(
  source: Bytes,
  size: number,
): AsyncGenerator<{ chunk: Buffer; last: boolean }> {
  let gathered: Buffer[] = [];
  let length = 0;
  for await (const piece of source) {
    gathered.push(piece);
    length += piece.length;
    if (length > size) {
      let bytes = Buffer.concat(gathered);
      // A full chunk waits until something follows: it may be the last one.
      while (bytes.length > size) {
        yield { chunk: bytes.subarray(0, size), last: false };
        bytes = bytes.subarray(size);
      }
      gathered = [bytes];
      length = bytes.length;
    }
  }
  yield { chunk: Buffer.concat(gathered), last: true };
}

/** The header as text without its last line end, and the bytes behind it. */
async function splitHeader(source: Bytes): Promise<{ header: string; rest: Bytes }> {
  const iterator = source[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  for (;;) {
    const dashes = start.indexOf('\n---');
    const end = dashes < 0 ? -1 : start.indexOf('\n', dashes + 1);
    if (end >= 0) {
      return {
        header: start.subarray(0, end).toString('latin1'),
        rest: chain(start.subarray(end + 1), iterator),
      };
    }
    const next = start.length > headerBytesMax ? { done: true as const } : await iterator.next();
    if (next.done === true) {
      throw damaged();
    }
    start = Buffer.concat([start, next.value]);
  }
}

async function splitNonce(source: Bytes): Promise<{ first: Buffer; others: Bytes }> {
  const iterator = source[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < 16) {
    const next = await iterator.next();
    if (next.done === true) {
      throw damaged();
    }
    start = Buffer.concat([start, next.value]);
  }
  return { first: start.subarray(0, 16), others: chain(start.subarray(16), iterator) };
}

async function* chain(first: Buffer, others: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) {
    yield first;
  }
  for (let next = await others.next(); next.done !== true; next = await others.next()) {
    yield next.value;
  }
}
