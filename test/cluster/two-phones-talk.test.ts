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

test.each([
  ['MD5', 'udp'],
  ['SHA-256', 'udp'],
  ['MD5', 'tcp'],
] as const)(
  'two phones with %s digest over %s hear every frame the other one sends',
  async (algorithm, transport) => {
    const pair = await lab.pair({ algorithm, transport });

    await talk(pair);
    await listen(pair);
    const heard = await heardFor(pair, 100);
    const ended = await pair.alice.bye();

    expectSameAudio(heard);
    expect([heard.atAlice.lost, heard.atBob.lost]).toEqual([0, 0]);
    expect(ended).toMatchObject({ status: 200, sent: 1 });
    expect(await pair.bob.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
    expect(await onlyCdr(lab, pair)).toMatchObject({
      from: pair.caller.name,
      to: pair.callee.name,
      result: 'answered',
      endedBy: 'caller',
    });
    await expectNothingLeft(lab, pair);
  },
);
