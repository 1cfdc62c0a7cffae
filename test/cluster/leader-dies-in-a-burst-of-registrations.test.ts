import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

const burst = { users: 2000, perSecond: 400 };
/** Enough are acknowledged by then, and more are under way. */
const killAt = 600;

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('every registration that was acknowledged survives the leader', async () => {
  const users = await lab.users(burst.users);
  const before = (await lab.status()).registrations;
  const running = lab.burst(users, burst.perSecond);
  await eventually(`${killAt} registrations`, 20_000, async () => {
    return (await lab.status()).registrations >= before + killAt;
  });

  const killed = await lab.killLeader();
  const report = await running;
  const status = await lab.untilLeaderIsNot(killed.name);

  expect(report.refused).toEqual([]);
  expect(report.acknowledged).toHaveLength(burst.users);
  const present = new Set((await lab.registrations()).map((one) => one.user));
  expect(report.acknowledged.filter((name) => !present.has(name))).toEqual([]);

  await lab.startAgain(killed.name);
  await lab.untilSameOnEveryNode(status.registrations);
});
