import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  expectNothingLeft,
  expectSameAudio,
  heardFor,
  listen,
  onlyCdr,
  talk,
} from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('all Call Managers are restarted one after the other under a call', async () => {
  const pair = await lab.pair();
  await talk(pair);
  const registrations = (await lab.registrations()).length;
  await listen(pair);

  for (const name of ['cm-1', 'cm-2', 'cm-3']) {
    await lab.stop(name);
    await lab.startAgain(name);
    await lab.untilHealthy();
  }

  const heard = await heardFor(pair, 50);
  expectSameAudio(heard);
  expect([heard.atAlice.lost, heard.atBob.lost]).toEqual([0, 0]);
  expect((await lab.registrations()).length).toBe(registrations);
  expect(await pair.alice.reinvite('sendonly')).toMatchObject({ status: 200 });
  expect(await pair.bob.snapshot()).toMatchObject({ held: true });
  expect(await pair.bob.bye()).toMatchObject({ status: 200 });
  expect(await pair.alice.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered', endedBy: 'callee' });
  await expectNothingLeft(lab, pair);
});
