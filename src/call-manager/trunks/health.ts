/**
 * Asks the trunks with OPTIONS whether they are there, on the leader. Any answer will do but 408
 * and 5xx, which are also what our engine says when there was none. What was found out is in the
 * store (`trunk-silent:*`), so every node shows it and the next leader begins with it. Owner of:
 * the questions under way, and how many were missed.
 */
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import { accountOf, silentKey, type Trunk } from '../../domain/trunk.ts';
import type { Store } from '../../native/index.ts';
import type { SipResponse, SrfInstance } from '../../sip/srf.ts';
import { identityDomainOf, proxyUriOf } from '../routing/outbound.ts';
import type { TrunkBook } from './book.ts';
import { fromOf } from './exchange.ts';

export interface HealthOptions {
  srf: SrfInstance;
  store: Store;
  book: TrunkBook;
  log: Log;
  /** How often each trunk is asked; 0 never. */
  intervalMs: number;
  now(): number;
}

/** What is known of one trunk. */
interface Watched {
  /** What it was when it was asked: one of the same name may be another. */
  account: string;
  dueAt: number;
  missed: number;
  late: NodeJS.Timeout | null;
}

export class TrunkHealth {
  readonly #options: HealthOptions;
  readonly #watched = new Map<string, Watched>();
  readonly counts = { answered: 0, missed: 0 };
  #leading = false;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  lead(): void {
    this.#leading = this.#options.intervalMs > 0;
  }

  follow(): void {
    this.#leading = false;
    for (const { late } of this.#watched.values()) {
      clearTimeout(late ?? undefined);
    }
    this.#watched.clear();
  }

  /** Asks whom it is time to ask, a few at a time. */
  tick(): void {
    if (!this.#leading) {
      return;
    }
    const trunks = this.#options.book.trunks().filter((one) => one.enabled);
    this.#forget(new Map(trunks.map((one) => [one.name, accountOf(one)])));
    for (const trunk of trunks) {
      const asked = [...this.#watched.values()].filter((one) => one.late !== null);
      if (asked.length >= limits.trunkOptionsMax) {
        return;
      }
      this.#consider(trunk);
    }
  }

  #forget(accounts: ReadonlyMap<string, string>): void {
    for (const [name, { account, late }] of this.#watched) {
      if (accounts.get(name) !== account) {
        clearTimeout(late ?? undefined);
        this.#watched.delete(name);
      }
    }
  }

  #consider(trunk: Trunk): void {
    const now = this.#options.now();
    const fresh = { account: accountOf(trunk), dueAt: now, missed: 0, late: null };
    const watched = this.#watched.get(trunk.name) ?? fresh;
    this.#watched.set(trunk.name, watched);
    if (watched.late === null && watched.dueAt <= now) {
      this.#ask(trunk, watched);
    }
  }

  #ask(trunk: Trunk, watched: Watched): void {
    const { srf } = this.#options;
    const late = setTimeout(() => hear(false), limits.trunkOptionsAnswerMs);
    watched.late = late;
    const hear = (isThere: boolean) => {
      clearTimeout(late);
      if (watched.late === late && this.#watched.get(trunk.name) === watched) {
        watched.late = null;
        this.#heard(trunk.name, watched, isThere);
      }
    };
    const uri = `sip:${identityDomainOf(trunk)}`;
    const headers = { to: `<${uri}>`, from: fromOf(trunk) };
    const options = { method: 'OPTIONS', headers, proxy: proxyUriOf(trunk) };
    try {
      srf.request(uri, options, (error, request) => {
        if (error || request === undefined) {
          hear(false);
          return;
        }
        request.on('response', ({ status }: SipResponse) => {
          if (status >= 200) {
            hear(status !== 408 && status < 500);
          }
        });
      });
    } catch (error) {
      // Thrown when there is no connection to the engine: no news of the trunk.
      this.#options.log.debug({ error, trunk: trunk.name }, 'a trunk could not be asked');
      clearTimeout(late);
      this.#watched.delete(trunk.name);
    }
  }

  #heard(name: string, watched: Watched, isThere: boolean): void {
    const { now, intervalMs, book } = this.#options;
    this.counts[isThere ? 'answered' : 'missed'] += 1;
    watched.missed = isThere ? 0 : watched.missed + 1;
    // After a miss the next question comes soon: calls wait for the answer.
    const pauseMs = isThere ? intervalMs : Math.min(intervalMs, limits.trunkOptionsAnswerMs);
    watched.dueAt = now() + pauseMs;
    const isDown = watched.missed >= limits.trunkMissesMax;
    if (isThere === book.isSilent(name) && (isThere || isDown)) {
      void this.#tell(name, isThere);
    }
  }

  async #tell(name: string, isThere: boolean): Promise<void> {
    const { store, log, now } = this.#options;
    const key = silentKey(name);
    if (isThere) {
      log.info({ trunk: name }, 'the trunk answers OPTIONS again');
    } else {
      log.warn({ trunk: name }, 'the trunk does not answer OPTIONS: others are tried before it');
    }
    try {
      await store.execute(isThere ? ['DEL', key] : ['SET', key, JSON.stringify({ since: now() })]);
    } catch (error) {
      // The next question finds the same.
      log.debug({ error, trunk: name }, 'the health of a trunk was not committed');
    }
  }
}
