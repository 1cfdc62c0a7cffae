/**
 * Accounts of the Redis protocol: the configuration carries salted hashes, never passwords.
 *
 * One round of SHA-256 is right for passwords of 128 random bits and more, which is what
 * `raftpbx store-account` and the lab generate (`crates/store/src/account.rs` says why).
 */
import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
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

const storeAccount = z.strictObject({
  name: z
    .string()
    .regex(/^[!-~]{1,64}$/, { error: 'is not a word of at most 64 letters' })
    .meta({ example: 'operator' })
    .describe('user name; default serves clients that give a password only'),
  role: z.enum(storeRoles).describe('node does all, operator no harm, metrics looks at INFO'),
  hashes: z
    .array(
      z
        .string()
        .regex(/^sha256:[0-9a-f]{32}:[0-9a-f]{64}$/, { error: 'is not a hash of a password' })
        .meta({ example: `sha256:${'0'.repeat(32)}:${'0'.repeat(64)}` }),
    )
    .max(4, { error: 'has more than four passwords' })
    .describe('hashes of its passwords, from `raftpbx store-account`'),
});

/** The users of the Redis protocol. */
export const storeAccountList = z
  .array(storeAccount)
  .min(1, { error: 'needs at least one account' })
  .max(64, { error: 'has more than 64 accounts' });

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
