/** Checks answers to our challenges (RFC 7616, RFC 8760): MD5 and SHA-256. Pure. */
import { timingSafeEqual } from 'node:crypto';
import { limits } from '../../domain/limits.ts';
import { digestFields, digestResponse, splitDigests } from '../../sip/digest.ts';
import type { Nonces } from './nonces.ts';

/** What the table of users has of a password. */
export interface PasswordDigests {
  md5: string;
  sha256: string;
}

export type Verdict =
  | { type: 'right'; user: string; nonce: string; issuedS: number; count: number }
  /** The password is right, the nonce too old. */
  | { type: 'stale' }
  /** No answer to a challenge of this realm. */
  | { type: 'missing' }
  /** A wrong password or an unknown user, which look the same from outside. */
  | { type: 'wrong'; user: string };

export interface Question {
  /** Value of Authorization or Proxy-Authorization; several stand behind each other. */
  value: string | undefined;
  method: string;
  realm: string;
  nowMs: number;
  nonces: Nonces;
  /** Null for an unknown user. */
  digests(user: string): PasswordDigests | null;
}

/** Stands for a user who is not there: its check takes as long and always fails. */
const decoy: PasswordDigests = { md5: '-'.repeat(32), sha256: '-'.repeat(64) };

export function verify({ value, method, realm, nowMs, nonces, digests }: Question): Verdict {
  const text = (value ?? '').slice(0, limits.headerCharactersMax);
  const answers = splitDigests(text).map(parse);
  const answer = answers.find((one) => one?.realm === realm);
  if (!answer) {
    return { type: 'missing' };
  }
  const { username: user, nonce } = answer;
  const known = digests(user);
  const isRight = matches(answer, method, known ?? decoy) && known !== null;
  const issuedS = nonces.issuedS(nonce, nowMs);
  const count = answer.qop === null ? 1 : countOf(answer.nc);
  if (issuedS === null || count === null) {
    return { type: isRight ? 'stale' : 'missing' };
  }
  return isRight ? { type: 'right', user, nonce, issuedS, count } : { type: 'wrong', user };
}

interface Answer {
  realm: string;
  username: string;
  nonce: string;
  uri: string;
  response: string;
  algorithm: string;
  qop: string | null;
  nc: string;
  cnonce: string;
}

function parse(text: string): Answer | null {
  const values = digestFields(text);
  const of = (name: string) => values.get(name) ?? '';
  const isComplete = ['username', 'nonce', 'uri', 'response'].every((name) => of(name) !== '');
  return isComplete
    ? {
        ...{ realm: of('realm'), username: of('username').replaceAll('\\', '') },
        ...{ nonce: of('nonce'), uri: of('uri'), response: of('response') },
        ...{ algorithm: (values.get('algorithm') ?? 'MD5').toUpperCase() },
        ...{ qop: values.get('qop') ?? null, nc: of('nc'), cnonce: of('cnonce') },
      }
    : null;
}

function matches(answer: Answer, method: string, digests: PasswordDigests): boolean {
  const { algorithm, qop, response } = answer;
  if (algorithm !== 'MD5' && algorithm !== 'SHA-256') {
    return false;
  }
  if (qop !== null && qop.toLowerCase() !== 'auth') {
    return false;
  }
  const ha1 = algorithm === 'MD5' ? digests.md5 : digests.sha256;
  const expected = Buffer.from(digestResponse(ha1, { ...answer, algorithm, method }));
  const given = Buffer.from(response.toLowerCase());
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** Eight hexadecimal digits, fewer of phones that leave zeros away; zero counts nothing. */
function countOf(nc: string): number | null {
  const count = /^[0-9a-f]{1,8}$/i.test(nc) ? Number.parseInt(nc, 16) : 0;
  return count > 0 ? count : null;
}
