/**
 * Nonces that carry their own proof, the same as those of our own engine
 * (`crates/sip/src/digest`): a time, a part of its own, and an HMAC of both with a key from the
 * cluster secret. So nobody keeps them, and every node takes what another one has handed out.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { limits } from '../../domain/limits.ts';

const timeDigits = 8;
const ownDigits = 16;
const proofBytes = 16;

export class Nonces {
  readonly #key: Buffer;

  constructor(clusterSecret: string) {
    this.#key = createHash('sha256').update(clusterSecret).update('\0nonce').digest();
  }

  /** A new one. */
  issue(nowMs: number): string {
    const nowS = Math.floor(nowMs / 1000) % 2 ** 32;
    const time = nowS.toString(16).padStart(timeDigits, '0');
    return this.#signed(time + randomBytes(ownDigits / 2).toString('hex'));
  }

  /** When one of ours was issued, Unix seconds; null when it is not ours or too old. */
  issuedS(nonce: string, nowMs: number): number | null {
    const expected = Buffer.from(this.#signed(nonce.slice(0, timeDigits + ownDigits)));
    const given = Buffer.from(nonce);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      return null;
    }
    const issuedS = Number.parseInt(nonce.slice(0, timeDigits), 16);
    const nowS = Math.floor(nowMs / 1000);
    return Math.abs(nowS - issuedS) <= limits.nonceLifetimeS ? issuedS : null;
  }

  #signed(text: string): string {
    const proof = createHmac('sha256', this.#key).update(text).digest();
    return text + proof.subarray(0, proofBytes).toString('hex');
  }
}

interface Use {
  count: number;
  /** Which request used it: a repetition of that one is no replay. */
  request: string;
}

/**
 * Which nonces were used how often (RFC 7616 section 3.4.5), in two generations of which the
 * older is dropped whole. Each node counts by itself.
 */
export class NonceCounts {
  #young = new Map<string, Use>();
  #old = new Map<string, Use>();
  #turnedS = 0;
  /** Uses of nonces issued before may be forgotten. */
  #forgottenS = 0;

  /** Takes note of a use; false when it is a replay, or when nobody can tell any more. */
  take(nonce: string, issuedS: number, use: Use, nowMs: number): boolean {
    const nowS = Math.floor(nowMs / 1000);
    const isOld = nowS - this.#turnedS > limits.nonceLifetimeS;
    if (isOld || this.#young.size >= limits.noncesMax) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#forgottenS = this.#turnedS;
      this.#turnedS = nowS;
    }
    if (issuedS < this.#forgottenS) {
      return false;
    }
    const known = this.#young.get(nonce) ?? this.#old.get(nonce);
    if (known !== undefined && use.count <= known.count) {
      return use.count === known.count && use.request === known.request;
    }
    this.#young.set(nonce, use);
    return true;
  }
}
