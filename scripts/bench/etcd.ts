/** Three members of etcd on loopback and `etcdput`, our load program for it. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuSeconds } from './machine.ts';
import { finish, type Running, start, until } from './processes.ts';
import type { LoadResult } from './redis-benchmark.ts';
import { say } from './report.ts';
import { benchFolder } from './store-cluster.ts';

const host = '127.0.0.1';
const members = [1, 2, 3];
const firstPort = 23_400;
const clientUrl = (id: number) => `http://${host}:${firstPort + id}`;
const peerUrl = (id: number) => `http://${host}:${firstPort + 10 + id}`;

/** Puts by `clients` clients with one in flight each; null where etcd or Go is missing. */
export async function measureEtcd(clients: number, writes: number): Promise<LoadResult | null> {
  const program = await buildEtcdPut();
  if (program === null || (await finish(['etcd', '--version'], 10_000)).status !== 0) {
    return null;
  }
  const folder = benchFolder();
  const running: Running[] = [];
  try {
    for (const id of members) {
      running.push(await startMember(id, folder));
    }
    const leader = await etcdLeader();
    const used = () => running.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
    const before = used();
    const load = ['-endpoint', leader, '-clients', String(clients), '-total', String(writes)];
    const run = await finish([program, ...load], 180_000);
    if (run.status !== 0) {
      throw new Error(`etcdput failed: ${run.stderr.slice(-500)}`);
    }
    const cpuUs = ((used() - before) * 1e6) / writes;
    return { ...(JSON.parse(run.stdout) as Omit<LoadResult, 'cpuUs'>), cpuUs };
  } finally {
    await Promise.all(running.map((member) => member.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

async function buildEtcdPut(): Promise<string | null> {
  const source = fileURLToPath(new URL('./etcdput', import.meta.url));
  const folder = fileURLToPath(new URL('../../target/bench', import.meta.url));
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'etcdput');
  const built = await finish(['go', 'build', '-o', program, '.'], 300_000, source);
  if (built.status !== 0) {
    say(`etcdput was not built, etcd is left out: ${built.stderr.slice(-300)}`);
    return null;
  }
  return program;
}

function startMember(id: number, folder: string): Promise<Running> {
  const all = members.map((one) => `m${one}=${peerUrl(one)}`).join(',');
  const argv = [
    ...['etcd', '--name', `m${id}`, '--data-dir', join(folder, `m${id}`)],
    ...['--listen-peer-urls', peerUrl(id), '--initial-advertise-peer-urls', peerUrl(id)],
    ...['--listen-client-urls', clientUrl(id), '--advertise-client-urls', clientUrl(id)],
    ...['--initial-cluster', all, '--initial-cluster-state', 'new', '--log-level', 'error'],
  ];
  return start(argv, null);
}

/** `address:port` of the member that leads. */
async function etcdLeader(): Promise<string> {
  let leader = '';
  await until('etcd to elect a leader', 20_000, async () => {
    const endpoints = members.map((id) => `${host}:${firstPort + id}`).join(',');
    const status = ['etcdctl', `--endpoints=${endpoints}`, 'endpoint', 'status', '-w', 'json'];
    const asked = await finish(['env', 'ETCDCTL_API=3', ...status], 5000);
    leader = asked.status === 0 ? leaderOf(asked.stdout) : '';
    return leader !== '';
  });
  return leader;
}

interface EtcdStatus {
  Endpoint: string;
  Status: { header: { member_id: number }; leader: number };
}

function leaderOf(json: string): string {
  // Member numbers are larger than a JavaScript number is exact: they are compared as text.
  const quoted = json.replace(/"(member_id|leader)":(\d+)/g, '"$1":"$2"');
  const statuses = JSON.parse(quoted) as EtcdStatus[];
  const own = statuses.find(({ Status }) => Status.header.member_id === Status.leader);
  return own?.Endpoint ?? '';
}
