/** Digest answers (RFC 3261 section 22, RFC 8760), computed apart from the product's own. */
import { createHash, randomBytes } from 'node:crypto';

export type DigestAlgorithm = 'MD5' | 'SHA-256';

export interface Credentials {
  user: string;
  password: string;
  algorithm: DigestAlgorithm;
}

/**
 * The Authorization value for one of `challenges`. Prefers the challenge of the wanted
 * algorithm; a server that challenges with one only is answered with ours all the same.
 */
export function answer(
  challenges: string[],
  credentials: Credentials,
  method: string,
  uri: string,
): string {
  const { user, password, algorithm } = credentials;
  const challenge =
    challenges.find((c) => parameter(c, 'algorithm').toUpperCase() === algorithm) ??
    challenges[0] ??
    '';
  const hash = (text: string) =>
    createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
      .update(text)
      .digest('hex');
  const realm = parameter(challenge, 'realm');
  const nonce = parameter(challenge, 'nonce');
  const opaque = parameter(challenge, 'opaque');
  const cnonce = randomBytes(8).toString('hex');
  const ha1 = hash(`${user}:${realm}:${password}`);
  const ha2 = hash(`${method}:${uri}`);
  const response = hash(`${ha1}:${nonce}:00000001:${cnonce}:auth:${ha2}`);
  const fields = [
    `Digest username="${user}"`,
    `realm="${realm}"`,
    `nonce="${nonce}"`,
    `uri="${uri}"`,
    `response="${response}"`,
    `algorithm=${algorithm}`,
    'qop=auth',
    'nc=00000001',
    `cnonce="${cnonce}"`,
  ];
  return [...fields, ...(opaque === '' ? [] : [`opaque="${opaque}"`])].join(', ');
}

function parameter(challenge: string, name: string): string {
  const found = new RegExp(`[ ,]${name}=(?:"([^"]*)"|([^",\\s]+))`, 'i').exec(challenge);
  return found?.[1] ?? found?.[2] ?? '';
}
