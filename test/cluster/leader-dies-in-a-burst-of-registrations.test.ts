import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

const burst = { users: 2000, perSecond: 400 };
/** Far enough into the burst that hundreds are acknowledged and more are under way. */
const killAfterMs = 2000;

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('every registration that was acknowledged survives the leader', async () => {
  const users = await lab.users(burst.users);
  const running = lab.burst(users, burst.perSecond);

  await delay(killAfterMs);
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
