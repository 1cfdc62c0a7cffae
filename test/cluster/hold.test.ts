import { afterAll, beforeAll, expect, test } from 'vitest';
import { listen, talk } from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import { calleeHertz, callerHertz, openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test.each(['caller', 'callee'] as const)(
  'the %s holds the call: the other hears music, and both hear each other again afterwards',
  async (who) => {
    const pair = await lab.pair();
    await talk(pair);
    const [holder, held] = who === 'caller' ? [pair.alice, pair.bob] : [pair.bob, pair.alice];

    expect(await holder.reinvite('sendonly')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ state: 'up', held: true });
    await eventually('a second of music', 10_000, async () => {
      await listen(pair);
      return await eventually('packets', 5000, async () => {
        const { received, matching, hertz } = await held.audio();
        return received >= 50 && { music: matching === 0 && hertz > 0 };
      }).then(({ music }) => music);
    });

    expect(await holder.reinvite('sendrecv')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ state: 'up', held: false });
    // By its pitch: behind the music the packets have other numbers than their sender gave them.
    for (const [phone, hertz] of [
      [pair.alice, calleeHertz],
      [pair.bob, callerHertz],
    ] as const) {
      await eventually('the voice of the other', 10_000, async () => {
        return (await phone.audio()).hertz === hertz;
      });
    }
    expect(await held.bye()).toMatchObject({ status: 200 });
    await holder.until('ended', 5000);
  },
);
