/**
 * Phones of others on an engine elsewhere: sipp and baresip register at `raftpbx sip` and call each
 * other through call control, with audio over a real media engine.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../src/call-manager/index.ts';
import { silentLog } from '../../src/domain/log.ts';
import { migrations } from '../../src/domain/schema.ts';
import { digestCredentials } from '../../src/domain/user.ts';
import { type Phone as Baresip, startPhone } from '../../src/lab/phone.ts';
import { labDomain, labPorts } from '../../src/lab/plan.ts';
import { MediaEngine, type Store } from '../../src/native/index.ts';
import { SipEventFeed } from '../../src/sip/event-feed.ts';
import { EngineProcess } from '../support/engine-process.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { mediaOptions } from '../support/media-options.ts';
import { Phone } from '../support/phone/phone.ts';
import { dominantHertz } from '../support/phone/tone.ts';
import { runSipp, type SippRun, startSipp } from '../support/sipp.ts';
import { StoreCluster } from '../support/store-cluster.ts';
import { readWav } from '../support/wav.ts';

// The phones know the port; the address is this test's alone.
const address = '127.0.0.77';
const secret = 'not a real secret';
const waitMs = 15_000;
const users = ['1001', '1002', '1003', '1004'].map((name) => ({
  name,
  password: `secret-${name}`,
}));

let cluster: StoreCluster;
let engine: EngineProcess;
let manager: CallManagerHandle;
let media: MediaEngine;
let store: Store;
let directory = '';
let phones: Baresip[] = [];
let waiting: SippRun | null = null;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'elsewhere-phones-'));
  cluster = await StoreCluster.start();
  store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', String(version), sql]);
  }
  for (const { name, password } of users) {
    const { ha1Md5, ha1Sha256 } = digestCredentials(name, labDomain, password);
    const row = JSON.stringify([name, name, ha1Md5, ha1Sha256, 0]);
    await store.execute(['SQL.EXEC', 'INSERT INTO users VALUES (?, ?, ?, ?, ?)', row]);
  }
  const [drachtio = 0, ngPort = 0] = await freePorts(2);
  const at = `${address}:${labPorts.sip}`;
  const door = `127.0.0.1:${drachtio}`;
  engine = new EngineProcess({ listen: [`udp/${at}`, `tcp/${at}`], drachtio: door, secret });
  await engine.start();
  const ng = `127.0.0.1:${ngPort}`;
  media = MediaEngine.start(
    mediaOptions(address, { portFrom: 33_200, portTo: 33_399, ngListen: ng }),
    () => undefined,
  );
  const lease = { name: 'media-1', roles: ['media'], address, ng, load: 0, capacity: 9 };
  await store.execute(['SET', 'server:media-1', JSON.stringify(lease)]);
  manager = await startCallManager({
    ...{ name: 'cm-1', log: silentLog, domain: labDomain, address, roles: ['call-manager'] },
    ...{ version: '0', peers: [], vip: [address], store },
    ...{ engine: null, sipEvents: new SipEventFeed(), trunkOptionsMs: 0 },
    drachtio: { host: '127.0.0.1', port: drachtio, secret },
    clusterSecret: 'the secret of this cluster',
    elsewhere: {
      registrar: {
        ...{ minExpiresS: 60, maxExpiresS: 7200, defaultExpiresS: 3600, maxBindings: 2 },
        // Both algorithms, though these phones know one.
        ...{ digest: 'sha-256-and-md5', whenFull: 'refuse', serviceRoutes: [], neverBanned: [] },
      },
    },
  });
  await eventually(
    'call control leads',
    waitMs,
    () => (manager.status() as { leading: boolean }).leading,
  );
  // Connected is not yet asked for: the methods follow.
  const first = await Phone.open({
    ...{ user: '1001', password: 'secret-1001', domain: labDomain, address: '127.0.0.1', port: 0 },
    ...{ registrar: { address, port: labPorts.sip }, transport: 'udp', algorithm: 'MD5' },
    hertz: 440,
  });
  await eventually('a registrar', waitMs, async () => (await first.register()).status === 200);
  await first.register(0);
  first.close();
}, 60_000);

afterEach(async () => {
  await Promise.all(phones.map((phone) => phone.stop()));
  phones = [];
  await waiting?.stop();
  waiting = null;
});

afterAll(async () => {
  await manager?.stop();
  media?.close();
  await engine?.kill();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function cdr(from: string): Promise<{ result: string; ended_by: string }> {
  const sql = 'SELECT result, ended_by FROM cdrs WHERE from_user = ?';
  return await eventually('the record', waitMs, () => {
    const [row] = store.query<{ result: string; ended_by: string }>(sql, [from]);
    return row ?? false;
  });
}

it('a sipp calls a sipp', async () => {
  const common = { namespace: null, domain: labDomain, timeoutMs: 20_000 };
  const there = { ...common, remote: `${address}:${labPorts.sip}` };
  const callee = { ...there, address: '127.0.0.79', port: 5060 };
  const [a, b] = users as [(typeof users)[0], (typeof users)[0]];
  const registered = await runSipp({ ...callee, scenario: 'register', rows: [{ user: b }] });
  expect(registered).toMatchObject({ status: 0, successful: 1, retransmissions: 0 });
  const wrong = { name: b.name, password: 'a guess' };
  const refused = await runSipp({ ...callee, scenario: 'register', rows: [{ user: wrong }] });
  expect(refused).toMatchObject({ successful: 0, failed: 1 });
  waiting = startSipp({ ...callee, scenario: 'uas-answer', talkMs: 1000 });
  const caller = { ...there, address: '127.0.0.80', port: 5060 };
  const rows = [{ user: a, callee: b.name }];
  const called = await runSipp({ ...caller, scenario: 'uac-call', rows, talkMs: 1000 });
  expect(called).toMatchObject({ status: 0, successful: 1, retransmissions: 0 });
  expect(await cdr(a.name)).toMatchObject({ result: 'answered', ended_by: 'caller' });
});

it.each(['udp', 'tcp'] as const)('a baresip calls a baresip over %s', async (transport) => {
  const made = [users[2], users[3]].map((user, i) =>
    startPhone({
      ...{ name: user?.name ?? '', user: user?.name ?? '', password: user?.password ?? '' },
      // baresip sends its audio from the first address of the interface, whatever it is told.
      ...{ namespace: null, address: '127.0.0.1', port: 5076 + 2 * i, transport },
      directory: join(directory, `${transport}-${i}`),
      ...{ server: address, toneHz: i === 0 ? 500 : 800 },
    }),
  );
  phones = await Promise.all(made);
  const [a, b] = phones as [Baresip, Baresip];
  await Promise.all(phones.map((phone) => phone.registered()));
  await a.dial('1004');
  for (const [phone, hertz] of [
    [a, 800],
    [b, 500],
  ] as const) {
    const heard = await eventually('two seconds of sound', waitMs, () => {
      const path = phone.recordedAudioPath;
      const wav = path === null ? null : readWav(path);
      return wav !== null && wav.samples.length > 2 * wav.sampleRate && wav;
    });
    const second = heard.samples.subarray(-heard.sampleRate);
    expect(dominantHertz(second, heard.sampleRate)).toBe(hertz);
  }
  const ended = b.wait((event) => event.type === 'CALL_CLOSED', 5000);
  await a.hangup();
  await ended;
  expect(await cdr('1003')).toMatchObject({ result: 'answered', ended_by: 'caller' });
});
