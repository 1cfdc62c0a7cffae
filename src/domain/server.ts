/** Servers, their roles and their leases. Pure. */

/** A running role of this process, as every role's `start` function returns it. */
export interface RoleHandle {
  /** Leaves the cluster cleanly; resolves when nothing of the role runs any more. */
  stop(): Promise<void>;
  status(): unknown;
  /** Prometheus text. */
  metrics(): string;
}

export type RoleName = 'call-manager' | 'media';

/** `up` takes work, `draining` takes no new work, `disabled` is off by an administrator. */
export type ServerState = 'up' | 'draining' | 'disabled' | 'down';

/** The value of `server:{name}`: who the server is and how busy. */
export interface Lease {
  name: string;
  roles: string[];
  address: string;
  /** `host:port` of the NG listener of a media server. */
  ng?: string;
  /** `host:port` of its NG listener of TCP and WebSocket. */
  ngTcp?: string;
  /** Which start of the server this is. */
  life?: string;
  /** Floating addresses that it can take over. */
  floating?: string[];
  /** Sessions now. */
  load: number;
  /** Sessions at most. */
  capacity: number;
  version: string;
  /** What needs a person there; left away when nothing does. */
  alarms?: Alarm[];
}

/** Something that a person must look at. */
export interface Alarm {
  code: string;
  text: string;
  /** What to do about it. */
  fix: string;
}

/** The value of a field of the hash `servers`: every server ever seen. */
export interface KnownServer {
  name: string;
  roles: string[];
  address: string;
}

/** A server as the portal, the API and the CLI show it. */
export interface ServerView extends KnownServer {
  state: ServerState;
  load: number;
  capacity: number;
  alarms: readonly Alarm[];
}

/** Parses a lease; null when it is not one, so a stranger's key cannot stop call control. */
export function parseLease(text: string): Lease | null {
  const value = parseObject(text);
  if (value === null || !isKnownServer(value)) {
    return null;
  }
  const { ng, ngTcp, life, floating, load, capacity, version, alarms } = value as Partial<Lease>;
  return {
    name: value.name,
    roles: value.roles,
    address: value.address,
    ...(typeof ng === 'string' ? { ng } : {}),
    ...(typeof ngTcp === 'string' ? { ngTcp } : {}),
    ...(typeof life === 'string' ? { life } : {}),
    ...(Array.isArray(floating) ? { floating: floating.filter(isText) } : {}),
    load: typeof load === 'number' && load >= 0 ? load : 0,
    capacity: typeof capacity === 'number' && capacity > 0 ? capacity : 1,
    version: typeof version === 'string' ? version : '',
    ...(Array.isArray(alarms) ? { alarms: alarms.filter(isAlarm) } : {}),
  };
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isAlarm(value: unknown): value is Alarm {
  const { code, text, fix } = (value ?? {}) as Partial<Alarm>;
  return [code, text, fix].every((part) => typeof part === 'string');
}

/** Parses a field of `servers`; null when it is not one. */
export function parseKnownServer(text: string): KnownServer | null {
  const value = parseObject(text);
  return value !== null && isKnownServer(value)
    ? { name: value.name, roles: value.roles, address: value.address }
    : null;
}

function parseObject(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
}

function isKnownServer(value: object): value is KnownServer {
  const { name, roles, address } = value as Partial<KnownServer>;
  return (
    typeof name === 'string' &&
    typeof address === 'string' &&
    Array.isArray(roles) &&
    roles.every((role) => typeof role === 'string')
  );
}
