/**
 * Digest authentication (RFC 7616, RFC 8760), MD5 and SHA-256: what challenges and answers have in
 * common, and our answers to challenges of others. Pure. Not those of
 * drachtio-srf, which knows MD5 alone and reads `qop="auth,auth-int"` as one word.
 */
import { createHash } from 'node:crypto';

export interface Challenge {
  /** Header of the answer. */
  answerHeader: 'Authorization' | 'Proxy-Authorization';
  realm: string;
  nonce: string;
  algorithm: 'MD5' | 'SHA-256';
  /** `auth` offered; without it the old form of RFC 2069 is meant. */
  qop: boolean;
  opaque: string | null;
  stale: boolean;
}

export interface Credentials {
  user: string;
  password: string;
}

export interface DigestRequest {
  method: string;
  uri: string;
  /** Ours, unguessable. */
  cnonce: string;
  /** How often this nonce was answered, from 1. */
  count: number;
}

const headers = [
  { pattern: /^www-authenticate$/i, answerHeader: 'Authorization' },
  { pattern: /^proxy-authenticate$/i, answerHeader: 'Proxy-Authorization' },
] as const;

/** The strongest challenge of a 401 or 407 that we can answer; null when there is none. */
export function challengeOf(message: string): Challenge | null {
  const head = message.split('\r\n\r\n')[0] ?? '';
  const lines = head.replace(/\r\n[ \t]+/g, ' ').split('\r\n');
  const found = lines.flatMap((line) => {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).trim();
    const header = headers.find(({ pattern }) => pattern.test(name));
    const parts = header === undefined ? [] : splitDigests(line.slice(colon + 1));
    return parts.flatMap((part) => parse(part, header?.answerHeader ?? 'Authorization') ?? []);
  });
  return found.find(({ algorithm }) => algorithm === 'SHA-256') ?? found[0] ?? null;
}

/** The values of a header that carries several, each behind the word `Digest`. */
export function splitDigests(value: string): string[] {
  return value.split(/(?:^|,)\s*digest\s+/i);
}

/** The fields of a challenge or an answer, as they stand there; names in lower case. */
export function digestFields(text: string): Map<string, string> {
  const found = text.matchAll(/([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g);
  return new Map(
    [...found].map(([, name = '', quoted, plain = '']) => [name.toLowerCase(), quoted ?? plain]),
  );
}

/** What an answer is proved by (RFC 7616 section 3.4.1); `qop` null is the form of RFC 2069. */
export interface DigestProof {
  algorithm: Challenge['algorithm'];
  nonce: string;
  qop: string | null;
  /** Eight hexadecimal digits. */
  nc: string;
  cnonce: string;
  method: string;
  uri: string;
}

export function digestHash(algorithm: Challenge['algorithm'], text: string): string {
  return createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
    .update(text)
    .digest('hex');
}

/** The response for a hash of user, realm and password. */
export function digestResponse(ha1: string, proof: DigestProof): string {
  const { algorithm, nonce, qop, nc, cnonce, method, uri } = proof;
  const middle = qop === null ? nonce : `${nonce}:${nc}:${cnonce}:${qop}`;
  return digestHash(algorithm, `${ha1}:${middle}:${digestHash(algorithm, `${method}:${uri}`)}`);
}

function parse(text: string, answerHeader: Challenge['answerHeader']): Challenge | null {
  const values = digestFields(text);
  const [realm, nonce] = [values.get('realm'), values.get('nonce')];
  const algorithm = (values.get('algorithm') ?? 'MD5').toUpperCase();
  const qops =
    values
      .get('qop')
      ?.toLowerCase()
      .split(/\s*,\s*/) ?? null;
  const isKnown = algorithm === 'MD5' || algorithm === 'SHA-256';
  if (realm === undefined || nonce === undefined || !isKnown || qops?.includes('auth') === false) {
    return null;
  }
  return {
    ...{ answerHeader, realm, nonce, algorithm, qop: qops !== null },
    opaque: values.get('opaque') ?? null,
    stale: values.get('stale')?.toLowerCase() === 'true',
  };
}

/** The value of the header that answers. */
export function answerTo(
  challenge: Challenge,
  { user, password }: Credentials,
  { method, uri, cnonce, count }: DigestRequest,
): string {
  const { realm, nonce, algorithm, opaque, qop } = challenge;
  const nc = count.toString(16).padStart(8, '0');
  // Quoted as they were heard: the hash is of what they stand for.
  const plain = (text: string) => text.replace(/\\(.)/g, '$1');
  const ha1 = digestHash(algorithm, `${user}:${plain(realm)}:${password}`);
  const proof = { algorithm, nonce: plain(nonce), qop: qop ? 'auth' : null, nc, cnonce };
  const response = digestResponse(ha1, { ...proof, method, uri });
  return [
    `Digest username="${user}"`,
    ...[`realm="${realm}"`, `nonce="${nonce}"`, `uri="${uri}"`, `response="${response}"`],
    `algorithm=${algorithm}`,
    ...(opaque === null ? [] : [`opaque="${opaque}"`]),
    ...(qop ? ['qop=auth', `nc=${nc}`, `cnonce="${cnonce}"`] : []),
  ].join(', ');
}
