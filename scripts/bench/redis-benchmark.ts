/** `redis-benchmark`, and what it prints. */
import { finish } from './processes.ts';

export interface Load {
  clients: number;
  /** Commands sent at once by each client. */
  pipeline: number;
  writes: number;
}

export interface LoadResult {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  cpuUs: number;
}

/** SET of 100-byte values on 100,000 keys; `cpuSeconds` is asked before and after. */
export async function setLoad(
  port: number,
  load: Load,
  cpuSeconds: () => number,
): Promise<LoadResult> {
  const before = cpuSeconds();
  const run = await finish(
    [
      ...['redis-benchmark', '-p', String(port), '-t', 'set', '-d', '100', '-r', '100000'],
      ...['-c', String(load.clients), '-n', String(load.writes), '-P', String(load.pipeline)],
      '--csv',
    ],
    180_000,
  );
  // "test","rps","avg_latency_ms","min_latency_ms","p50_...","p95_...","p99_...","max_..."
  const cells = /^"SET",.*$/m.exec(run.stdout)?.[0].replaceAll('"', '').split(',').map(Number);
  if (run.status !== 0 || cells === undefined) {
    throw new Error(`redis-benchmark failed: ${run.stderr.slice(-500)} ${run.stdout.slice(-500)}`);
  }
  return {
    perSecond: cells[1] ?? Number.NaN,
    p50Ms: cells[4] ?? Number.NaN,
    p99Ms: cells[6] ?? Number.NaN,
    cpuUs: ((cpuSeconds() - before) * 1e6) / load.writes,
  };
}
