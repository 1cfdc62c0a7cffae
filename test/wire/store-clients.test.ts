/** What ioredis offers beside single commands, unmodified, at a store that does not lead. */
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { StoreCluster, storePassword } from '../support/store-cluster.ts';

let cluster: StoreCluster;

beforeAll(async () => {
  cluster = await StoreCluster.start();
});

afterAll(() => cluster.stop());

async function anyClient(): Promise<Redis> {
  return cluster.client(await cluster.follower());
}

it('a pipeline is answered in order, with an error where one belongs', async () => {
  const redis = await anyClient();
  const replies = await redis.pipeline().set('p', '1').incr('p').lpush('p', 'x').get('p').exec();
  expect(replies?.map(([error, reply]) => error?.message.split(' ')[0] ?? reply)).toEqual([
    'OK',
    2,
    'WRONGTYPE',
    '2',
  ]);
});

it('autopipelining needs nothing else', async () => {
  const redis = cluster.client(await cluster.follower(), { enableAutoPipelining: true });
  const numbers = Array.from({ length: 500 }, (_, i) => i);
  await Promise.all(numbers.map((i) => redis.set(`auto:${i}`, i)));
  const read = await Promise.all(numbers.map((i) => redis.get(`auto:${i}`)));
  expect(read).toEqual(numbers.map(String));
});

it('a transaction ends when a watched key has changed, and happens otherwise', async () => {
  const [redis, other] = [await anyClient(), await anyClient()];
  await redis.set('balance', 10);
  await redis.watch('balance');
  await other.set('balance', 5);
  expect(await redis.multi().set('balance', 9).exec()).toBeNull();
  await redis.watch('balance');
  expect(await redis.multi().decrby('balance', 1).exec()).toEqual([[null, 4]]);
});

it('a blocked client gets what another node pushes', async () => {
  const [redis, other] = [await anyClient(), cluster.client(await cluster.leader())];
  const popped = redis.blpop('queue', 10);
  await other.rpush('queue', 'job');
  expect(await popped).toEqual(['queue', 'job']);
  expect(await redis.blpop('queue', 0.05)).toBeNull();
  const scored = redis.bzpopmin('due', 10);
  await other.zadd('due', 1.5, 'first');
  expect((await scored)?.map(String)).toEqual(['due', 'first', '1.5']);
  const read = redis.xread('BLOCK', 10_000, 'STREAMS', 'log', '0');
  await other.xadd('log', '1-1', 'what', 'started');
  expect(JSON.stringify(await read)).toContain('started');
});

it('patterns are heard beside channels, and PUBLISH counts this node', async () => {
  const heard: string[] = [];
  const listener = cluster.client(1);
  listener.on('pmessage', (pattern, channel, text) => heard.push(`${pattern} ${channel} ${text}`));
  listener.on('message', (channel, text) => heard.push(`${channel} ${text}`));
  await listener.psubscribe('news.*');
  await listener.subscribe('news.today');
  expect(await cluster.client(1).publish('news.today', 'rain')).toBe(2);
  await eventually('both messages', 5000, () => heard.length === 2);
  expect(heard.sort()).toEqual(['news.* news.today rain', 'news.today rain']);
});

it('an operator reads what is the cluster’s and writes only what is not', async () => {
  const redis = cluster.client(1, { username: 'operator', password: storePassword });
  expect(await redis.set('mine', 1)).toBe('OK');
  expect(await redis.get('call:1')).toBeNull();
  await expect(redis.set('call:1', 'x')).rejects.toThrow('NOPERM');
  await expect(redis.flushall()).rejects.toThrow('NOPERM');
  await expect(redis.monitor()).rejects.toThrow('MONITOR');
});

it('the connection may be TLS', async () => {
  const secured = await StoreCluster.start({ respTls: true });
  try {
    const redis = secured.client(await secured.follower(), {
      tls: { ca: secured.authority.certificate },
    });
    expect(await redis.set('secret', 'x')).toBe('OK');
    expect(await redis.client('INFO')).toContain('tls=1');
  } finally {
    await secured.stop();
  }
});
