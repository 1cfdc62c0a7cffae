/**
 * Trunks over TLS on the wire: call control, the real engine and a real store toward a provider
 * that is a TLS server, whose certificate is right or from somebody nobody trusts.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../src/call-manager/index.ts';
import { silentLog } from '../../src/domain/log.ts';
import { migrations } from '../../src/domain/schema.ts';
import {
  createAuthority,
  issueCertificate,
  SipEngine,
  type Store,
} from '../../src/native/index.ts';
import { SipEventFeed } from '../../src/sip/event-feed.ts';
import { eventually } from '../support/eventually.ts';
import { StoreCluster } from '../support/store-cluster.ts';
import { FakeMedia } from '../unit/call-manager/fakes.ts';

const address = '127.0.0.1';
const port = { sip: 15_490, tls: 15_491, drachtio: 15_492, provider: 15_493 };
const realm = 'pbx.test';
const waitMs = 10_000;
const secret = 'not a real secret';
const authority = createAuthority();
const stranger = createAuthority();

/** A provider: what it has heard, and its end of the connection. */
class Provider {
  readonly heard: string[] = [];
  /** Whether OPTIONS are answered. */
  isThere = true;
  connections = 0;
  #socket: TLSSocket | null = null;
  readonly #server: Server;
  #rest = '';

  constructor(by: typeof authority) {
    const { certificate, key } = issueCertificate(by, 'provider', [address], ['provider']);
    this.#server = createServer({ cert: certificate, key }, (socket) => this.#take(socket));
    // Whom we do not trust hears of our refusal only.
    this.#server.on('tlsClientError', () => undefined);
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(port.provider, address, resolve));
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #take(socket: TLSSocket): void {
    this.connections += 1;
    this.#socket = socket;
    this.#rest = '';
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes) => {
      this.#rest += bytes.toString('latin1');
      for (;;) {
        const end = this.#rest.indexOf('\r\n\r\n') + 4;
        const length = Number(/^Content-Length:\s*(\d+)/im.exec(this.#rest)?.[1] ?? 0);
        if (end < 4 || this.#rest.length < end + length) {
          return;
        }
        this.#hear(this.#rest.slice(0, end + length));
        this.#rest = this.#rest.slice(end + length);
      }
    });
  }

  #hear(text: string): void {
    this.heard.push(text);
    const isQuestion = text.startsWith('OPTIONS ');
    if (text.startsWith('REGISTER ') || (isQuestion && this.isThere)) {
      this.answer(text, '200 OK', `Expires: ${/^Expires: (\d+)/m.exec(text)?.[1] ?? 0}\r\n`);
    }
  }

  answer(request: string, status: string, more = ''): void {
    const kept = request.split('\r\n').filter((line) => /^(Via|From|To|Call-ID|CSeq):/.test(line));
    this.send(`${[`SIP/2.0 ${status}`, ...kept].join('\r\n')}\r\n${more}Content-Length: 0\r\n\r\n`);
  }

  send(text: string): void {
    this.#socket?.write(text);
  }

  next(start: string): Promise<string> {
    return eventually(start, waitMs, () => {
      const at = this.heard.findIndex((one) => one.startsWith(start));
      return at >= 0 && (this.heard.splice(at, 1)[0] ?? false);
    });
  }
}

let cluster: StoreCluster;
let engine: SipEngine;
let manager: CallManagerHandle;
let media: FakeMedia;
let directory: string;
let provider: Provider | null = null;

beforeAll(async () => {
  cluster = await StoreCluster.start();
  const store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', String(version), sql]);
  }
  directory = mkdtempSync(join(tmpdir(), 'trunk-tls-'));
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const { certificate, key } = issueCertificate(authority, 'engine', [address], ['engine']);
  const feed = new SipEventFeed();
  engine = SipEngine.start(
    {
      listen: [`udp/${address}:${port.sip}`, `tls/${address}:${port.tls}`],
      ...{ nameServers: [], connectionsPerAddress: 16 },
      tls: {
        certificate: write('certificate.pem', certificate),
        key: write('key.pem', key),
        authority: write('authority.pem', authority.certificate),
      },
      drachtio: { listen: `${address}:${port.drachtio}`, secret },
      registrar: {
        ...{ domains: [realm], realm, minExpiresS: 60, maxExpiresS: 7200, defaultExpiresS: 3600 },
        ...{ maxBindings: 2, digest: 'md5', whenFull: 'refuse', serviceRoutes: [] },
        ...{ pushProviders: [], qualifyS: 0, flowTimerS: 0, trusted: [] },
      },
      ...{ authenticateCalls: true, trusted: [], sessionTimer: { expiresS: 0, minSeS: 90 } },
      secret: 'the secret of this cluster',
    },
    store,
    feed.push,
  );
  await eventually('the engine leads', waitMs, () => engine.status().leading);
  media = new FakeMedia();
  const ng = await media.listen();
  const lease = { name: 'media-1', roles: ['media'], address: '', ng, load: 0, capacity: 9 };
  await store.execute(['SET', 'server:media-1', JSON.stringify(lease)]);
  manager = await startCallManager({
    ...{ name: 'cm-1', log: silentLog, domain: realm, address, roles: ['call-manager'] },
    ...{ version: '0', peers: [], vip: [address], store, engine, sipEvents: feed },
    drachtio: { host: address, port: port.drachtio, secret },
    clusterSecret: 'the secret of this cluster',
    trunkOptionsMs: 500,
  });
});

afterEach(async () => {
  provider?.close();
  await manager.api.trunks.remove('secure');
});

afterAll(async () => {
  await manager?.stop();
  engine?.close();
  media?.close();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function open(by = authority): Promise<Provider> {
  provider = new Provider(by);
  await provider.listen();
  const way = { proxy: `${address}:${port.provider}`, transport: 'tls' as const };
  const account = { user: 'acme', password: 'the password of acme', domain: 'carrier.test' };
  const added = await manager.api.trunks.add({ name: 'secure', ...way, ...account });
  expect(added).toMatchObject({ ok: true });
  return provider;
}

const shown = () => manager.api.trunks.list().find((one) => one.name === 'secure');

it('registers over TLS, is called over the same connection, and leaves when it is removed', async () => {
  const there = await open();
  const first = await there.next('REGISTER sip:carrier.test');
  expect(first).toMatch(/^Via: SIP\/2\.0\/TLS /m);
  expect(first).toContain(`Contact: <sip:acme@${address}:${port.tls};transport=tls>`);
  await eventually('registered', waitMs, () => shown()?.state === 'registered');
  const invite = [
    `INVITE sip:acme@${address}:${port.tls};transport=tls SIP/2.0`,
    `Via: SIP/2.0/TLS ${address}:${port.provider};branch=z9hG4bKin`,
    ...['From: <sip:4930@carrier.test>;tag=in', 'To: <sip:5550100@carrier.test>'],
    ...['Call-ID: in', 'CSeq: 1 INVITE', 'Max-Forwards: 70'],
    `Contact: <sip:4930@${address}:${port.provider};transport=tls>`,
    ...['Content-Length: 0', '', ''],
  ];
  there.send(invite.join('\r\n'));
  // No route is for the number; but the trunk was known, or it would be challenged.
  await there.next('SIP/2.0 404');
  await manager.api.trunks.remove('secure');
  const last = await there.next('REGISTER sip:carrier.test');
  expect(last).toMatch(/^Expires: 0\r$/m);
  const callId = (text: string) => /^Call-ID: .*/m.exec(text)?.[0];
  expect(callId(last)).toBe(callId(first));
  expect(there.connections).toBe(1);
});

it('is down when OPTIONS are not answered, and up when they are', async () => {
  const there = await open();
  await there.next('OPTIONS sip:carrier.test');
  await eventually('an answer', waitMs, () => shown()?.answers === true);
  there.isThere = false;
  await eventually('to be down', 3 * waitMs, () => shown()?.answers === false);
  there.isThere = true;
  await eventually('to be up again', waitMs, () => shown()?.answers === true);
}, 60_000);

it('says nothing to a provider whose certificate nobody trusts', async () => {
  const there = await open(stranger);
  await eventually('a failure', 2 * waitMs, () => shown()?.state === 'failed');
  await eventually('to be down', 3 * waitMs, () => shown()?.answers === false);
  expect(there.heard).toEqual([]);
}, 60_000);
