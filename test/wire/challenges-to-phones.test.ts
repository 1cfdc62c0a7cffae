/**
 * Real phones that give up when SHA-256 stands beside MD5 register where both are offered: baresip
 * 1.0 and sipp. A phone that knows SHA-256 uses it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrations } from '../../src/domain/schema.ts';
import { digestCredentials } from '../../src/domain/user.ts';
import { startPhone } from '../../src/lab/phone.ts';
import { labDomain, labPorts } from '../../src/lab/plan.ts';
import { SipEngine, type Store } from '../../src/native/index.ts';
import { DatagramPhone, type Message } from '../support/datagram-phone.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';
import { runSipp } from '../support/sipp.ts';
import { StoreCluster } from '../support/store-cluster.ts';

// The phones know the port; the address is this test's alone.
const address = '127.0.0.76';
const user = { name: '1001', password: 'secret-1001' };
const waitMs = 10_000;

let cluster: StoreCluster;
let engine: SipEngine;
let directory = '';

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'challenges-'));
  cluster = await StoreCluster.start();
  const store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', String(version), sql]);
  }
  const { ha1Md5, ha1Sha256 } = digestCredentials(user.name, labDomain, user.password);
  const row = JSON.stringify([user.name, user.name, ha1Md5, ha1Sha256, 0]);
  await store.execute(['SQL.EXEC', 'INSERT INTO users VALUES (?, ?, ?, ?, ?)', row]);
  const [drachtio = 0] = await freePorts(1);
  engine = SipEngine.start(
    {
      ...{ listen: [`udp/${address}:${labPorts.sip}`], nameServers: [], tls: null },
      ...{ connectionsPerAddress: 16, authenticateCalls: true, trusted: [] },
      drachtio: { listen: `127.0.0.1:${drachtio}`, secret: 'not a real secret' },
      registrar: {
        ...{ domains: [labDomain], realm: labDomain, maxBindings: 9, whenFull: 'refuse' },
        ...{ minExpiresS: 60, maxExpiresS: 7200, defaultExpiresS: 3600, serviceRoutes: [] },
        ...{ digest: 'sha-256-and-md5', pushProviders: [], qualifyS: 0, flowTimerS: 0 },
        trusted: [],
      },
      sessionTimer: { expiresS: 0, minSeS: 90 },
      secret: 'the secret of this cluster',
    },
    store,
    () => undefined,
  );
  await eventually('the engine leads', waitMs, () => engine.status().leading);
});

afterAll(async () => {
  engine?.close();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

it('baresip 1.0 registers', async () => {
  const phone = await startPhone({
    ...{ name: user.name, user: user.name, password: user.password, namespace: null },
    ...{ address: '127.0.0.1', port: 5086, directory, server: address },
  });
  try {
    await phone.registered();
  } finally {
    await phone.stop();
  }
});

it('sipp registers', async () => {
  const registered = await runSipp({
    ...{ scenario: 'register', namespace: null, domain: labDomain, timeoutMs: waitMs },
    ...{ remote: `${address}:${labPorts.sip}`, address: '127.0.0.83', port: 5060 },
    rows: [{ user }],
  });
  expect(registered).toMatchObject({ status: 0, successful: 1 });
});

it('another phone is offered both, the stronger first', async () => {
  const phone = await DatagramPhone.open(address, (await freePorts(1))[0] ?? 0);
  const heard: Message[] = [];
  phone.onMessage = (message) => heard.push(message);
  const text = phone.request('REGISTER', 'both', 1, '', 'User-Agent: Desk 9000\r\n');
  phone.send(labPorts.sip, text.replace(/^REGISTER \S+/, `REGISTER sip:${labDomain}`));
  const challenge = await eventually('a challenge', waitMs, () => heard[0] ?? false);
  const algorithms = challenge.text.matchAll(/^WWW-Authenticate:.*algorithm=([A-Z0-9-]+)/gm);
  expect([...algorithms].map(([, name]) => name)).toEqual(['SHA-256', 'MD5']);
  phone.close();
});
