/**
 * Registers the trunks at their providers, on the leader. Deadlines are in the store (`trunk:*`):
 * a new leader finds due only what was due anyway, and a few at a time. Owner of: the REGISTERs
 * under way.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { limits } from '../../domain/limits.ts';
import type { Log } from '../../domain/log.ts';
import { networksOf, peerKey, type Trunk, type TrunkState, trunkKey } from '../../domain/trunk.ts';
import type { Command, Store } from '../../native/index.ts';
import { headersAgain } from '../../sip/challenged.ts';
import type { Credentials } from '../../sip/digest.ts';
import type { SipRequest, SipResponse, SrfInstance } from '../../sip/srf.ts';
import { identityDomainOf, proxyUriOf } from '../routing/outbound.ts';
import type { TrunkBook } from './book.ts';
import { type Attempt, afterAttempt, grantedS, newState } from './registration.ts';

export interface RegistrarOptions {
  srf: SrfInstance;
  store: Store;
  book: TrunkBook;
  log: Log;
  now(): number;
}

export class TrunkRegistrar {
  readonly #options: RegistrarOptions;
  readonly #running = new Map<string, NodeJS.Timeout>();
  /** Trunks that were asked for in this leadership: their CSeq goes on by one. */
  readonly #begun = new Set<string>();
  readonly counts = { registered: 0, failed: 0 };
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
    for (const late of this.#running.values()) {
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
    for (const trunk of book.trunks()) {
      const known = trunk.mode === 'register' ? book.state(trunk.name) : null;
      const isWanted = trunk.mode === 'register' && (trunk.enabled || known?.leaving === true);
      if (!isWanted || this.#running.has(trunk.name)) {
        continue;
      }
      if (this.#running.size >= limits.trunkRegistersMax) {
        return;
      }
      const state = known ?? newState(randomUUID(), now());
      if (state.dueAt <= now()) {
        this.#register(trunk, state);
      }
    }
  }

  #register(trunk: Trunk, state: TrunkState): void {
    const { book, now } = this.#options;
    const { name } = trunk;
    const jump = this.#begun.has(name) ? 1 : limits.trunkCseqJump;
    this.#begun.add(name);
    let cseq = state.cseq + jump;
    const late = setTimeout(() => finish({ type: 'failed', reason: 'no answer' }), silentMs);
    this.#running.set(name, late);
    const finish = (attempt: Attempt) => {
      clearTimeout(late);
      if (this.#running.get(name) === late) {
        void this.#finish(trunk, state, attempt, { at: now(), cseq }).finally(() => {
          if (this.#running.get(name) === late) {
            this.#running.delete(name);
          }
        });
      }
    };
    const credentials = book.credentials(trunk);
    if (credentials === null) {
      finish({ type: 'failed', reason: 'the password cannot be read: add the trunk again' });
      return;
    }
    const exchange = { trunk, state, credentials, answered: 0 };
    const first = { 'Call-ID': state.callId, CSeq: `${cseq} REGISTER`, from: fromOf(trunk) };
    this.#send(exchange, first, (attempt, sent) => {
      cseq = sent;
      finish(attempt);
    });
  }

  #send(
    exchange: { trunk: Trunk; state: TrunkState; credentials: Credentials; answered: number },
    own: Record<string, string>,
    done: (attempt: Attempt, cseq: number) => void,
  ): void {
    const { trunk, state, credentials, answered } = exchange;
    const cseq = Number.parseInt(own.CSeq ?? '0', 10);
    const headers = {
      to: fromOf(trunk),
      Contact: `<sip:${userPart(trunk)}@localhost${transportOf(trunk)}>`,
      Expires: String(state.leaving ? 0 : state.expiresS),
      ...own,
    };
    const options = { method: 'REGISTER', headers, proxy: proxyUriOf(trunk) };
    const heard = (request: SipRequest, response: SipResponse) => {
      const { status } = response;
      if (status < 200) {
        return;
      }
      const again = headersAgain(request, response, credentials, answered);
      if (again === null) {
        done(attemptOf(request, response, state.expiresS), cseq);
      } else {
        this.#send({ ...exchange, answered: answered + 1 }, again, done);
      }
    };
    try {
      const uri = `sip:${identityDomainOf(trunk)}`;
      this.#options.srf.request(uri, options, (error, request) => {
        if (error || request === undefined) {
          done({ type: 'failed', reason: String(error?.message ?? 'not sent') }, cseq);
        } else {
          request.on('response', (response: SipResponse) => heard(request, response));
        }
      });
    } catch (error) {
      // Thrown when there is no connection to the engine.
      done({ type: 'failed', reason: String(error) }, cseq);
    }
  }

  async #finish(
    trunk: Trunk,
    before: TrunkState,
    attempt: Attempt,
    { at, cseq }: { at: number; cseq: number },
  ): Promise<void> {
    const { log } = this.#options;
    const { name } = trunk;
    if (before.leaving) {
      await this.#commit(name, false, [['DEL', trunkKey(name)]]);
      return;
    }
    const state = afterAttempt(name, before, attempt, { at, cseq });
    const isWell = attempt.type === 'registered';
    this.counts[isWell ? 'registered' : 'failed'] += 1;
    if (isWell) {
      log.debug({ trunk: name, until: state.registeredUntil }, 'trunk registered');
    } else {
      const { reason, dueAt } = state;
      log.warn({ trunk: name, reason, againInMs: dueAt - at }, 'trunk not registered');
    }
    const commands: Command[] = [['SET', trunkKey(name), JSON.stringify(state)]];
    if (isWell && state.address !== before.address) {
      const networks = networksOf(trunk, state.address);
      commands.push(['SET', peerKey(name), JSON.stringify({ networks })]);
    }
    await this.#commit(name, true, commands);
  }

  /** `enabled`: what the trunk was. Changed or removed meanwhile, its new state is not touched. */
  async #commit(name: string, enabled: boolean, commands: readonly Command[]): Promise<void> {
    const { store, book, log } = this.#options;
    if (!this.#leading || book.trunk(name)?.enabled !== enabled) {
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

const silentMs = limits.trunkAnswerMs;

function fromOf(trunk: Trunk): string {
  const user = trunk.user.includes('@') ? trunk.user : `${trunk.user}@${identityDomainOf(trunk)}`;
  return `<sip:${user}>`;
}

/** The provider calls this Contact: it tells the account apart from others there. */
function userPart(trunk: Trunk): string {
  return trunk.user.split('@')[0] ?? '';
}

function transportOf({ transport }: Trunk): string {
  return transport === 'udp' ? '' : `;transport=${transport}`;
}

function attemptOf(request: SipRequest, response: SipResponse, askedS: number): Attempt {
  const { status, reason, source_address: address } = response;
  const seconds = (name: string) => {
    const text = /^\s*(\d{1,9})/.exec(response.get(name) ?? '')?.[1];
    return text === undefined ? null : Number(text);
  };
  if (status < 300) {
    // The answer lists all Contacts of the account; the echo of the request has ours.
    const own = /<[^>]*>/.exec(request.get('Contact') ?? '')?.[0] ?? '';
    const all = (response.get('Contact') ?? '').split(',');
    const contact = all.find((one) => one.includes(own)) ?? '';
    const expiresS = grantedS(contact, response.get('Expires') ?? '', askedS);
    return expiresS > 0
      ? { type: 'registered', expiresS, address: address ?? null }
      : { type: 'failed', reason: 'the provider keeps no Contact' };
  }
  const minExpiresS = seconds('Min-Expires');
  if (status === 423 && minExpiresS !== null) {
    return { type: 'tooBrief', minExpiresS };
  }
  return { type: 'refused', status, reason, retryAfterS: seconds('Retry-After') };
}
