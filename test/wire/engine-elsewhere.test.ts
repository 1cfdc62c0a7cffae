/**
 * Call control on an engine that is another program: `raftpbx sip`, which is told nothing of the
 * cluster. What call control says to it passes a listener that checks it against the protocol of
 * a drachtio-server. The phones are scripted ones, with audio over a real media engine.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../src/call-manager/index.ts';
import { silentLog } from '../../src/domain/log.ts';
import { parseRegistration } from '../../src/domain/registration.ts';
import { migrations } from '../../src/domain/schema.ts';
import { digestCredentials } from '../../src/domain/user.ts';
import { holdMusic } from '../../src/lab/music.ts';
import { MediaEngine, type Store } from '../../src/native/index.ts';
import { SipEventFeed } from '../../src/sip/event-feed.ts';
import { DatagramPhone, type Message, tagOf } from '../support/datagram-phone.ts';
import { EngineProcess, Tap } from '../support/engine-process.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { mediaOptions } from '../support/media-options.ts';
import { Phone } from '../support/phone/phone.ts';
import { StoreCluster } from '../support/store-cluster.ts';

const address = '127.0.0.1';
const realm = 'pbx.test';
const secret = 'not a real secret';
const password = 'the password of a user';
const waitMs = 10_000;
const users = ['1001', '1002', '1003', '1004', '1005', '1006'];
const tones = { a: 1000, b: 600 };
const sdp = [
  ...['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0'],
  ...['m=audio 9 RTP/AVP 0', ''],
].join('\r\n');

let cluster: StoreCluster;
let engine: EngineProcess;
let tap: Tap;
let media: MediaEngine;
let sipPort = 0;
let directory = '';
const managers = new Map<number, CallManagerHandle>();
let phones: Phone[] = [];

function leading(): Promise<CallManagerHandle> {
  return eventually('a leader that is connected', waitMs, () => {
    const all = [...managers.values()];
    return all.find((one) => (one.status() as { leading: boolean }).leading) ?? false;
  });
}

async function startManager(id: number, drachtioPort: number): Promise<void> {
  const store = cluster.stores.get(id) as Store;
  const manager = await startCallManager({
    ...{ name: `cm-${id}`, log: silentLog, domain: realm, address, roles: ['call-manager'] },
    ...{ version: '0', peers: [], vip: [address], store },
    ...{ engine: null, sipEvents: new SipEventFeed(), trunkOptionsMs: 0 },
    musicOnHold: 'music.wav',
    drachtio: { host: address, port: drachtioPort, secret },
    clusterSecret: 'the secret of this cluster',
    elsewhere: {
      registrar: {
        ...{ minExpiresS: 60, maxExpiresS: 7200, defaultExpiresS: 3600, maxBindings: 2 },
        ...{ digest: 'md5', whenFull: 'refuse', serviceRoutes: [], neverBanned: [] },
      },
    },
  });
  managers.set(id, manager);
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'engine-elsewhere-'));
  writeFileSync(join(directory, 'music.wav'), holdMusic());
  cluster = await StoreCluster.start();
  const store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', String(version), sql]);
  }
  for (const name of users) {
    const { ha1Md5, ha1Sha256 } = digestCredentials(name, realm, password);
    const row = JSON.stringify([name, name, ha1Md5, ha1Sha256, 0]);
    await store.execute(['SQL.EXEC', 'INSERT INTO users VALUES (?, ?, ?, ?, ?)', row]);
  }
  const [drachtioPort = 0, tapPort = 0, ngPort = 0] = await freePorts(3);
  sipPort = (await freePorts(1))[0] ?? 0;
  const at = `${address}:${sipPort}`;
  const listen = [`udp/${at}`, `tcp/${at}`];
  engine = new EngineProcess({ listen, drachtio: `${address}:${drachtioPort}`, secret });
  await engine.start();
  tap = new Tap({ host: address, port: drachtioPort });
  await tap.listen(address, tapPort);
  const ng = `${address}:${ngPort}`;
  media = MediaEngine.start(
    mediaOptions(address, { portFrom: 33_000, portTo: 33_199, ngListen: ng, prompts: directory }),
    () => undefined,
  );
  const lease = { name: 'media-1', roles: ['media'], address, ng, load: 0, capacity: 9 };
  await store.execute(['SET', 'server:media-1', JSON.stringify(lease)]);
  for (const id of cluster.ids) {
    await startManager(id, tapPort);
  }
  await leading();
  // Connected is not yet asked for: the methods follow.
  const first = await open('1006', tones.a);
  await eventually('a registrar', waitMs, async () => (await first.register()).status === 200);
});

beforeEach(async () => {
  for (const phone of phones) {
    await phone.leave();
    phone.close();
  }
  phones = [];
  const store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { key } of store.scan('registration:')) {
    await store.execute(['DEL', key]);
  }
});

afterAll(async () => {
  for (const phone of phones) {
    phone.close();
  }
  for (const manager of managers.values()) {
    await manager.stop();
  }
  media?.close();
  await tap?.close();
  await engine?.kill();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function open(
  user: string,
  hertz: number,
  more: { transport?: 'udp' | 'tcp'; password?: string; algorithm?: 'MD5' | 'SHA-256' } = {},
): Promise<Phone> {
  const phone = await Phone.open({
    ...{ user, password, domain: realm, registrar: { address, port: sipPort }, address, port: 0 },
    ...{ transport: 'udp', algorithm: 'MD5', hertz, ...more },
  });
  phones.push(phone);
  return phone;
}

async function pair(transport: 'udp' | 'tcp' = 'udp'): Promise<[Phone, Phone]> {
  const a = await open('1001', tones.a, { transport });
  const b = await open('1002', tones.b, { transport });
  expect(await a.register()).toMatchObject({ status: 200 });
  expect(await b.register()).toMatchObject({ status: 200 });
  return [a, b];
}

async function talk(a: Phone, b: Phone): Promise<void> {
  a.invite('1002');
  await b.until('ringing', waitMs);
  await a.until('ringing', waitMs);
  b.answer();
  await a.until('up', waitMs);
}

/** Waits until the newest record of a caller's calls says this. */
async function recorded(from: string, result: string, endedBy: string): Promise<void> {
  const store = cluster.stores.get(await cluster.leader()) as Store;
  const sql = 'SELECT result, ended_by FROM cdrs WHERE from_user = ? ORDER BY ended_at DESC';
  await eventually(`a record: ${result}, ${endedBy}`, waitMs, () => {
    const [row] = store.query<{ result: string; ended_by: string }>(sql, [from]);
    return row?.result === result && row.ended_by === endedBy;
  });
}

async function keys(prefix: string): Promise<number> {
  const store = cluster.stores.get(await cluster.leader()) as Store;
  return store.count(prefix);
}

it('only the leader is connected', async () => {
  await eventually('one connection', waitMs, () => tap.open === 1);
  const failing = [...managers.values()].map((one) => one.status() as { failing: unknown });
  expect(failing.map((one) => one.failing)).toEqual([null, null, null]);
});

it('a phone registers with its password, and nobody without it', async () => {
  const right = await open('1003', tones.a, { algorithm: 'SHA-256' });
  expect(await right.register()).toMatchObject({ status: 200 });
  const store = cluster.stores.get(await cluster.leader()) as Store;
  const value = String(store.read(['GET', 'registration:1003']));
  const [binding] = parseRegistration(value)?.bindings ?? [];
  expect(binding?.received).toMatch(/^udp\/127\.0\.0\.1:\d+$/);
  expect(binding).toMatchObject({ q: 1, local: `udp/${address}:${sipPort}` });
  const wrong = await open('1003', tones.a, { password: 'a guess' });
  expect(await wrong.register()).toMatchObject({ status: 403 });
  const unknown = await open('nobody', tones.a);
  expect(await unknown.register()).toMatchObject({ status: 403 });
  expect(await right.register(30)).toMatchObject({ status: 423 });
  expect(await right.register(0)).toMatchObject({ status: 200 });
  expect(store.read(['GET', 'registration:1003'])).toBeNull();
  const metrics = (await leading()).metrics();
  expect(metrics).toMatch(/^raftpbx_elsewhere_registers_total\{outcome="kept"\} [1-9]/m);
  expect(metrics).toMatch(/^raftpbx_elsewhere_logins_total\{outcome="wrong"\} 2$/m);
});

it.each(['udp', 'tcp'] as const)('two phones talk over %s, and each may hang up', async (kind) => {
  const [a, b] = await pair(kind);
  await talk(a, b);
  a.listen(tones.b);
  b.listen(tones.a);
  await eventually('audio both ways', waitMs, () =>
    [a, b].every((phone) => phone.audio().received > 50),
  );
  await eventually('both dialogs in the store', waitMs, async () => (await keys('dialog:')) === 2);
  await a.bye();
  await b.until('ended', waitMs);
  await recorded('1001', 'answered', 'caller');
  await eventually('nothing is left', waitMs, async () => (await keys('dialog:')) === 0);

  await talk(a, b);
  await b.bye();
  await a.until('ended', waitMs);
  await recorded('1001', 'answered', 'callee');
  await eventually('nothing is left', waitMs, async () => (await keys('call:')) === 0);
});

it('a caller gives up, and a callee refuses', async () => {
  const [a, b] = await pair();
  a.invite('1002');
  await b.until('ringing', waitMs);
  await a.cancel();
  await b.until('ended', waitMs);
  await recorded('1001', 'cancelled', 'caller');
  a.invite('1002');
  await b.until('ringing', waitMs);
  b.reject(486);
  expect(await a.until('ended', waitMs)).toMatchObject({ status: 486 });
});

it('a call is put on hold with music, and taken back', async () => {
  const [a, b] = await pair();
  await talk(a, b);
  expect(await a.reinvite('sendonly')).toMatchObject({ status: 200 });
  b.listen(tones.a);
  await eventually('two seconds of music', waitMs, () => b.audio().received > 100);
  expect(b.audio().hertz).not.toBe(tones.a);
  expect(await a.reinvite('sendrecv')).toMatchObject({ status: 200 });
  b.listen(tones.a);
  await eventually('the caller again', waitMs, () => b.audio().hertz === tones.a);
  expect(await b.reinvite('sendrecv')).toMatchObject({ status: 200 });
  await a.bye();
  await b.until('ended', waitMs);
});

it('a call without a password is challenged, and a name in its headers proves nothing', async () => {
  const stranger = await DatagramPhone.open(address, (await freePorts(1))[0] ?? 0);
  const heard: Message[] = [];
  stranger.onMessage = (message) => heard.push(message);
  const more = 'X-Authenticated-User: 1001\r\nContent-Type: application/sdp\r\n';
  stranger.send(sipPort, stranger.request('INVITE', 'forged', 1, '', more, sdp));
  const challenge = await eventually(
    'a challenge',
    waitMs,
    () => heard.find((one) => one.start.startsWith('SIP/2.0 407')) ?? false,
  );
  expect(challenge.header('Proxy-Authenticate')).toContain(`realm="${realm}"`);
  stranger.send(
    sipPort,
    stranger.request('ACK', 'forged', 1, tagOf(challenge.header('To'))).replace('ACK1', 'INVITE1'),
  );
  stranger.send(sipPort, stranger.request('OPTIONS', 'asked', 1));
  await eventually('an answer', waitMs, () =>
    heard.some((one) => one.start.startsWith('SIP/2.0 200')),
  );
  stranger.close();
});

it('calls of a trunk come in without a password', async () => {
  const manager = await leading();
  const b = await open('1002', tones.b);
  await b.register();
  const way = { proxy: `${address}:9`, domain: 'carrier.test' };
  expect(await manager.api.trunks.add({ name: 'carrier', ...way })).toMatchObject({ ok: true });
  await manager.api.trunks.addInbound({
    ...{ pattern: '5550100', trunk: 'carrier', to: '1002', strip: 0, prepend: '' },
  });
  const provider = await DatagramPhone.open(address, (await freePorts(1))[0] ?? 0);
  const call = provider
    .request('INVITE', 'from-outside', 1, '', 'Content-Type: application/sdp\r\n', sdp)
    .replace(/^INVITE \S+/, `INVITE sip:5550100@${address}`);
  provider.send(sipPort, call);
  await b.until('ringing', waitMs);
  b.reject(486);
  await eventually('no call', waitMs, async () => (await keys('call:')) === 0);
  provider.close();
  await manager.api.trunks.remove('carrier');
});

it('who guesses passwords is not listened to', async () => {
  const [first, second] = [await open('1005', tones.a), await open('1005', tones.a)];
  const guess = await open('1005', tones.a, { password: 'a guess' });
  expect(await first.register()).toMatchObject({ status: 200 });
  for (let count = 0; count < 10; count += 1) {
    expect(await guess.register()).toMatchObject({ status: 403 });
  }
  // A device is registered from here: only this user's name is refused, and only from here.
  const ban = `sip:ban:${address}/1005`;
  await eventually('a ban', waitMs, async () => (await keys(ban)) === 1);
  expect(await second.register()).toMatchObject({ status: 403 });
  const neighbour = await open('1006', tones.a);
  expect(await neighbour.register()).toMatchObject({ status: 200 });
  const store = cluster.stores.get(await cluster.leader()) as Store;
  await store.execute(['DEL', ban]);
  expect(await second.register()).toMatchObject({ status: 200 });
});

it('the next leader hangs up what it takes over, and finds out who is gone', async () => {
  const [a, b] = await pair();
  await talk(a, b);
  await eventually('both dialogs in the store', waitMs, async () => (await keys('dialog:')) === 2);
  const before = await cluster.leader();
  const store = cluster.stores.get(before) as Store;
  await store.transferLeadership();
  await eventually('another leader', waitMs, async () => (await cluster.leader()) !== before);
  await leading();
  await eventually('one connection', waitMs, () => tap.open === 1);
  expect(a.snapshot().state).toBe('up');
  await a.bye();
  await b.until('ended', waitMs);
  await eventually('nothing is left', waitMs, async () => (await keys('call:')) === 0);
});

it('a call that rings when the leader changes is ended', async () => {
  const [a, b] = await pair();
  a.invite('1002');
  await b.until('ringing', waitMs);
  const before = await cluster.leader();
  await (cluster.stores.get(before) as Store).transferLeadership();
  expect(await a.until('ended', waitMs)).toMatchObject({ status: 480 });
  await eventually('nothing is left', waitMs, async () => (await keys('call:')) === 0);
});

it('an engine that starts again is connected to, and calls it forgot are ended', async () => {
  const [a, b] = await pair();
  await talk(a, b);
  await engine.kill();
  await engine.start();
  await leading();
  await eventually('nothing is left', waitMs, async () => (await keys('call:')) === 0);
  await eventually('no dialog', waitMs, async () => (await keys('dialog:')) === 0);
  await recorded('1001', 'answered', 'system');
  const c = await open('1003', tones.a);
  expect(await c.register()).toMatchObject({ status: 200 });
  const d = await open('1004', tones.b);
  expect(await d.register()).toMatchObject({ status: 200 });
  c.invite('1004');
  await d.until('ringing', waitMs);
  d.answer();
  await c.until('up', waitMs);
  await c.bye();
  await d.until('ended', waitMs);
});

it('says nothing that a drachtio-server does not understand', () => {
  const { frames } = tap;
  expect(frames.length).toBeGreaterThan(50);
  // Its frames have five digits at most.
  expect(frames.filter(({ digits }) => digits > 5)).toEqual([]);
  const types = new Set(frames.map(({ tokens }) => tokens[1]));
  expect([...types].toSorted()).toEqual(expect.arrayContaining(['authenticate', 'route', 'sip']));
  expect(
    [...types].filter((one) => !['authenticate', 'route', 'sip', 'ping'].includes(one ?? '')),
  ).toEqual([]);
  const verbs = frames.filter(({ tokens }) => tokens[1] === 'route').map(({ tokens }) => tokens[2]);
  expect([...new Set(verbs)].toSorted()).toEqual(['invite', 'options', 'register']);
  for (const { tokens, text } of frames.filter((one) => one.tokens[1] === 'sip')) {
    const [, , transaction, dialog] = tokens;
    expect(tokens.length).toBeGreaterThanOrEqual(4);
    // Names of legs mean nothing there, and would reach the phones.
    expect(text).not.toMatch(/^X-Leg:/im);
    expect(text).not.toMatch(/^(Via|Route|Record-Route|RSeq):/im);
    if (!text.startsWith('SIP/2.0') && transaction !== '') {
      expect(text).toMatch(/^CANCEL /);
    }
    if (text.startsWith('SIP/2.0')) {
      expect(transaction).not.toBe('');
      // The stack answers a CANCEL, and acknowledges refusals.
      expect(text).not.toMatch(/^CSeq: \d+ CANCEL/im);
    }
    if (/^(ACK|BYE) /.test(text)) {
      expect(dialog).not.toBe('');
    }
    const [head = '', body = ''] = text.split('\r\n\r\n');
    // A description needs none: it is known by its first line.
    if (body !== '' && !body.startsWith('v=0')) {
      expect(head).toMatch(/^Content-Type:/im);
    }
  }
});
