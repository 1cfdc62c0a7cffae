/**
 * Who guesses passwords, and for how long nobody listens to them: the rules of our own engine
 * (`crates/sip/src/defence.rs`), as far as requests that have reached us allow. A ban is a key of
 * the store with an expiry, so the next leader goes on with it and deleting it lifts it.
 *
 * Owner of: the scores, on the leader only.
 */
import { type Ban, banPrefix, parseBan } from '../../domain/ban.ts';
import { limits } from '../../domain/limits.ts';
import type { Command, Reply } from '../../native/index.ts';

export interface Attempt {
  address: string;
  user: string;
  /** Devices of users are registered from this address: only the pair is banned. */
  isHome: boolean;
  /** Devices of this very user are. */
  isOwn: boolean;
}

interface Score {
  wrongs: number;
  lastAt: number;
  bans: number;
}

export interface GuardOptions {
  read(command: Command): Reply;
  /** Stores a ban until it ends; never rejects. */
  store(key: string, ban: Ban): void;
}

export class Guard {
  readonly counts = { banned: 0, refused: 0 };
  readonly #options: GuardOptions;
  #parties = new Map<string, Score>();
  #users = new Map<string, Score>();

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** This node leads no more, or begins to. */
  reset(): void {
    this.#parties.clear();
    this.#users.clear();
  }

  /** Whether an answer to a challenge is refused, right or wrong. */
  refuses(attempt: Attempt, at: number): boolean {
    const waits = !attempt.isOwn && this.#waits(attempt.user, at);
    const isRefused = waits || this.#isBanned(partyOf(attempt), at);
    this.counts.refused += isRefused ? 1 : 0;
    return isRefused;
  }

  /** A wrong password, or a user that is not there. */
  wrong(attempt: Attempt, at: number): void {
    // What is refused anyway does not make the wait longer, or it would never end.
    if (!this.#waits(attempt.user, at)) {
      scoreOf(this.#users, attempt.user, at);
    }
    const key = partyOf(attempt);
    const score = scoreOf(this.#parties, key, at);
    if (score.wrongs < limits.wrongsMax) {
      return;
    }
    score.wrongs = 0;
    score.bans += 1;
    const lengthMs = Math.min(limits.banMsMin * 2 ** (score.bans - 1), limits.banMsMax);
    const user = attempt.isHome ? attempt.user : null;
    const address = networkOf(attempt.address);
    this.counts.banned += 1;
    this.#options.store(key, { address, user, since: at, until: at + lengthMs, times: score.bans });
  }

  right(attempt: Attempt): void {
    this.#parties.delete(partyOf(attempt));
    if (attempt.isOwn) {
      this.#users.delete(attempt.user);
    }
  }

  #isBanned(key: string, at: number): boolean {
    const value = this.#options.read(['GET', key]);
    const ban = typeof value === 'string' ? parseBan(value) : null;
    return ban !== null && ban.until > at;
  }

  /** Whether strangers have to wait before they may try this user's password again. */
  #waits(user: string, at: number): boolean {
    const score = this.#users.get(user);
    const over = (score?.wrongs ?? 0) - limits.userWrongsFree;
    const waitMs = Math.min(1_000 * 2 ** Math.min(over, 16), limits.userWaitMsMax);
    return over > 0 && at < (score?.lastAt ?? 0) + waitMs;
  }
}

/** One more wrong password of a party; the oldest parties are forgotten when they are too many. */
function scoreOf(scores: Map<string, Score>, key: string, at: number): Score {
  const before = scores.get(key) ?? { wrongs: 0, lastAt: 0, bans: 0 };
  const counts = at - before.lastAt <= limits.wrongWindowMs;
  const score = { ...before, wrongs: (counts ? before.wrongs : 0) + 1, lastAt: at };
  scores.delete(key);
  scores.set(key, score);
  const [oldest] = scores.keys();
  if (scores.size > limits.scoresMax && oldest !== undefined) {
    scores.delete(oldest);
  }
  return score;
}

/** The key of a ban. */
function partyOf({ address, user, isHome }: Attempt): string {
  return `${banPrefix}${networkOf(address)}${isHome ? `/${user}` : ''}`;
}

/** What one party controls: an IPv4 address, or the first address of an IPv6 /64. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').toLowerCase();
  if (!plain.includes(':')) {
    return plain;
  }
  const [head = '', tail] = plain.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length);
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after].slice(0, 4);
  // As the engine writes it: no zeros in front, and none at the end of the network.
  const short = groups.map((group) => Number.parseInt(group || '0', 16).toString(16));
  while (short.at(-1) === '0') {
    short.pop();
  }
  return `${short.join(':')}::`;
}
