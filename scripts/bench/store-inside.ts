/**
 * Writes from inside a process: `OPTIONS IN-FLIGHT WRITES`. The process is a node of the store,
 * leads it, and keeps so many writes in flight through `Store.execute`. Prints `open`, `leads`
 * and a line of JSON.
 */
import { Store } from '../../src/native/index.ts';
import { percentile } from './machine.ts';
import { until } from './processes.ts';

const [options = '{}', inFlight = '64', writes = '1000'] = process.argv.slice(2);
const store = await Store.open(JSON.parse(options));
process.stdout.write('open\n');
await until('this node to lead', 30_000, () => store.status().leader === store.status().id);
process.stdout.write('leads\n');
const value = 'x'.repeat(100);
const left = { writes: Number(writes) };
const latenciesMs: number[] = [];

async function write(worker: number): Promise<void> {
  while (left.writes > 0) {
    left.writes -= 1;
    const key = `key:${(worker * 7919 + left.writes) % 100_000}`;
    const from = performance.now();
    await store.execute(['SET', key, value]);
    latenciesMs.push(performance.now() - from);
  }
}

const cpuBefore = process.cpuUsage();
const from = performance.now();
await Promise.all(Array.from({ length: Number(inFlight) }, (_, worker) => write(worker)));
const tookS = (performance.now() - from) / 1000;
const cpu = process.cpuUsage(cpuBefore);
process.stdout.write(
  `${JSON.stringify({
    perSecond: latenciesMs.length / tookS,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    cpuUs: (cpu.user + cpu.system) / latenciesMs.length,
  })}\n`,
);
await store.close();
process.exit(0);
