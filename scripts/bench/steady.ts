/**
 * Elections that nobody asked for: three nodes of the store with writes for an hour, beside
 * programs that take all the processor time they get. The term must not move.
 */
import { spawn } from 'node:child_process';
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { percentile } from './machine.ts';
import { type PartResult, say } from './report.ts';
import { type StoreCluster, withStoreCluster } from './store-cluster.ts';

const port = 23_450;
const { MINUTES = '60', HOGS = '8' } = process.env;
const minutes = Number(MINUTES);
const hogs = Number(HOGS);
/** Writes begin so far apart; each of the three nodes takes its turn. */
const everyMs = 5;
/** The newest so many; an hour has 720,000. */
const samplesMax = 1_000_000;

interface Seen {
  samples: number[];
  failed: number;
  termBefore: number;
  termAfter: number;
  /** Highest of the system's load averages over a minute. */
  load: number;
}

export async function measureSteady(): Promise<PartResult> {
  const seen = await withStoreCluster(port, (cluster) => underHogs(() => writeFor(cluster)));
  const show = (share: number) => percentile(seen.samples, share).toFixed(1);
  return {
    part: 'steady',
    title: `Store: ${minutes} minutes of writes beside other work`,
    notes: [
      `A write each ${everyMs} ms, in turn at each of three nodes, unmodified ioredis; beside them ` +
        `${hogs} loops at the same priority, and what else this machine had to do.`,
      'Elections: how far the term moved, which one election may do twice; none was wanted. Load ' +
        'is the highest average of a minute that the system said.',
    ],
    head: ['writes', 'failed', 'elections', 'p50 ms', 'p99 ms', 'max ms', 'load'],
    rows: [
      [
        String(seen.samples.length),
        String(seen.failed),
        String(seen.termAfter - seen.termBefore),
        show(0.5),
        show(0.99),
        show(1),
        seen.load.toFixed(0),
      ],
    ],
  };
}

async function underHogs<T>(measure: () => Promise<T>): Promise<T> {
  const running = Array.from({ length: hogs }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  try {
    return await measure();
  } finally {
    for (const hog of running) {
      hog.kill('SIGKILL');
    }
  }
}

async function writeFor(cluster: StoreCluster): Promise<Seen> {
  await cluster.leader();
  const clients = [...cluster.running.keys()].map((id) => cluster.connect(id));
  const seen: Seen = { samples: [], failed: 0, termBefore: 0, termAfter: 0, load: 0 };
  seen.termBefore = await termOf(clients[0] as Redis);
  const endAt = performance.now() + minutes * 60_000;
  let nextMinute = performance.now() + 60_000;
  for (let number = 0; performance.now() < endAt; number += 1) {
    write(clients[number % clients.length] as Redis, number, seen);
    if (performance.now() > nextMinute) {
      nextMinute += 60_000;
      seen.load = Math.max(seen.load, loadavg()[0] ?? 0);
      say(`${number} writes, term ${await termOf(clients[0] as Redis)}, load ${loadavg()[0]}`);
    }
    await delay(everyMs);
  }
  seen.termAfter = Math.max(...(await Promise.all(clients.map(termOf))));
  return seen;
}

function write(client: Redis, number: number, seen: Seen): void {
  const sentAt = performance.now();
  client.set(`steady:${number % 1000}`, String(number)).then(
    () => {
      if (seen.samples.length < samplesMax) {
        seen.samples.push(performance.now() - sentAt);
      }
    },
    () => {
      seen.failed += 1;
    },
  );
}

async function termOf(client: Redis): Promise<number> {
  return Number(/\nterm:(\d+)/.exec(await client.info('raft'))?.[1] ?? Number.NaN);
}
