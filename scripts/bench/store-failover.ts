/**
 * How long writes wait when the store's leader dies: kill -9 of the leading node while a client
 * of each other node writes without a pause; from the kill to the first acknowledged write that
 * was sent after it. Unmodified ioredis, no special mode: nodes forward.
 */
import { percentile } from './machine.ts';
import { until } from './processes.ts';
import { type PartResult, say } from './report.ts';
import { type StoreCluster, withStoreCluster } from './store-cluster.ts';

const port = 23_300;
const { RAFTPBX_BENCH_KILLS: wanted = '200' } = process.env;
const kills = Number(wanted);
/** Writes that took longer end the run as failed. */
const giveUpMs = 15_000;

export async function measureStoreFailover(): Promise<PartResult> {
  const samples: number[] = [];
  let errors = 0;
  await withStoreCluster(port, async (cluster) => {
    for (let number = 1; number <= kills; number += 1) {
      const { ms, refused } = await oneKill(cluster);
      samples.push(ms);
      errors += refused;
      say(`kill ${number}: ${ms.toFixed(0)} ms`);
    }
  });
  const show = (share: number) => percentile(samples, share).toFixed(0);
  const late = samples.filter((ms) => ms > 600).length;
  return {
    part: 'store-failover',
    title: `Store: ${kills} times kill -9 of its leader`,
    notes: [
      'From the kill to the first acknowledged write that was sent after it, over the Redis ' +
        'protocol of the two other nodes, with ioredis in its simplest mode; the killed node is ' +
        'started again and has caught up before the next kill.',
      `Writes that a client saw fail: ${errors}.`,
    ],
    head: ['kills', 'min ms', 'p50 ms', 'p95 ms', 'p99 ms', 'max ms', 'over 600 ms'],
    rows: [
      [String(samples.length), show(0), show(0.5), show(0.95), show(0.99), show(1), String(late)],
    ],
  };
}

async function oneKill(cluster: StoreCluster): Promise<{ ms: number; refused: number }> {
  const leader = await cluster.leader();
  const others = [...cluster.running.keys()].filter((id) => id !== leader);
  const clients = others.map((id) => cluster.connect(id));
  let killedAt = Number.POSITIVE_INFINITY;
  let answeredAt = 0;
  let refused = 0;
  const writers = clients.map(async (client) => {
    while (answeredAt === 0) {
      const sentAt = performance.now();
      try {
        await client.set('failover', String(sentAt));
        if (sentAt > killedAt && answeredAt === 0) {
          answeredAt = performance.now();
        }
      } catch {
        refused += 1;
      }
    }
  });
  await Promise.all(clients.map((client) => client.ping()));
  killedAt = performance.now();
  await cluster.kill(leader);
  await until('a write after the kill', giveUpMs, () => answeredAt > 0);
  await Promise.all(writers);
  for (const client of clients) {
    client.disconnect();
  }
  await cluster.start(leader);
  await untilCaughtUp(cluster, leader);
  return { ms: answeredAt - killedAt, refused };
}

/** The restarted node has applied what the others have, so that any two are a whole cluster. */
async function untilCaughtUp(cluster: StoreCluster, id: number): Promise<void> {
  const client = cluster.connect(id);
  const [other = 0] = [...cluster.running.keys()].filter((one) => one !== id);
  const reference = cluster.connect(other);
  const applied = async (from: typeof client) =>
    Number(/\napplied:(\d+)/.exec(await from.info())?.[1] ?? 0);
  const target = await applied(reference);
  await until(`node ${id} to catch up`, 30_000, async () => (await applied(client)) >= target);
  client.disconnect();
  reference.disconnect();
}
