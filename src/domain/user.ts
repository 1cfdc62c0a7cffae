/** Users and their digest credentials. Pure. */
import { createHash } from 'node:crypto';
import { fail, type Result, succeed } from './errors.ts';

export interface User {
  name: string;
  displayName: string;
  /** Hex of MD5 of `name:realm:password`, RFC 7616 section 3.4.2. */
  ha1Md5: string;
  /** The same with SHA-256. */
  ha1Sha256: string;
  /** Unix milliseconds. */
  createdAt: number;
}

/** A row of the table `users`, without its secrets. */
export interface UserRow {
  name: string;
  display_name: string;
  created_at: number;
}

/** Characters that need no escaping in a SIP URI, so a name is spelled the same everywhere. */
const namePattern = /^[A-Za-z0-9._+-]{1,64}$/;
const passwordPattern = /^[\x20-\x7e]{1,128}$/;

export function isUserName(text: string): boolean {
  return namePattern.test(text);
}

/** The two password digests of a user; the password itself is kept nowhere. */
export function digestCredentials(
  name: string,
  realm: string,
  password: string,
): { ha1Md5: string; ha1Sha256: string } {
  const secret = `${name}:${realm}:${password}`;
  return {
    ha1Md5: createHash('md5').update(secret).digest('hex'),
    ha1Sha256: createHash('sha256').update(secret).digest('hex'),
  };
}

/** Checks the name and the password and derives the user. */
export function createUser(
  wanted: { name: string; password: string; displayName?: string },
  realm: string,
  createdAt: number,
): Result<User> {
  if (!isUserName(wanted.name)) {
    return fail('PBX_USER_NAME_INVALID', `'${wanted.name.slice(0, 80)}'`);
  }
  if (!passwordPattern.test(wanted.password)) {
    return fail('PBX_PASSWORD_INVALID', `user '${wanted.name}'`);
  }
  return succeed({
    name: wanted.name,
    displayName: cleanDisplayName(wanted.displayName ?? wanted.name),
    ...digestCredentials(wanted.name, realm, wanted.password),
    createdAt,
  });
}

/** Leaves nothing that could end a quoted string or a header line. */
export function cleanDisplayName(text: string): string {
  return text
    .replace(/[\p{Cc}"\\]/gu, '')
    .trim()
    .slice(0, 64);
}
