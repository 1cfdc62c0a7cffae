/**
 * Who sends a request: challenges it and checks the answer, as our own engine does in
 * `crates/sip/src/engine/login.rs`. Owner of: how often each nonce was used.
 */
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import { isInside } from '../../domain/trunk.ts';
import type { Store } from '../../native/index.ts';
import type { SipRequest, SipResponse } from '../../sip/srf.ts';
import { type PasswordDigests, type Verdict, verify } from './credentials.ts';
import { type Attempt, Guard } from './guard.ts';
import type { Homes } from './homes.ts';
import { NonceCounts, Nonces } from './nonces.ts';

/** Where an answer to a challenge is, and how one is asked for. */
export interface Door {
  answer: 'Authorization' | 'Proxy-Authorization';
  challenge: 'WWW-Authenticate' | 'Proxy-Authenticate';
  status: 401 | 407;
}

/** To us as registrar. */
export const registrarDoor: Door = {
  answer: 'Authorization',
  challenge: 'WWW-Authenticate',
  status: 401,
};

/** The way to other users. */
export const proxyDoor: Door = {
  answer: 'Proxy-Authorization',
  challenge: 'Proxy-Authenticate',
  status: 407,
};

export interface LoginOptions {
  realm: string;
  clusterSecret: string;
  /** What challenges offer; an answer with either is taken. */
  digest: 'md5' | 'sha-256-and-md5';
  /** Networks that are never banned. */
  neverBanned: readonly string[];
  store: Store;
  homes: Homes;
  log: Log;
  now(): number;
}

export class Login {
  readonly counts = { challenged: 0, accepted: 0, wrong: 0, replayed: 0 };
  readonly guard: Guard;
  readonly #options: LoginOptions;
  readonly #nonces: Nonces;
  #uses = new NonceCounts();

  constructor(options: LoginOptions) {
    const { store, log, clusterSecret } = options;
    this.#options = options;
    this.#nonces = new Nonces(clusterSecret);
    this.guard = new Guard({
      read: (command) => store.read(command),
      store: (key, ban) => {
        log.warn({ key, until: ban.until }, 'banned');
        const value = JSON.stringify(ban);
        store.execute(['SET', key, value, 'PXAT', ban.until]).catch((error: unknown) => {
          log.error({ error, key }, 'a ban was not committed');
        });
      },
    });
  }

  /** The user whose password the request shows; null when it has been answered. */
  check(door: Door, req: SipRequest, res: SipResponse): string | null {
    const { realm, now } = this.#options;
    const at = now();
    const verdict = verify({
      ...{ value: req.get(door.answer), method: req.method, realm, nowMs: at },
      nonces: this.#nonces,
      digests: (user) => this.#digests(user),
    });
    if (verdict.type === 'missing' || verdict.type === 'stale') {
      this.#challenge(door, req, res, verdict.type === 'stale');
      return null;
    }
    const attempt = this.#attempt(req, verdict.user);
    const isTrusted = isInside(this.#options.neverBanned, attempt.address);
    if (verdict.type === 'wrong') {
      this.counts.wrong += 1;
      if (!isTrusted) {
        this.guard.wrong(attempt, at);
      }
      res.send(403);
      return null;
    }
    if (!isTrusted && this.guard.refuses(attempt, at)) {
      // With the same words as a wrong password.
      res.send(403);
      return null;
    }
    this.guard.right(attempt);
    if (!this.#uses.take(verdict.nonce, verdict.issuedS, useOf(verdict, req), at)) {
      this.counts.replayed += 1;
      this.#challenge(door, req, res, true);
      return null;
    }
    this.counts.accepted += 1;
    return verdict.user;
  }

  #attempt(req: SipRequest, user: string): Attempt {
    const { homes } = this.#options;
    const address = req.source_address;
    return { address, user, isHome: homes.has(address), isOwn: homes.isOf(user, address) };
  }

  #challenge(door: Door, req: SipRequest, res: SipResponse, stale: boolean): void {
    const { realm, digest, now } = this.#options;
    this.counts.challenged += 1;
    const nonce = this.#nonces.issue(now());
    const isAlone = digest === 'md5' || givesUp(req.get('User-Agent'));
    const algorithms = isAlone ? ['MD5'] : ['SHA-256', 'MD5'];
    const values = algorithms.map((algorithm) =>
      [
        `Digest realm="${realm}", nonce="${nonce}", algorithm=${algorithm}, qop="auth"`,
        ...(stale ? ['stale=true'] : []),
      ].join(', '),
    );
    // A header line for each: drachtio-srf knows a header once, and writes its value as it is.
    const value = values.join(`\r\n${door.challenge}: `);
    res.send(door.status, { headers: { [door.challenge]: value } });
  }

  #digests(user: string): PasswordDigests | null {
    const sql = 'SELECT ha1_md5 AS md5, ha1_sha256 AS sha256 FROM users WHERE name = ?';
    return this.#options.store.query<PasswordDigests>(sql, [user])[0] ?? null;
  }
}

/** Devices that fail when SHA-256 stands beside MD5, and those that do not say what they are. */
function givesUp(userAgent: string | undefined): boolean {
  return userAgent === undefined || /^(baresip v[01]\.|sipp)/i.test(userAgent.trim());
}

/** What tells a request from others: equal for a repetition only. */
function useOf({ count }: Extract<Verdict, { type: 'right' }>, req: SipRequest) {
  const branch = /;\s*branch\s*=\s*([^\s;,]+)/i.exec(req.get('Via') ?? '')?.[1] ?? '';
  const request = [req.method, req.get('Call-ID'), req.get('CSeq'), branch].join(' ');
  return { count, request: request.slice(0, limits.requestNameMax) };
}
