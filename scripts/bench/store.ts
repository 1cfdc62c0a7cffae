/**
 * Writes of the store: over its Redis protocol and from inside a process, beside etcd and a
 * single Redis that syncs each write. Everything on loopback and on the same disk.
 */
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { measureEtcd } from './etcd.ts';
import { cpuSeconds } from './machine.ts';
import { finish, start, until } from './processes.ts';
import { type LoadResult, setLoad } from './redis-benchmark.ts';
import { type PartResult, say } from './report.ts';
import { benchFolder, withStoreCluster } from './store-cluster.ts';

const port = 23_000;
const insidePort = 23_100;
const redisPort = 23_201;
/** Clients and pipeline of each row, over the Redis protocol. */
const loads = [
  { clients: 64, pipeline: 1, writes: 200_000 },
  { clients: 512, pipeline: 1, writes: 300_000 },
  { clients: 64, pipeline: 16, writes: 600_000 },
];
/** Transactions in flight from inside a process, writes of each, and how many are written. */
const inside = [
  { inFlight: 64, atOnce: 1, writes: 200_000 },
  { inFlight: 1024, atOnce: 1, writes: 600_000 },
  { inFlight: 64, atOnce: 64, writes: 1_536_000 },
];
type Inside = (typeof inside)[number];
const etcdWrites = 60_000;

export async function measureStore(): Promise<PartResult> {
  const rows: string[][] = [];
  const add = (name: string, result: LoadResult | null) => rows.push(row(name, result));
  await withStoreCluster(port, async (cluster) => {
    const leader = await cluster.leader();
    for (const load of loads) {
      const name = `raftpbx, ${load.clients} clients, ${inPipeline(load.pipeline)}`;
      say(name);
      add(name, await setLoad(cluster.respPort(leader), load, () => cluster.cpuSeconds()));
    }
  });
  for (const load of inside) {
    const name = `raftpbx, from inside Node, ${load.inFlight} in flight${ofWrites(load.atOnce)}`;
    say(name);
    add(name, await measureInside(load));
  }
  for (const load of loads) {
    const name = `redis, one server, ${load.clients} clients, ${inPipeline(load.pipeline)}`;
    say(name);
    add(name, await measureRedis(load));
  }
  say('etcd');
  add(`etcd, ${loads[0]?.clients} clients`, await measureEtcd(64, etcdWrites));
  return {
    part: 'store',
    title: 'Store: replicated writes beside etcd and a single redis',
    notes: [
      'Three nodes of ours and of etcd, data on the same disk, synced before the answer; ' +
        'clients talk to the leader only. Ours has mutual TLS between the nodes, etcd none.',
      'redis is one server without replicas that syncs every write (`appendfsync always`).',
      '`redis-benchmark` sets 100-byte values on 100,000 keys; etcd gets Puts of the same size ' +
        'from `etcdput`, written with its own Go client.',
      '"From inside Node": `Store.transaction` in the process of the leading node, one promise each, ' +
        'of one write unless more are said; p50 and p99 are those of a transaction, and its CPU ' +
        'includes the JavaScript that makes the load.',
      'CPU is user and system time of all servers, divided by writes; the load programs share ' +
        'the processors with them.',
    ],
    head: ['store', 'writes/s', 'p50 ms', 'p99 ms', 'CPU us'],
    rows,
  };
}

function ofWrites(atOnce: number): string {
  return atOnce === 1 ? '' : `, ${atOnce} writes each`;
}

function inPipeline(pipeline: number): string {
  return pipeline === 1 ? 'one write each' : `${pipeline} writes each`;
}

function row(name: string, result: LoadResult | null): string[] {
  if (result === null) {
    return [name, 'not run: a program is missing', '', '', ''];
  }
  const { perSecond, p50Ms, p99Ms, cpuUs } = result;
  return [name, perSecond.toFixed(0), p50Ms.toFixed(2), p99Ms.toFixed(2), cpuUs.toFixed(1)];
}

/**
 * One node lives in a process that also makes the load; the two others are servers, started
 * behind it so that it is the one to found the cluster and to lead it.
 */
async function measureInside({ inFlight, atOnce, writes }: Inside): Promise<LoadResult> {
  return await withStoreCluster(
    insidePort,
    async (cluster) => {
      const options = JSON.stringify({
        ...{ id: 1, directory: `${cluster.folder}/1`, raftListen: cluster.raftAddress(1) },
        peers: [1, 2, 3].map((id) => ({
          ...{ id, name: `node-${id}`, raft: cluster.raftAddress(id), resp: null },
        })),
        join: false,
        ...{ respListen: [], accounts: [], respTls: null, respIdleS: null, tls: cluster.tls(1) },
        ...{ heartbeatMs: 40, electionMinMs: 250, electionMaxMs: 400 },
      });
      const program = fileURLToPath(new URL('./store-inside.ts', import.meta.url));
      const numbers = [inFlight, writes, atOnce].map(String);
      const words = [process.execPath, program, options, ...numbers];
      const load = await start(words, 'open');
      try {
        await Promise.all([cluster.start(2), cluster.start(3)]);
        await until('this node to lead', 30_000, () => load.output().includes('leads'));
        const before = cluster.cpuSeconds();
        await until('the writes to end', 180_000, () => load.output().includes('}'));
        const result = JSON.parse(/\{.*\}/.exec(load.output())?.[0] ?? '') as LoadResult;
        const served = ((cluster.cpuSeconds() - before) * 1e6) / writes;
        return { ...result, cpuUs: result.cpuUs + served };
      } finally {
        await load.stop();
      }
    },
    [],
  );
}

async function measureRedis(load: (typeof loads)[number]): Promise<LoadResult | null> {
  if ((await finish(['redis-server', '--version'], 10_000)).status !== 0) {
    return null;
  }
  const folder = benchFolder();
  const words = ['--port', String(redisPort), '--bind', '127.0.0.1', '--dir', folder];
  words.push('--appendonly', 'yes', '--appendfsync', 'always', '--save', '');
  const server = await start(['redis-server', ...words], 'Ready to accept connections');
  try {
    return await setLoad(redisPort, load, () => cpuSeconds(server.pid));
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
