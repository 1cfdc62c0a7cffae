import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNothingLeft, onlyCdr, talk } from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('a BYE sent into the gap between two leaders is answered by the second', async () => {
  const pair = await lab.pair();
  await talk(pair);
  const { name } = await lab.leader();

  const killed = lab.killLeader();
  const bye = pair.alice.bye();
  await killed;

  expect(await bye).toMatchObject({ status: 200 });
  expect(await pair.bob.until('ended', 10_000)).toMatchObject({ endedBy: 'remote' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered', endedBy: 'caller' });
  await expectNothingLeft(lab, pair);
  await lab.startAgain(name);
});
