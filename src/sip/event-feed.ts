/**
 * Carries the SIP engine's events to call control, which starts after the engine: what happens
 * in between is kept, in order.
 */
import type { SipEvent } from '../native/index.ts';

export class SipEventFeed {
  #waiting: SipEvent[] = [];
  #listener: ((events: SipEvent[]) => void) | null = null;

  /** For `SipEngine.start`: `new SipEventFeed().push` is the listener. */
  readonly push = (events: SipEvent[]): void => {
    if (this.#listener === null) {
      this.#waiting.push(...events);
    } else {
      this.#listener(events);
    }
  };

  /** Delivers what waited, then everything as it comes. */
  attach(listener: (events: SipEvent[]) => void): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#listener = listener;
    if (waiting.length > 0) {
      listener(waiting);
    }
  }
}
