/**
 * Digest registrations per second, the processor time of one and its memory: at our leader behind
 * the VIP (every binding committed on a majority of three before its 200), at a kamailio that
 * keeps them in its own memory only, and at one of three that replicate with DMQ after they have
 * answered. The same sipp scenario, network path and machine.
 */
import { fileURLToPath } from 'node:url';
import { labDomain, labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import { bridgeName } from '../../src/lab/plan.ts';
import { startKamailio } from './kamailio.ts';
import { addUsers, type BenchLab, withLab } from './lab.ts';
import { cpuSeconds, cpuSecondsOfTree, memoryBytesOfTree } from './machine.ts';
import { type Place, plugIn } from './network.ts';
import { type Running, start } from './processes.ts';
import { firstUser, phoneAddress, registerAll, users } from './register.ts';
import { type PartResult, say } from './report.ts';
import { type Load, loadHead, loadRow, perSuccess } from './sipp.ts';

const perSecond = 5500;
const kamailioAddresses = ['10.77.0.90', '10.77.0.91', '10.77.0.92'];
const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** One server over a run. */
interface Spent {
  cpu: number;
  bytes: number;
}

interface Measured {
  load: Load;
  /** The server that answered first, then the others. */
  spent: Spent[];
}

export async function measureRegistrations(): Promise<PartResult> {
  return await withLab(async (lab) => {
    say(`adding ${users} users`);
    const password = await addUsers(lab, firstUser, users);
    const ours = await measureOurs(lab, password);
    const alone = await measureKamailio(lab, password, 1);
    const three = await measureKamailio(lab, password, 3);
    return {
      part: 'registrations',
      title: `Registrations: ${perSecond} a second with digest, beside kamailio`,
      notes: [
        `sipp registers ${users} users once each (REGISTER, 401, REGISTER, 200); CPU is user and ` +
          'system time of the server processes over the run, divided by registrations.',
        'Ours commits each binding on a majority of three servers before the 200 and runs them ' +
          'all on this machine; "leader" is the process that answers, "all three" the cluster.',
        'kamailio keeps bindings in memory and compares the password from its configuration; it ' +
          'looks no user up. The one alone is unreplicated. Three with DMQ (`dmq_usrloc`) ' +
          'replicate after the 200; phones register at the first.',
        'Memory is what the processes have more of after the run than before, shared pages ' +
          'counted once, divided by bindings; for all three, the mean of the servers. The log in ' +
          'memory and the JavaScript heap of ours are in it.',
        'All of them share the processors with sipp.',
      ],
      head: [...loadHead, 'CPU us', 'B a binding'],
      rows: [
        ...rows('raftpbx, leader', 'raftpbx, all three', ours),
        ...rows('kamailio 5, one server', '', alone),
        ...rows('kamailio 5 with DMQ, first', 'kamailio 5 with DMQ, all three', three),
      ],
    };
  });
}

function rows(first: string, all: string, { load, spent }: Measured): string[][] {
  const row = (name: string, of: readonly Spent[]) => {
    const cpu = sum(of.map((one) => one.cpu));
    const bytes = sum(of.map((one) => one.bytes)) / of.length / Math.max(1, load.successful);
    return [...loadRow(name, load), perSuccess(cpu, load), bytes.toFixed(0)];
  };
  return [row(first, spent.slice(0, 1)), ...(spent.length > 1 ? [row(all, spent)] : [])];
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

async function measureOurs(lab: BenchLab, password: string): Promise<Measured> {
  const { leader } = await lab.untilHealthy();
  const names = lab.plan.servers.filter((one) => one.id !== null).map((one) => one.name);
  const leaderFirst = [...names].sort((a, b) => Number(b === leader) - Number(a === leader));
  const pids = leaderFirst.map((name) => lab.pidOf(name));
  return await over(pids, cpuSeconds, () => register(lab, lab.plan.vip[0] ?? '', password));
}

/** A load, and what these processes used meanwhile. */
async function over(
  pids: readonly number[],
  cpuOf: (pid: number) => number,
  run: () => Promise<Load>,
): Promise<Measured> {
  const look = () => pids.map((pid) => ({ cpu: cpuOf(pid), bytes: memoryBytesOfTree(pid) }));
  const before = look();
  const load = await run();
  const spent = look().map(({ cpu, bytes }, at) => ({
    cpu: cpu - (before[at]?.cpu ?? 0),
    bytes: bytes - (before[at]?.bytes ?? 0),
  }));
  return { load, spent };
}

async function measureKamailio(lab: BenchLab, password: string, count: number): Promise<Measured> {
  const { plan } = lab;
  const places: Place[] = [];
  const servers: Running[] = [];
  try {
    for (const [at, address] of kamailioAddresses.slice(0, count).entries()) {
      const namespace = `${plan.prefix}-kama${at + 1}`;
      const place = plugIn(namespace, plan.switchNamespace, bridgeName, [address]);
      places.push(place);
      const uri = (host = '') => `"sip:${host}:${labPorts.sip}"`;
      const peer = kamailioAddresses[at === 0 ? 1 : 0];
      servers.push(
        await startKamailio({
          configuration: 'kamailio.cfg',
          inside: place.command,
          define: {
            LISTEN: `udp:${address}:${labPorts.sip}`,
            REALM: `"${labDomain}"`,
            PASSWORD: `"${password}"`,
            ...(count > 1 ? { DMQ_SELF: uri(address), DMQ_PEER: uri(peer) } : {}),
          },
        }),
      );
      await answers(lab, address);
    }
    const pids = servers.map(({ pid }) => pid);
    const first = kamailioAddresses[0] ?? '';
    return await over(pids, cpuSecondsOfTree, () => register(lab, first, password));
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    for (const place of places) {
      place.remove();
    }
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
  return await registerAll(lab, address, password, { perSecond, timeoutMs: 90_000 });
}
