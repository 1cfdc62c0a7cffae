/**
 * The benchmarks.
 *
 * # Layout
 * - one file a part: `registrations`, `storm`, `calls`, `parsers`, `relay`, `conversions` and `ng`
 *   (with `relay-load`), `rooms` (with `janus-room`), `failover`, `store`, `store-failover`,
 *   `store-size`, `steady`, `cdrs`, `media-failover` (with `media-phones`)
 * - `store-cluster.ts`, `store-inside.ts`, `etcd.ts`, `redis-benchmark.ts`: the store alone, and
 *   what it is compared with
 * - `lab.ts`, `callers.ts`, `network.ts`, `processes.ts`: what is measured and where it runs
 * - `machine.ts`, `report.ts`, `plot.ts`: processor time, tables, pictures, `docs/benchmarks.md`
 * - `scale.ts`: runs with less of everything
 * - `sipp.ts` with its scenarios, `kamailio.ts` with its configurations, `proxy-application.ts`
 * - `probe.ts`: asks the VIP; `etcdput/`: writes to etcd
 *
 * Every part cleans up after itself, also when it fails. Load stays inside namespaces that
 * are made for it.
 */
import { measureCalls } from './calls.ts';
import { measureCdrs } from './cdrs.ts';
import { measureConversions } from './conversions.ts';
import { measureFailover } from './failover.ts';
import { measureMediaFailover } from './media-failover.ts';
import { measureNg } from './ng.ts';
import { measureParsers } from './parsers.ts';
import { measureRegistrations } from './registrations.ts';
import { measureRelay } from './relay.ts';
import { type PartResult, record, say } from './report.ts';
import { measureRooms } from './rooms.ts';
import { measureSteady } from './steady.ts';
import { measureStore } from './store.ts';
import { measureStoreFailover } from './store-failover.ts';
import { measureStoreSize } from './store-size.ts';
import { measureStorm } from './storm.ts';

const parts: Record<string, () => Promise<PartResult>> = {
  registrations: measureRegistrations,
  storm: measureStorm,
  calls: measureCalls,
  parsers: measureParsers,
  relay: measureRelay,
  conversions: measureConversions,
  ng: measureNg,
  rooms: measureRooms,
  store: measureStore,
  'store-failover': measureStoreFailover,
  'store-size': measureStoreSize,
  steady: measureSteady,
  cdrs: measureCdrs,
  failover: measureFailover,
  'media-failover': measureMediaFailover,
};

// It takes an hour: only when it is asked for by name.
const long = new Set(['steady']);
const all = Object.keys(parts).filter((name) => !long.has(name));
const wanted = process.argv.length > 2 ? process.argv.slice(2) : all;
const unknown = wanted.filter((name) => !Object.hasOwn(parts, name));
if (unknown.length > 0) {
  say(`there is no part ${unknown.join(', ')}; parts: ${Object.keys(parts).join(', ')}`);
  process.exit(2);
}
if (process.getuid?.() !== 0) {
  say('benchmarks make network namespaces, which needs root: run it with sudo');
  process.exit(2);
}
let failed = 0;
for (const name of wanted) {
  try {
    record(await (parts[name] as () => Promise<PartResult>)());
  } catch (error) {
    failed += 1;
    say(`${name} failed: ${(error as Error).message}`);
  }
}
process.exitCode = failed === 0 ? 0 : 1;
