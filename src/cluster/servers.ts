/**
 * Leases as the log delivers them. Owner of: the map of live leases and of the sessions given
 * out since each lease was renewed, so that a burst of calls spreads before the next renewal.
 */
import { limits } from '../domain/limits.ts';
import {
  type KnownServer,
  type Lease,
  parseKnownServer,
  parseLease,
  type ServerView,
} from '../domain/server.ts';
import type { Reply, Store, StoreEvent } from '../native/index.ts';
import { chooseServer } from './assignment.ts';
import { serverViews } from './health.ts';

const prefix = 'server:';

export class ServerWatch {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #leases = new Map<string, Lease>();
  /** Survives expiry: right after an election a missing lease is no news. */
  readonly #last = new Map<string, Lease>();
  readonly #given = new Map<string, number>();
  /** Lives of servers whose process is known to be gone, before their leases end. */
  readonly #dead = new Set<string>();
  #leaderSince: number | null = null;

  constructor(store: Store, now: () => number = Date.now) {
    this.#store = store;
    this.#now = now;
  }

  /** Feed of `Store.watch(['server:', ...])`. */
  apply(events: readonly StoreEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'changed':
          for (const change of event.changes) {
            if (change.key.startsWith(prefix)) {
              this.#change(change.key.slice(prefix.length), change.value);
            }
          }
          break;
        case 'reset':
          this.#leases.clear();
          break;
        case 'leading':
          this.#leaderSince = this.#now();
          break;
        case 'following':
          this.#leaderSince = event.leader === null ? null : this.#now();
          break;
        default:
          event satisfies never;
      }
    }
  }

  #change(name: string, value: string | null): void {
    const parsed = value === null ? null : parseLease(value);
    // A renewal that was still on its way says nothing any more.
    const lease = parsed !== null && this.#dead.has(lifeOf(parsed)) ? null : parsed;
    if (lease === null) {
      this.#leases.delete(name);
      return;
    }
    this.#leases.set(name, lease);
    this.#last.set(name, lease);
    this.#given.delete(name);
  }

  /** Every server ever seen and its state. */
  views(): ServerView[] {
    return serverViews({
      known: knownServers(this.#store.read(['HGETALL', 'servers'])),
      leases: this.#leases,
      settings: new Map(),
      leaderSince: this.#leaderSince,
      now: this.#now(),
      graceMs: limits.leaseGraceMs,
    });
  }

  /** The media server for the next call, and counts the call as given to it. */
  takeMediaServer(except: ReadonlySet<string> = new Set()): { name: string; ng: string } | null {
    const views = serverViews({
      known: [...this.#last.values()],
      leases: this.#leases,
      settings: new Map(),
      leaderSince: this.#leaderSince,
      now: this.#now(),
      graceMs: limits.leaseGraceMs,
    });
    const eligible = views.filter((view) => !except.has(view.name));
    const candidates = eligible.map((view) => ({
      ...view,
      load: view.load + (this.#given.get(view.name) ?? 0),
      capacity: this.#last.get(view.name)?.capacity ?? 1,
    }));
    const chosen = chooseServer('media', candidates);
    const ng = chosen === null ? undefined : this.#last.get(chosen.name)?.ng;
    if (chosen === null || ng === undefined) {
      return null;
    }
    this.#given.set(chosen.name, (this.#given.get(chosen.name) ?? 0) + 1);
    return { name: chosen.name, ng };
  }

  /** Media servers that are up. */
  mediaServers(): { name: string; ng: string }[] {
    return this.mediaLeases().flatMap(({ name, ng }) => (ng === undefined ? [] : [{ name, ng }]));
  }

  /** What a server's lease says last, of one that died too. */
  lease(name: string): Lease | null {
    return this.#last.get(name) ?? null;
  }

  /** The process of this lease is gone: nobody has to wait until it ends. */
  markDead(lease: Lease): void {
    if (this.#dead.size >= limits.serversMax) {
      this.#dead.clear();
    }
    this.#dead.add(lifeOf(lease));
    const known = this.#leases.get(lease.name);
    if (known !== undefined && lifeOf(known) === lifeOf(lease)) {
      this.#leases.delete(lease.name);
    }
  }

  /** The least loaded media server that can take these floating addresses over. */
  successor(addresses: readonly string[], dead: string): Lease | null {
    const fits = [...this.#leases.values()].filter(
      ({ name, floating = [], ngTcp }) =>
        name !== dead && ngTcp !== undefined && addresses.every((one) => floating.includes(one)),
    );
    const candidates = fits.map((lease) => ({ ...lease, state: 'up' as const }));
    return this.lease(chooseServer('media', candidates)?.name ?? '');
  }

  /** Leases of the media servers that are up. */
  mediaLeases(): Lease[] {
    return [...this.#leases.values()].filter(({ roles }) => roles.includes('media'));
  }

  /** Whether a server's lease is gone, and that means something by now. */
  isDown(name: string): boolean {
    const last = this.#last.get(name);
    if (last !== undefined && this.#dead.has(lifeOf(last)) && !this.#leases.has(name)) {
      return true;
    }
    const since = this.#leaderSince;
    const settled = since !== null && this.#now() - since >= limits.leaseGraceMs;
    return settled && !this.#leases.has(name);
  }
}

function lifeOf({ name, life }: Lease): string {
  return `${name}/${life ?? ''}`;
}

/** Every server ever seen and whether it is up, from this node's own copy of the store. */
export function listServers(store: Store, now: number = Date.now()): ServerView[] {
  const leases = new Map<string, Lease>();
  for (const { value } of store.scan(prefix, null, limits.serversMax)) {
    const lease = parseLease(value);
    if (lease !== null) {
      leases.set(lease.name, lease);
    }
  }
  return serverViews({
    known: knownServers(store.read(['HGETALL', 'servers'])),
    leases,
    settings: new Map(),
    leaderSince: 0,
    now,
    graceMs: limits.leaseGraceMs,
  });
}

function knownServers(reply: Reply): KnownServer[] {
  // HGETALL answers field, value, field, value ...
  const values = Array.isArray(reply) ? reply.filter((_, i) => i % 2 === 1) : [];
  return values.map((value) => parseKnownServer(String(value))).filter((server) => server !== null);
}
