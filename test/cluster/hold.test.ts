import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectSameAudio, heardFor, listen, talk } from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test.each(['caller', 'callee'] as const)(
  'the %s holds the call, takes it back, and both hear each other again',
  async (who) => {
    const pair = await lab.pair();
    await talk(pair);
    const [holder, held] = who === 'caller' ? [pair.alice, pair.bob] : [pair.bob, pair.alice];

    expect(await holder.reinvite('sendonly')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ state: 'up', held: true });
    expect(await holder.reinvite('sendrecv')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ state: 'up', held: false });

    await listen(pair);
    expectSameAudio(await heardFor(pair, 25));
    expect(await held.bye()).toMatchObject({ status: 200 });
    await holder.until('ended', 5000);
  },
);
