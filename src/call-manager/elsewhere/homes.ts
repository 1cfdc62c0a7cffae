/** From which addresses devices are registered, and whose: a view of `registration:*`. */
import { parseRegistration, registrationKey } from '../../domain/registration.ts';
import type { StoreEvent } from '../../native/index.ts';
import { networkOf } from './guard.ts';

const prefix = registrationKey('');

export class Homes {
  /** User to the networks of its devices. */
  readonly #users = new Map<string, string[]>();
  /** Network to how many users are there. */
  readonly #networks = new Map<string, number>();

  apply(events: readonly StoreEvent[]): void {
    for (const event of events) {
      if (event.type === 'reset') {
        this.#users.clear();
        this.#networks.clear();
      } else if (event.type === 'changed') {
        for (const { key, value } of event.changes) {
          if (key.startsWith(prefix)) {
            this.#set(key.slice(prefix.length), value);
          }
        }
      }
    }
  }

  /** Whether devices of anybody are registered from there. */
  has(address: string): boolean {
    return this.#networks.has(networkOf(address));
  }

  /** Whether devices of this user are. */
  isOf(user: string, address: string): boolean {
    return this.#users.get(user)?.includes(networkOf(address)) ?? false;
  }

  #set(user: string, value: string | null): void {
    const bindings = value === null ? [] : (parseRegistration(value)?.bindings ?? []);
    const now = [...new Set(bindings.map(({ received }) => networkOf(hostOf(received))))];
    for (const network of this.#users.get(user) ?? []) {
      const left = (this.#networks.get(network) ?? 1) - 1;
      if (left === 0) {
        this.#networks.delete(network);
      } else {
        this.#networks.set(network, left);
      }
    }
    for (const network of now) {
      this.#networks.set(network, (this.#networks.get(network) ?? 0) + 1);
    }
    if (now.length === 0) {
      this.#users.delete(user);
    } else {
      this.#users.set(user, now);
    }
  }
}

/** The host of `udp/10.0.0.5:5062` or `tcp/[fd00::1]:5060`. */
function hostOf(received: string): string {
  const address = received.slice(received.indexOf('/') + 1);
  return address.slice(0, Math.max(address.lastIndexOf(':'), 0)).replace(/^\[|\]$/g, '');
}
