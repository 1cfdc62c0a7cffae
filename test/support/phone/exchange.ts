/**
 * Client transactions of the test phone (RFC 3261 section 17.1): a request is repeated
 * after 0.5 s, 1 s, 2 s ... until answered, and every copy is counted, because the number
 * of copies is what a phone user pays when a leader dies.
 */
import { performance } from 'node:perf_hooks';
import { branchOf, methodOf, type SipMessage, serialise, statusOf } from './message.ts';

/** How a request ended; status 408 with no response when nobody answered in 32 s. */
export interface Outcome {
  status: number;
  response: SipMessage | null;
  /** Copies sent, 1 when no retransmission was needed. */
  sent: number;
  tookMs: number;
}

interface Open {
  text: string;
  invite: boolean;
  sent: number;
  startedAt: number;
  waitMs: number;
  provisional: ((response: SipMessage) => void) | null;
  proceeding: boolean;
  timer: NodeJS.Timeout | null;
  resolve: (outcome: Outcome) => void;
}

const t1Ms = 500;
const t2Ms = 4000;
const giveUpMs = 32_000;

export class Exchange {
  readonly #open = new Map<string, Open>();
  readonly #reliable: boolean;

  /** A reliable transport repeats nothing. */
  constructor(reliable: boolean) {
    this.#reliable = reliable;
  }

  /** Sends with `send` until a final response; `provisional` sees each 1xx. */
  request(
    message: SipMessage,
    send: (text: string) => void,
    provisional: ((response: SipMessage) => void) | null = null,
  ): Promise<Outcome> {
    return new Promise((resolve) => {
      const open: Open = {
        text: serialise(message),
        invite: methodOf(message) === 'INVITE',
        sent: 0,
        startedAt: performance.now(),
        waitMs: t1Ms,
        provisional,
        proceeding: false,
        timer: null,
        resolve,
      };
      this.#open.set(keyOf(message), open);
      this.#transmit(keyOf(message), open, send);
    });
  }

  #transmit(key: string, open: Open, send: (text: string) => void): void {
    const age = performance.now() - open.startedAt;
    if (age >= giveUpMs && !(open.invite && open.proceeding)) {
      this.#finish(key, open, null);
      return;
    }
    if (open.sent === 0 || (!this.#reliable && !(open.invite && open.proceeding))) {
      send(open.text);
      open.sent += 1;
    }
    open.timer = setTimeout(() => this.#transmit(key, open, send), open.waitMs);
    open.waitMs = open.invite ? open.waitMs * 2 : Math.min(open.waitMs * 2, t2Ms);
  }

  /** Takes a response; false when no open request waits for it. */
  handle(response: SipMessage): boolean {
    const key = keyOf(response);
    const open = this.#open.get(key);
    if (open === undefined) {
      return false;
    }
    if (statusOf(response) < 200) {
      open.proceeding = true;
      open.provisional?.(response);
    } else {
      this.#finish(key, open, response);
    }
    return true;
  }

  #finish(key: string, open: Open, response: SipMessage | null): void {
    this.#open.delete(key);
    if (open.timer !== null) {
      clearTimeout(open.timer);
    }
    open.resolve({
      status: response === null ? 408 : statusOf(response),
      response,
      sent: open.sent,
      tookMs: Math.round(performance.now() - open.startedAt),
    });
  }

  close(): void {
    for (const [key, open] of this.#open) {
      this.#finish(key, open, null);
    }
  }
}

function keyOf(message: SipMessage): string {
  return `${branchOf(message)} ${methodOf(message)}`;
}
