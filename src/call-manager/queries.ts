/** Answers of the API from this node's own copy of the store, and the writes of the directory. */
import type { ServerWatch } from '../cluster/index.ts';
import { type Ban, banPrefix, isBannedBy, parseBan } from '../domain/ban.ts';
import { type CallRecord, parseCallRecord } from '../domain/call.ts';
import { type CdrRow, type CdrView, viewCdr } from '../domain/cdr.ts';
import { fail, PbxError, type Result, succeed } from '../domain/errors.ts';
import { limits } from '../domain/limits.ts';
import {
  live,
  parseRegistration,
  type Registration,
  reachable,
  registrationKey,
} from '../domain/registration.ts';
import type { Alarm, ServerView } from '../domain/server.ts';
import { createUser, type User, type UserRow } from '../domain/user.ts';
import type { Store, StoreMember, StoreStatus } from '../native/index.ts';
import type {
  AlarmView,
  BanView,
  CallManagerApi,
  CallView,
  CdrQuery,
  NewUser,
  RegistrationView,
  Slice,
  StatusView,
  StoreNodeView,
  StoreView,
  TrunkApi,
  UserView,
} from './api.ts';
import { cdrOf, cdrPage, lastText, type Question, userNamed, userPage } from './listings.ts';
import { registrationOf } from './registrations.ts';

export interface QueryOptions {
  store: Store;
  servers: ServerWatch;
  domain: string;
  peers: readonly { id: number; name: string }[];
  vip: readonly string[];
  trunks: TrunkApi;
  now(): number;
  /** Whether a contact does not answer OPTIONS; only a leader knows. */
  isSilent?(user: string, contact: string): boolean;
}

export class Queries implements CallManagerApi {
  readonly #options: QueryOptions;
  readonly #store: Store;
  readonly trunks: TrunkApi;

  constructor(options: QueryOptions) {
    this.#options = options;
    this.#store = options.store;
    this.trunks = options.trunks;
  }

  status(): StatusView {
    const store = this.#store.status();
    const { leader, term } = store;
    const members = this.#store.members();
    // A member that joined later is not among the peers of this server's configuration.
    const known = [...members, ...this.#options.peers];
    const nameOf = (id: number | null) => known.find((one) => one.id === id)?.name ?? null;
    const name = nameOf(leader);
    const servers = this.servers();
    const nodes = members.length > 0 ? members : this.#options.peers;
    return {
      leader: name,
      term,
      vip: { address: this.#options.vip[0] ?? null, holder: name },
      servers,
      registrations: this.#store.count('registration:'),
      calls: this.#store.count('call:'),
      alerts: 0,
      alarms: viewAlarms(nameOf(store.id) ?? '', store.alarms, servers),
      store: viewStore(store, nodes),
    };
  }

  servers() {
    return this.#options.servers.views();
  }

  calls(slice: Slice = {}): CallView[] {
    return this.#list('call:', slice, (value) => {
      const record = parseCallRecord(value);
      return record === null ? [] : [viewCall(record)];
    });
  }

  registrations(slice: Slice = {}): RegistrationView[] {
    const now = this.#options.now();
    return this.#list('registration:', slice, (value) => {
      const registration = parseRegistration(value);
      return registration === null ? [] : this.#viewDevices(registration, now);
    });
  }

  #viewDevices(registration: Registration, now: number): RegistrationView[] {
    const { user } = registration;
    return live(registration, now).map((binding) => ({
      user,
      contact: binding.contact,
      received: binding.received,
      userAgent: binding.userAgent,
      registeredAt: iso(binding.registeredAt),
      expiresAt: iso(binding.expiresAt),
      answers: this.#options.isSilent?.(user, binding.contact) !== true,
    }));
  }

  bans(slice: Slice = {}): BanView[] {
    return this.#list(banPrefix, slice, (value) => {
      const ban = parseBan(value);
      return ban === null ? [] : [viewBan(ban)];
    });
  }

  async liftBan(address: string): Promise<Result<{ lifted: number }>> {
    const keys = this.#store.scan(banPrefix, null, limits.bansMax).flatMap(({ key, value }) => {
      const ban = parseBan(value);
      return ban !== null && isBannedBy(ban, address) ? [key] : [];
    });
    if (keys.length === 0) {
      return fail('PBX_BAN_UNKNOWN', address);
    }
    try {
      await this.#store.execute(['DEL', ...keys]);
      return succeed({ lifted: keys.length });
    } catch (error) {
      return { ok: false, error: new PbxError(storeDown, String(error)) };
    }
  }

  /** Views of the values below a prefix; short of `limit` only when there are no more. */
  #list<View>(prefix: string, slice: Slice, view: (value: string) => View[]): View[] {
    const limit = limitOf(slice);
    const views: View[] = [];
    let after = slice.after === undefined ? null : `${prefix}${slice.after}`;
    while (views.length < limit) {
      const wanted = limit - views.length;
      const entries = this.#store.scan(prefix, after, wanted);
      views.push(...entries.flatMap(({ value }) => view(value)));
      after = entries.at(-1)?.key ?? null;
      if (entries.length < wanted) {
        break;
      }
    }
    return views;
  }

  users(slice: Slice & { prefix?: string } = {}): UserView[] {
    const now = this.#options.now();
    const page = userPage(slice.after ?? '', slice.prefix ?? '', limitOf(slice));
    const rows = this.#ask<UserRow>(page);
    return rows.map((row) => {
      const registration = registrationOf(this.#store, row.name);
      return {
        name: row.name,
        displayName: row.display_name,
        createdAt: iso(row.created_at),
        devices: registration === null ? 0 : reachable(registration, now).length,
      };
    });
  }

  cdrs(options: CdrQuery = {}): CdrView[] {
    const parsed = options.before === undefined ? Number.NaN : Date.parse(options.before);
    const page = cdrPage({
      before: Number.isNaN(parsed) ? Number.MAX_SAFE_INTEGER : parsed,
      // No id: nothing stands behind the last of that millisecond.
      afterId: options.id ?? lastText,
      user: options.user ?? null,
      limit: limitOf({ limit: options.limit ?? 100 }),
    });
    return this.#ask<CdrRow>(page).map(viewCdr);
  }

  cdr(id: string): CdrView | null {
    const [row] = this.#ask<CdrRow>(cdrOf(id));
    return row === undefined ? null : viewCdr(row);
  }

  #ask<Row>({ sql, args }: Question): Row[] {
    return this.#store.query<Row>(sql, args);
  }

  async addUsers(wanted: readonly NewUser[]): Promise<Result<{ added: number }>> {
    if (wanted.length > limits.usersPerRequest) {
      return fail('PBX_TOO_MANY_USERS', `${wanted.length} users`);
    }
    const checked = this.#check(wanted);
    if (!checked.ok) {
      return checked;
    }
    for (let from = 0; from < wanted.length; from += limits.usersPerBatch) {
      const batch = checked.value.slice(from, from + limits.usersPerBatch);
      const added = await this.#insert(batch);
      if (!added.ok) {
        return added;
      }
    }
    return succeed({ added: wanted.length });
  }

  #check(wanted: readonly NewUser[]): Result<User[]> {
    const createdAt = this.#options.now();
    const names = new Set<string>();
    const users: User[] = [];
    for (const each of wanted) {
      const user = createUser(each, this.#options.domain, createdAt);
      if (!user.ok) {
        return user;
      }
      if (names.has(each.name) || this.#exists(each.name)) {
        return fail('PBX_USER_EXISTS', `'${each.name}'`);
      }
      names.add(each.name);
      users.push(user.value);
    }
    return succeed(users);
  }

  #exists(name: string): boolean {
    return this.#ask(userNamed(name)).length > 0;
  }

  async #insert(users: readonly User[]): Promise<Result<null>> {
    const rows = users.map(() => '(?, ?, ?, ?, ?)').join(', ');
    const values = users.flatMap((user) => [
      user.name,
      user.displayName,
      user.ha1Md5,
      user.ha1Sha256,
      user.createdAt,
    ]);
    const sql = `INSERT INTO users (name, display_name, ha1_md5, ha1_sha256, created_at) VALUES ${rows}`;
    return this.#write(['SQL.EXEC', sql, JSON.stringify(values)]);
  }

  async #write(command: readonly string[]): Promise<Result<null>> {
    try {
      await this.#store.execute(command);
      return succeed(null);
    } catch (error) {
      // The store's own copy was behind when the names were checked.
      const text = String(error);
      const taken = /unique/i.test(text);
      return { ok: false, error: new PbxError(taken ? 'PBX_USER_EXISTS' : storeDown, text) };
    }
  }

  async deleteUser(name: string): Promise<Result<{ deleted: string }>> {
    if (!this.#exists(name)) {
      return fail('PBX_USER_UNKNOWN', `'${name}'`);
    }
    try {
      await this.#store.transaction([
        ['SQL.EXEC', 'DELETE FROM users WHERE name = ?', JSON.stringify([name])],
        ['DEL', registrationKey(name)],
      ]);
      return succeed({ deleted: name });
    } catch (error) {
      return { ok: false, error: new PbxError(storeDown, String(error)) };
    }
  }
}

const storeDown = 'PBX_STORE_UNAVAILABLE';

function iso(time: number): string {
  return new Date(time).toISOString();
}

function limitOf({ limit }: Slice): number {
  return Math.max(1, Math.min(limit ?? limits.listedMax, limits.listedMax));
}

/** Alarms of this server, and those that others told with their leases; each is told once. */
function viewAlarms(
  here: string,
  own: readonly Alarm[],
  servers: readonly ServerView[],
): AlarmView[] {
  const others = servers.filter((server) => server.name !== here);
  const all = [{ name: here, alarms: own }, ...others].flatMap(({ name, alarms }) =>
    alarms.map(({ code, text, fix }) => ({ server: name, code, text, fix })),
  );
  const isFirst = (one: AlarmView, at: number) =>
    all.findIndex(({ code, text }) => code === one.code && text === one.text) === at;
  return all.filter(isFirst);
}

type Node = Pick<StoreMember, 'id' | 'name'> & Partial<StoreMember>;

function viewStore(store: StoreStatus, nodes: readonly Node[]): StoreView {
  const time = (ms: number) => (ms === 0 ? null : iso(ms));
  return {
    leaderSince: time(store.leaderSinceMs),
    nodes: nodes.map((node) => viewNode(store, node)),
    commitLag: Math.max(0, store.lastLog - store.committed),
    applyLag: Math.max(0, store.committed - store.applied),
    snapshotAt: time(store.snapshotAtMs),
    logBytes: store.logBytes,
    sqlBytes: store.sqlBytes,
    fsyncP99Us: store.fsyncP99Us,
    commitP99Us: store.commitP99Us,
  };
}

function viewNode(store: StoreStatus, node: Node): StoreNodeView {
  const { id, name, problem = null } = node;
  if (id === store.id) {
    return { id, name, role: store.role, behind: 0, heardMs: 0, problem };
  }
  const other = node.voter === false ? 'learner' : 'follower';
  const role = id === store.leader ? 'leader' : other;
  const peer = store.peers.find((one) => one.id === id);
  const behind = peer === undefined ? null : Math.max(0, store.lastLog - (peer.matched ?? 0));
  return { id, name, role, behind, heardMs: peer?.lastAckMs ?? null, problem };
}

function viewCall(record: CallRecord): CallView {
  return {
    id: record.id,
    state: record.state,
    from: record.from,
    to: record.to,
    startedAt: iso(record.startedAt),
    answeredAt: record.answeredAt === null ? null : iso(record.answeredAt),
    mediaServer: record.media.server,
    trunk: record.legs.at(-1)?.trunk ?? record.trunk ?? null,
  };
}

function viewBan(ban: Ban): BanView {
  return {
    key: ban.user === null ? ban.address : `${ban.address}/${ban.user}`,
    address: ban.address,
    user: ban.user,
    since: iso(ban.since),
    until: iso(ban.until),
    times: ban.times,
  };
}
