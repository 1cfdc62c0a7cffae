/**
 * Writes from inside a process: `OPTIONS IN-FLIGHT WRITES AT-ONCE`. The process is a node of the
 * store, leads it, and keeps so many transactions in flight through `Store.transaction`, each of
 * so many writes. Prints `open`, `leads` and a line of JSON.
 */
import { Store } from '../../src/native/index.ts';
import { percentile } from './machine.ts';
import { until } from './processes.ts';

const [options = '{}', inFlight = '64', writes = '1000', atOnce = '1'] = process.argv.slice(2);
const store = await Store.open(JSON.parse(options));
process.stdout.write('open\n');
await until('this node to lead', 30_000, () => store.status().leader === store.status().id);
process.stdout.write('leads\n');
const value = 'x'.repeat(100);
const left = { writes: Number(writes) };
const latenciesMs: number[] = [];
const commands = Number(atOnce);

async function write(worker: number): Promise<void> {
  while (left.writes > 0) {
    left.writes -= commands;
    const sets = Array.from({ length: commands }, (_, i) => {
      const number = Math.abs(worker * 7919 + left.writes + i);
      return ['SET', `key:${number % 100_000}`, value] as const;
    });
    const from = performance.now();
    await store.transaction(sets);
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
    perSecond: (latenciesMs.length * commands) / tookS,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
    cpuUs: (cpu.user + cpu.system) / (latenciesMs.length * commands),
  })}\n`,
);
await store.close();
process.exit(0);
