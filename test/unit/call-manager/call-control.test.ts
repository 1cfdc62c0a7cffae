import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../../src/call-manager/index.ts';
import { silentLog } from '../../../src/domain/log.ts';
import type { SipEngine } from '../../../src/native/index.ts';
import { SipEventFeed } from '../../../src/sip/event-feed.ts';
import { FakeMedia, MemoryStore } from './fakes.ts';
import { ScriptedEngine } from './scripted-engine.ts';

const sdpB = 'v=0\r\no=- 2 2 IN IP4 192.0.2.88\r\n';

/** One Call Manager with an engine of its own; the store may be shared with another. */
class Node {
  readonly engine = new ScriptedEngine();
  readonly feed = new SipEventFeed();
  manager: CallManagerHandle | null = null;

  async start(store: MemoryStore, answerTimeoutMs = 60_000, push?: Push): Promise<void> {
    const port = await this.engine.listen();
    this.manager = await startCallManager({
      name: 'cm-1',
      log: silentLog,
      domain: 'pbx.test',
      address: '127.0.0.1',
      roles: ['call-manager'],
      version: '0',
      peers: [{ id: 1, name: 'cm-1' }],
      vip: ['192.0.2.10'],
      store: store.store,
      engine: {} as SipEngine,
      sipEvents: this.feed,
      drachtio: { host: '127.0.0.1', port, secret: 's' },
      clusterSecret: 'cluster',
      answerTimeoutMs,
      push: push ?? null,
    });
  }

  /** The log tells the node about a dialog, as it tells every node. */
  confirm(dialog: { id: string; role: 'uas' | 'uac'; leg: string | null; txn: string }): void {
    const callId = dialog.id.split(';')[0];
    const tag = dialog.id.split('from-tag=')[1];
    const head = `From: <sip:a@pbx.test>;tag=${tag}\r\nTo: <sip:b@pbx.test>`;
    const body = `Content-Type: application/sdp\r\nContent-Length: ${sdpB.length}\r\n\r\n${sdpB}`;
    const rest = `Call-ID: ${callId}\r\nCSeq: 1 INVITE\r\nContact: <sip:x@192.0.2.77>\r\n${body}`;
    this.feed.push([
      {
        type: 'dialogConfirmed',
        dialog: {
          id: dialog.id,
          role: dialog.role,
          leg: dialog.leg,
          transactionId: dialog.txn,
          request: `INVITE sip:b@pbx.test SIP/2.0\r\n${head}\r\n${rest}`,
          response: `SIP/2.0 200 OK\r\n${head};tag=t\r\n${rest}`,
          protocol: 'udp',
          address: '192.0.2.77',
          port: 5062,
          endedRemotely: false,
        },
      },
    ]);
  }

  async stop(): Promise<void> {
    await this.manager?.stop();
    await this.engine.close();
  }
}

interface Push {
  url: string;
  waitMs: number;
}

let store: MemoryStore;
let media: FakeMedia;
let nodes: Node[];

beforeEach(async () => {
  store = new MemoryStore();
  media = new FakeMedia();
  nodes = [];
  const ng = await media.listen();
  const binding = (contact: string) => ({ contact, expiresAt: Date.now() + 60_000, q: 1 });
  const registration = {
    user: '1002',
    bindings: [binding('sip:1002@192.0.2.81:5062'), binding('sip:1002@192.0.2.82:5062')],
  };
  store.keys.set('registration:1002', JSON.stringify(registration));
  store.query("INSERT INTO users VALUES ('1001', 'Ada', '', '', 0), ('1003', 'Off', '', '', 0)");
  const lease = { name: 'media-1', roles: ['media'], address: '', ng, load: 0, capacity: 9 };
  leaseOfMedia = JSON.stringify(lease);
});

let leaseOfMedia = '';

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  media.close();
});

async function startNode(answerTimeoutMs?: number): Promise<Node> {
  const node = new Node();
  nodes.push(node);
  await node.start(store, answerTimeoutMs);
  store.set('server:media-1', leaseOfMedia);
  return node;
}

async function leader(answerTimeoutMs?: number): Promise<Node> {
  const node = await startNode(answerTimeoutMs);
  store.lead(1);
  return node;
}

function cdrs() {
  return nodes[0]?.manager?.api.cdrs() ?? [];
}

async function untilCdr() {
  return vi.waitFor(() => {
    const [cdr] = cdrs();
    expect(cdr).toBeDefined();
    return cdr;
  });
}

async function talk(node: Node) {
  const { engine } = node;
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  const legs = [await engine.next('INVITE'), await engine.next('INVITE')];
  const [first, second] = legs;
  if (first === undefined || second === undefined) {
    throw new Error('both devices ring');
  }
  engine.respond(first, 180);
  await engine.next('180');
  engine.respond(first, 200, sdpB);
  const answer = await engine.next('200');
  return { first, second, answer };
}

test('a call rings both devices, is answered once, and ends with its record', async () => {
  const node = await leader();
  const { engine } = node;
  const { first, second, answer } = await talk(node);
  expect(first.headers.get('x-leg')).toBe('t1/1');
  expect(first.headers.get('from')).toContain('"Ada" <sip:1001@pbx.test>');
  expect(first.headers.get('max-forwards')).toBe('69');
  expect(first.body).toContain('a=relayed');
  expect(answer.body).toBe(`${sdpB}a=relayed\r\n`);
  const cancel = await engine.next('CANCEL');
  expect(cancel.transactionId).toBe(second.transactionId);
  engine.respond(second, 487);
  await vi.waitFor(() =>
    expect(node.manager?.api.calls()).toMatchObject([{ id: 't1', state: 'answered' }]),
  );
  engine.inDialog('cid-t1;from-tag=at1', 'BYE');
  const bye = await engine.next('BYE');
  expect(bye.dialogId).toBe(first.dialogId);
  expect(await untilCdr()).toMatchObject({
    id: 't1',
    from: '1001',
    to: '1002',
    result: 'answered',
    endedBy: 'caller',
  });
  await vi.waitFor(() => expect(media.commands).toContain('delete caller'));
  expect(store.count('call:')).toBe(0);
});

test('the devices share the branches that the caller has left', async () => {
  const node = await leader();
  const { engine } = node;
  engine.invite({ id: 't1', user: '1001', to: '1002', extra: 'Max-Breadth: 5' });
  const legs = [await engine.next('INVITE'), await engine.next('INVITE')];
  expect(legs.map((leg) => leg.headers.get('max-breadth'))).toEqual(['3', '2']);
  const record = () => JSON.parse(store.keys.get('call:t1') ?? '{}');
  await vi.waitFor(() => expect(record()).toMatchObject({ breadth: 5 }));
});

test.each([
  ['none', 'Max-Breadth: 0'],
  ['fewer than devices', 'Max-Breadth: 1'],
])('a call that has %s branches left is refused', async (_name, extra) => {
  const { engine } = await leader();
  engine.invite({ id: 't1', user: '1001', to: '1002', extra });
  await engine.next('440');
  expect(engine.sent.filter(({ what }) => what === 'INVITE')).toEqual([]);
});

test('hold and resume pass through the media server in both directions', async () => {
  const node = await leader();
  const { engine } = node;
  const { first } = await talk(node);
  engine.inDialog('cid-t1;from-tag=at1', 'INVITE', 'v=0\r\na=sendonly\r\n');
  const outward = await engine.next('INVITE', (sent) => sent.dialogId === first.dialogId);
  expect(outward.body).toBe('v=0\r\na=sendonly\r\na=relayed\r\n');
  engine.respond(outward, 200, 'v=0\r\na=recvonly\r\n');
  const held = await engine.next('200', (sent) => sent.body.includes('recvonly'));
  expect(held.body).toContain('a=relayed');
  engine.inDialog(first.dialogId, 'INVITE', 'v=0\r\na=sendrecv\r\n');
  const inward = await engine.next('INVITE', (sent) => sent.dialogId.startsWith('cid-t1'));
  engine.respond(inward, 488);
  await engine.next('488');
  engine.inDialog(first.dialogId, 'INVITE', 'v=0\r\na=sendrecv\r\n');
  const again = await engine.next('INVITE', (sent) => sent.dialogId.startsWith('cid-t1'));
  engine.respond(again, 200, 'v=0\r\n');
  await engine.next('200', (sent) => sent.transactionId.startsWith('in-'));
});

test('a DTMF digit in an INFO reaches the other party, and its answer comes back', async () => {
  const node = await leader();
  const { first } = await talk(node);
  node.engine.inDialog('cid-t1;from-tag=at1', 'INFO', 'Signal=5\r\n');
  const info = await node.engine.next('INFO');
  expect(info).toMatchObject({ dialogId: first.dialogId, body: 'Signal=5\r\n' });
  node.engine.respond(info, 200);
  await node.engine.next('200', (sent) => sent.transactionId.startsWith('in-'));
});

test('a caller that gives up cancels both devices', async () => {
  const { engine } = await leader();
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  const legs = [await engine.next('INVITE'), await engine.next('INVITE')];
  engine.cancel('t1');
  await engine.next('CANCEL');
  await engine.next('CANCEL');
  for (const leg of legs) {
    engine.respond(leg, 487);
  }
  expect(await untilCdr()).toMatchObject({ result: 'cancelled', endedBy: 'caller' });
});

test('nobody answers: the caller hears 480 and both devices stop ringing', async () => {
  const { engine } = await leader(100);
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  await engine.next('480');
  await engine.next('CANCEL');
  await engine.next('CANCEL');
  expect(await untilCdr()).toMatchObject({ result: 'no-answer' });
});

test.each([
  ['an unknown user', '1999', 404, 'failed'],
  ['a user without devices', '1003', 480, 'no-answer'],
  ['oneself', '1001', 482, 'failed'],
])('a call to %s is refused and recorded', async (_name, to, status, result) => {
  const { engine } = await leader();
  engine.invite({ id: 't1', user: '1001', to });
  await engine.next(String(status));
  expect(await untilCdr()).toMatchObject({ to, result });
});

test.each([
  ['a stranger', { user: null, to: '1002' }, '403'],
  ['a phone that requires what nobody has', { extra: 'Require: 100rel' }, '420'],
  ['a call that went in circles', { extra: 'Max-Forwards: 0' }, '483'],
  ['a call without a description', { sdp: '' }, '488'],
])('%s is refused', async (_name, call, status) => {
  const { engine } = await leader();
  engine.invite({ id: 't1', user: '1001', to: '1002', ...call });
  await engine.next(status);
  expect(cdrs()).toEqual([]);
});

test('a dead media server costs the call an answer of 503, no more', async () => {
  const { engine } = await leader();
  media.silent = true;
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  const refusal = await engine.next('503');
  expect(refusal.headers.get('retry-after')).toBe('10');
  expect(await untilCdr()).toMatchObject({ result: 'failed', endedBy: 'system' });
});

test('a call whose media server dies is moved to another by re-INVITE', async () => {
  const node = await leader();
  const { first } = await talk(node);
  const other = new FakeMedia();
  const ng = await other.listen();
  media.silent = true;
  store.set(
    'server:media-2',
    JSON.stringify({ name: 'media-2', roles: ['media'], address: '', ng, load: 0, capacity: 9 }),
  );
  store.expire('server:media-1');
  const toDevice = await node.engine.next('INVITE', (sent) => sent.dialogId === first.dialogId);
  // Both are told at once.
  const toCaller = await node.engine.next('INVITE', (sent) => sent.dialogId.startsWith('cid-t1'));
  node.engine.respond(toDevice, 200, sdpB);
  expect(toCaller.body).toBe(`${sdpB}a=relayed\r\n`);
  node.engine.respond(toCaller, 200, 'v=0\r\n');
  await vi.waitFor(() => {
    expect(store.keys.get('call:t1')).toMatch(/"media-2".*"moving":false/);
  });
  expect(other.commands).toEqual(['offer caller', 'answer caller', 'answer caller']);
  other.close();
});

test.each([false, true])('a lost session is anchored anew; leader dies: %s', async (dies) => {
  const node = await leader();
  const { first, second } = await talk(node);
  node.engine.respond(second, 487);
  await vi.waitFor(() => expect(store.keys.get('call:t1')).toContain('"status":487'));
  const before = media.commands.length;
  store.set('media-lost:t1', 'another server');
  store.set('media-lost:t1', 'media-1');
  if (dies) {
    store.follow(2);
    store.lead(3);
  }
  const toDevice = await node.engine.next('INVITE', (sent) => sent.dialogId === first.dialogId);
  node.engine.respond(toDevice, 200, sdpB);
  const toCaller = await node.engine.next('INVITE', (sent) => sent.dialogId.startsWith('cid-t1'));
  node.engine.respond(toCaller, 200, 'v=0\r\n');
  await vi.waitFor(() => {
    expect(store.keys.get('call:t1')).toMatch(/"media-1".*"moving":false/);
  });
  expect(media.commands.slice(before)).toEqual(['offer caller', 'answer caller', 'answer caller']);
});

test('what others have changed in a session is heard once and moves no call', async () => {
  const node = await leader();
  await talk(node);
  const before = media.commands.length;
  store.set('media-changed:t1', 'media-1');
  await vi.waitFor(() => expect(store.keys.has('media-changed:t1')).toBe(false));
  expect(media.commands.slice(before)).toEqual([]);
  expect(store.keys.get('call:t1')).toMatch(/"media-1".*"moving":false/);
});

test('a call whose record cannot be committed is refused and its device is called off', async () => {
  const { engine } = await leader();
  store.broken = true;
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  await vi.waitFor(() => expect(media.commands.length).toBeGreaterThan(0));
  // The engine commits the INVITE behind the record; this one could, and has to take it back.
  const leg = await engine.next('INVITE');
  expect((await engine.next('CANCEL')).transactionId).toBe(leg.transactionId);
  store.broken = false;
  engine.respond(leg, 487);
  await engine.next('503');
  expect(await untilCdr()).toMatchObject({ result: 'failed' });
});

test('a ringing call goes on where it was when another node leads', async () => {
  const old = await leader();
  old.engine.invite({ id: 't1', user: '1001', to: '1002' });
  await old.engine.next('INVITE');
  await old.engine.next('INVITE');
  const next = await startNode();
  store.follow(2);
  old.engine.known.clear();
  next.engine.known.set('t1/1', 'stored-1');
  next.engine.known.set('t1/2', 'stored-2');
  next.engine.busy.add('t1/2');
  store.lead(3);
  next.engine.invite({ id: 't1', user: '1001', to: '1002' });
  const first = await next.engine.next('INVITE', (sent) => sent.transactionId === 'stored-1');
  const second = await next.engine.next('INVITE', (sent) => sent.transactionId === 'stored-2');
  next.engine.respond(second, 200, sdpB);
  await next.engine.next('200');
  const cancel = await next.engine.next('CANCEL');
  expect(cancel.transactionId).toBe(first.transactionId);
  next.engine.inDialog(second.dialogId, 'BYE');
  expect(await untilCdr()).toMatchObject({ result: 'answered', endedBy: 'callee' });
});

test('a call goes on when the connection to the engine breaks', async () => {
  const { engine } = await leader();
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  const legs = [await engine.next('INVITE'), await engine.next('INVITE')];
  for (const leg of legs) {
    engine.known.set(leg.headers.get('x-leg') ?? '', leg.transactionId);
  }
  engine.drop();
  await vi.waitFor(() => expect(engine.connections).toBe(2), { timeout: 5000 });
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  const again = await engine.next('INVITE', (sent) => sent.headers.get('x-leg') === 't1/1');
  engine.respond(again, 200, sdpB);
  await engine.next('200');
  engine.inDialog('cid-t1;from-tag=at1', 'BYE');
  expect(await untilCdr()).toMatchObject({ result: 'answered', endedBy: 'caller' });
});

test('an established call is hung up by a node that only heard of it through the log', async () => {
  const old = await leader();
  const { first, second } = await talk(old);
  await old.engine.next('CANCEL');
  old.engine.respond(second, 487);
  await vi.waitFor(() => expect(store.keys.get('call:t1')).toContain('"status":487'));
  const next = await startNode();
  const caller = 'cid-t1;from-tag=at1';
  next.confirm({ id: caller, role: 'uas', leg: null, txn: 't1' });
  next.confirm({ id: first.dialogId, role: 'uac', leg: 't1/1', txn: 'x' });
  const built = (number: number) => ({ dialogs: 2, dialogsUnbuilt: 2 - number });
  expect(next.manager?.status()).toMatchObject(built(0));
  store.follow(2);
  store.lead(3);
  expect(next.manager?.status()).toMatchObject(built(0));
  next.engine.inDialog(caller, 'INVITE', 'v=0\r\na=sendonly\r\n');
  const hold = await next.engine.next('INVITE');
  expect(hold.dialogId).toBe(first.dialogId);
  expect(next.manager?.status()).toMatchObject(built(2));
  next.engine.respond(hold, 200, sdpB);
  await next.engine.next('200');
  next.engine.inDialog(first.dialogId, 'BYE');
  const bye = await next.engine.next('BYE');
  expect(bye.dialogId).toBe(caller);
  expect(await untilCdr()).toMatchObject({ result: 'answered', endedBy: 'callee' });
});

test('a late commit does not bring a call back that another node has ended', async () => {
  const { engine } = await leader();
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  const leg = await engine.next('INVITE');
  await vi.waitFor(() => expect(store.keys.has('call:t1')).toBe(true));
  store.keys.delete('call:t1');
  engine.respond(leg, 486);
  await vi.waitFor(() => expect(nodes[0]?.manager?.status()).toMatchObject({ calls: 0 }));
  expect(store.keys.has('call:t1')).toBe(false);
});

test('an INVITE that comes again after the end was committed is told the result', async () => {
  const { engine } = await leader();
  const row = "('t9', '1001', '1002', 1, NULL, 2, 'busy', 'callee', NULL, NULL)";
  store.query(`INSERT INTO cdrs VALUES ${row}`);
  engine.invite({ id: 't9', user: '1001', to: '1002' });
  await engine.next('486');
  expect(engine.sent).toEqual([]);
});

test('what nobody came back for after a takeover is swept: calls and dialogs', async () => {
  const old = await leader();
  await talk(old);
  const next = await startNode();
  next.confirm({ id: 'lost;from-tag=1', role: 'uac', leg: 'gone/1', txn: 'x' });
  store.follow(2);
  store.lead(3);
  const bye = await vi.waitFor(() => next.engine.next('BYE'), { timeout: 8000 });
  expect(bye.dialogId).toBe('lost;from-tag=1');
  expect(await untilCdr()).toMatchObject({ result: 'answered', endedBy: 'system' });
});

const sleeping = {
  contact: 'sip:1002@192.0.2.83;pn-provider=fcm;pn-prid=token',
  expiresAt: Date.now() + 600_000,
  q: 1,
  instance: '<urn:uuid:1>',
  refreshedAt: 0,
  push: { provider: 'fcm', prid: 'token', param: null },
};

/** A leader with a push service; the device of 1002 does `onWake` when it is asked for. */
async function leaderWithPush(onWake: () => void): Promise<Node> {
  const service = createServer((_request, response) => {
    response.end();
    onWake();
  });
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');
  service.unref();
  const { port } = service.address() as AddressInfo;
  store.set('registration:1002', JSON.stringify({ user: '1002', bindings: [sleeping] }));
  const node = new Node();
  nodes.push(node);
  await node.start(store, 60_000, { url: `http://127.0.0.1:${port}/`, waitMs: 5_000 });
  store.set('server:media-1', leaseOfMedia);
  store.lead(1);
  return node;
}

test('a call waits for a device that sleeps, and rings it where it has woken', async () => {
  const awake = { ...sleeping, contact: 'sip:1002@192.0.2.99', refreshedAt: Date.now() + 60_000 };
  const { engine } = await leaderWithPush(() => {
    store.set('registration:1002', JSON.stringify({ user: '1002', bindings: [awake] }));
  });
  engine.invite({ id: 't1', user: '1001', to: '1002' });
  const leg = await engine.next('INVITE');
  expect(leg.uri).toContain('192.0.2.99');
});

test('a call to a GRUU rings that device only', async () => {
  const others = ['sip:1002@192.0.2.81', 'sip:1002@192.0.2.82'].map((contact) => ({
    contact,
    expiresAt: Date.now() + 60_000,
    q: 1,
    instance: contact.endsWith('82') ? '<urn:uuid:2>' : null,
  }));
  store.keys.set('registration:1002', JSON.stringify({ user: '1002', bindings: others }));
  const { engine } = await leader();
  engine.invite({ id: 't1', user: '1001', to: '1002', uriParams: ';gr=urn:uuid:2' });
  const leg = await engine.next('INVITE');
  expect(leg.uri).toContain('192.0.2.82');
  engine.respond(leg, 486);
  expect((await engine.next('486')).transactionId).toBe('t1');
});
