import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNothingLeft, expectSameAudio, heardFor, listen, onlyCdr } from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('a call that rings when the leader dies can be answered, and nobody dials again', async () => {
  const pair = await lab.pair();
  await pair.alice.invite(pair.callee.name);
  await pair.bob.until('ringing', 5000);
  await pair.alice.until('ringing', 5000);

  const { name } = await lab.killLeader();
  await lab.untilLeaderIsNot(name);
  expect(await pair.bob.snapshot()).toMatchObject({ state: 'ringing' });
  await pair.bob.answer();
  await pair.alice.until('up', 10_000);
  await listen(pair);

  expectSameAudio(await heardFor(pair, 50));
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  await pair.bob.until('ended', 5000);
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered' });
  await expectNothingLeft(lab, pair);
  await lab.startAgain(name);
});

test('a call that rings when the leader dies can be given up', async () => {
  await lab.untilHealthy();
  const pair = await lab.pair();
  await pair.alice.invite(pair.callee.name);
  await pair.bob.until('ringing', 5000);
  await pair.alice.until('ringing', 5000);

  const { name } = await lab.killLeader();
  await lab.untilLeaderIsNot(name);
  expect(await pair.alice.cancel()).toMatchObject({ status: 200 });

  expect(await pair.alice.until('ended', 10_000)).toMatchObject({ status: 487 });
  expect(await pair.bob.until('ended', 10_000)).toMatchObject({ endedBy: 'cancel' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'cancelled', answeredAt: null });
  await lab.startAgain(name);
});
