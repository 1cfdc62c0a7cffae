/**
 * Three stores in one process behind unmodified ioredis: what every server that is not a Call
 * Manager relies on. Mutual TLS between the stores, real files, real sockets.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Store } from '../../src/native/index.ts';
import { eventually } from '../support/eventually.ts';
import { StoreCluster } from '../support/store-cluster.ts';

let cluster: StoreCluster;

beforeAll(async () => {
  cluster = await StoreCluster.start();
});

afterAll(() => cluster.stop());

it('ioredis at a follower writes and reads every type the servers use', async () => {
  const redis = cluster.client(await cluster.follower());
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
  const redis = cluster.client(await cluster.follower());
  const replies = await redis.multi().set('m', '1').incr('m').sadd('m', 'x').exec();
  expect(replies?.map(([error, reply]) => error?.message ?? reply)).toEqual([
    'OK',
    2,
    'WRONGTYPE Operation against a key holding the wrong kind of value',
  ]);
});

it('a message published at one node is heard at every other', async () => {
  const heard: string[] = [];
  for (const id of cluster.ids) {
    const subscriber = cluster.client(id);
    subscriber.on('message', (channel, message) => heard.push(`${id} ${channel} ${message}`));
    await subscriber.subscribe('news');
  }
  await cluster.client(await cluster.follower()).publish('news', 'hello');
  await eventually('the message at all three', 5000, () => heard.length === cluster.ids.length);
  expect(heard.sort()).toEqual(cluster.ids.map((id) => `${id} news hello`));
});

it('a wrong password opens nothing', async () => {
  const redis = cluster.client(1, { password: 'wrong' });
  await expect(redis.call('AUTH', 'wrong')).rejects.toThrow('WRONGPASS');
});

it('keys expire by the clock of the log, at every node', async () => {
  const redis = cluster.client(await cluster.follower());
  await redis.set('brief', '1', 'PX', 100);
  await eventually('expiry everywhere', 5000, () =>
    [...cluster.stores.values()].every((store) => store.read(['EXISTS', 'brief']) === 0),
  );
});

it('the typed handle commits calls and records together and reads them back', async () => {
  const store = cluster.stores.get(await cluster.leader()) as Store;
  await store.execute(['SQL.MIGRATE', 1, 'CREATE TABLE cdrs (id TEXT PRIMARY KEY, at INTEGER)']);
  await store.execute(['SET', 'call:1', '{}']);
  const insert = ['SQL.EXEC', 'INSERT OR IGNORE INTO cdrs VALUES (?, ?)', '["1", 5]'];
  expect(await store.transaction([['DEL', 'call:1'], insert])).toEqual([1, 1]);
  expect(await store.transaction([['DEL', 'call:1'], insert])).toEqual([0, 0]);
  expect(store.query('SELECT id, at FROM cdrs')).toEqual([{ id: '1', at: 5 }]);
});

it('a client at a follower sees no error and no double count while the leader goes', async () => {
  const redis = cluster.client(await cluster.follower());
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
  await cluster.loseLeader();
  const before = acknowledged;
  await eventually('counts at the next leader', 10_000, () => acknowledged > before + 20);
  going = false;
  await counting;
  expect(Number(await redis.get('count'))).toBe(acknowledged);
});
