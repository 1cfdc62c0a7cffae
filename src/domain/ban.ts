/** Bans: sources the SIP engine does not listen to. It begins them, an operator lifts them. */
import { isIP } from 'node:net';

export interface Ban {
  /** An IPv4 address, or the first address of an IPv6 /64. */
  address: string;
  /** Only requests in this name, where devices are registered from the address. */
  user: string | null;
  /** Unix milliseconds. */
  since: number;
  until: number;
  /** How many bans there were in a row. */
  times: number;
}

export const banPrefix = 'sip:ban:';

/** Parses the value of `sip:ban:{...}`; null when it is not one. */
export function parseBan(text: string): Ban | null {
  try {
    const value = JSON.parse(text) as Partial<Ban> | null;
    const { address, user, since, until, times } = value ?? {};
    const numbers = [since, until, times].every((one) => typeof one === 'number');
    if (typeof address !== 'string' || !numbers) {
      return null;
    }
    return { ...(value as Ban), user: user ?? null };
  } catch (error) {
    if (error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
}

/** Whether `address` lies in what a ban covers. */
export function isBannedBy(ban: Ban, address: string): boolean {
  if (isIP(address) !== 6) {
    return ban.address === address;
  }
  return network64(ban.address) === network64(address);
}

/** The first four groups of an IPv6 address, all written out. */
function network64(address: string): string {
  if (isIP(address) !== 6) {
    return address;
  }
  const [head = '', tail] = address.toLowerCase().split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
