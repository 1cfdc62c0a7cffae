/**
 * ioredis in each of its modes while the leader goes: no error reaches the caller, and nothing
 * that was acknowledged is lost. Forwarding is in `store.test.ts`.
 */
import { Cluster, Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { StoreCluster, storePassword } from '../support/store-cluster.ts';

let cluster: StoreCluster;

beforeEach(async () => {
  cluster = await StoreCluster.start();
});

afterEach(() => cluster.stop());

/** Counts while the leader goes; a retried count may happen twice, none may be missing. */
async function countThroughLoss(redis: Redis | Cluster): Promise<void> {
  let acknowledged = 0;
  let going = true;
  const counting = (async () => {
    while (going) {
      await redis.incr('count');
      acknowledged += 1;
    }
  })();
  await eventually('some counts', 10_000, () => acknowledged > 20);
  await cluster.loseLeader();
  const before = acknowledged;
  await Promise.race([
    counting,
    eventually('counts at the next leader', 15_000, () => acknowledged > before + 20),
  ]);
  going = false;
  await counting;
  expect(Number(await redis.get('count'))).toBeGreaterThanOrEqual(acknowledged);
}

it('in Cluster mode', async () => {
  const redis = new Cluster(cluster.doors(), { redisOptions: { password: storePassword } });
  await countThroughLoss(cluster.keep(redis));
});

/** How ioredis is told to ask Sentinels; every store is one. */
function sentinelMode(name: string, failoverDetector: boolean) {
  return new Redis({
    sentinels: cluster.doors(),
    name,
    password: storePassword,
    sentinelPassword: storePassword,
    failoverDetector,
  });
}

it('in Sentinel mode', async () => {
  await countThroughLoss(cluster.keep(sentinelMode('raftpbx', false)));
});

it('in Sentinel mode, moved by what the Sentinels publish when leadership is handed over', async () => {
  const redis = cluster.keep(sentinelMode('mymaster', true));
  expect(await redis.incr('count')).toBe(1);
  const before = await cluster.leader();
  await cluster.stores.get(before)?.transferLeadership();
  await eventually('the connection to the next leader', 10_000, async () => {
    const info = await redis.info('replication');
    const server = await redis.info('server');
    const port = Number(/tcp_port:(\d+)/.exec(server)?.[1]);
    return info.includes('role:master') && port !== cluster.port(before);
  });
  expect(await redis.incr('count')).toBe(2);
});

it('a client that waits in a blocking command goes on waiting', async () => {
  const redis = cluster.client(await cluster.follower());
  const popped = redis.blpop('queue', 0);
  await cluster.client(await cluster.follower()).ping();
  await cluster.loseLeader();
  await cluster.client(await cluster.follower()).rpush('queue', 'job');
  expect(await popped).toEqual(['queue', 'job']);
});
