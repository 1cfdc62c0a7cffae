/**
 * Processor time of a call from INVITE to BYE: through the engine's proxy beside a kamailio with
 * Record-Route, both on one network cable, and through call control of the whole cluster.
 */
import { fileURLToPath } from 'node:url';
import { labDomain, labPorts } from '../../src/lab/index.ts';
import { inNamespace } from '../../src/lab/network.ts';
import { startKamailio } from './kamailio.ts';
import { addUsers, type BenchLab, withLab } from './lab.ts';
import { cpuSeconds, cpuSecondsOfTree } from './machine.ts';
import { cable, type Place } from './network.ts';
import { type Running, start, until } from './processes.ts';
import { type PartResult, say } from './report.ts';
import { scaled } from './scale.ts';
import {
  applyLoad,
  authentication,
  type Load,
  loadHead,
  loadRow,
  perSuccess,
  startAnswering,
} from './sipp.ts';

const proxied = { calls: scaled(10_000), perSecond: 500 };
const controlled = { calls: scaled(1200), perSecond: 40 };
const talkMs = 500;
const serverAddress = '10.79.0.1';
const callerAddress = '10.79.0.2';
const calleeAddress = '10.79.0.3';
const secret = 'of-the-benchmark';
const root = fileURLToPath(new URL('../..', import.meta.url));
/** Users of call control; so many that nobody is called twice at once. */
const firstUser = 200_000;
const pairs = 100;
const labCaller = '10.77.0.230';
const labCallee = '10.77.0.231';

type Row = string[];

export async function measureCalls(): Promise<PartResult> {
  const rows = [...(await measureProxies()), ...(await withLab(measureControl))];
  return {
    part: 'calls',
    title: `Calls: ${proxied.perSecond} proxied, ${controlled.perSecond} controlled a second`,
    notes: [
      `INVITE, 180, 200, ACK, ${talkMs} ms, BYE; sipp calls sipp. Times are from the INVITE to ` +
        'its 200. CPU is user and system time of the named processes, divided by calls.',
      'Proxy: `raftpbx sip` alone, its calls not replicated, an unmodified drachtio-srf ' +
        'application that says where each goes; kamailio with Record-Route and two workers.',
      'Call control: three Call Managers and two media servers with all they do: digest, both ' +
        'legs replicated before they are answered, media anchored though no audio flows, records.',
      'All of them share the processors with sipp.',
    ],
    head: [...loadHead, 'CPU us a call'],
    rows,
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

async function measureControl(lab: BenchLab): Promise<Row[]> {
  const password = await addUsers(lab, firstUser, 2 * pairs);
  const { leader } = await lab.untilHealthy();
  const inside = (argv: readonly string[]) => inNamespace(lab.plan.phonesNamespace, argv);
  const common = { inside, remote: `${lab.plan.vip[0]}:${labPorts.sip}`, domain: labDomain };
  const user = (number: number) => String(firstUser + number);
  const login = (number: number) => [user(number), authentication(user(number), password)];
  const numbers = Array.from({ length: pairs }, (_, i) => i);
  await applyLoad({
    ...common,
    scenario: 'register.xml',
    ...{ address: labCallee, port: 5070, perSecond: 100, calls: pairs, timeoutMs: 30_000 },
    rows: numbers.map((i) => login(pairs + i)),
  });
  const callee = await startAnswering(inside, labCallee, 5070);
  try {
    say(`${controlled.calls} calls through call control`);
    const names = lab.plan.servers.map(({ name }) => name);
    const managers = new Set(
      lab.plan.servers.filter(({ id }) => id !== null).map(({ name }) => name),
    );
    const before = new Map(names.map((name) => [name, cpuSeconds(lab.pidOf(name))]));
    const load = await applyLoad({
      ...common,
      scenario: 'call-digest.xml',
      ...{ address: labCaller, port: 5060, ...controlled, talkMs, timeoutMs: 120_000 },
      rows: numbers.map((i) => [...login(i), user(pairs + i)]),
    });
    await until('all calls to be over', 15_000, async () => {
      const status = await lab.api.status();
      return status?.calls === 0;
    });
    const spent = (of: readonly string[]) =>
      of.reduce((sum, name) => sum + cpuSeconds(lab.pidOf(name)) - (before.get(name) ?? 0), 0);
    const row = (name: string, of: readonly string[]) => [
      ...loadRow(name, load),
      perSuccess(spent(of), load),
    ];
    return [
      row('raftpbx call control, leader', [leader ?? '']),
      row(
        'raftpbx call control, all Call Managers',
        names.filter((name) => managers.has(name)),
      ),
      row('raftpbx call control, media servers too', names),
    ];
  } finally {
    await callee.stop();
  }
}
