/**
 * Processor time of a call from INVITE to BYE: through the engine's proxy beside a kamailio with
 * Record-Route, both on one network cable, and through call control of the whole cluster.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { withCallers } from './callers.ts';
import { startKamailio } from './kamailio.ts';
import { type BenchLab, withLab } from './lab.ts';
import { cpuSeconds, cpuSecondsOfTree } from './machine.ts';
import { cable, type Place } from './network.ts';
import { type Running, start, until } from './processes.ts';
import { type PartResult, say } from './report.ts';
import { scaled } from './scale.ts';
import { applyLoad, type Load, loadHead, loadRow, perSuccess, startAnswering } from './sipp.ts';

const proxied = { calls: scaled(10_000), perSecond: 500 };
/** A call is cheaper where more of them share entries of the log, wake-ups and reads. */
const controlled = [
  { calls: scaled(1200), perSecond: 40 },
  { calls: scaled(2400), perSecond: 80 },
];
/** Before anything counts: JavaScript has been compiled, and pages have been touched. */
const warmUp = { calls: scaled(600), perSecond: 40 };
const idleMs = 5_000;
const talkMs = 500;
const serverAddress = '10.79.0.1';
const callerAddress = '10.79.0.2';
const calleeAddress = '10.79.0.3';
const secret = 'of-the-benchmark';
const root = fileURLToPath(new URL('../..', import.meta.url));

type Row = string[];

export async function measureCalls(): Promise<PartResult> {
  const proxies = await measureProxies();
  const { rows, idle } = await withLab(measureControl);
  const rates = controlled.map(({ perSecond }) => perSecond).join(' and ');
  return {
    part: 'calls',
    title: `Calls: ${proxied.perSecond} proxied, ${rates} controlled a second`,
    notes: [
      `INVITE, 180, 200, ACK, ${talkMs} ms, BYE; sipp calls sipp. Times are from the INVITE to ` +
        'its 200. CPU is user and system time of the named processes, divided by calls.',
      'Proxy: `raftpbx sip` alone, its calls not replicated, an unmodified drachtio-srf ' +
        'application that says where each goes; kamailio with Record-Route and two workers.',
      'Call control: three Call Managers and two media servers with all they do: digest, both ' +
        'legs replicated before they are answered, media anchored though no audio flows, records; ' +
        `after ${warmUp.calls} calls to warm up.`,
      'What a server does without any call is in its rows: a second costs the leader ' +
        `${idle.leader} ms, all Call Managers ${idle.managers} ms.`,
      'All of them share the processors with sipp.',
    ],
    head: [...loadHead, 'CPU us a call'],
    rows: [...proxies, ...rows],
  };
}

async function measureProxies(): Promise<Row[]> {
  const [phones, server] = cable(
    { namespace: 'pbxbnch-calls', addresses: [callerAddress, calleeAddress] },
    { namespace: 'pbxbnch-proxy', addresses: [serverAddress] },
  );
  try {
    const callee = await startAnswering(phones.command, calleeAddress, 5070);
    try {
      return [...(await ourProxy(phones, server)), await kamailioProxy(phones, server)];
    } finally {
      await callee.stop();
    }
  } finally {
    phones.remove();
    server.remove();
  }
}

async function ourProxy(phones: Place, server: Place): Promise<Row[]> {
  const node = [process.execPath, `${root}src/cli/index.ts`];
  const drachtio = ['--drachtio', '127.0.0.1:9022', '--secret', secret];
  const listen = ['--listen', `udp/${serverAddress}:5060`];
  const engine = await start(server.command([...node, 'sip', ...listen, ...drachtio]), 'ready');
  let application: Running | null = null;
  try {
    const program = fileURLToPath(new URL('./proxy-application.ts', import.meta.url));
    const target = `sip:callee@${calleeAddress}:5070`;
    application = await start(
      server.command([process.execPath, program, '127.0.0.1', '9022', secret, target]),
      'ready',
    );
    const pids = { engine: engine.pid, application: application.pid };
    const before = [cpuSeconds(pids.engine), cpuSeconds(pids.application)] as const;
    const load = await callThrough(phones);
    const ofEngine = cpuSeconds(pids.engine) - before[0];
    const both = ofEngine + cpuSeconds(pids.application) - before[1];
    return [
      [...loadRow('raftpbx proxy, engine', load), perSuccess(ofEngine, load)],
      [...loadRow('raftpbx proxy, with its application', load), perSuccess(both, load)],
    ];
  } finally {
    await application?.stop();
    await engine.stop();
  }
}

async function kamailioProxy(phones: Place, server: Place): Promise<Row> {
  const kamailio = await startKamailio({
    configuration: 'proxy.cfg',
    inside: server.command,
    define: { LISTEN: `udp:${serverAddress}:5060`, CALLEE: `"sip:${calleeAddress}:5070"` },
  });
  try {
    const program = fileURLToPath(new URL('./probe.ts', import.meta.url));
    const argv = [process.execPath, program, callerAddress, serverAddress, '5060', '20'];
    const probe = await start(phones.command(argv), '\n');
    await probe.stop();
    const before = cpuSecondsOfTree(kamailio.pid);
    const load = await callThrough(phones);
    const cpu = cpuSecondsOfTree(kamailio.pid) - before;
    return [...loadRow('kamailio 5 proxy', load), perSuccess(cpu, load)];
  } finally {
    await kamailio.stop();
  }
}

function callThrough(phones: Place): Promise<Load> {
  say(`${proxied.calls} calls through the proxy at ${serverAddress}`);
  return applyLoad({
    scenario: 'call.xml',
    inside: phones.command,
    remote: `${serverAddress}:5060`,
    address: callerAddress,
    port: 5060,
    domain: serverAddress,
    rows: [['caller', '', 'callee']],
    ...proxied,
    talkMs,
    timeoutMs: 90_000,
  });
}

interface Controlled {
  rows: Row[];
  /** Milliseconds of processor time a second without calls. */
  idle: { leader: string; managers: string };
}

async function measureControl(lab: BenchLab): Promise<Controlled> {
  const { leader } = await lab.untilHealthy();
  return withCallers(lab, async (callers) => {
    const call = async (rate: { calls: number; perSecond: number }) => {
      say(`${rate.calls} calls through call control, ${rate.perSecond} a second`);
      const load = await callers.call({ ...rate, talkMs, timeoutMs: 120_000 });
      const over = async () => (await lab.api.status())?.calls === 0;
      await until('all calls to be over', 15_000, over);
      return load;
    };
    await call(warmUp);
    return await chargeCalls(lab, leader ?? '', call);
  });
}

/** What the servers of a lab spend while nothing happens, and on calls at each rate. */
async function chargeCalls(
  lab: BenchLab,
  leader: string,
  call: (rate: (typeof controlled)[number]) => Promise<Load>,
): Promise<Controlled> {
  const names = lab.plan.servers.map(({ name }) => name);
  const managers = lab.plan.servers.filter(({ id }) => id !== null).map(({ name }) => name);
  const begin = () => {
    const before = new Map(names.map((name) => [name, cpuSeconds(lab.pidOf(name))]));
    return (of: readonly string[]) =>
      of.reduce((sum, name) => sum + cpuSeconds(lab.pidOf(name)) - (before.get(name) ?? 0), 0);
  };
  const ofIdle = begin();
  await delay(idleMs);
  const aSecond = (of: readonly string[]) => ((ofIdle(of) * 1e6) / idleMs).toFixed(0);
  const idle = { leader: aSecond([leader]), managers: aSecond(managers) };
  const rows: Row[] = [];
  for (const rate of controlled) {
    const spent = begin();
    const load = await call(rate);
    const row = (name: string, of: readonly string[]) =>
      rows.push([...loadRow(name, load), perSuccess(spent(of), load)]);
    row('raftpbx call control, leader', [leader]);
    row('raftpbx call control, all Call Managers', managers);
    row('raftpbx call control, media servers too', names);
  }
  return { rows, idle };
}
