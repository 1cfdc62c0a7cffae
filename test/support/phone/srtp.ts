/**
 * SRTP of the test phone, AES_CM_128_HMAC_SHA1_80 alone (RFC 3711), written from the text of
 * the RFC and sharing nothing with the product. It keeps its own counters through whatever
 * happens to the media server, and refuses what a real phone refuses: a wrong tag, and a packet
 * it has seen. Benchmarks have hundreds of such phones in one process, so nothing of OpenSSL is
 * made for a packet.
 */
import { type Cipheriv, createCipheriv, hash, randomBytes, timingSafeEqual } from 'node:crypto';

const suite = 'AES_CM_128_HMAC_SHA1_80';
const keyBytes = 16;
const tagBytes = 10;
const headerBytes = 12;

export class SrtpContext {
  readonly #keystream: Keystream;
  readonly #salt: Buffer;
  readonly #authentication: Hmac;
  /** The newest index by source. */
  readonly #newest = new Map<number, number>();

  /** `inline` is master key and salt, base64. */
  constructor(inline: string) {
    const master = Buffer.from(inline, 'base64');
    const derivation = new Keystream(master.subarray(0, keyBytes));
    const derive = (label: number, length: number) => {
      const counter = Buffer.alloc(16);
      master.copy(counter, 0, keyBytes, keyBytes + 14);
      counter[7] = (counter[7] as number) ^ label;
      return derivation.take(counter, length);
    };
    this.#keystream = new Keystream(derive(0, keyBytes));
    this.#authentication = new Hmac(derive(1, 20));
    this.#salt = derive(2, 14);
  }

  protect(packet: Buffer): Buffer {
    const index = this.#index(packet);
    this.#newest.set(packet.readUInt32BE(8), index);
    const sealed = this.#crypt(packet, index);
    return Buffer.concat([sealed, this.#tag(sealed, index)]);
  }

  /** The plain packet; null when it is not genuine, or was seen before. */
  open(packet: Buffer): Buffer | null {
    const body = packet.subarray(0, packet.length - tagBytes);
    if (body.length < headerBytes) {
      return null;
    }
    const index = this.#index(body);
    const ssrc = body.readUInt32BE(8);
    if (!timingSafeEqual(this.#tag(body, index), packet.subarray(-tagBytes))) {
      return null;
    }
    // Order is kept on the lab's cable: what is not newer came twice.
    if (index <= (this.#newest.get(ssrc) ?? -1)) {
      return null;
    }
    this.#newest.set(ssrc, index);
    return this.#crypt(body, index);
  }

  /** RFC 3711 appendix A. */
  #index(packet: Buffer): number {
    const sequence = packet.readUInt16BE(2);
    const newest = this.#newest.get(packet.readUInt32BE(8));
    if (newest === undefined) {
      return sequence;
    }
    const rollover = Math.floor(newest / 65_536);
    const ahead = sequence - (newest % 65_536);
    const turn = ahead < -32_768 ? 1 : ahead > 32_768 && rollover > 0 ? -1 : 0;
    return (rollover + turn) * 65_536 + sequence;
  }

  #crypt(packet: Buffer, index: number): Buffer {
    const counter = Buffer.alloc(16);
    this.#salt.copy(counter);
    xor(counter, 4, packet.subarray(8, 12));
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(index));
    xor(counter, 8, place.subarray(2));
    const out = Buffer.from(packet);
    xor(out, headerBytes, this.#keystream.take(counter, packet.length - headerBytes));
    return out;
  }

  #tag(packet: Buffer, index: number): Buffer {
    const rollover = Buffer.alloc(4);
    rollover.writeUInt32BE(Math.floor(index / 65_536));
    return this.#authentication.of(packet, rollover).subarray(0, tagBytes);
  }
}

/** AES in counter mode, whose lowest 16 bits count blocks. */
class Keystream {
  readonly #cipher: Cipheriv;

  constructor(key: Buffer) {
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  take(counter: Buffer, length: number): Buffer {
    const blocks = Buffer.alloc(Math.ceil(length / 16) * 16);
    for (let at = 0; at < blocks.length; at += 16) {
      counter.copy(blocks, at);
      blocks.writeUInt16BE(at / 16, at + 14);
    }
    return this.#cipher.update(blocks).subarray(0, length);
  }
}

/** HMAC-SHA1 (RFC 2104). */
class Hmac {
  readonly #inner = Buffer.alloc(64, 0x36);
  readonly #outer = Buffer.alloc(64, 0x5c);

  constructor(key: Buffer) {
    xor(this.#inner, 0, key);
    xor(this.#outer, 0, key);
  }

  of(...parts: Buffer[]): Buffer {
    const inside = hash('sha1', Buffer.concat([this.#inner, ...parts]), 'buffer');
    return hash('sha1', Buffer.concat([this.#outer, inside]), 'buffer');
  }
}

function xor(into: Buffer, at: number, bytes: Buffer): void {
  for (let i = 0; i < bytes.length; i += 1) {
    into[at + i] = (into[at + i] as number) ^ (bytes[i] as number);
  }
}

/** The key of a phone, and the number of its line: an answer takes that of the offer. */
export class OwnCrypto {
  readonly #key = randomBytes(30).toString('base64');
  #tag = 1;

  /** What stands behind `a=crypto:`. */
  get line(): string {
    return `${this.#tag} ${suite} inline:${this.#key}`;
  }

  /** Takes the other side's key from a description, if there is one of our suite. */
  agree(sdp: string, end: { secure(ours: string, theirs: string): void }): void {
    const line = new RegExp(`^a=crypto:(\\d+) ${suite} inline:([A-Za-z0-9+/=]+)`, 'm');
    const found = line.exec(sdp);
    if (found !== null) {
      this.#tag = Number(found[1]);
      end.secure(this.#key, found[2] as string);
    }
  }
}
