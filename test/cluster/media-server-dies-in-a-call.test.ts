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

/** A lease of one second runs out, then both phones get their re-INVITE. */
const audioGapMaxMs = 4000;

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test('a call whose media server dies is heard again through another one', async () => {
  const pair = await lab.pair();
  await talk(pair);
  const dead = (await lab.calls()).find((call) => call.from === pair.caller.name)?.mediaServer;
  await listen(pair);

  await lab.kill(dead ?? '');
  await lab.untilState(dead ?? '', 'down');
  const heard = await heardFor(pair, 100);

  expectSameAudio(heard);
  expect(heard.atAlice.longestGapMs).toBeLessThan(audioGapMaxMs);
  expect(heard.atBob.longestGapMs).toBeLessThan(audioGapMaxMs);
  const now = (await lab.calls()).find((call) => call.from === pair.caller.name)?.mediaServer;
  expect(now).not.toBe(dead);
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  expect(await pair.bob.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered', endedBy: 'caller' });
  await lab.startAgain(dead ?? '');
  await lab.untilHealthy();
  await expectNothingLeft(lab, pair);
});
