/**
 * Who may use the API: one administrator, by HTTP basic authentication (RFC 7617). The file has
 * only a scrypt hash. Guessing is slowed down per source address.
 */
import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(scrypt) as (
  password: string,
  salt: Buffer,
  length: number,
  options: { N: number; r: number; p: number },
) => Promise<Buffer>;

/** RFC 7914 interactive parameters: 16 MiB and about 30 ms a try. */
const cost = { N: 16_384, r: 8, p: 1 };
const hashBytes = 32;

/** Failures of one address within the window before it has to wait. */
export const failuresMax = 10;
/** How long failures are remembered. */
export const failureWindowMs = 60_000;
/** Addresses remembered at once; the oldest is forgotten first. */
const addressesMax = 4096;

/** The administrator as his file has it: `name:salt:hash`, base64url. */
export interface Administrator {
  name: string;
  salt: Buffer;
  hash: Buffer;
}

/** Makes the line of an administrator file. */
export async function hashAdministrator(name: string, password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, hashBytes, cost);
  return [name, salt.toString('base64url'), hash.toString('base64url')].join(':');
}

/** Reads the line of an administrator file; throws when it is not one. */
export function parseAdministrator(line: string): Administrator {
  const [name, salt, hash, ...rest] = line.trim().split(':');
  if (!name || !salt || !hash || rest.length > 0) {
    throw new Error('PBX_ADMIN_FILE_INVALID: the administrator file is not name:salt:hash');
  }
  return { name, salt: Buffer.from(salt, 'base64url'), hash: Buffer.from(hash, 'base64url') };
}

/** What came of a request's credentials. */
export type Verdict = { allowed: true } | { allowed: false; retryAfterS: number | null };

/** Checks credentials and counts failures. */
export class Authenticator {
  readonly #administrator: Administrator;
  readonly #now: () => number;
  readonly #failures = new Map<string, { count: number; sinceMs: number }>();
  /** Keyed digest of the header that was right, so that scrypt runs once a password. */
  readonly #key = randomBytes(32);
  #known: Buffer | null = null;
  /** Checks run one after the other: a burst of guesses meets the counter all the same. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(administrator: Administrator, now: () => number = () => performance.now()) {
    this.#administrator = administrator;
    this.#now = now;
  }

  /** Judges the `Authorization` header of a request from `source`. */
  async check(header: string | undefined, source: string): Promise<Verdict> {
    if (header !== undefined && this.#isKnown(header)) {
      return { allowed: true };
    }
    const verdict = this.#turn.then(() => this.#judge(header, source));
    this.#turn = verdict.catch(() => undefined);
    return verdict;
  }

  async #judge(header: string | undefined, source: string): Promise<Verdict> {
    const waitMs = this.#waitMs(source);
    if (waitMs > 0) {
      return { allowed: false, retryAfterS: Math.ceil(waitMs / 1000) };
    }
    if (header === undefined) {
      return { allowed: false, retryAfterS: null };
    }
    if (await this.#isRight(header)) {
      this.#failures.delete(source);
      return { allowed: true };
    }
    this.#countFailure(source);
    return { allowed: false, retryAfterS: null };
  }

  #digest(header: string): Buffer {
    return createHmac('sha256', this.#key).update(header).digest();
  }

  #isKnown(header: string): boolean {
    return this.#known !== null && timingSafeEqual(this.#digest(header), this.#known);
  }

  async #isRight(header: string): Promise<boolean> {
    if (this.#isKnown(header)) {
      return true;
    }
    const match = /^basic ([A-Za-z0-9+/=]{1,1024})$/i.exec(header);
    const text = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon < 1) {
      return false;
    }
    const { name, salt, hash } = this.#administrator;
    const derived = await derive(text.slice(colon + 1), salt, hashBytes, cost);
    const same = derived.length === hash.length && timingSafeEqual(derived, hash);
    if (same && text.slice(0, colon) === name) {
      this.#known = this.#digest(header);
      return true;
    }
    return false;
  }

  #waitMs(source: string): number {
    const entry = this.#failures.get(source);
    if (entry === undefined) {
      return 0;
    }
    const leftMs = entry.sinceMs + failureWindowMs - this.#now();
    if (leftMs <= 0) {
      this.#failures.delete(source);
      return 0;
    }
    return entry.count >= failuresMax ? leftMs : 0;
  }

  #countFailure(source: string): void {
    const entry = this.#failures.get(source) ?? { count: 0, sinceMs: this.#now() };
    entry.count += 1;
    this.#failures.set(source, entry);
    if (this.#failures.size > addressesMax) {
      const oldest = this.#failures.keys().next().value;
      if (oldest !== undefined) {
        this.#failures.delete(oldest);
      }
    }
  }
}
