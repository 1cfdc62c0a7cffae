/** The checker itself: it must know right histories from wrong ones. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('the checker accepts right histories and refuses wrong ones', () => {
  const cwd = fileURLToPath(new URL('../support/checker', import.meta.url));
  const { stdout, stderr, status } = spawnSync('go', ['test', '.'], { cwd, encoding: 'utf8' });
  expect({ said: `${stdout}${stderr}`, status }).toMatchObject({ status: 0 });
});
