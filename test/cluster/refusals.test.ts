import { afterAll, beforeAll, expect, test } from 'vitest';
import { onlyCdr, talk } from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs, type User } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('a wrong password registers nothing', async () => {
  const [user] = (await lab.users(1)) as [User];
  const phone = await lab.phone({ ...user, password: 'not-the-password' });

  expect([401, 403]).toContain((await phone.register()).status);
  expect((await lab.registrations()).filter((one) => one.user === user.name)).toEqual([]);
});

test('an unknown user cannot register and is told no more than one with a wrong password', async () => {
  const [user] = (await lab.users(1)) as [User];
  const wrong = await (await lab.phone({ ...user, password: 'not-the-password' })).register();
  const unknown = await (await lab.phone({ name: 'nobody', password: 'x' })).register();

  expect(unknown.status).toBe(wrong.status);
});

test('a call with a wrong password is refused and rings nobody', async () => {
  const { caller, callee, bob } = await lab.pair();
  const thief = await lab.phone({ ...caller, password: 'not-the-password' });
  await thief.invite(callee.name);

  expect([401, 403, 407]).toContain((await thief.until('ended', 10_000)).status);
  expect(await bob.snapshot()).toMatchObject({ state: 'idle', requests: {} });
});

test('a user that does not exist is 404, one without a device is 480', async () => {
  const pair = await lab.pair();
  const [offline] = (await lab.users(1)) as [User];

  await pair.alice.invite('nobody-here');
  expect(await pair.alice.until('ended', 10_000)).toMatchObject({ status: 404 });
  await pair.alice.invite(offline.name);
  expect(await pair.alice.until('ended', 10_000)).toMatchObject({ status: 480 });
  expect(await lab.mediaSessions()).toBe(0);

  await talk(pair);
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
});

test('a busy phone is 486 and the record says so', async () => {
  const pair = await lab.pair();
  await pair.alice.invite(pair.callee.name);
  await pair.bob.until('ringing', 5000);
  await pair.bob.reject(486);

  expect(await pair.alice.until('ended', 10_000)).toMatchObject({ status: 486 });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'busy', answeredAt: null });
});

test('a call given up while it rings stops ringing', async () => {
  const pair = await lab.pair();
  await pair.alice.invite(pair.callee.name);
  await pair.bob.until('ringing', 5000);
  await pair.alice.until('ringing', 5000);
  expect(await pair.alice.cancel()).toMatchObject({ status: 200 });

  expect(await pair.alice.until('ended', 5000)).toMatchObject({ status: 487 });
  expect(await pair.bob.until('ended', 5000)).toMatchObject({ endedBy: 'cancel' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'cancelled', answeredAt: null });
});
