/** What the portal, the API and the CLI may ask of call control. Reads never leave this node. */
import type { CdrView } from '../domain/cdr.ts';
import type { Result } from '../domain/errors.ts';
import type { Alarm, ServerView } from '../domain/server.ts';
import type { InboundRoute, NewTrunk, OutboundRoute, Trunk } from '../domain/trunk.ts';

export interface StatusView {
  leader: string | null;
  term: number;
  vip: { address: string | null; holder: string | null };
  servers: ServerView[];
  registrations: number;
  calls: number;
  alerts: number;
  alarms: AlarmView[];
  store: StoreView;
}

/** An alarm and who tells it. */
export interface AlarmView extends Alarm {
  server: string;
}

/** The store as the server that answers knows it. */
export interface StoreView {
  /** ISO 8601; since when it knows of the leader. */
  leaderSince: string | null;
  nodes: StoreNodeView[];
  /** Entries of this server's log that are not committed, and committed ones not applied. */
  commitLag: number;
  applyLag: number;
  snapshotAt: string | null;
  logBytes: number;
  sqlBytes: number;
  fsyncP99Us: number;
  commitP99Us: number;
}

/** One member; what only a leader knows of the others is null on the others. */
export interface StoreNodeView {
  id: number;
  name: string;
  role: string;
  /** Entries that are not in its log yet. */
  behind: number | null;
  /** Milliseconds since it last answered. */
  heardMs: number | null;
  /** Why it cannot be reached, when it said so. */
  problem: string | null;
}

export interface CallView {
  id: string;
  state: 'ringing' | 'answered';
  from: string;
  to: string;
  /** ISO 8601 UTC, as all times below. */
  startedAt: string;
  answeredAt: string | null;
  mediaServer: string | null;
  /** The trunk it goes out over, else the one it came over. */
  trunk: string | null;
}

export interface RegistrationView {
  user: string;
  contact: string;
  /** `udp/host:port` the phone was seen at. */
  received: string;
  userAgent: string | null;
  registeredAt: string;
  expiresAt: string;
  /** False when it does not answer OPTIONS, as far as the leader knows. */
  answers: boolean;
}

export interface BanView {
  /** The address, and the user when the ban is of one. */
  key: string;
  address: string;
  user: string | null;
  since: string;
  until: string;
  /** How many bans there were in a row. */
  times: number;
}

export interface UserView {
  name: string;
  displayName: string;
  createdAt: string;
  /** Devices registered now. */
  devices: number;
}

export interface NewUser {
  name: string;
  password: string;
  displayName?: string;
}

/** A trunk without its secret. */
export interface TrunkView extends Omit<Trunk, 'password' | 'sources' | 'createdAt'> {
  /** Where its calls come from. */
  networks: string[];
  /** `peer`: enabled, without a registration. `trying`: no attempt has ended yet. */
  state: 'registered' | 'failed' | 'trying' | 'peer' | 'disabled';
  registeredUntil: string | null;
  /** Why the last attempt to register failed. */
  reason: string | null;
  /** Whether it answers OPTIONS; null: it is not asked. */
  answers: boolean | null;
  createdAt: string;
}

/** Trunks and routes: at most `limits.trunksMax` and `limits.routesMax`, so lists are whole. */
export interface TrunkApi {
  list(): TrunkView[];
  add(trunk: NewTrunk): Promise<Result<{ added: string }>>;
  remove(name: string): Promise<Result<{ removed: string }>>;
  enable(name: string, enabled: boolean): Promise<Result<{ enabled: boolean }>>;
  outboundRoutes(): OutboundRoute[];
  inboundRoutes(): InboundRoute[];
  addOutbound(route: OutboundRoute): Promise<Result<{ added: string }>>;
  addInbound(route: InboundRoute): Promise<Result<{ added: string }>>;
  removeOutbound(pattern: string): Promise<Result<{ removed: string }>>;
  removeInbound(pattern: string, trunk: string): Promise<Result<{ removed: string }>>;
}

/** Which call records. */
export interface CdrQuery {
  limit?: number;
  before?: string;
  id?: string;
  /** Who called or was called. */
  user?: string;
}

/** Which part of a list: at most `limit` rows after the one with the key `after`. */
export interface Slice {
  limit?: number;
  after?: string;
}

export interface CallManagerApi {
  readonly trunks: TrunkApi;
  status(): StatusView;
  servers(): ServerView[];
  /** In the order of ids. At most `limits.listedMax` rows, as all lists. */
  calls(slice?: Slice): CallView[];
  /** In the order of users, who are the keys; the devices of a user are never split. */
  registrations(slice?: Slice): RegistrationView[];
  /** Sources the SIP engine does not listen to, in the order of keys. */
  bans(slice?: Slice): BanView[];
  /** Lifts every ban that covers an address. */
  liftBan(address: string): Promise<Result<{ lifted: number }>>;
  /** In the order of names; those that begin with `prefix`. */
  users(slice?: Slice & { prefix?: string }): UserView[];
  /** Newest first: those that ended before `before`, or at that time with an id after `id`. */
  cdrs(options?: CdrQuery): CdrView[];
  /** The record of one call. */
  cdr(id: string): CdrView | null;
  /** All or none: a name that is taken or invalid adds nobody of its batch. */
  addUsers(users: readonly NewUser[]): Promise<Result<{ added: number }>>;
  deleteUser(name: string): Promise<Result<{ deleted: string }>>;
}
