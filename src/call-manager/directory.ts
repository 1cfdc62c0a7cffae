/** What call control looks up in this node's own copy of the store: users and their devices. */

import type { CdrResult } from '../domain/cdr.ts';
import { type Binding, reachable } from '../domain/registration.ts';
import { cleanDisplayName } from '../domain/user.ts';
import type { Store } from '../native/index.ts';
import { registrationOf } from './registrations.ts';

export class Directory {
  readonly #store: Store;
  readonly #isSilent: (user: string, contact: string) => boolean;

  constructor(store: Store, isSilent: (user: string, contact: string) => boolean = () => false) {
    this.#store = store;
    this.#isSilent = isSilent;
  }

  /** Name to show to the called party; null when there is no such user. */
  displayName(user: string): string | null {
    const rows = this.#store.query<{ display_name: string }>(
      'SELECT display_name FROM users WHERE name = ?',
      [user],
    );
    const row = rows[0];
    return row === undefined ? null : cleanDisplayName(row.display_name);
  }

  /** Devices that can be rung now. Those that do not answer are left out, unless none does. */
  devices(user: string, now: number): Binding[] {
    const registration = registrationOf(this.#store, user);
    const all = registration === null ? [] : reachable(registration, now);
    const heard = all.filter((one) => !this.#isSilent(user, one.contact));
    return heard.length === 0 ? all : heard;
  }

  /** How a call ended whose end is committed. */
  resultOf(callId: string): CdrResult | null {
    const rows = this.#store.query<{ result: CdrResult }>('SELECT result FROM cdrs WHERE id = ?', [
      callId,
    ]);
    return rows[0]?.result ?? null;
  }
}
