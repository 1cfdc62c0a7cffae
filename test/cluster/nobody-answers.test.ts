import { afterAll, beforeAll, expect, test } from 'vitest';
import { limits } from '../../src/domain/limits.ts';
import { expectNothingLeft, onlyCdr } from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('a call nobody answers ends by itself with 480 and stops ringing', async () => {
  const pair = await lab.pair();
  await pair.alice.invite(pair.callee.name);
  await pair.bob.until('ringing', 5000);

  const ended = await pair.alice.until('ended', limits.answerTimeoutMs + 10_000);
  expect(ended).toMatchObject({ status: 480 });
  expect(await pair.bob.until('ended', 5000)).toMatchObject({ endedBy: 'cancel' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'no-answer', answeredAt: null });
  await expectNothingLeft(lab, pair);
});
