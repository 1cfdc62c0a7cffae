/**
 * Trunks: the way to a telephone provider, and the routes of numbers over them. Pure.
 *
 * A trunk is known by its name. Its calls come from its networks, and never from whoever a From
 * header names.
 */
import { BlockList, isIP } from 'node:net';
import { fail, type Result, succeed } from './errors.ts';
import { limits } from './limits.ts';
import { cleanDisplayName } from './user.ts';

/** `register`: we log in at the provider. `peer`: both know each other by address. */
export type TrunkMode = 'register' | 'peer';
export type TrunkTransport = 'udp' | 'tcp' | 'tls';

export interface Trunk {
  name: string;
  mode: TrunkMode;
  /** Where requests go: `host` or `host:port`, IPv6 in brackets. */
  proxy: string;
  transport: TrunkTransport;
  /** Host in the URIs of our requests; empty: the proxy. */
  domain: string;
  /** Name of our account; empty without one. */
  user: string;
  /** Sealed (`sealing.ts`); empty without one. */
  password: string;
  /** Number that called people see; empty: the caller's own. */
  callerId: string;
  /** Calls at once, both ways. */
  channelsMax: number;
  /** Networks its calls come from, besides where it answered from: `192.0.2.0/24`. */
  sources: string[];
  enabled: boolean;
  /** Unix milliseconds. */
  createdAt: number;
}

/** What an administrator gives; all but name and proxy may be left away. */
export interface NewTrunk {
  name: string;
  proxy: string;
  mode?: TrunkMode;
  transport?: TrunkTransport;
  domain?: string;
  user?: string;
  password?: string;
  callerId?: string;
  channelsMax?: number;
  sources?: string[];
}

/** A row of the table `trunks`. */
export interface TrunkRow {
  name: string;
  mode: TrunkMode;
  proxy: string;
  transport: TrunkTransport;
  domain: string;
  auth_user: string;
  password: string;
  caller_id: string;
  channels_max: number;
  sources: string;
  enabled: number;
  created_at: number;
}

export const insertTrunk =
  'INSERT INTO trunks (name, mode, proxy, transport, domain, auth_user, password, caller_id, ' +
  'channels_max, sources, enabled, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';

export function trunkArguments(trunk: Trunk): (string | number)[] {
  return [
    ...[trunk.name, trunk.mode, trunk.proxy, trunk.transport, trunk.domain, trunk.user],
    ...[trunk.password, trunk.callerId, trunk.channelsMax, JSON.stringify(trunk.sources)],
    ...[trunk.enabled ? 1 : 0, trunk.createdAt],
  ];
}

export function trunkOf(row: TrunkRow): Trunk {
  return {
    name: row.name,
    mode: row.mode,
    proxy: row.proxy,
    transport: row.transport,
    domain: row.domain,
    user: row.auth_user,
    password: row.password,
    callerId: row.caller_id,
    channelsMax: row.channels_max,
    sources: JSON.parse(row.sources) as string[],
    enabled: row.enabled !== 0,
    createdAt: row.created_at,
  };
}

const namePattern = /^[a-z0-9][a-z0-9-]{0,30}$/;
const hostPattern = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?)$/;
const userPattern = /^[A-Za-z0-9._+@-]{1,64}$/;
const passwordPattern = /^[\x20-\x7e]{1,128}$/;
export const numberPattern = /^[A-Za-z0-9._+*#-]{1,64}$/;

export function isTrunkName(text: string): boolean {
  return namePattern.test(text);
}

/** Checks what is wanted and derives the trunk; its password is not sealed yet. */
export function createTrunk(wanted: NewTrunk, createdAt: number): Result<Trunk> {
  const { name, proxy, user = '', password = '', callerId = '', domain = '' } = wanted;
  const { sources = [], channelsMax = limits.trunkChannels, transport = 'udp' } = wanted;
  const mode = wanted.mode ?? (user === '' ? 'peer' : 'register');
  const needsSources = mode === 'peer' && addressOf(proxy) === null && sources.length === 0;
  const wrongs: [boolean, string][] = [
    [!isTrunkName(name), 'a name has 1 to 31 of a-z 0-9 -'],
    [hostOf(proxy) === null, 'the proxy is HOST or HOST:PORT'],
    [domain !== '' && !hostPattern.test(domain), 'the domain is no host name'],
    [user !== '' && !userPattern.test(user), 'the account has 1 to 64 of a-z A-Z 0-9 . _ + @ -'],
    [password !== '' && !passwordPattern.test(password), 'the password is not printable'],
    [mode === 'register' && (user === '' || password === ''), 'it registers: user and password'],
    [password !== '' && user === '', 'a password belongs to a user'],
    [callerId !== '' && !numberPattern.test(callerId), 'the caller ID is no number'],
    [!Number.isInteger(channelsMax) || channelsMax < 1, 'channels are a number above 0'],
    [channelsMax > limits.callsMax, `channels are ${limits.callsMax} at most`],
    [sources.length > limits.trunkSourcesMax, `sources are ${limits.trunkSourcesMax} at most`],
    [sources.some((one) => !isNetwork(one)), 'a source is an address or ADDRESS/BITS'],
    [needsSources, 'a peer with a host name needs the networks its calls come from'],
  ];
  const wrong = wrongs.find(([isWrong]) => isWrong);
  if (wrong !== undefined) {
    return fail('PBX_TRUNK_INVALID', `'${cleanDisplayName(name)}': ${wrong[1]}`);
  }
  const rest = { domain, user, password, callerId, channelsMax, sources };
  return succeed({ name, mode, proxy, transport, ...rest, enabled: true, createdAt });
}

/** The host of `host` or `host:port`; null when it is neither. */
export function hostOf(proxy: string): string | null {
  const match = /^(\[[^\]]*\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(proxy);
  const host = match?.[1] ?? '';
  const port = Number(match?.[2] ?? 5060);
  return hostPattern.test(host) && port > 0 && port < 65_536 ? host : null;
}

/** The host when it is an address, without brackets. */
function addressOf(proxy: string): string | null {
  const host = hostOf(proxy)?.replace(/[[\]]/g, '') ?? '';
  return isIP(host) === 0 ? null : host;
}

/** The networks a trunk's calls come from; `answered` is where it last answered from. */
export function networksOf(trunk: Trunk, answered: string | null): string[] {
  const own = addressOf(trunk.proxy);
  const all = [...trunk.sources, ...(own === null ? [] : [own])];
  return [...new Set(answered === null ? all : [...all, answered])];
}

function isNetwork(text: string): boolean {
  const [address = '', bits, more] = text.split('/');
  const width = isIP(address) === 4 ? 32 : 128;
  const isWhole = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= width);
  return isIP(address) !== 0 && isWhole && more === undefined;
}

export function isInside(networks: readonly string[], source: string): boolean {
  const plain = source.replace(/^::ffff:(?=\d+\.)/i, '');
  const family = isIP(plain) === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const of = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    if (isIP(address) !== 0) {
      list.addSubnet(address, Number(bits ?? (of === 'ipv4' ? 32 : 128)), of);
    }
  }
  return isIP(plain) !== 0 && list.check(plain, family);
}

/** Numbers of users go out over trunks: which, and how the number is written there. */
export interface OutboundRoute {
  pattern: string;
  /** Characters taken off at the front. */
  strip: number;
  prepend: string;
  /** Names, in the order they are tried. */
  trunks: string[];
}

/** Numbers that a provider calls: who is meant. */
export interface InboundRoute {
  pattern: string;
  /** Only calls of this trunk; empty: of any. */
  trunk: string;
  /** User or number that is called; empty: the number itself, rewritten. */
  to: string;
  strip: number;
  prepend: string;
}

export interface OutboundRow {
  pattern: string;
  strip: number;
  prepend: string;
  trunks: string;
}

export function outboundOf(row: OutboundRow): OutboundRoute {
  return { ...row, trunks: JSON.parse(row.trunks) as string[] };
}

/** Digits, `+ * #`; X any digit, Z 1 to 9, N 2 to 9; a dot at the end: one or more of anything. */
const routePattern = /^[0-9+*#XZN]{0,31}(?:[0-9+*#XZN]|\.)$/;

function rewriteProblem(pattern: string, strip: number, prepend: string): string | null {
  const wrongs: [boolean, string][] = [
    [!routePattern.test(pattern), 'a pattern has digits, + * # X Z N, and a dot at its end'],
    [!Number.isInteger(strip) || strip < 0 || strip > 32, 'strip is a number up to 32'],
    [prepend !== '' && !numberPattern.test(prepend), 'prepend is no number'],
  ];
  return wrongs.find(([isWrong]) => isWrong)?.[1] ?? null;
}

export function checkOutbound(route: OutboundRoute): Result<OutboundRoute> {
  const { pattern, strip, prepend, trunks } = route;
  const wrong =
    rewriteProblem(pattern, strip, prepend) ??
    (trunks.length === 0 || trunks.length > limits.trunksPerRoute
      ? `a route has 1 to ${limits.trunksPerRoute} trunks`
      : null);
  return wrong === null ? succeed(route) : fail('PBX_ROUTE_INVALID', `'${pattern}': ${wrong}`);
}

export function checkInbound(route: InboundRoute): Result<InboundRoute> {
  const { pattern, strip, prepend, to } = route;
  const wrong =
    rewriteProblem(pattern, strip, prepend) ??
    (to !== '' && !numberPattern.test(to) ? 'it leads to no user and no number' : null);
  return wrong === null ? succeed(route) : fail('PBX_ROUTE_INVALID', `'${pattern}': ${wrong}`);
}

/** Where a trunk stands at its provider: the value of `trunk:{name}`. Times: Unix ms. */
export interface TrunkState {
  version: 1;
  state: 'registered' | 'failed';
  /** Until when the provider keeps the last registration. */
  registeredUntil: number | null;
  /** Why the last attempt failed. */
  reason: string | null;
  /** Attempts that failed in a row. */
  failures: number;
  /** When the next REGISTER leaves, whoever leads then. */
  dueAt: number;
  /** Asked for, s. */
  expiresS: number;
  callId: string;
  cseq: number;
  /** Where the provider answered from. */
  address: string | null;
  /** The trunk is out of use: the next REGISTER takes the Contact away, and this with it. */
  leaving?: true;
}

/**
 * A trunk that was removed while it was registered: the value of `trunk-left:{name}/{callId}`,
 * until the provider has been told or the registration has run out.
 */
export interface LeftTrunk {
  version: 1;
  trunk: Trunk;
  state: TrunkState;
}

export const trunkPrefix = 'trunk:';

export function trunkKey(name: string): string {
  return `${trunkPrefix}${name}`;
}

export const leftPrefix = 'trunk-left:';

export function leftKey(name: string, { callId }: TrunkState): string {
  return `${leftPrefix}${name}/${callId}`;
}

/** The key of a trunk that does not answer; it has none while it does. */
export function silentKey(name: string): string {
  return `trunk-silent:${name}`;
}

/** What a provider knows a registration by: two trunks with the same are one to it. */
export function accountOf({ transport, proxy, domain, user }: Trunk): string {
  return [transport, proxy, domain, user].join(' ');
}

/** The key by which the SIP engine knows where a trunk's calls come from. */
export function peerKey(name: string): string {
  return `sip:peer:${name}`;
}

/** Parses a removed trunk; null when another version or nobody's. */
export function parseLeftTrunk(text: string): LeftTrunk | null {
  const left = parsed(text) as Partial<LeftTrunk> | null;
  const valid = left?.version === 1 && typeof left.state?.dueAt === 'number' && left.trunk;
  return valid ? (left as LeftTrunk) : null;
}

/** Parses a state of the store; null when another version or nobody's. */
export function parseTrunkState(text: string): TrunkState | null {
  const value = parsed(text) as Partial<TrunkState> | null;
  const valid = value?.version === 1 && typeof value.dueAt === 'number';
  return valid ? (value as TrunkState) : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
}
