/**
 * Accounts of the Redis protocol: the configuration carries salted hashes, never passwords.
 *
 * One round of SHA-256 is right for passwords of 128 random bits and more, which is what
 * `raftpbx store-account` and the lab generate (`crates/store/src/account.rs` says why).
 */
import { createHash, randomBytes } from 'node:crypto';
import { readSecret } from './secrets.ts';

export const storeRoles = ['node', 'operator', 'metrics'] as const;
export type StoreRole = (typeof storeRoles)[number];

/** Who may use the Redis protocol of a server, and how. */
export interface StoreAccount {
  name: string;
  role: StoreRole;
  /** `sha256:SALT:DIGEST`; any of them opens. */
  hashes: string[];
}

const saltBytes = 16;

/** A password of 192 bits that needs no quoting anywhere. */
export function generateStorePassword(): string {
  return randomBytes(24).toString('base64url');
}

/** What the configuration carries in place of a password. */
export function hashStorePassword(password: string): string {
  const salt = randomBytes(saltBytes);
  const digest = createHash('sha256').update(salt).update(password).digest('hex');
  return `sha256:${salt.toString('hex')}:${digest}`;
}

/** The configured accounts; without any, the one the servers themselves use. */
export function storeAccounts(store: {
  user: string;
  passwordFile: string;
  accounts?: StoreAccount[] | undefined;
}): StoreAccount[] {
  if (store.accounts !== undefined) {
    return store.accounts;
  }
  const hashes = [hashStorePassword(readSecret(store.passwordFile))];
  return [{ name: store.user, role: 'node', hashes }];
}
