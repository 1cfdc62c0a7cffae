/**
 * What this node's copy of the store says of trunks and routes. Owner of nothing but the memory
 * of who was silent lately, which is the leader's and need not survive it.
 */
import { limits } from '../../domain/limits.ts';
import { type SealingKey, unseal } from '../../domain/sealing.ts';
import {
  type InboundRoute,
  type LeftTrunk,
  leftPrefix,
  networksOf,
  type OutboundRow,
  outboundOf,
  parseLeftTrunk,
  parseTrunkState,
  silentKey,
  type Trunk,
  type TrunkRow,
  type TrunkState,
  trunkKey,
  trunkOf,
} from '../../domain/trunk.ts';
import type { SqlValue, Store } from '../../native/index.ts';
import type { Credentials } from '../../sip/digest.ts';
import type { KnownTrunk } from '../routing/inbound.ts';
import { isRegistered } from './registration.ts';

/** The last table of the migration that made them. */
const hasTables = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'inbound_routes'";

export class TrunkBook {
  readonly #store: Store;
  readonly #key: SealingKey;
  /** Trunk to the time until which others are tried before it. */
  readonly #silentUntil = new Map<string, number>();
  #hasTables = false;

  constructor(store: Store, key: SealingKey) {
    this.#store = store;
    this.#key = key;
  }

  /** Nothing as long as the tables are not there: a cluster that was just founded or updated. */
  #ask<Row>(sql: string, args: readonly SqlValue[]): Row[] {
    this.#hasTables ||= this.#store.query(hasTables).length > 0;
    return this.#hasTables ? this.#store.query<Row>(sql, args) : [];
  }

  /** In the order of their names. */
  trunks(): Trunk[] {
    const sql = 'SELECT * FROM trunks ORDER BY name LIMIT ?';
    return this.#ask<TrunkRow>(sql, [limits.trunksMax]).map(trunkOf);
  }

  trunk(name: string): Trunk | null {
    const [row] = this.#ask<TrunkRow>('SELECT * FROM trunks WHERE name = ?', [name]);
    return row === undefined ? null : trunkOf(row);
  }

  state(name: string): TrunkState | null {
    const value = this.#store.read(['GET', trunkKey(name)]);
    return typeof value === 'string' ? parseTrunkState(value) : null;
  }

  /** Trunks that were removed while they were registered, by their keys. */
  left(): (LeftTrunk & { key: string })[] {
    return this.#store.scan(leftPrefix, null, limits.trunksMax).flatMap(({ key, value }) => {
      const left = parseLeftTrunk(value);
      return left === null ? [] : [{ ...left, key }];
    });
  }

  /** It does not answer OPTIONS; found by the leader, known to all. */
  isSilent(name: string): boolean {
    return this.#store.read(['GET', silentKey(name)]) !== null;
  }

  /** Trunks with where their calls come from. */
  known(): KnownTrunk[] {
    return this.trunks().map((trunk) => {
      const answered = this.state(trunk.name)?.address ?? null;
      return { trunk, networks: networksOf(trunk, answered) };
    });
  }

  /** Null without an account, or when its password was sealed by another cluster. */
  credentials(trunk: Trunk): Credentials | null {
    const { name, user, password } = trunk;
    const plain = password === '' ? null : unseal(this.#key, name, password);
    return plain === null ? null : { user, password: plain };
  }

  outbound() {
    const sql = 'SELECT * FROM outbound_routes ORDER BY pattern LIMIT ?';
    return this.#ask<OutboundRow>(sql, [limits.routesMax]).map(outboundOf);
  }

  inbound(): InboundRoute[] {
    const columns = 'pattern, trunk, target AS "to", strip, prepend';
    const sql = `SELECT ${columns} FROM inbound_routes ORDER BY pattern, trunk LIMIT ?`;
    return this.#ask<InboundRoute>(sql, [limits.routesMax]);
  }

  /** It said nothing to an INVITE. */
  wasSilent(name: string, at: number): void {
    this.#silentUntil.set(name, at + limits.trunkAvoidMs);
  }

  /** It answered, whatever it said. */
  answered(name: string): void {
    this.#silentUntil.delete(name);
  }

  /** Not to be hoped for: others are tried first. */
  isFailing(trunk: Trunk, at: number): boolean {
    const isLost = trunk.mode === 'register' && !isRegistered(this.state(trunk.name), at);
    const isDown = isLost || this.isSilent(trunk.name);
    return isDown || (this.#silentUntil.get(trunk.name) ?? 0) > at;
  }
}
