/**
 * Seals secrets that have to be read again, such as a provider's password: AES-256-GCM with a key
 * from the cluster secret, which is in a file and not in the log. Pure, but for the nonce.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const nonceBytes = 12;
const tagBytes = 16;
const version = 'v1.';

export type SealingKey = Buffer;

export function sealingKey(clusterSecret: string): SealingKey {
  return Buffer.from(hkdfSync('sha256', clusterSecret, '', 'raftpbx trunk passwords', 32));
}

/** By what media servers tell our sessions from those of others; says nothing of the secret. */
export function mediaOwner(clusterSecret: string): string {
  return Buffer.from(hkdfSync('sha256', clusterSecret, '', 'raftpbx media owner', 16)).toString(
    'hex',
  );
}

/** `owner` is bound to the text: sealed for one trunk, it opens for no other. */
export function seal(key: SealingKey, owner: string, text: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.from(owner));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return version + Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64');
}

/** Null when it was sealed with another key, for another owner, or is not sealed at all. */
export function unseal(key: SealingKey, owner: string, sealed: string): string | null {
  const bytes = Buffer.from(sealed.slice(version.length), 'base64');
  if (!sealed.startsWith(version) || bytes.length < nonceBytes + tagBytes) {
    return null;
  }
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes));
  decipher.setAAD(Buffer.from(owner));
  decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  try {
    const rest = bytes.subarray(nonceBytes + tagBytes);
    return Buffer.concat([decipher.update(rest), decipher.final()]).toString('utf8');
  } catch {
    // The tag does not fit; the library says no more either.
    return null;
  }
}
