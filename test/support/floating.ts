/** Media servers of the lab without addresses that move. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { serverFiles } from '../../src/lab/plan.ts';
import { type TestLab, testLab } from './lab.ts';

const names = ['media-1', 'media-2'];

/** Changes the section `media` of a media server's configuration and starts it anew. */
async function configure(
  lab: TestLab,
  name: string,
  change: (media: Record<string, unknown>) => void,
): Promise<void> {
  const { config } = serverFiles(join(testLab.directory, name));
  const text = parse(readFileSync(config, 'utf8')) as { media: Record<string, unknown> };
  change(text.media);
  writeFileSync(config, stringify(text));
  await lab.stop(name);
  await lab.startAgain(name);
}

/** Runs `body` while the addresses of media servers stay where they are. */
export async function withoutFloating(lab: TestLab, body: () => Promise<void>): Promise<void> {
  const kept = new Map<string, unknown>();
  for (const name of names) {
    await configure(lab, name, (media) => {
      kept.set(name, media.floating);
      delete media.floating;
    });
  }
  try {
    await lab.untilHealthy();
    await body();
  } finally {
    for (const name of names) {
      await configure(lab, name, (media) => {
        media.floating = kept.get(name);
      });
    }
    await lab.untilHealthy();
  }
}
