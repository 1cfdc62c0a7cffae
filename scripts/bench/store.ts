/**
 * Writes of the store beside etcd: 64 clients, one small value each at a time, to the leader
 * of three members. redis-benchmark drives ours over its Redis protocol; `etcdput`, written
 * with etcd's own Go client as etcd's benchmark is, drives etcd.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import { bridgeName } from '../../src/lab/plan.ts';
import { type BenchLab, benchLab, withLab } from './lab.ts';
import { cpuSeconds } from './machine.ts';
import { type Place, plugIn } from './network.ts';
import { finish, type Running, start, until } from './processes.ts';
import { type PartResult, say } from './report.ts';

const clients = 64;
const writes = { ours: 300_000, etcd: 100_000 };
const etcdAddresses = ['10.77.0.91', '10.77.0.92', '10.77.0.93'];

interface Result {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  cpuUs: number;
}

export async function measureStore(): Promise<PartResult> {
  return await withLab(async (lab) => {
    const rows = [row('raftpbx, SET by redis-benchmark', await measureOurs(lab))];
    const etcd = await measureEtcd(lab);
    rows.push(etcd === null ? skipped('etcd, Put by etcdput') : row('etcd, Put by etcdput', etcd));
    return {
      part: 'store',
      title: `Store: replicated writes of ${clients} clients, beside etcd`,
      notes: [
        `Three members each, in namespaces on one bridge, data on the same disk, synced before ` +
          'the answer; the clients talk to the leader only and have one write in flight each.',
        'Ours is the whole Call Manager of the lab with mutual TLS between the members; etcd is ' +
          'started with its defaults and without TLS, which favours etcd.',
        'The load programs differ: redis-benchmark is C, etcdput is Go on the library of ' +
          "etcd's own benchmark; both share the processors with the servers.",
        'CPU is user and system time of the three servers, divided by writes.',
      ],
      head: ['store', 'writes/s', 'p50 ms', 'p99 ms', 'CPU us'],
      rows,
    };
  });
}

function row(name: string, { perSecond, p50Ms, p99Ms, cpuUs }: Result): string[] {
  return [name, perSecond.toFixed(0), p50Ms.toFixed(2), p99Ms.toFixed(2), cpuUs.toFixed(1)];
}

function skipped(name: string): string[] {
  return [name, 'not run: needs etcd and go', '', '', ''];
}

async function measureOurs(lab: BenchLab): Promise<Result> {
  const { leader } = await lab.untilHealthy();
  const servers = lab.plan.servers.filter((one) => one.id !== null);
  const address = servers.find((one) => one.name === leader)?.address ?? '';
  say(`redis-benchmark at ${address} (${leader})`);
  const used = () => servers.reduce((sum, one) => sum + cpuSeconds(lab.pidOf(one.name)), 0);
  const before = used();
  const run = await finish(
    inNamespace(lab.plan.phonesNamespace, [
      ...['redis-benchmark', '-h', address, '-p', String(labPorts.resp), '-a', lab.storePassword],
      ...['-t', 'set', '-c', String(clients), '-n', String(writes.ours), '-r', '100000', '--csv'],
    ]),
    120_000,
  );
  // "test","rps","avg_latency_ms","min_latency_ms","p50_...","p95_...","p99_...","max_..."
  const cells = /^"SET",.*$/m.exec(run.stdout)?.[0].replaceAll('"', '').split(',').map(Number);
  if (run.status !== 0 || cells === undefined) {
    throw new Error(`redis-benchmark failed: ${run.stderr.slice(-500)} ${run.stdout.slice(-500)}`);
  }
  return {
    perSecond: cells[1] ?? Number.NaN,
    p50Ms: cells[4] ?? Number.NaN,
    p99Ms: cells[6] ?? Number.NaN,
    cpuUs: ((used() - before) * 1e6) / writes.ours,
  };
}

async function measureEtcd(lab: BenchLab): Promise<Result | null> {
  const program = await buildEtcdPut();
  if (program === null || (await finish(['etcd', '--version'], 10_000)).status !== 0) {
    return null;
  }
  const { plan } = lab;
  // On the disk of our own members, not in a memory file system.
  const folder = mkdtempSync(join(benchLab.directory, 'etcd-'));
  const places: Place[] = [];
  const members: Running[] = [];
  try {
    for (const [i, address] of etcdAddresses.entries()) {
      const name = `${plan.prefix}-etcd${i + 1}`;
      places.push(plugIn(name, plan.switchNamespace, bridgeName, [address]));
      members.push(await startEtcd(places[i] as Place, i, folder));
    }
    const leader = await etcdLeader(places[0] as Place);
    say(`etcdput at ${leader}`);
    const used = () => members.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
    const before = used();
    const run = await finish(
      inNamespace(plan.phonesNamespace, [
        ...[program, '-endpoint', leader, '-clients', String(clients)],
        ...['-total', String(writes.etcd)],
      ]),
      120_000,
    );
    if (run.status !== 0) {
      throw new Error(`etcdput failed: ${run.stderr.slice(-500)}`);
    }
    const cpuUs = ((used() - before) * 1e6) / writes.etcd;
    return { ...(JSON.parse(run.stdout) as Omit<Result, 'cpuUs'>), cpuUs };
  } finally {
    await Promise.all(members.map((member) => member.stop()));
    for (const place of places) {
      place.remove();
    }
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

function startEtcd(place: Place, index: number, folder: string): Promise<Running> {
  const address = etcdAddresses[index] ?? '';
  const all = etcdAddresses.map((one, i) => `m${i + 1}=http://${one}:2380`).join(',');
  const argv = [
    ...['etcd', '--name', `m${index + 1}`, '--data-dir', join(folder, `m${index + 1}`)],
    ...['--listen-peer-urls', `http://${address}:2380`],
    ...['--initial-advertise-peer-urls', `http://${address}:2380`],
    ...['--listen-client-urls', `http://${address}:2379`],
    ...['--advertise-client-urls', `http://${address}:2379`],
    ...['--initial-cluster', all, '--initial-cluster-state', 'new', '--log-level', 'error'],
  ];
  return start(place.command(argv), null);
}

/** `address:2379` of the member that leads. */
async function etcdLeader(place: Place): Promise<string> {
  let leader = '';
  await until('etcd to elect a leader', 20_000, async () => {
    const endpoints = etcdAddresses.map((address) => `${address}:2379`);
    const asked = await finish(
      place
        .command(['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${endpoints.join(',')}`])
        .concat(['endpoint', 'status', '-w', 'json']),
      5000,
    );
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
