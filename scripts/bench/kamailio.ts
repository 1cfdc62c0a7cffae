/** kamailio as what ours is measured beside: a registrar, three that replicate, a proxy. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Running, start } from './processes.ts';

export interface KamailioOptions {
  /** A file of this directory. */
  configuration: string;
  inside(argv: readonly string[]): string[];
  /** What its configuration leaves open; texts need their quotes. */
  define: Record<string, string>;
}

/** Starts it; `stop` also removes its folder. */
export async function startKamailio(options: KamailioOptions): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'raftpbx-kamailio-'));
  const configuration = fileURLToPath(new URL(`./${options.configuration}`, import.meta.url));
  const defined = Object.entries(options.define).flatMap(([name, value]) => [
    '-A',
    `${name}=${value}`,
  ]);
  const kamailio = await start(
    options.inside([
      ...['kamailio', '-f', configuration, '-m', '768', '-M', '16', '-E', '-DD'],
      ...['-P', join(folder, 'pid'), '-Y', folder, ...defined],
    ]),
    null,
  );
  return {
    ...kamailio,
    stop: async () => {
      await kamailio.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
