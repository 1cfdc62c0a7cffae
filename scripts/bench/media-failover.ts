/**
 * How long nobody is heard when a media server dies: kill -9 with calls up, the longest pause
 * at each phone. With floating addresses the calls go on under their address; without, both
 * parties get a re-INVITE. Plain RTP, and SRTP at the callers.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import { labDomain, labPorts } from '../../src/lab/index.ts';
import { serverFiles } from '../../src/lab/plan.ts';
import { openInside } from '../../test/support/inside.ts';
import { addUsers, type BenchLab, withLab } from './lab.ts';
import { percentile } from './machine.ts';
import { until } from './processes.ts';
import { type PartResult, say } from './report.ts';
import { scaled } from './scale.ts';

const callsUp = scaled(200);
const firstUser = 300_000;
/** Calls set up at once. */
const together = 20;
const frameMs = 40;
const callerAddress = '10.77.0.232';
const calleeAddress = '10.77.0.233';
/** Everybody has been heard again by then, or the call is lost. */
const listenMs = 8_000;

interface Heard {
  received: number;
  longestGapMs: number;
  sinceLastMs: number;
  refused: number;
  requests: Record<string, number>;
  state: string;
}

interface Way {
  name: string;
  floating: boolean;
  secure: boolean;
}

const ways: Way[] = [
  { name: 'address, plain', floating: true, secure: false },
  { name: 'address, SRTP', floating: true, secure: true },
  { name: 're-INVITE, plain', floating: false, secure: false },
  { name: 're-INVITE, SRTP', floating: false, secure: true },
];

export async function measureMediaFailover(): Promise<PartResult> {
  const rows: string[][] = [];
  await withLab(async (lab) => {
    const password = await addUsers(lab, firstUser, 2 * callsUp);
    for (const way of ways) {
      say(`${callsUp} calls, ${way.name}`);
      await configure(lab, way.floating);
      rows.push(await oneKill(lab, way, password));
    }
  });
  return {
    part: 'media-failover',
    title: `Media failover: kill -9 of a media server with ${callsUp} calls up`,
    notes: [
      `Three Call Managers, two media servers; all calls are at the one that dies. Each phone sends ` +
        `a packet every ${frameMs} ms and notes the longest pause between two that it hears: of ` +
        `${2 * callsUp} phones, in the ${listenMs / 1000} s around the kill. SRTP at the caller, plain at the callee.`,
      "A pause without any kill is the generator's own, measured with the same calls just before: " +
        'column "before".',
      'Lost: phones that heard nothing in the last second. re-INVITEs: those that phones got.',
    ],
    head: [
      'way',
      'calls',
      'before p99 ms',
      'p50 ms',
      'p99 ms',
      'max ms',
      'lost',
      're-INVITEs',
      'refused',
    ],
    rows,
  };
}

/** Sets or removes the floating addresses of all media servers, which start anew with it. */
async function configure(lab: BenchLab, floating: boolean): Promise<void> {
  const servers = lab.plan.servers.filter((server) => server.floating.length > 0);
  const group = servers.flatMap((server) => server.floating);
  for (const server of servers) {
    const { config } = serverFiles(server.directory);
    const text = parse(readFileSync(config, 'utf8')) as { media: Record<string, unknown> };
    const { floating: _, ...media } = text.media;
    const moving = { interface: 'eth0', addresses: server.floating, group };
    const next = floating ? { ...media, floating: moving } : media;
    writeFileSync(config, stringify({ ...text, media: next }));
    await lab.kill(server.name);
    await lab.start(server.name);
  }
  await lab.untilHealthy();
}

async function oneKill(lab: BenchLab, way: Way, password: string): Promise<string[]> {
  const [victim, other] = lab.plan.servers.filter((server) => server.floating.length > 0);
  if (victim === undefined || other === undefined) {
    throw new Error('the lab has no two media servers');
  }
  // All calls to one: the other one comes when they are up.
  await lab.kill(other.name);
  await untilState(lab, other.name, 'down');
  const phones = openInside(
    lab.plan.phonesNamespace,
    new URL('./media-phones.ts', import.meta.url),
  );
  try {
    await setUp(lab, phones, way, password);
    await lab.start(other.name);
    await lab.untilHealthy();
    // Sessions are written down anew after five seconds.
    await pause(6_000);
    await phones.call('listen');
    await pause(3_000);
    const before = await phones.call<Heard[]>('reports');
    await phones.call('listen');
    await pause(1_000);
    process.kill(lab.pidOf(victim.name), 'SIGKILL');
    await pause(listenMs);
    const after = await phones.call<Heard[]>('reports');
    await lab.kill(victim.name);
    await Promise.all(before.slice(0, callsUp).map((_, i) => phones.call('hangUp', i)));
    await lab.start(victim.name);
    await lab.untilHealthy();
    return row(way, before, after);
  } finally {
    await phones.stop();
  }
}

async function setUp(
  lab: BenchLab,
  phones: ReturnType<typeof openInside>,
  { secure }: Way,
  password: string,
): Promise<void> {
  const registrar = { address: lab.plan.vip[0] ?? '', port: labPorts.sip };
  const common = { password, domain: labDomain, registrar, transport: 'udp', algorithm: 'MD5' };
  const open = (user: number, address: string, port: number, isSecure: boolean) =>
    phones.call<number>('open', {
      ...common,
      ...{ user: String(user), address, port, hertz: 0, frameMs, secure: isSecure },
    });
  const numbers = Array.from({ length: callsUp }, (_, i) => i);
  for (const i of numbers) {
    await open(firstUser + i, callerAddress, 10_000 + i, secure);
  }
  for (const i of numbers) {
    await open(firstUser + callsUp + i, calleeAddress, 10_000 + i, false);
  }
  await inGroups(numbers, (i) => phones.call('register', callsUp + i));
  await inGroups(numbers, (i) =>
    phones.call('talk', i, callsUp + i, String(firstUser + callsUp + i)),
  );
}

async function inGroups(numbers: readonly number[], act: (i: number) => Promise<unknown>) {
  for (let at = 0; at < numbers.length; at += together) {
    await Promise.all(numbers.slice(at, at + together).map(act));
  }
}

async function untilState(lab: BenchLab, name: string, state: string): Promise<void> {
  await until(`${name} to be ${state}`, 15_000, async () => {
    const status = await lab.api.status();
    return status?.servers.some((one) => one.name === name && one.state === state) ?? false;
  });
}

function row({ name }: Way, before: readonly Heard[], after: readonly Heard[]): string[] {
  const show = (ms: number) => ms.toFixed(0);
  const gaps = after.map((one) => one.longestGapMs);
  const lost = after.filter((one) => one.sinceLastMs > 1_000 || one.state !== 'up').length;
  const invites = (all: readonly Heard[]) =>
    all.reduce((sum, one) => sum + (one.requests.INVITE ?? 0), 0);
  return [
    name,
    String(after.length / 2),
    show(
      percentile(
        before.map((one) => one.longestGapMs),
        0.99,
      ),
    ),
    show(percentile(gaps, 0.5)),
    show(percentile(gaps, 0.99)),
    show(Math.max(...gaps)),
    String(lost),
    String(invites(after) - invites(before)),
    String(after.reduce((sum, one) => sum + one.refused, 0)),
  ];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
