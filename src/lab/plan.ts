/**
 * What a lab consists of: names, addresses and files. Pure; the rest of `src/lab` acts on it.
 * The values are a contract: scripts, tests and documentation rely on them.
 */
import { join } from 'node:path';
import type { Role } from '../config/schema.ts';

/** One server of a lab. */
export interface LabServer {
  name: string;
  roles: Role[];
  /** Voter number; null for servers that are not Call Managers. */
  id: number | null;
  namespace: string;
  address: string;
  address6: string;
  /** The addresses of a media server that move when it dies, IPv4 and IPv6; else none. */
  floating: string[];
  directory: string;
}

/** A lab before anything exists. */
export interface LabPlan {
  /** Absolute. */
  directory: string;
  /** Beginning of every namespace name, `rpbx` for the lab of the documentation. */
  prefix: string;
  switchNamespace: string;
  phonesNamespace: string;
  vip: string[];
  servers: LabServer[];
  /** Addresses of phones, all on one interface. */
  phones: string[];
  phones6: string[];
}

export const labPorts = {
  sip: 5060,
  sipTls: 5061,
  sipWs: 5066,
  sipWss: 7443,
  api: 8443,
  resp: 6379,
  raft: 7001,
  drachtio: 9022,
  ng: 2223,
  metrics: 9464,
} as const;

/** Ports of the media servers' audio. */
export const labMediaPorts = '20000-59999';

/** SIP domain and digest realm of a lab. */
export const labDomain = 'lab.raftpbx.test';

/** Name of the bridge inside the switch namespace. */
export const bridgeName = 'br0';

/** Users every lab begins with. */
export const labUsers = Array.from({ length: 20 }, (_, i) => String(1001 + i));

/** Media server n has .2n of its own and .3n that moves. */
const floatingOffset = 10;

const net4 = '10.77.0';
const net6 = 'fd77:';
const moving = [`${net4}.`, `${net6}:`];

/** Lays a lab out. */
export function planLab(
  directory: string,
  prefix = 'rpbx',
  counts: { callManagers: number; mediaServers: number } = { callManagers: 3, mediaServers: 2 },
): LabPlan {
  const server = (role: Role, stem: string, number: number, firstHost: number): LabServer => {
    const name = `${stem}-${number}`;
    const host = firstHost + number - 1;
    return {
      name,
      roles: [role],
      id: role === 'call-manager' ? number : null,
      namespace: `${prefix}-${name}`,
      address: `${net4}.${host}`,
      address6: `${net6}:${host}`,
      floating: role === 'media' ? moving.map((net) => `${net}${host + floatingOffset}`) : [],
      directory: join(directory, name),
    };
  };
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  const hosts = Array.from({ length: 51 }, (_, i) => 200 + i);
  return {
    directory,
    prefix,
    switchNamespace: `${prefix}-sw`,
    phonesNamespace: `${prefix}-phones`,
    vip: [`${net4}.100`, `${net6}:100`],
    servers: [
      ...numbers(counts.callManagers).map((n) => server('call-manager', 'cm', n, 11)),
      ...numbers(counts.mediaServers).map((n) => server('media', 'media', n, 21)),
    ],
    phones: hosts.map((host) => `${net4}.${host}`),
    phones6: hosts.map((host) => `${net6}:${host}`),
  };
}

/** Where a lab keeps what is not a server's own. */
export function labFiles(directory: string) {
  return {
    lab: join(directory, 'lab.json'),
    credentials: join(directory, 'credentials.json'),
    authority: join(directory, 'ca.pem'),
    authorityKey: join(directory, 'ca.key'),
  };
}

/** Where a server of a lab keeps its things. */
export function serverFiles(directory: string) {
  return {
    config: join(directory, 'config.yaml'),
    log: join(directory, 'log.jsonl'),
    errors: join(directory, 'stderr.log'),
  };
}
