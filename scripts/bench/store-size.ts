/**
 * One million keys: memory of each node, how long a snapshot holds writes up, and what it does
 * to the time of a write.
 */
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { percentile } from './machine.ts';
import { type PartResult, say } from './report.ts';
import { type StoreCluster, withStoreCluster } from './store-cluster.ts';

const port = 23_500;
const keys = 1_000_000;
const perPipeline = 1_000;
/** Keys written between two looks for a snapshot. */
const pieceKeys = 20_000;
const probes = 3_000;

export async function measureStoreSize(): Promise<PartResult> {
  return await withStoreCluster(port, async (cluster) => {
    const leader = await cluster.leader();
    const client = cluster.connect(leader);
    const empty = residentBytes(cluster, leader);
    const from = performance.now();
    await fill(client, keys);
    const tookS = (performance.now() - from) / 1000;
    const full = residentBytes(cluster, leader);
    const before = await snapshots(client);
    const quiet = await probe(client, (samples) => samples < probes);
    say('writing until the next snapshot begins');
    do {
      await fill(client, pieceKeys);
    } while ((await snapshots(client)).begun === before.begun);
    const busy = await probe(client, async () => (await snapshots(client)).taken === before.taken);
    const after = await snapshots(client);
    const show = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    return {
      part: 'store-size',
      title: 'Store: a million keys',
      notes: [
        `Keys such as \`registration:1000001\` with 100-byte values, written in pipelines of ` +
          `${perPipeline} at ${(keys / tookS).toFixed(0)} keys/s; memory is the resident set of ` +
          'the leading node, log in memory included.',
        'The stall is the time in which a snapshot keeps entries from being applied; writes are ' +
          'made one after the other by one client.',
      ],
      head: ['what', 'value'],
      rows: [
        ['memory of an empty node', show(empty)],
        ['memory with 1,000,000 keys', show(full)],
        ['bytes a key', ((full - empty) / keys).toFixed(0)],
        ['longest stall of a snapshot', `${(after.stallUs / 1000).toFixed(2)} ms`],
        ['write p99, no snapshot', `${percentile(quiet, 0.99).toFixed(2)} ms`],
        ['write p99, while one is written', `${percentile(busy, 0.99).toFixed(2)} ms`],
      ],
    };
  });
}

async function fill(client: Redis, count: number): Promise<void> {
  const value = 'x'.repeat(100);
  for (let at = 0; at < count; at += perPipeline) {
    const pipeline = client.pipeline();
    for (let i = at; i < at + perPipeline; i += 1) {
      pipeline.set(`registration:${1_000_000 + i}`, value);
    }
    await pipeline.exec();
  }
}

/** Milliseconds of single writes, as long as `goOn` says so. */
async function probe(
  client: Redis,
  goOn: (samples: number) => boolean | Promise<boolean>,
): Promise<number[]> {
  const samples: number[] = [];
  while (await goOn(samples.length)) {
    const from = performance.now();
    await client.set(`registration:${1_000_000 + (samples.length % keys)}`, 'y'.repeat(100));
    samples.push(performance.now() - from);
  }
  return samples;
}

function residentBytes(cluster: StoreCluster, id: number): number {
  const pid = cluster.running.get(id)?.pid ?? 0;
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? 0) * 1024;
}

interface Snapshots {
  begun: number;
  taken: number;
  stallUs: number;
}

async function snapshots(client: Redis): Promise<Snapshots> {
  const text = await client.info();
  const field = (name: string) => Number(new RegExp(`\\n${name}:(\\d+)`).exec(text)?.[1] ?? 0);
  return {
    begun: field('snapshots_begun'),
    taken: field('snapshots_taken'),
    stallUs: field('snapshot_stall_us_max'),
  };
}
