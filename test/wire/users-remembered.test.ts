/** Digests that the engine remembers count no longer than the row of the user stands. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrations } from '../../src/domain/schema.ts';
import { SipEngine, type Store } from '../../src/native/index.ts';
import { DatagramPhone, type Message } from '../support/datagram-phone.ts';
import { eventually } from '../support/eventually.ts';
import { StoreCluster } from '../support/store-cluster.ts';

const address = '127.0.0.1';
const port = { sip: 15_500, drachtio: 15_501, phone: 15_502 };
const realm = 'pbx.test';
const waitMs = 5_000;

let cluster: StoreCluster;
let store: Store;
let engine: SipEngine;
let phone: DatagramPhone;
let heard: Message[] = [];
let calls = 0;

beforeAll(async () => {
  cluster = await StoreCluster.start();
  store = cluster.stores.get(await cluster.leader()) as Store;
  for (const { version, sql } of migrations) {
    await store.execute(['SQL.MIGRATE', String(version), sql]);
  }
  engine = SipEngine.start(
    {
      listen: [`udp/${address}:${port.sip}`],
      ...{ nameServers: [], connectionsPerAddress: 16, tls: null },
      drachtio: { listen: `${address}:${port.drachtio}`, secret: 'not a real secret' },
      registrar: {
        ...{ domains: [realm], realm, minExpiresS: 60, maxExpiresS: 7200, defaultExpiresS: 3600 },
        ...{ maxBindings: 2, digest: 'md5', whenFull: 'refuse', serviceRoutes: [] },
        ...{ pushProviders: [], qualifyS: 0, flowTimerS: 0, trusted: [] },
      },
      ...{ authenticateCalls: true, trusted: [], sessionTimer: { expiresS: 0, minSeS: 90 } },
      secret: 'the secret of this cluster',
    },
    store,
    () => undefined,
  );
  await eventually('the engine leads', waitMs, () => engine.status().leading);
  phone = await DatagramPhone.open(address, port.phone);
  phone.onMessage = (message) => heard.push(message);
});

afterAll(async () => {
  engine?.close();
  phone?.close();
  await cluster?.stop();
});

const md5 = (text: string) => createHash('md5').update(text).digest('hex');
const ha1 = (password: string) => md5(`1001:${realm}:${password}`);

/** Sends a REGISTER and resolves to its answer. */
async function send(cseq: number, more = ''): Promise<Message> {
  heard = [];
  const text = phone
    .request('REGISTER', `call-${calls}`, cseq, '', more)
    .replace(/^REGISTER \S+/, `REGISTER sip:${realm}`)
    .replace(/(From|To): <[^>]*>/g, `$1: <sip:1001@${realm}>`);
  phone.send(port.sip, text);
  return await eventually('an answer', waitMs, () => heard[0] ?? false);
}

/** Registers with a password; resolves to the status. */
async function register(password: string): Promise<string> {
  calls += 1;
  const challenge = (await send(1)).header('WWW-Authenticate');
  const nonce = /nonce="([^"]+)"/.exec(challenge)?.[1] ?? '';
  const uri = `sip:${realm}`;
  const response = md5(`${ha1(password)}:${nonce}:00000001:c:auth:${md5(`REGISTER:${uri}`)}`);
  const names = `username="1001", realm="${realm}", nonce="${nonce}", uri="${uri}"`;
  const proof = `response="${response}", algorithm=MD5, cnonce="c", qop=auth, nc=00000001`;
  const answer = await send(2, `Authorization: Digest ${names}, ${proof}\r\n`);
  return answer.start;
}

const counted = (name: string) =>
  Number(new RegExp(`^raftpbx_sip_users_${name}_total (\\d+)$`, 'm').exec(engine.metrics())?.[1]);

async function write(sql: string, ...args: unknown[]): Promise<void> {
  await store.execute(['SQL.EXEC', sql, JSON.stringify(args)]);
}

it('reads a user once, and again after any change of the users', async () => {
  const insert = 'INSERT INTO users VALUES (?, ?, ?, ?, 0)';
  await write(insert, '1001', '', ha1('first'), '-');
  expect(await register('first')).toContain('200');
  const read = counted('read');
  expect(await register('first')).toContain('200');
  expect(await register('first')).toContain('200');
  expect([counted('remembered'), counted('read')]).toEqual([2, read]);

  // What is written elsewhere forgets nothing.
  await write('INSERT INTO inbound_routes VALUES (?, ?, ?, 0, ?)', '1', '', '1001', '');
  expect(await register('first')).toContain('200');
  expect(counted('read')).toBe(read);

  // From the moment a change is acknowledged it counts.
  await write('UPDATE users SET ha1_md5 = ? WHERE name = ?', ha1('second'), '1001');
  expect(await register('first')).toContain('403');
  expect(await register('second')).toContain('200');
  await write('DELETE FROM users WHERE name = ?', '1001');
  expect(await register('second')).toContain('403');
});
