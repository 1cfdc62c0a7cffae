/**
 * A media server has died: its calls go on at another one. Where the addresses of its calls
 * float, they move there with the sessions, and no phone is told anything. All others are left
 * to the registry, which tells both parties by a re-INVITE.
 *
 *   connection refused -> addresses change hands in the store -> sessions armed -> addresses active
 *                      -> records
 *
 * Invariant: an address is activated only after the store has taken it from the life that is
 * gone.
 */
import type { MediaAnchor } from '../domain/call.ts';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import { addressKey, addressPrefix, ownerOf } from '../domain/media-address.ts';
import type { Lease } from '../domain/server.ts';
import type { Command, Reply } from '../native/index.ts';
import type { Call, CallEvent } from './calls/types.ts';
import type { MediaLinks } from './media-links.ts';

/** A call as far as it is looked at here. */
export interface TakenCall {
  readonly call: Call;
  dispatch(event: CallEvent): void;
}

export interface TakeoverOptions {
  calls(): Iterable<TakenCall>;
  store: {
    execute(command: Command): Promise<Reply>;
    scan(prefix: string, after: string | null, limit: number): { key: string; value: string }[];
  };
  links: Pick<MediaLinks, 'request'>;
  servers: {
    markDead(lease: Lease): void;
    successor(addresses: readonly string[], dead: string): Lease | null;
  };
  /** The others move as they can. */
  moveRest(): void;
  log: Log;
  now(): number;
}

/** When a session is written down next. */
interface Kept {
  server: string;
  at: number;
  /** Once, since what was written down is not true. */
  asked: boolean;
  /** When it is asked again after a refusal: a handshake may be under way, or it never can. */
  againMs: number;
}

export class MediaTakeover {
  readonly #options: TakeoverOptions;
  readonly #busy = new Set<string>();
  readonly #keeps = new Map<string, Kept>();
  /** Calls that went on under their address, counted for metrics. */
  taken = 0;

  constructor(options: TakeoverOptions) {
    this.#options = options;
  }

  /** Whether the calls of a server are about to be taken over: nobody else may move them. */
  isBusy(server: string): boolean {
    return this.#busy.has(server);
  }

  /** The process of this lease is gone. Never rejects. */
  async died(lease: Lease): Promise<void> {
    const { servers, moveRest, log, now } = this.#options;
    const { name } = lease;
    const startedAt = now();
    this.#busy.add(name);
    servers.markDead(lease);
    try {
      const taken = await this.#take(lease);
      log.warn({ server: name, taken, ms: now() - startedAt }, 'media server died');
    } catch (error) {
      log.error({ server: name, error: String(error) }, 'addresses of a media server stay');
    }
    this.#busy.delete(name);
    moveRest();
  }

  async #take(lease: Lease): Promise<number> {
    const { servers, links, log } = this.#options;
    const { name } = lease;
    const calls = [...this.#options.calls()].filter(
      ({ call }) => call.media?.server === name && isSettled(call),
    );
    const owner = ownerOf(name, lease.life ?? '');
    const rows = this.#options.store.scan(addressPrefix, null, limits.serversMax);
    const keys = rows.filter(({ value }) => value === owner).map(({ key }) => key);
    const addresses = keys.map((key) => key.slice(addressPrefix.length));
    const next = calls.length > 0 && keys.length > 0 ? servers.successor(addresses, name) : null;
    if (next?.ng === undefined || !(await this.#change(addresses, owner, next))) {
      return 0;
    }
    const { ng } = next;
    const arm = ({ call }: TakenCall) =>
      links.request(next.name, 'restore', { state: call.media?.state ?? '' });
    const armed = await Promise.allSettled(calls.map(arm));
    await Promise.all(
      addresses.map((address) => links.request(next.name, 'activate', { address })),
    );
    calls.forEach((live, i) => {
      const result = armed[i];
      if (result?.status === 'fulfilled') {
        this.taken += 1;
        live.dispatch({ type: 'mediaTaken', from: name, server: next.name, ng });
      } else {
        log.warn({ call: live.call.id, error: String(result?.reason) }, 'session was not armed');
      }
    });
    return armed.filter(({ status }) => status === 'fulfilled').length;
  }

  /** Gives addresses to another server, unless somebody else was faster. */
  async #change(addresses: readonly string[], owner: string, next: Lease): Promise<boolean> {
    const { store } = this.#options;
    const to = ownerOf(next.name, next.life ?? '');
    const set = (address: string, from: string, into: string) =>
      store.execute(['SET', addressKey(address), into, 'IFEQ', from]);
    const replies = await Promise.all(addresses.map((one) => set(one, owner, to)));
    const given = addresses.filter((_, i) => replies[i] !== null);
    if (given.length === addresses.length) {
      return true;
    }
    await Promise.all(given.map((one) => set(one, to, owner)));
    return false;
  }

  /**
   * Has sessions written down anew: where parties really are, and how far counters have come. The
   * first is in the record before the caller hears of it; these follow while people talk.
   */
  keep(): void {
    const { calls, now } = this.#options;
    const at = now();
    const seen = new Set<string>();
    let room: number = limits.mediaKeptPerTick;
    for (const live of calls()) {
      const { id, media } = live.call;
      if (media === null || !isTalking(live.call)) {
        continue;
      }
      seen.add(id);
      const known = this.#keeps.get(id);
      if (known === undefined || known.server !== media.server) {
        const first = at + limits.mediaKeptFirstMs;
        const againMs = limits.mediaKeptFirstMs;
        this.#keeps.set(id, { server: media.server, at: first, asked: false, againMs });
        continue;
      }
      const isStale = media.state === undefined;
      known.asked &&= isStale;
      if ((known.at <= at || (isStale && !known.asked)) && room > 0) {
        room -= 1;
        known.at = at + limits.mediaKeptMs;
        known.asked = isStale;
        void this.#keep(live, media, known);
      }
    }
    for (const id of this.#keeps.keys()) {
      if (!seen.has(id)) {
        this.#keeps.delete(id);
      }
    }
  }

  /** Somebody else's command has changed the session at this server: it is due at once. */
  changed(id: string, server: string): void {
    const [at, againMs] = [this.#options.now(), limits.mediaKeptFirstMs];
    this.#keeps.set(id, { server, at, asked: false, againMs });
  }

  async #keep(live: TakenCall, media: MediaAnchor, known: Kept): Promise<void> {
    const { id } = live.call;
    const { server } = media;
    try {
      const { state } = await this.#options.links.request(server, 'snapshot', { 'call-id': id });
      // What has changed meanwhile may not be in it.
      known.againMs = limits.mediaKeptFirstMs;
      if (state !== undefined && live.call.media === media) {
        live.dispatch({ type: 'mediaKept', server, state });
      }
    } catch (error) {
      const { log, now } = this.#options;
      log.debug({ call: id, error: String(error) }, 'session was not written down');
      known.at = now() + known.againMs;
      known.againMs = Math.min(2 * known.againMs, limits.mediaKeptMs);
    }
  }
}

/** People talk, and whatever happens next finds the call where it is. */
function isTalking(call: Call): boolean {
  return call.state === 'answered' && call.caller !== 'gone' && call.move === null;
}

/** All that another server needs was written down, and nothing is being changed. */
function isSettled(call: Call): boolean {
  return isTalking(call) && call.modification === null && call.media?.state !== undefined;
}
