/**
 * Registers the trunks at their providers, on the leader, and takes away those that are out of
 * use. Deadlines are in the store (`trunk:*`, `trunk-left:*`): a new leader finds due only what
 * was due anyway, and a few at a time. Owner of: the REGISTERs under way.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import {
  accountOf,
  networksOf,
  peerKey,
  type Trunk,
  type TrunkState,
  trunkKey,
} from '../../domain/trunk.ts';
import type { Command, Store } from '../../native/index.ts';
import type { SrfInstance } from '../../sip/srf.ts';
import type { TrunkBook } from './book.ts';
import { register } from './exchange.ts';
import {
  type Attempt,
  afterAttempt,
  afterLeaving,
  keepLeft,
  leavingState,
  newState,
} from './registration.ts';

export interface RegistrarOptions {
  srf: SrfInstance;
  store: Store;
  book: TrunkBook;
  log: Log;
  now(): number;
}

/** What is to be done for a trunk, by the key of its state. */
interface Job {
  key: string;
  trunk: Trunk;
  state: TrunkState;
  /** The trunk was removed: there is no row any more. */
  isLeft: boolean;
}

/** A REGISTER under way. */
interface Running {
  late: NodeJS.Timeout;
  account: string;
  isLeaving: boolean;
}

export class TrunkRegistrar {
  readonly #options: RegistrarOptions;
  readonly #running = new Map<string, Running>();
  /** Keys that were asked for in this leadership: their CSeq goes on by one. */
  readonly #begun = new Set<string>();
  readonly counts = { registered: 0, failed: 0, left: 0 };
  #leading = false;

  constructor(options: RegistrarOptions) {
    this.#options = options;
  }

  lead(): void {
    this.#leading = true;
  }

  /** Another node leads, or the engine is gone: what is under way there is not ours to hear. */
  follow(): void {
    this.#leading = false;
    this.#begun.clear();
    for (const { late } of this.#running.values()) {
      clearTimeout(late);
    }
    this.#running.clear();
  }

  /** Sends what is due. */
  tick(): void {
    if (!this.#leading) {
      return;
    }
    const { book, now } = this.#options;
    const trunks = book.trunks().filter((trunk) => trunk.mode === 'register');
    for (const job of [...this.#left(trunks), ...this.#present(trunks)]) {
      if (this.#running.size >= limits.trunkRegistersMax) {
        return;
      }
      if (job.state.dueAt <= now() && !this.#isHeld(job)) {
        this.#register(job);
      }
    }
  }

  /** Under way already; or its account is, and one of the two takes it away: they might cross. */
  #isHeld({ key, trunk, state }: Job): boolean {
    const account = accountOf(trunk);
    const crosses = (one: Running) =>
      one.account === account && (one.isLeaving || state.leaving === true);
    return this.#running.has(key) || [...this.#running.values()].some(crosses);
  }

  #present(trunks: readonly Trunk[]): Job[] {
    const { book, now } = this.#options;
    return trunks.flatMap((trunk) => {
      const known = book.state(trunk.name);
      const state = known ?? newState(randomUUID(), now());
      const isWanted = trunk.enabled || known?.leaving === true;
      return isWanted ? [{ key: trunkKey(trunk.name), trunk, state, isLeft: false }] : [];
    });
  }

  /** Trunks that were removed. An account that is in use again is the new trunk's. */
  #left(trunks: readonly Trunk[]): Job[] {
    const { book, store, log } = this.#options;
    const inUse = new Set(trunks.filter((one) => one.enabled).map(accountOf));
    return book.left().flatMap(({ key, trunk, state }) => {
      if (!inUse.has(accountOf(trunk))) {
        return [{ key, trunk, state, isLeft: true }];
      }
      store.execute(['DEL', key]).catch((error: unknown) => {
        log.debug({ error, trunk: trunk.name }, 'a removed trunk is still remembered');
      });
      return [];
    });
  }

  #register(job: Job): void {
    const { book, now, srf } = this.#options;
    const { key, trunk, state } = job;
    const jump = this.#begun.has(key) ? 1 : limits.trunkCseqJump;
    this.#begun.add(key);
    let cseq = state.cseq + jump;
    const silent: Attempt = { type: 'failed', reason: 'no answer' };
    const late = setTimeout(() => finish(silent), limits.trunkAnswerMs);
    const isLeaving = state.leaving === true;
    const running = { late, account: accountOf(trunk), isLeaving };
    this.#running.set(key, running);
    const finish = (attempt: Attempt) => {
      clearTimeout(late);
      if (this.#running.get(key) === running) {
        void this.#finish(job, attempt, { at: now(), cseq }).finally(() => {
          if (this.#running.get(key) === running) {
            this.#running.delete(key);
          }
        });
      }
    };
    const credentials = book.credentials(trunk);
    if (credentials === null) {
      finish({ type: 'failed', reason: 'the password cannot be read: add the trunk again' });
      return;
    }
    register(srf, { trunk, state, credentials, cseq }, (attempt, sent) => {
      cseq = sent;
      finish(attempt);
    });
  }

  #finish(job: Job, attempt: Attempt, heard: { at: number; cseq: number }): Promise<void> {
    return job.state.leaving ? this.#hasLeft(job, attempt, heard) : this.#has(job, attempt, heard);
  }

  async #hasLeft(job: Job, attempt: Attempt, heard: { at: number; cseq: number }): Promise<void> {
    const { key, trunk, state } = job;
    const next = afterLeaving(trunk.name, state, attempt, heard);
    this.counts.left += Number(attempt.type === 'gone');
    if (attempt.type !== 'gone') {
      const known = { trunk: trunk.name, attempt, again: next !== null };
      this.#options.log.warn(known, 'a provider was not told that a trunk is out of use');
    }
    if (job.isLeft) {
      await this.#commit(trunk.name, [next === null ? ['DEL', key] : keepLeft(trunk, next)]);
    } else if (this.#options.book.trunk(trunk.name)?.enabled === false) {
      const change: Command = next === null ? ['DEL', key] : ['SET', key, JSON.stringify(next)];
      await this.#commit(trunk.name, [change]);
    }
  }

  async #has(
    job: Job,
    attempt: Attempt,
    { at, cseq }: { at: number; cseq: number },
  ): Promise<void> {
    const { log, book } = this.#options;
    const { key, trunk, state: before } = job;
    const { name } = trunk;
    const state = afterAttempt(name, before, attempt, { at, cseq });
    const isWell = attempt.type === 'registered';
    this.counts[isWell ? 'registered' : 'failed'] += 1;
    if (isWell) {
      log.debug({ trunk: name, until: state.registeredUntil }, 'trunk registered');
    } else {
      const { reason, dueAt } = state;
      log.warn({ trunk: name, reason, againInMs: dueAt - at }, 'trunk not registered');
    }
    const now = book.trunk(name);
    const left = now === null && isWell ? leavingState(state, at) : null;
    if (left !== null) {
      // It was removed meanwhile.
      await this.#commit(name, [keepLeft(trunk, left)]);
    }
    // Changed meanwhile, its new state is not touched.
    if (now?.enabled !== true) {
      return;
    }
    const commands: Command[] = [['SET', key, JSON.stringify(state)]];
    if (isWell && state.address !== before.address) {
      const networks = networksOf(trunk, state.address);
      commands.push(['SET', peerKey(name), JSON.stringify({ networks })]);
    }
    await this.#commit(name, commands);
  }

  async #commit(name: string, commands: readonly Command[]): Promise<void> {
    const { store, log } = this.#options;
    if (!this.#leading) {
      return;
    }
    try {
      await store.transaction(commands);
    } catch (error) {
      log.error({ error, trunk: name }, 'the state of a trunk was not committed');
      // It is due still: it waits here, so that no REGISTER leaves at every tick.
      await delay(limits.trunkRetryMs, undefined, { ref: false });
    }
  }
}
