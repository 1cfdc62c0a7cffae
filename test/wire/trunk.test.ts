/**
 * A trunk on the wire: call control, the real engine and a real store toward a provider that is
 * a UDP socket, which checks each digest with code of its own.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../src/call-manager/index.ts';
import { silentLog } from '../../src/domain/log.ts';
import { migrations } from '../../src/domain/schema.ts';
import { SipEngine, type SipOptions, type Store } from '../../src/native/index.ts';
import { SipEventFeed } from '../../src/sip/event-feed.ts';
import { DatagramPhone, type Message } from '../support/datagram-phone.ts';
import { eventually } from '../support/eventually.ts';
import { StoreCluster } from '../support/store-cluster.ts';
import { FakeMedia } from '../unit/call-manager/fakes.ts';

const address = '127.0.0.1';
const port = { sip: 15480, drachtio: 15481, provider: 15482 };
const realm = 'pbx.test';
const waitMs = 5_000;
const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n';
const password = 'the password of acme';

const options: SipOptions = {
  listen: [`udp/${address}:${port.sip}`, `tcp/${address}:${port.sip}`],
  nameServers: [],
  connectionsPerAddress: 16,
  tls: null,
  drachtio: { listen: `${address}:${port.drachtio}`, secret: 'not a real secret' },
  registrar: {
    ...{ domains: [realm], realm, minExpiresS: 60, maxExpiresS: 7200, defaultExpiresS: 3600 },
    ...{ maxBindings: 2, digest: 'md5', whenFull: 'refuse', serviceRoutes: [] },
    ...{ pushProviders: [], qualifyS: 0, flowTimerS: 0, trusted: [] },
  },
  authenticateCalls: true,
  trusted: [],
  sessionTimer: { expiresS: 0, minSeS: 90 },
  secret: 'the secret of this cluster',
};

let cluster: StoreCluster;
let store: Store;
let engine: SipEngine;
let manager: CallManagerHandle;
let media: FakeMedia;
let provider: DatagramPhone;
const heard: Message[] = [];

beforeAll(async () => {
  cluster = await StoreCluster.start();
  store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', String(version), sql]);
  }
  provider = await DatagramPhone.open(address, port.provider);
  provider.onMessage = (message) => heard.push(message);
  const feed = new SipEventFeed();
  engine = SipEngine.start(options, store, feed.push);
  await eventually('the engine leads', waitMs, () => engine.status().leading);
  media = new FakeMedia();
  const ng = await media.listen();
  const lease = { name: 'media-1', roles: ['media'], address: '', ng, load: 0, capacity: 9 };
  await store.execute(['SET', 'server:media-1', JSON.stringify(lease)]);
  manager = await startCallManager({
    ...{ name: 'cm-1', log: silentLog, domain: realm, address, roles: ['call-manager'] },
    ...{ version: '0', peers: [], vip: [address], store, engine, sipEvents: feed },
    drachtio: { host: address, port: port.drachtio, secret: 'not a real secret' },
    clusterSecret: 'the secret of this cluster',
  });
});

afterAll(async () => {
  await manager?.stop();
  engine?.close();
  provider?.close();
  media?.close();
  await cluster?.stop();
});

/** The next message that begins so. */
function next(start: string): Promise<Message> {
  return eventually(start, waitMs, () => {
    const at = heard.findIndex((one) => one.start.startsWith(start));
    return at >= 0 && (heard.splice(at, 1)[0] ?? false);
  });
}

function answer(request: Message, status: string, more = '', body = ''): void {
  const copied = ['Via', 'From', 'Call-ID', 'CSeq'].map(
    (name) => `${name}: ${request.header(name)}`,
  );
  const lines = [`SIP/2.0 ${status}`, ...copied, `To: ${request.header('To')};tag=provider`];
  const type = body === '' ? '' : 'Content-Type: application/sdp\r\n';
  const rest = `${type}${more}Content-Length: ${body.length}\r\n\r\n${body}`;
  provider.send(port.sip, `${lines.join('\r\n')}\r\n${rest}`);
}

/** Whether credentials prove the password, by RFC 7616 section 3.4.1. */
function isRight(value: string, method: string, hash: 'md5' | 'sha256'): boolean {
  const of = (name: string) => new RegExp(`\\b${name}="?([^",]+)`).exec(value)?.[1] ?? '';
  const h = (text: string) => createHash(hash).update(text).digest('hex');
  const ha1 = h(`acme:${of('realm')}:${password}`);
  const middle = `${of('nonce')}:${of('nc')}:${of('cnonce')}:${of('qop')}`;
  return of('response') === h(`${ha1}:${middle}:${h(`${method}:${of('uri')}`)}`);
}

const same = (a: Message, b: Message, name: string) =>
  expect(b.header(name), name).toBe(a.header(name));

it('registers at the address of the cluster, with an answer to the stronger challenge', async () => {
  const proxy = `${address}:${port.provider}`;
  const account = { user: 'acme', password, callerId: '5550100', domain: 'carrier.test' };
  expect(await manager.api.trunks.add({ name: 'carrier', proxy, ...account })).toMatchObject({
    ok: true,
  });
  const first = await next('REGISTER sip:carrier.test');
  expect(first.header('Contact')).toBe(`<sip:acme@${address}:${port.sip}>`);
  const challenges = ['MD5', 'SHA-256'].map(
    (name) =>
      `WWW-Authenticate: Digest realm="carrier.test", nonce="n", algorithm=${name}, qop="auth"\r\n`,
  );
  answer(first, '401 Unauthorized', challenges.join(''));
  const second = await next('REGISTER sip:carrier.test');
  expect(isRight(second.header('Authorization'), 'REGISTER', 'sha256')).toBe(true);
  same(first, second, 'Call-ID');
  same(first, second, 'From');
  const seq = (one: Message) => Number.parseInt(one.header('CSeq'), 10);
  expect(seq(second)).toBe(seq(first) + 1);
  answer(second, '200 OK', `Contact: ${second.header('Contact')};expires=600\r\n`);
  await eventually('registered', waitMs, () =>
    manager.api.trunks.list().some((one) => one.state === 'registered'),
  );
});

it('answers the challenge of a call in the same call', async () => {
  await manager.api.trunks.addOutbound({
    ...{ pattern: '0.', strip: 1, prepend: '', trunks: ['carrier'] },
  });
  await manager.api.trunks.addInbound({
    ...{ pattern: '5550100', trunk: 'carrier', to: '0444', strip: 0, prepend: '' },
  });
  // The provider calls the Contact we registered; the number is in To. It is forwarded out again.
  const call = provider
    .request('INVITE', 'in-1', 1, '', 'Content-Type: application/sdp\r\n', sdp)
    .replace(/^INVITE \S+/, `INVITE sip:acme@${address}:${port.sip}`)
    .replace(/To: \S+/, 'To: <sip:5550100@carrier.test>');
  provider.send(port.sip, call);
  const first = await next('INVITE sip:444@carrier.test');
  expect(first.header('From')).toContain('<sip:5550100@carrier.test>');
  expect(first.header('P-Asserted-Identity')).toContain('<sip:5550100@carrier.test>');
  const challenge = 'Digest realm="carrier.test", nonce="n2", qop="auth,auth-int"';
  answer(first, '407 Proxy Authentication Required', `Proxy-Authenticate: ${challenge}\r\n`);
  await next('ACK sip:444@carrier.test');
  const second = await next('INVITE sip:444@carrier.test');
  expect(isRight(second.header('Proxy-Authorization'), 'INVITE', 'md5')).toBe(true);
  same(first, second, 'Call-ID');
  same(first, second, 'From');
  expect(second.header('X-Leg')).toBe('');
  answer(second, '200 OK', `Contact: <sip:444@${address}:${port.provider}>\r\n`, sdp);
  await next('SIP/2.0 200');
  await next(`ACK sip:444@${address}:${port.provider}`);
  expect(manager.status()).toMatchObject({ calls: 1 });
});

it('is reached over TCP at the port that listens, and called over the same connection', async () => {
  const server = createServer();
  server.listen(port.provider, address);
  await once(server, 'listening');
  const proxy = `${address}:${port.provider}`;
  const account = { user: 'bolt', password, transport: 'tcp' as const };
  const connected = once(server, 'connection') as Promise<[Socket]>;
  await manager.api.trunks.add({ name: 'stream', proxy, ...account });
  const [socket] = await connected;
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes.toString();
  });
  await eventually('REGISTER', waitMs, () => text.includes('\r\n\r\n'));
  expect(text).toContain(`Contact: <sip:bolt@${address}:${port.sip};transport=tcp>`);
  const call = provider
    .request('INVITE', 'in-tcp', 1, '', 'Content-Type: application/sdp\r\n', sdp)
    .replace(/^INVITE \S+/, `INVITE sip:bolt@${address}:${port.sip};transport=tcp`)
    .replace('SIP/2.0/UDP', 'SIP/2.0/TCP');
  socket.write(call);
  // No route is for the number in To; but the trunk was known.
  await eventually('a refusal', waitMs, () => text.includes('SIP/2.0 404'));
  socket.destroy();
  server.close();
  await manager.api.trunks.remove('stream');
});

it('challenges a call from there again when the trunk is disabled', async () => {
  const call = provider.request('INVITE', 'in-2', 1, '', 'Content-Type: application/sdp\r\n', sdp);
  provider.send(port.sip, call);
  await next('SIP/2.0 404');
  await manager.api.trunks.enable('carrier', false);
  const later = provider.request('INVITE', 'in-3', 1, '', '', sdp);
  provider.send(port.sip, later);
  await next('SIP/2.0 407');
});
