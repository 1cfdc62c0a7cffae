/**
 * Three nodes of the store alone (`raftpbx store`) on loopback, with mutual TLS between them and
 * their logs on the disk of this project: what the store's benchmarks measure.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { createAuthority, issueCertificate, nodeName } from '../../src/native/index.ts';
import { cpuSeconds } from './machine.ts';
import { finish, type Running, start, until } from './processes.ts';

const program = fileURLToPath(new URL('../../bin/raftpbx', import.meta.url));
const reports = fileURLToPath(new URL('../../report', import.meta.url));
const ids = [1, 2, 3];
const host = '127.0.0.1';

/** The data on this disk, so that every store that is compared writes to the same one. */
export function benchFolder(): string {
  mkdirSync(reports, { recursive: true });
  return mkdtempSync(join(reports, 'bench-store-'));
}

export interface StoreCluster {
  folder: string;
  /** `ID=ADDRESS:PORT,...` of the Raft listeners. */
  peers: string;
  raftAddress(id: number): string;
  respPort(id: number): number;
  tls(id: number): { authority: string; certificate: string; key: string };
  /** The running nodes; a killed one is missing. */
  running: Map<number, Running>;
  start(id: number): Promise<void>;
  kill(id: number): Promise<void>;
  /** A connection to one node that waits as long as it takes. */
  connect(id: number): Redis;
  /** The node that leads, once one does. */
  leader(): Promise<number>;
  cpuSeconds(): number;
  stop(): Promise<void>;
}

/** Starts nodes `only` (all of them unless said otherwise) with ports from `port` on. */
export async function storeCluster(port: number, only = ids): Promise<StoreCluster> {
  const folder = benchFolder();
  const authority = createAuthority();
  const raftAddress = (id: number) => `${host}:${port + 10 + id}`;
  const respPort = (id: number) => port + id;
  const peers = ids.map((id) => `${id}=${raftAddress(id)}`).join(',');
  const running = new Map<number, Running>();
  const clients: Redis[] = [];
  for (const id of ids) {
    writeTls(join(folder, String(id), 'tls'), authority, id);
  }
  const cluster: StoreCluster = {
    folder,
    peers,
    raftAddress,
    respPort,
    tls: (id) => tlsFiles(join(folder, String(id), 'tls')),
    running,
    async start(id) {
      const words = ['store', '--id', String(id), '--dir', join(folder, String(id))];
      words.push('--resp', `${host}:${respPort(id)}`, '--raft', raftAddress(id), '--peers', peers);
      running.set(id, await start([program, ...words], 'ready'));
    },
    async kill(id) {
      const node = running.get(id);
      running.delete(id);
      if (node !== undefined) {
        process.kill(node.pid, 'SIGKILL');
        await node.stop();
      }
    },
    connect(id) {
      const client = new Redis(respPort(id), host, { maxRetriesPerRequest: null });
      // Refused connections are part of killing nodes; what matters is who answers at last.
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    },
    leader: () => leaderOf(running, respPort),
    cpuSeconds: () => [...running.values()].reduce((sum, { pid }) => sum + cpuSeconds(pid), 0),
    async stop() {
      for (const client of clients) {
        client.disconnect();
      }
      await Promise.all([...running.values()].map((node) => node.stop()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await Promise.all(only.map((id) => cluster.start(id)));
  return cluster;
}

/** Runs `measure` with three nodes and removes them whatever happens. */
export async function withStoreCluster<T>(
  port: number,
  measure: (cluster: StoreCluster) => Promise<T>,
  only = ids,
): Promise<T> {
  const cluster = await storeCluster(port, only);
  try {
    return await measure(cluster);
  } finally {
    await cluster.stop();
  }
}

function tlsFiles(folder: string) {
  const file = (name: string) => join(folder, `${name}.pem`);
  return { authority: file('authority'), certificate: file('certificate'), key: file('key') };
}

function writeTls(folder: string, authority: ReturnType<typeof createAuthority>, id: number): void {
  mkdirSync(folder, { recursive: true });
  const files = tlsFiles(folder);
  const issued = issueCertificate(authority, `node-${id}`, [host], [nodeName(id)]);
  writeFileSync(files.authority, authority.certificate);
  writeFileSync(files.certificate, issued.certificate);
  writeFileSync(files.key, issued.key, { mode: 0o600 });
}

async function leaderOf(
  running: ReadonlyMap<number, Running>,
  respPort: (id: number) => number,
): Promise<number> {
  let leader = 0;
  await until('a node of the store to lead', 30_000, async () => {
    for (const id of running.keys()) {
      const asked = await finish(['redis-cli', '-p', String(respPort(id)), 'ROLE'], 2000);
      if (asked.stdout.startsWith('master')) {
        leader = id;
      }
    }
    return leader !== 0;
  });
  return leader;
}
