/**
 * A real kamailio as provider over TLS, each side with a certificate that the other checks: a trunk
 * registers there, calls go out and come in.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CallManagerHandle, startCallManager } from '../../src/call-manager/index.ts';
import { silentLog } from '../../src/domain/log.ts';
import { migrations } from '../../src/domain/schema.ts';
import { digestCredentials } from '../../src/domain/user.ts';
import {
  createAuthority,
  issueCertificate,
  SipEngine,
  type Store,
} from '../../src/native/index.ts';
import { SipEventFeed } from '../../src/sip/event-feed.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { Provider } from '../support/kamailio/provider.ts';
import { Phone, type PhoneOptions } from '../support/phone/phone.ts';
import { StoreCluster } from '../support/store-cluster.ts';
import { FakeMedia } from '../unit/call-manager/fakes.ts';

const address = '127.0.0.1';
/** Of its own: what comes from there without a password is the provider's. */
const thereAddress = '127.0.0.78';
const realm = 'pbx.test';
const providerDomain = 'provider.test';
const waitMs = 15_000;
const secret = 'not a real secret';
const user = { name: '1001', password: 'the password of a user' };
/** The provider makes passwords from names. */
const outside = { name: '4930123', password: 'secret-4930123' };

let cluster: StoreCluster;
let engine: SipEngine;
let manager: CallManagerHandle;
let media: FakeMedia;
let provider: Provider;
let directory = '';
let alice: Phone;
let bob: Phone;

function write(name: string, text: string): string {
  writeFileSync(join(directory, name), text, { mode: 0o600 });
  return join(directory, name);
}

function phoneAt(
  registrar: PhoneOptions['registrar'],
  domain: string,
  who: typeof user,
): Promise<Phone> {
  return Phone.open({
    ...{ user: who.name, password: who.password, domain, registrar },
    ...{ address, port: 0, transport: 'udp', algorithm: 'MD5', hertz: 440 },
  });
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'trunk-kamailio-'));
  const authority = createAuthority();
  const trusted = write('authority.pem', authority.certificate);
  const pair = (name: string, of: string) => {
    const { certificate, key } = issueCertificate(authority, name, [of], [name]);
    return { certificate: write(`${name}.pem`, certificate), key: write(`${name}.key`, key) };
  };
  const [udp = 0, tls = 0, drachtio = 0, there = 0, thereTls = 0] = await freePorts(5);
  const by = { algorithm: 'MD5' as const, expiresS: 600 };
  const certified = { port: thereTls, ...pair('provider', thereAddress), authority: trusted };
  provider = new Provider({
    ...{ namespace: null, address: thereAddress, port: there, ...by, tls: certified },
  });
  cluster = await StoreCluster.start();
  const store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', String(version), sql]);
  }
  const { ha1Md5, ha1Sha256 } = digestCredentials(user.name, realm, user.password);
  const row = JSON.stringify([user.name, user.name, ha1Md5, ha1Sha256, 0]);
  await store.execute(['SQL.EXEC', 'INSERT INTO users VALUES (?, ?, ?, ?, ?)', row]);
  const feed = new SipEventFeed();
  engine = SipEngine.start(
    {
      listen: [`udp/${address}:${udp}`, `tls/${address}:${tls}`],
      ...{ nameServers: [], connectionsPerAddress: 16 },
      tls: { ...pair('engine', address), authority: trusted },
      drachtio: { listen: `${address}:${drachtio}`, secret },
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
    drachtio: { host: address, port: drachtio, secret },
    clusterSecret: 'the secret of this cluster',
    trunkOptionsMs: 1000,
  });
  alice = await phoneAt({ address, port: udp }, realm, user);
  expect(await alice.register()).toMatchObject({ status: 200 });
  bob = await phoneAt({ address: thereAddress, port: there }, providerDomain, outside);
  await eventually('kamailio', waitMs, async () => (await bob.options()).status === 200);
  expect((await bob.register()).status, provider.said).toBe(200);
  const way = { proxy: `${thereAddress}:${thereTls}`, transport: 'tls' as const };
  const account = { user: 'acme', password: 'secret-acme', domain: providerDomain };
  const added = await manager.api.trunks.add({
    ...{ name: 'provider', callerId: '5550100', ...way, ...account },
  });
  expect(added).toMatchObject({ ok: true });
  const strip = { strip: 1, prepend: '' };
  await manager.api.trunks.addOutbound({ pattern: '049.', trunks: ['provider'], ...strip });
  await manager.api.trunks.addInbound({
    ...{ pattern: '5550100', trunk: 'provider', to: user.name, strip: 0, prepend: '' },
  });
}, 60_000);

afterAll(async () => {
  alice?.close();
  bob?.close();
  await manager?.stop();
  engine?.close();
  media?.close();
  await cluster?.stop();
  await provider?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const shown = () => manager.api.trunks.list().find((one) => one.name === 'provider');

it('registers, and is known to be there', async () => {
  await eventually('registered', waitMs, () => shown()?.state === 'registered');
  await eventually('an answer to OPTIONS', waitMs, () => shown()?.answers === true);
});

it('calls a number at the provider', async () => {
  alice.invite('04930123');
  await bob.until('ringing', waitMs);
  await alice.until('ringing', waitMs);
  bob.answer();
  await alice.until('up', waitMs);
  await bob.bye();
  expect(await alice.until('ended', waitMs)).toMatchObject({ endedBy: 'remote' });
});

it('is called by the provider', async () => {
  bob.invite('5550100');
  await alice.until('ringing', waitMs);
  alice.answer();
  await bob.until('up', waitMs);
  await alice.bye();
  expect(await bob.until('ended', waitMs)).toMatchObject({ endedBy: 'remote' });
});
