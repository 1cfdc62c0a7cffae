/**
 * Sessions on media servers whose call has ended, because the command to delete them was lost
 * or its sender died. A server is asked only for our own sessions that are silent, so one that
 * other programs use, too, is left alone by us, and so is a real rtpengine. What two rounds in
 * a row found without a call is deleted.
 */
import type { Log } from '../domain/log.ts';

export interface LeftoverOptions {
  /** The media servers that are up. */
  servers: () => readonly { name: string; ng: string }[];
  /** Call-ids of our silent sessions there. */
  list: (ng: string) => Promise<readonly string[]>;
  delete: (ng: string, callId: string) => Promise<void>;
  /** Whether there is such a call. */
  isKnown: (callId: string) => boolean;
  /** Whether this node leads: the others do not know all calls. */
  leads: () => boolean;
  log: Log;
}

export class Leftovers {
  readonly #options: LeftoverOptions;
  #suspects = new Set<string>();
  #running = false;
  /** Sessions deleted, counted for metrics. */
  deleted = 0;

  constructor(options: LeftoverOptions) {
    this.#options = options;
  }

  /** One round; never rejects. A round that finds the one before under way does nothing. */
  async run(): Promise<void> {
    if (this.#running) {
      return;
    }
    this.#running = true;
    const seen = new Set<string>();
    for (const server of this.#options.servers()) {
      await this.#sweep(server, seen);
    }
    this.#suspects = this.#options.leads() ? seen : new Set();
    this.#running = false;
  }

  async #sweep({ name, ng }: { name: string; ng: string }, seen: Set<string>): Promise<void> {
    const { isKnown, leads, log } = this.#options;
    try {
      for (const callId of await this.#options.list(ng)) {
        const key = `${name} ${callId}`;
        if (!leads() || isKnown(callId)) {
          continue;
        }
        if (!this.#suspects.has(key)) {
          seen.add(key);
          continue;
        }
        log.warn({ call: callId, server: name }, 'media session of no call is ended');
        await this.#options.delete(ng, callId);
        this.deleted += 1;
      }
    } catch (error) {
      // Mostly it does not answer: the next round asks again.
      log.debug({ server: name, error: String(error) }, 'media server does not tell its sessions');
    }
  }
}
