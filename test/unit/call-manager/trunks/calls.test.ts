import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../../../src/call-manager/index.ts';
import { TrunkBook } from '../../../../src/call-manager/trunks/book.ts';
import { limits } from '../../../../src/domain/limits.ts';
import { silentLog } from '../../../../src/domain/log.ts';
import { sealingKey } from '../../../../src/domain/sealing.ts';
import type { SipEngine } from '../../../../src/native/index.ts';
import { SipEventFeed } from '../../../../src/sip/event-feed.ts';
import { FakeMedia, MemoryStore } from '../fakes.ts';
import { ScriptedEngine, type Sent } from '../scripted-engine.ts';

const sdp = 'v=0\r\no=- 2 2 IN IP4 192.0.2.88\r\n';
/** Where the scripted engine's messages come from. */
const provider = '192.0.2.77';

let store: MemoryStore;
let media: FakeMedia;
let engine: ScriptedEngine;
let manager: CallManagerHandle;

beforeEach(async () => {
  store = new MemoryStore();
  media = new FakeMedia();
  engine = new ScriptedEngine();
  const ng = await media.listen();
  const bindings = [{ contact: 'sip:1002@192.0.2.81:5062', expiresAt: Date.now() + 60_000, q: 1 }];
  store.keys.set('registration:1002', JSON.stringify({ user: '1002', bindings }));
  store.query("INSERT INTO users VALUES ('1001', 'Ada', '', '', 0), ('1002', 'Bo', '', '', 0)");
  manager = await startCallManager({
    ...{ name: 'cm-1', log: silentLog, domain: 'pbx.test', address: '127.0.0.1' },
    ...{ roles: ['call-manager'], version: '0', peers: [{ id: 1, name: 'cm-1' }] },
    ...{ vip: ['192.0.2.10'], store: store.store, engine: {} as SipEngine },
    sipEvents: new SipEventFeed(),
    drachtio: { host: '127.0.0.1', port: await engine.listen(), secret: 's' },
    clusterSecret: 'cluster',
  });
  const lease = { name: 'media-1', roles: ['media'], address: '', ng, load: 0, capacity: 9 };
  store.set('server:media-1', JSON.stringify(lease));
  store.lead(1);
});

afterEach(async () => {
  await manager.stop();
  await engine.close();
  media.close();
});

const account = { user: 'acme', password: 'pass-of-acme', callerId: '5550100' };
const digest = 'Digest realm="carrier", nonce="n1", qop="auth"';

async function add(trunk: object): Promise<void> {
  const wanted = { name: 'carrier', proxy: provider, ...trunk };
  expect(await manager.api.trunks.add(wanted)).toMatchObject({ ok: true });
}

async function route(...trunks: string[]): Promise<void> {
  const wanted = { pattern: '0.', strip: 1, prepend: '', trunks };
  expect(await manager.api.trunks.addOutbound(wanted)).toMatchObject({ ok: true });
}

async function cdr() {
  return vi.waitFor(() => {
    const [found] = manager.api.cdrs();
    expect(found).toBeDefined();
    return found;
  });
}

/** The next request with the same Call-ID, after one that was challenged. */
function again(first: Sent): Promise<Sent> {
  const callId = first.headers.get('call-id');
  return engine.next(first.what, (one) => one.headers.get('call-id') === callId);
}

test('a trunk registers with its password, and shows until when', async () => {
  await add(account);
  const first = await engine.next('REGISTER');
  expect(first.headers.get('contact')).toBe('<sip:acme@localhost>');
  expect(first.headers.get('from')).toContain('<sip:acme@192.0.2.77>');
  engine.respond(first, 401, '', [`WWW-Authenticate: ${digest}`]);
  const second = await again(first);
  expect(second.headers.get('authorization')).toContain('username="acme", realm="carrier"');
  const seq = (one: Sent) => Number.parseInt(one.headers.get('cseq') ?? '', 10);
  expect(seq(second)).toBe(seq(first) + 1);
  expect(second.headers.get('from')).toBe(first.headers.get('from'));
  engine.respond(second, 200, '', ['Expires: 120']);
  await vi.waitFor(() =>
    expect(manager.api.trunks.list()).toMatchObject([{ state: 'registered', reason: null }]),
  );
  expect(JSON.stringify([...store.keys.values()])).not.toContain(account.password);
  expect(JSON.stringify(manager.api.trunks.list())).not.toContain('password');
  expect(JSON.stringify(store.query('SELECT * FROM trunks'))).not.toContain(account.password);
});

test('the next leader waits until a registration is due, and goes on above its CSeq', async () => {
  await add(account);
  const first = await engine.next('REGISTER');
  engine.respond(first, 200, '', ['Expires: 120']);
  const state = () => JSON.parse(store.keys.get('trunk:carrier') ?? '{}');
  await vi.waitFor(() => expect(state()).toMatchObject({ state: 'registered' }));
  store.follow(2);
  store.lead(3);
  await add({ name: 'other', ...account });
  const [next] = [await engine.next('REGISTER')];
  // Only the new one: the first is not due.
  expect(next?.headers.get('call-id')).not.toBe(first.headers.get('call-id'));
  store.keys.set('trunk:carrier', JSON.stringify({ ...state(), dueAt: 0 }));
  const refresh = await again(first);
  const seq = (one: Sent) => Number.parseInt(one.headers.get('cseq') ?? '', 10);
  expect(seq(refresh)).toBe(seq(first) + limits.trunkCseqJump);
});

test('a leader that has no tables yet finds no trunks', async () => {
  const bare = new MemoryStore([]);
  const book = new TrunkBook(bare.store, sealingKey('cluster'));
  expect(book.trunks()).toEqual([]);
  expect(book.inbound()).toEqual([]);
  bare.migrate();
  expect(book.trunks()).toEqual([]);
});

test('a wrong password is said, and not tried again at once', async () => {
  await add(account);
  const first = await engine.next('REGISTER');
  engine.respond(first, 401, '', [`WWW-Authenticate: ${digest}`]);
  engine.respond(await again(first), 401, '', [`WWW-Authenticate: ${digest}`]);
  await vi.waitFor(() =>
    expect(manager.api.trunks.list()).toMatchObject([
      { state: 'failed', reason: expect.stringContaining('401') },
    ]),
  );
  const { dueAt } = JSON.parse(store.keys.get('trunk:carrier') ?? '{}');
  expect(dueAt).toBeGreaterThan(Date.now() + limits.trunkRefusedMs / 2);
});

test('a call goes out over the trunk with its number, and answers the challenge', async () => {
  await add({ ...account, mode: 'peer' });
  await route('carrier');
  engine.invite({ id: 't1', user: '1001', to: '030' });
  const first = await engine.next('INVITE');
  expect(first.uri).toBe('sip:30@192.0.2.77');
  expect(first.headers.get('from')).toContain('"Ada" <sip:5550100@192.0.2.77>');
  expect(first.headers.get('p-asserted-identity')).toBe('"Ada" <sip:5550100@192.0.2.77>');
  engine.respond(first, 407, '', [`Proxy-Authenticate: ${digest}`]);
  const second = await again(first);
  expect(second.headers.get('proxy-authorization')).toContain('uri="sip:30@192.0.2.77"');
  expect(second.headers.get('x-leg')).toBe('t1/1');
  engine.respond(second, 200, sdp);
  const { dialogId } = await engine.next('200');
  engine.inDialog(dialogId, 'BYE');
  await engine.next('BYE');
  expect(await cdr()).toMatchObject({
    ...{ from: '1001', to: '030', result: 'answered' },
    ...{ fromTrunk: null, toTrunk: 'carrier' },
  });
});

test('a provider that asks inside the call who we are is told', async () => {
  await add({ ...account, mode: 'peer' });
  await route('carrier');
  engine.invite({ id: 't1', user: '1001', to: '030' });
  engine.respond(await engine.next('INVITE'), 200, sdp);
  const { dialogId: caller } = await engine.next('200');
  engine.inDialog(caller, 'INVITE', 'v=0\r\na=sendonly\r\n');
  const hold = await engine.next('INVITE');
  engine.respond(hold, 401, '', [`WWW-Authenticate: ${digest}`]);
  const again = await engine.next('INVITE');
  expect(again.headers.get('authorization')).toContain('username="acme"');
  expect(again.dialogId).toBe(hold.dialogId);
  expect(again.body).toBe(hold.body);
  engine.respond(again, 200, sdp);
  await engine.next('200');
  engine.challengeBye = `Proxy-Authenticate: ${digest}`;
  engine.inDialog(caller, 'BYE');
  const bye = await engine.next('BYE');
  expect(bye.headers.has('proxy-authorization')).toBe(false);
  const byeAgain = await engine.next('BYE');
  expect(byeAgain.headers.get('proxy-authorization')).toContain('username="acme"');
  expect(byeAgain.dialogId).toBe(bye.dialogId);
});

test('a broken trunk is followed by the next, a busy number is not', async () => {
  await add({ name: 'first' });
  await add({ name: 'second', proxy: '192.0.2.78' });
  await route('first', 'second');
  engine.invite({ id: 't1', user: '1001', to: '030' });
  engine.respond(await engine.next('INVITE'), 503);
  const next = await engine.next('INVITE');
  expect(next.uri).toBe('sip:30@192.0.2.78');
  engine.respond(next, 486);
  await engine.next('486');
  expect(await cdr()).toMatchObject({ result: 'busy', toTrunk: 'second' });
});

test('a trunk that says nothing is left, and tried last from then on', async () => {
  await add({ name: 'first' });
  await add({ name: 'second', proxy: '192.0.2.78' });
  await route('first', 'second');
  // Nothing may count as silent right after a takeover.
  engine.invite({ id: 't1', user: '1001', to: '030' });
  const dead = await engine.next('INVITE');
  expect(dead.uri).toBe('sip:30@192.0.2.77');
  const next = await engine.next('INVITE');
  expect(next.uri).toBe('sip:30@192.0.2.78');
  await engine.next('CANCEL', (one) => one.transactionId === dead.transactionId);
  engine.respond(next, 486);
  await engine.next('486');
  engine.invite({ id: 't2', user: '1001', to: '031' });
  expect((await engine.next('INVITE')).uri).toBe('sip:31@192.0.2.78');
});

test('a full trunk refuses with Retry-After, and the refusal is counted', async () => {
  await add({ channelsMax: 1 });
  await route('carrier');
  engine.invite({ id: 't1', user: '1001', to: '030' });
  await engine.next('INVITE');
  engine.invite({ id: 't2', user: '1002', to: '031' });
  const refused = await engine.next('503');
  expect(refused.headers.get('retry-after')).toBe(String(limits.retryAfterS));
  expect(manager.metrics()).toContain('raftpbx_calls_refused_total{code="PBX_TRUNK_FULL"} 1');
});

test('a call of a trunk rings the user of its route, whoever From names', async () => {
  await add({ callerId: '' });
  const wanted = { pattern: '5550XX', trunk: '', to: '1002', strip: 0, prepend: '' };
  expect(await manager.api.trunks.addInbound(wanted)).toMatchObject({ ok: true });
  const asserted = 'P-Asserted-Identity: <sip:+4930@carrier>';
  engine.invite({ id: 't1', user: null, to: '555012', extra: asserted });
  const leg = await engine.next('INVITE');
  expect(leg.uri).toBe('sip:1002@192.0.2.81:5062');
  expect(leg.headers.get('from')).toContain('"Ada" <sip:+4930@pbx.test>');
  engine.respond(leg, 200, sdp);
  const { dialogId } = await engine.next('200');
  engine.inDialog(dialogId, 'BYE');
  await engine.next('BYE');
  expect(await cdr()).toMatchObject({
    ...{ from: '+4930', to: '1002', result: 'answered' },
    ...{ fromTrunk: 'carrier', toTrunk: null },
  });
});

test('a number without a route is refused, and so is whoever is no trunk', async () => {
  await add({});
  engine.invite({ id: 't1', user: null, to: '1002' });
  await engine.next('404');
  await manager.api.trunks.enable('carrier', false);
  expect(store.keys.has('sip:peer:carrier')).toBe(false);
  engine.invite({ id: 't2', user: null, to: '1002' });
  await engine.next('403');
  expect(manager.metrics()).toContain('raftpbx_calls_refused_total{code="PBX_ROUTE_NONE"} 1');
  expect(manager.metrics()).toContain('raftpbx_calls_refused_total{code="PBX_CALLER_UNKNOWN"} 1');
});
