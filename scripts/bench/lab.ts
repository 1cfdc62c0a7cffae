/** The cluster that is measured: a lab of its own, so that a person's lab is left alone. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import {
  clusterDown,
  clusterUp,
  Insider,
  killServer,
  LabApi,
  type LabPlan,
  labFiles,
  readCredentials,
  readLab,
  startServer,
} from '../../src/lab/index.ts';
import type { StatusEntry } from '../../src/portal/api/shapes.ts';
import { until } from './processes.ts';

export const benchLab = {
  directory: fileURLToPath(new URL('../../report/bench-lab', import.meta.url)),
  prefix: 'pbxbnch',
};

export interface BenchLab {
  plan: LabPlan;
  api: LabApi;
  storePassword: string;
  pidOf(name: string): number;
  kill(name: string): Promise<void>;
  start(name: string): Promise<void>;
  /** Somebody leads and every server is up. */
  untilHealthy(): Promise<StatusEntry>;
}

/** Brings the lab up, runs `measure`, and takes it down whatever happens. */
export async function withLab<T>(measure: (lab: BenchLab) => Promise<T>): Promise<T> {
  // What an interrupted measurement left would be measured too.
  await clusterDown(benchLab);
  const { plan } = await clusterUp(benchLab);
  const insider = new Insider(plan.phonesNamespace);
  try {
    const api = new LabApi(insider, plan);
    return await measure({
      plan,
      api,
      storePassword: readCredentials(labFiles(plan.directory).credentials).store.password,
      pidOf: (name) =>
        readLab(plan.directory)?.servers.find((server) => server.name === name)?.pid ?? 0,
      kill: (name) => killServer(name, 'SIGKILL', benchLab),
      start: (name) => startServer(name, benchLab),
      untilHealthy: () => untilHealthy(api, plan),
    });
  } finally {
    await insider.close();
    await clusterDown(benchLab);
  }
}

async function untilHealthy(api: LabApi, plan: LabPlan): Promise<StatusEntry> {
  let seen: StatusEntry | null = null;
  await until('every server to be up', 30_000, async () => {
    seen = await api.status();
    const up = seen?.servers.filter((server) => server.state === 'up').length ?? 0;
    return seen?.leader !== null && seen?.vip.holder === seen?.leader && up === plan.servers.length;
  });
  return seen as unknown as StatusEntry;
}

/** Adds users `from`, `from + 1`, ... with one password; resolves to it. */
export async function addUsers(lab: BenchLab, from: number, count: number): Promise<string> {
  const password = randomBytes(9).toString('base64url');
  const users = Array.from({ length: count }, (_, i) => ({ name: String(from + i), password }));
  for (let at = 0; at < count; at += 10_000) {
    const body = { users: users.slice(at, at + 10_000) };
    const added = await lab.api.ask<{ added: number }>('/api/v1/users', body);
    if (added === null) {
      // The answer may be late while the entry is committed all the same.
      await until(`users up to ${from + at}`, 60_000, async () => {
        const page = await lab.api.ask<{ items: unknown[] }>(
          `/api/v1/users?limit=1&after=${from + Math.min(count, at + 10_000) - 2}`,
        );
        return (page?.items.length ?? 0) > 0;
      });
    }
  }
  return password;
}
