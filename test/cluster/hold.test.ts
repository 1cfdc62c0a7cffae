import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectNothingLeft, listen, talk } from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import {
  calleeHertz,
  callerHertz,
  openLab,
  type Pair,
  type TestLab,
  testTimeoutMs,
} from '../support/lab.ts';
import type { TestPhone } from '../support/phone/index.ts';

/** A lease runs out, both phones get a re-INVITE, then the music begins again. */
const movedMsMax = 20_000;

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

/** Waits for a second in which `held` hears something that the other party does not say. */
async function untilMusic(pair: Pair, held: TestPhone): Promise<void> {
  await eventually('a second of music', movedMsMax, async () => {
    await listen(pair);
    const second = await eventually('packets', movedMsMax, async () => {
      const report = await held.audio();
      return report.received >= 50 && report;
    });
    return second.matching === 0 && second.hertz > 0;
  });
}

/** By their pitch: behind the music the packets have other numbers than their sender gave them. */
async function untilBothHear({ alice, bob }: Pair): Promise<void> {
  for (const [phone, hertz] of [
    [alice, calleeHertz],
    [bob, callerHertz],
  ] as const) {
    await eventually('the voice of the other', movedMsMax, async () => {
      return (await phone.audio()).hertz === hertz;
    });
  }
}

test.each(['caller', 'callee'] as const)(
  'the %s holds the call: the other hears music, and both hear each other again afterwards',
  async (who) => {
    const pair = await lab.pair();
    await talk(pair);
    const [holder, held] = who === 'caller' ? [pair.alice, pair.bob] : [pair.bob, pair.alice];

    expect(await holder.reinvite('sendonly')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ state: 'up', held: true });
    await untilMusic(pair, held);

    expect(await holder.reinvite('sendrecv')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ state: 'up', held: false });
    await untilBothHear(pair);
    expect(await held.bye()).toMatchObject({ status: 200 });
    await holder.until('ended', 5000);
  },
);

test('the music goes on at another media server, and ends by a new leader', async () => {
  await lab.untilHealthy();
  const pair = await lab.pair();
  await talk(pair);
  expect(await pair.alice.reinvite('sendonly')).toMatchObject({ status: 200 });
  await untilMusic(pair, pair.bob);

  const serverOf = async () =>
    (await lab.calls()).find((call) => call.from === pair.caller.name)?.mediaServer ?? '';
  const dead = await serverOf();
  await lab.kill(dead);
  await lab.untilState(dead, 'down');
  await eventually('another server', movedMsMax, async () => (await serverOf()) !== dead);
  await untilMusic(pair, pair.bob);

  const { name } = await lab.killLeader();
  await lab.untilLeaderIsNot(name);
  await untilMusic(pair, pair.bob);
  expect(await pair.alice.reinvite('sendrecv')).toMatchObject({ status: 200 });
  await untilBothHear(pair);
  expect(await pair.bob.bye()).toMatchObject({ status: 200 });
  await pair.alice.until('ended', 5000);
  await lab.startAgain(dead);
  await lab.startAgain(name);
  await lab.untilHealthy();
  await expectNothingLeft(lab, pair);
});
