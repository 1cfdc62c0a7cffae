/**
 * Digest registrations per second and the processor time of one, at our leader behind the
 * VIP (every binding committed on a majority of three before its 200) and at a kamailio that
 * keeps them in its own memory only. The same sipp scenario, network path and machine.
 */
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { labDomain, labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import { bridgeName } from '../../src/lab/plan.ts';
import { addUsers, type BenchLab, withLab } from './lab.ts';
import { cpuSeconds, cpuSecondsOfTree, percentile } from './machine.ts';
import { plugIn } from './network.ts';
import { finish, start } from './processes.ts';
import { type PartResult, say } from './report.ts';

const perSecond = 5500;
const users = 50_000;
const firstUser = 100_000;
const phoneAddress = '10.77.0.230';
const kamailioAddress = '10.77.0.90';
const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

interface Load {
  successful: number;
  failed: number;
  retransmissions: number;
  seconds: number;
  p50Ms: number;
  p99Ms: number;
}

export async function measureRegistrations(): Promise<PartResult> {
  return await withLab(async (lab) => {
    say(`adding ${users} users`);
    const password = await addUsers(lab, firstUser, users);
    const ours = await measureOurs(lab, password);
    const theirs = await measureKamailio(lab, password);
    return {
      part: 'registrations',
      title: `Registrations: ${perSecond} a second with digest, beside kamailio`,
      notes: [
        `sipp registers ${users} users once each (REGISTER, 401, REGISTER, 200); CPU is user and ` +
          'system time of the server processes over the run, divided by registrations.',
        'Ours commits each binding on a majority of three servers before the 200 and runs them ' +
          'all on this machine; "leader" is the process that answers, "all three" the cluster.',
        'kamailio is one process group, unreplicated, bindings in memory, the password compared ' +
          'from its configuration; it looks no user up.',
        'All of them share the processors with sipp.',
      ],
      head: ['server', 'rate/s', 'failed', 'retransm.', 'p50 ms', 'p99 ms', 'CPU us'],
      rows: [
        row('raftpbx, leader', ours.load, ours.leaderCpu),
        row('raftpbx, all three', ours.load, ours.allCpu),
        row('kamailio 5, one server', theirs.load, theirs.cpu),
      ],
    };
  });
}

function row(name: string, load: Load, cpu: number): string[] {
  return [
    name,
    (load.successful / load.seconds).toFixed(0),
    String(load.failed),
    String(load.retransmissions),
    load.p50Ms.toFixed(1),
    load.p99Ms.toFixed(1),
    ((cpu * 1e6) / Math.max(1, load.successful)).toFixed(1),
  ];
}

async function measureOurs(lab: BenchLab, password: string) {
  const { leader } = await lab.untilHealthy();
  const names = lab.plan.servers.filter((one) => one.id !== null).map((one) => one.name);
  const used = (name: string) => cpuSeconds(lab.pidOf(name));
  const before = new Map(names.map((name) => [name, used(name)]));
  const load = await register(lab, lab.plan.vip[0] ?? '', password);
  const spent = names.map((name) => ({ name, cpu: used(name) - (before.get(name) ?? 0) }));
  return {
    load,
    leaderCpu: spent.find(({ name }) => name === leader)?.cpu ?? Number.NaN,
    allCpu: spent.reduce((sum, { cpu }) => sum + cpu, 0),
  };
}

async function measureKamailio(lab: BenchLab, password: string) {
  const { plan } = lab;
  const place = plugIn(`${plan.prefix}-kama`, plan.switchNamespace, bridgeName, [kamailioAddress]);
  const folder = mkdtempSync(join(tmpdir(), 'raftpbx-kamailio-'));
  const define = (name: string, value: string) => ['-A', `${name}=${value}`];
  const kamailio = await start(
    place.command([
      'kamailio',
      ...['-f', file('./kamailio.cfg'), '-m', '768', '-M', '16', '-E', '-DD'],
      ...['-P', join(folder, 'pid'), '-Y', folder],
      ...define('LISTEN', `udp:${kamailioAddress}:${labPorts.sip}`),
      ...define('REALM', `"${labDomain}"`),
      ...define('PASSWORD', `"${password}"`),
    ]),
    null,
  );
  try {
    await answers(lab, kamailioAddress);
    const before = cpuSecondsOfTree(kamailio.pid);
    const load = await register(lab, kamailioAddress, password);
    return { load, cpu: cpuSecondsOfTree(kamailio.pid) - before };
  } finally {
    await kamailio.stop();
    place.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Waits until the server answers OPTIONS. */
async function answers(lab: BenchLab, address: string): Promise<void> {
  const probe = await start(
    inNamespace(lab.plan.phonesNamespace, [
      process.execPath,
      ...[file('./probe.ts'), phoneAddress, address, String(labPorts.sip), '20'],
    ]),
    '\n',
  );
  await probe.stop();
}

/** Registers every user once at `address`. */
async function register(lab: BenchLab, address: string, password: string): Promise<Load> {
  say(`registering ${users} users at ${address}, ${perSecond}/s`);
  const folder = mkdtempSync(join(tmpdir(), 'raftpbx-sipp-'));
  try {
    const rows = Array.from({ length: users }, (_, i) => {
      const name = firstUser + i;
      return `${name};[authentication username=${name} password=${password}]`;
    });
    writeFileSync(join(folder, 'rows.csv'), `${['SEQUENTIAL', ...rows].join('\n')}\n`);
    // sipp writes its response times beside the scenario.
    copyFileSync(file('./register.xml'), join(folder, 'register.xml'));
    const argv = inNamespace(lab.plan.phonesNamespace, [
      ...['sipp', `${address}:${labPorts.sip}`, '-sf', 'register.xml'],
      ...['-i', phoneAddress, '-p', '5060', '-inf', 'rows.csv', '-key', 'domain', labDomain],
      ...['-r', String(perSecond), '-m', String(users), '-l', '20000', '-recv_timeout', '8000'],
      ...['-nostdin', '-trace_stat', '-stf', 'statistics.csv', '-fd', '1', '-trace_rtt'],
      ...['-rtt_freq', '5000', '-buff_size', '4194304'],
    ]);
    const startedAt = performance.now();
    const sipp = await finish(argv, 90_000, folder);
    if (sipp.status === null || sipp.status > 1) {
      throw new Error(`sipp failed (${sipp.status}): ${sipp.stderr.slice(-500)}`);
    }
    return summarise(folder, (performance.now() - startedAt) / 1000);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function summarise(folder: string, seconds: number): Load {
  const lines = readFileSync(join(folder, 'statistics.csv'), 'latin1').trim().split('\n');
  const names = (lines[0] ?? '').split(';');
  const last = (lines.at(-1) ?? '').split(';');
  const count = (name: string) => Number(last[names.indexOf(name)] ?? 0);
  const rttFile = readdirSync(folder).find((name) => name.endsWith('_rtt.csv')) ?? '';
  const rtts = readFileSync(join(folder, rttFile), 'latin1')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => Number(line.split(';')[1]));
  return {
    successful: count('SuccessfulCall(C)'),
    failed: count('FailedCall(C)'),
    retransmissions: count('Retransmissions(C)'),
    seconds,
    p50Ms: percentile(rtts, 0.5),
    p99Ms: percentile(rtts, 0.99),
  };
}
