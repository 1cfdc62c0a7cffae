import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNothingLeft, onlyCdr, talk } from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('every device of a user rings, the first to answer wins, the others stop', async () => {
  const pair = await lab.pair();
  const desk = pair.bob;
  const mobile = await lab.register(await lab.phone(pair.callee, { transport: 'tcp', hertz: 600 }));
  await pair.alice.invite(pair.callee.name);
  await desk.until('ringing', 5000);
  await mobile.until('ringing', 5000);

  await mobile.answer();
  await pair.alice.until('up', 5000);

  expect(await desk.until('ended', 5000)).toMatchObject({ endedBy: 'cancel', status: 487 });
  expect(await mobile.bye()).toMatchObject({ status: 200 });
  expect(await pair.alice.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered', endedBy: 'callee' });
  await expectNothingLeft(lab, pair);
});

test('one busy device does not stop the other from ringing', async () => {
  const pair = await lab.pair();
  const mobile = await lab.register(await lab.phone(pair.callee));
  await pair.alice.invite(pair.callee.name);
  await pair.bob.until('ringing', 5000);
  await mobile.until('ringing', 5000);
  await mobile.reject(486);
  await pair.bob.answer();

  expect(await pair.alice.until('up', 5000)).toMatchObject({ status: 200 });
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  await pair.bob.until('ended', 5000);
});

test('a device that was taken away does not ring', async () => {
  const pair = await lab.pair();
  const mobile = await lab.register(await lab.phone(pair.callee));
  expect(await mobile.register(0)).toMatchObject({ status: 200 });

  await talk(pair);

  expect(await mobile.snapshot()).toMatchObject({ state: 'idle' });
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  await pair.bob.until('ended', 5000);
});
