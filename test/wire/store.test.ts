/**
 * Three stores in one process behind unmodified ioredis: what every server that is not a Call
 * Manager relies on. Mutual TLS between the stores, real files, real sockets.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hashStorePassword } from '../../src/config/store-accounts.ts';
import { createAuthority, issueCertificate, nodeName, Store } from '../../src/native/index.ts';
import { eventually } from '../support/eventually.ts';

const password = 'a password of this test';
const ids = [1, 2, 3];
let directory = '';
let respPorts: number[] = [];
const stores = new Map<number, Store>();
const clients: Redis[] = [];

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function certificatesOf(authority: ReturnType<typeof createAuthority>, id: number) {
  const { certificate, key } = issueCertificate(
    authority,
    `store-${id}`,
    ['127.0.0.1'],
    [nodeName(id)],
  );
  const files = { authority: 'ca.pem', certificate: `${id}.pem`, key: `${id}.key` };
  writeFileSync(join(directory, files.authority), authority.certificate);
  writeFileSync(join(directory, files.certificate), certificate);
  writeFileSync(join(directory, files.key), key, { mode: 0o600 });
  return {
    authority: join(directory, files.authority),
    certificate: join(directory, files.certificate),
    key: join(directory, files.key),
  };
}

async function startStores(): Promise<void> {
  const ports = await freePorts(ids.length * 2);
  const raftPorts = ports.slice(0, ids.length);
  respPorts = ports.slice(ids.length);
  const authority = createAuthority();
  const peers = ids.map((id, i) => ({
    id,
    name: `cm-${id}`,
    raft: `127.0.0.1:${raftPorts[i]}`,
    resp: `127.0.0.1:${respPorts[i]}`,
  }));
  await Promise.all(
    peers.map(async ({ id, raft, resp }) => {
      const store = await Store.open({
        id,
        directory: join(directory, `store-${id}`),
        raftListen: raft,
        peers,
        join: false,
        respListen: [resp],
        accounts: [{ name: 'default', role: 'node', hashes: [hashStorePassword(password)] }],
        respTls: null,
        respIdleS: null,
        tls: certificatesOf(authority, id),
        heartbeatMs: 50,
        electionMinMs: 300,
        electionMaxMs: 600,
      });
      stores.set(id, store);
    }),
  );
}

function client(id: number, login = password): Redis {
  const port = respPorts[id - 1] as number;
  const redis = new Redis({ port, password: login });
  redis.on('error', () => undefined);
  clients.push(redis);
  return redis;
}

function leader(): Promise<number> {
  return eventually('a leader', 10_000, () => {
    const [store] = stores.values();
    const id = store?.status().leader ?? null;
    return id !== null && stores.has(id) && stores.get(id)?.status().role === 'leader' && id;
  });
}

async function follower(): Promise<number> {
  const leading = await leader();
  return ids.find((id) => id !== leading && stores.has(id)) as number;
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'raftpbx-store-'));
  await startStores();
  await leader();
});

afterAll(async () => {
  for (const redis of clients) {
    redis.disconnect();
  }
  await Promise.all([...stores.values()].map((store) => store.close()));
  rmSync(directory, { recursive: true, force: true });
});

it('ioredis at a follower writes and reads every type the servers use', async () => {
  const redis = client(await follower());
  expect(await redis.set('text', 'value', 'PX', 60_000)).toBe('OK');
  expect(await redis.get('text')).toBe('value');
  expect(await redis.pttl('text')).toBeGreaterThan(0);
  expect(await redis.hset('hash', { a: '1', b: '2' })).toBe(2);
  expect(await redis.hgetall('hash')).toEqual({ a: '1', b: '2' });
  expect(await redis.sadd('set', 'x', 'y', 'x')).toBe(2);
  expect((await redis.smembers('set')).sort()).toEqual(['x', 'y']);
  expect(await redis.zadd('line', 2, 'second', 1, 'first')).toBe(2);
  expect(await redis.zrange('line', '0', '-1')).toEqual(['first', 'second']);
  expect(await redis.del('text', 'hash', 'set', 'line')).toBe(4);
});

it('MULTI is applied as one piece, and a wrong type in it is told', async () => {
  const redis = client(await follower());
  const replies = await redis.multi().set('m', '1').incr('m').sadd('m', 'x').exec();
  expect(replies?.map(([error, reply]) => error?.message ?? reply)).toEqual([
    'OK',
    2,
    'WRONGTYPE Operation against a key holding the wrong kind of value',
  ]);
});

it('a message published at one node is heard at every other', async () => {
  const heard: string[] = [];
  for (const id of ids) {
    const subscriber = client(id);
    subscriber.on('message', (channel, message) => heard.push(`${id} ${channel} ${message}`));
    await subscriber.subscribe('news');
  }
  await client(await follower()).publish('news', 'hello');
  await eventually('the message at all three', 5000, () => heard.length === ids.length);
  expect(heard.sort()).toEqual(ids.map((id) => `${id} news hello`));
});

it('a wrong password opens nothing', async () => {
  const redis = client(1, 'wrong');
  await expect(redis.call('AUTH', 'wrong')).rejects.toThrow('WRONGPASS');
});

it('keys expire by the clock of the log, at every node', async () => {
  const redis = client(await follower());
  await redis.set('brief', '1', 'PX', 100);
  await eventually('expiry everywhere', 5000, () =>
    [...stores.values()].every((store) => store.read(['EXISTS', 'brief']) === 0),
  );
});

it('the typed handle commits calls and records together and reads them back', async () => {
  const store = stores.get(await leader()) as Store;
  await store.execute(['SQL.MIGRATE', 1, 'CREATE TABLE cdrs (id TEXT PRIMARY KEY, at INTEGER)']);
  await store.execute(['SET', 'call:1', '{}']);
  const insert = ['SQL.EXEC', 'INSERT OR IGNORE INTO cdrs VALUES (?, ?)', '["1", 5]'];
  expect(await store.transaction([['DEL', 'call:1'], insert])).toEqual([1, 1]);
  expect(await store.transaction([['DEL', 'call:1'], insert])).toEqual([0, 0]);
  expect(store.query('SELECT id, at FROM cdrs')).toEqual([{ id: '1', at: 5 }]);
});

it('a client at a follower sees no error and no double count while the leader goes', async () => {
  const leading = await leader();
  const redis = client(await follower());
  await redis.set('count', 0);
  let acknowledged = 0;
  let going = true;
  const counting = (async () => {
    while (going) {
      await redis.incr('count');
      acknowledged += 1;
    }
  })();
  await eventually('some counts', 5000, () => acknowledged > 20);
  const gone = stores.get(leading) as Store;
  stores.delete(leading);
  await gone.close();
  const before = acknowledged;
  await eventually('counts at the next leader', 10_000, () => acknowledged > before + 20);
  going = false;
  await counting;
  expect(Number(await redis.get('count'))).toBe(acknowledged);
});
