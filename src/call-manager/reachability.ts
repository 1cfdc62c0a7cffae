/**
 * Which registered contacts do not answer the engine's OPTIONS. Known on the leader only, and not
 * kept: a new leader finds out by itself.
 */
import type { SipEvent } from '../native/index.ts';

export class Reachability {
  readonly #silent = new Set<string>();

  apply(events: readonly SipEvent[]): void {
    for (const event of events) {
      if (event.type === 'contactReachable') {
        const key = `${event.user} ${event.contact}`;
        if (event.reachable) {
          this.#silent.delete(key);
        } else {
          this.#silent.add(key);
        }
      }
    }
  }

  /** This node leads no more, or begins to. */
  reset(): void {
    this.#silent.clear();
  }

  isSilent(user: string, contact: string): boolean {
    return this.#silent.has(`${user} ${contact}`);
  }
}
