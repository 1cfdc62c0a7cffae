import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openLab, raftpbx, type TestLab, testLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
const broken = `${testLab.directory}/cm-1/broken.yaml`;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(async () => {
  rmSync(broken, { force: true });
  await lab?.close();
});

/** The good configuration of a running server, with one thing wrong. */
function breakConfig(from: string | RegExp, to: string): number {
  const good = readFileSync(`${testLab.directory}/cm-1/config.yaml`, 'utf8');
  const text = good.replace(from, to);
  expect(text).not.toBe(good);
  writeFileSync(broken, text);
  return text.split('\n').findIndex((line, i) => line !== good.split('\n')[i]) + 1;
}

test.each([
  ['a misspelt key', /^ {2}domain:/m, '  domian:', 'domain'],
  ['a value out of range', /^(sip:)$/m, 'sip:\n  maxBindings: 100000', 'maxBindings'],
  ['an address that is none', /10\.77\.0\.11/, '10.77.0.311', "'address' is not an IP address"],
])('%s is refused with file, line and fix, and the cluster does not notice', async (...row) => {
  const [, from, to, named] = row;
  const line = breakConfig(from, to);
  const before = await lab.status();

  const refused = await raftpbx('start', '--config', broken);

  const said = refused.stdout + refused.stderr;
  expect(refused.status).toBe(2);
  expect(said).toContain('broken.yaml');
  expect(said).toMatch(new RegExp(`\\b(${line}|${line + 1})\\b`));
  expect(said).toContain(named);
  expect(await lab.status()).toMatchObject({ leader: before.leader, term: before.term });
});
