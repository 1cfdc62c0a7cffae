/** What administrators ask and change of trunks and routes. Passwords go in and never come out. */
import { fail, PbxError, type Result, succeed } from '../../domain/errors.ts';
import { limits } from '../../domain/limits.ts';
import { type SealingKey, seal } from '../../domain/sealing.ts';
import {
  checkInbound,
  checkOutbound,
  createTrunk,
  type InboundRoute,
  insertTrunk,
  type NewTrunk,
  networksOf,
  type OutboundRoute,
  peerKey,
  silentKey,
  type Trunk,
  trunkArguments,
  trunkKey,
} from '../../domain/trunk.ts';
import type { Command, Store } from '../../native/index.ts';
import type { TrunkApi, TrunkView } from '../api.ts';
import type { TrunkBook } from './book.ts';
import { isRegistered, keepLeft, leavingState } from './registration.ts';

export interface AdminOptions {
  store: Store;
  book: TrunkBook;
  key: SealingKey;
  /** Whether trunks are asked with OPTIONS. */
  isAsked: boolean;
  now(): number;
}

export class TrunkAdmin implements TrunkApi {
  readonly #options: AdminOptions;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  list(): TrunkView[] {
    return this.#options.book.trunks().map((trunk) => this.#view(trunk));
  }

  #view(trunk: Trunk): TrunkView {
    const { password: _, createdAt, sources: __, ...shown } = trunk;
    const { book, isAsked } = this.#options;
    const known = book.state(trunk.name);
    const until = known?.registeredUntil ?? null;
    return {
      ...shown,
      networks: networksOf(trunk, known?.address ?? null),
      state: this.#state(trunk),
      registeredUntil: until === null ? null : new Date(until).toISOString(),
      reason: known?.reason ?? null,
      answers: trunk.enabled && isAsked ? !book.isSilent(trunk.name) : null,
      createdAt: new Date(createdAt).toISOString(),
    };
  }

  #state(trunk: Trunk): TrunkView['state'] {
    if (!trunk.enabled) {
      return 'disabled';
    }
    if (trunk.mode === 'peer') {
      return 'peer';
    }
    const known = this.#options.book.state(trunk.name);
    if (known === null) {
      return 'trying';
    }
    return isRegistered(known, this.#options.now()) ? 'registered' : 'failed';
  }

  async add(wanted: NewTrunk): Promise<Result<{ added: string }>> {
    const { book, key, now } = this.#options;
    const made = createTrunk(wanted, now());
    if (!made.ok) {
      return made;
    }
    const { name, password } = made.value;
    if (book.trunk(name) !== null) {
      return fail('PBX_TRUNK_EXISTS', `'${name}'`);
    }
    if (book.trunks().length >= limits.trunksMax) {
      return fail('PBX_TRUNK_LIMIT', `${limits.trunksMax}`);
    }
    const sealed = password === '' ? '' : seal(key, name, password);
    const trunk = { ...made.value, password: sealed };
    const row: Command = ['SQL.EXEC', insertTrunk, JSON.stringify(trunkArguments(trunk))];
    const done = await this.#write([row, this.#peer(trunk), ['DEL', silentKey(name)]]);
    return done.ok ? succeed({ added: name }) : done;
  }

  #peer(trunk: Trunk): Command {
    const answered = this.#options.book.state(trunk.name)?.address ?? null;
    const networks = networksOf(trunk, answered);
    return ['SET', peerKey(trunk.name), JSON.stringify({ networks })];
  }

  async remove(name: string): Promise<Result<{ removed: string }>> {
    const { book, now } = this.#options;
    const trunk = book.trunk(name);
    if (trunk === null) {
      return fail('PBX_TRUNK_UNKNOWN', `'${name}'`);
    }
    const row: Command = ['SQL.EXEC', 'DELETE FROM trunks WHERE name = ?', JSON.stringify([name])];
    const keys: Command = ['DEL', trunkKey(name), peerKey(name), silentKey(name)];
    const state = leavingState(book.state(name), now());
    const left = state === null ? [] : [keepLeft(trunk, state)];
    const done = await this.#write([row, keys, ...left]);
    return done.ok ? succeed({ removed: name }) : done;
  }

  /** Disabled, a trunk neither registers nor carries new calls; those it has go on. */
  async enable(name: string, enabled: boolean): Promise<Result<{ enabled: boolean }>> {
    const trunk = this.#options.book.trunk(name);
    if (trunk === null) {
      return fail('PBX_TRUNK_UNKNOWN', `'${name}'`);
    }
    const sql = 'UPDATE trunks SET enabled = ? WHERE name = ?';
    const row: Command = ['SQL.EXEC', sql, JSON.stringify([enabled ? 1 : 0, name])];
    const { book, now } = this.#options;
    const leaving = enabled ? null : leavingState(book.state(name), now());
    // Enabled again, it begins anew and registers at once.
    const state: Command =
      leaving === null ? ['DEL', trunkKey(name)] : ['SET', trunkKey(name), JSON.stringify(leaving)];
    const peer: Command = enabled ? this.#peer(trunk) : ['DEL', peerKey(name)];
    const done = await this.#write([row, state, peer, ['DEL', silentKey(name)]]);
    return done.ok ? succeed({ enabled }) : done;
  }

  outboundRoutes(): OutboundRoute[] {
    return this.#options.book.outbound();
  }

  inboundRoutes(): InboundRoute[] {
    return this.#options.book.inbound();
  }

  /** One with the same pattern is replaced. */
  async addOutbound(route: OutboundRoute): Promise<Result<{ added: string }>> {
    const checked = checkOutbound(route);
    const known = checked.ok ? this.#known(route.trunks, this.outboundRoutes()) : checked;
    if (!known.ok) {
      return known;
    }
    const { pattern, strip, prepend, trunks } = route;
    const sql =
      'INSERT OR REPLACE INTO outbound_routes (pattern, strip, prepend, trunks) ' +
      'VALUES (?, ?, ?, ?)';
    const values = [pattern, strip, prepend, JSON.stringify(trunks)];
    const done = await this.#write([['SQL.EXEC', sql, JSON.stringify(values)]]);
    return done.ok ? succeed({ added: pattern }) : done;
  }

  /** One with the same pattern and trunk is replaced. */
  async addInbound(route: InboundRoute): Promise<Result<{ added: string }>> {
    const checked = checkInbound(route);
    const trunks = route.trunk === '' ? [] : [route.trunk];
    const known = checked.ok ? this.#known(trunks, this.inboundRoutes()) : checked;
    if (!known.ok) {
      return known;
    }
    const { pattern, trunk, to, strip, prepend } = route;
    const sql =
      'INSERT OR REPLACE INTO inbound_routes (pattern, trunk, target, strip, prepend) ' +
      'VALUES (?, ?, ?, ?, ?)';
    const values = [pattern, trunk, to, strip, prepend];
    const done = await this.#write([['SQL.EXEC', sql, JSON.stringify(values)]]);
    return done.ok ? succeed({ added: pattern }) : done;
  }

  #known(trunks: readonly string[], routes: readonly unknown[]): Result<null> {
    const unknown = trunks.find((name) => this.#options.book.trunk(name) === null);
    if (unknown !== undefined) {
      return fail('PBX_TRUNK_UNKNOWN', `'${unknown.slice(0, 64)}'`);
    }
    return routes.length < limits.routesMax ? succeed(null) : fail('PBX_ROUTE_LIMIT');
  }

  removeOutbound(pattern: string): Promise<Result<{ removed: string }>> {
    const known = this.outboundRoutes().some((one) => one.pattern === pattern);
    const sql = 'DELETE FROM outbound_routes WHERE pattern = ?';
    return this.#removeRoute(known, sql, [pattern]);
  }

  removeInbound(pattern: string, trunk: string): Promise<Result<{ removed: string }>> {
    const known = this.inboundRoutes().some(
      (one) => one.pattern === pattern && one.trunk === trunk,
    );
    const sql = 'DELETE FROM inbound_routes WHERE pattern = ? AND trunk = ?';
    return this.#removeRoute(known, sql, [pattern, trunk]);
  }

  async #removeRoute(
    known: boolean,
    sql: string,
    [pattern, ...rest]: [string, ...string[]],
  ): Promise<Result<{ removed: string }>> {
    if (!known) {
      return fail('PBX_ROUTE_UNKNOWN', `'${pattern.slice(0, 64)}'`);
    }
    const done = await this.#write([['SQL.EXEC', sql, JSON.stringify([pattern, ...rest])]]);
    return done.ok ? succeed({ removed: pattern }) : done;
  }

  async #write(commands: readonly Command[]): Promise<Result<null>> {
    try {
      await this.#options.store.transaction(commands);
      return succeed(null);
    } catch (error) {
      const text = String(error);
      const code = /unique/i.test(text) ? 'PBX_TRUNK_EXISTS' : 'PBX_STORE_UNAVAILABLE';
      return { ok: false, error: new PbxError(code, text) };
    }
  }
}
