import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  expectNothingLeft,
  expectSameAudio,
  heardFor,
  listen,
  onlyCdr,
  talk,
} from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import { withoutFloating } from '../support/floating.ts';
import {
  calleeHertz,
  callerHertz,
  onIpv6,
  openLab,
  type Pair,
  type TestLab,
  testTimeoutMs,
} from '../support/lab.ts';

/** The goal is 500 ms on a machine that does nothing else; see `docs/benchmarks.md`. */
const audioGapMaxMs = 1500;

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

async function serverOf({ caller }: Pair): Promise<string> {
  const call = (await lab.calls()).find((one) => one.from === caller.name);
  return call?.mediaServer ?? '';
}

/** New calls are at addresses that move, of both families. */
async function untilFloating(): Promise<void> {
  for (const [options, moving] of [
    [{}, '10.77.0.3'],
    [onIpv6, 'fd77::3'],
  ] as const) {
    await eventually(`a call at ${moving}x`, 10_000, async () => {
      const pair = await lab.pair(options);
      await talk(pair);
      const { from } = await pair.alice.audio();
      await pair.alice.bye();
      return from.startsWith(moving);
    });
  }
}

for (const [kind, options, secure] of [
  ['plain', {}, false],
  ['encrypted', {}, true],
  ['plain IPv6', onIpv6, false],
  ['encrypted IPv6', onIpv6, true],
] as const) {
  test(`a call goes on under its address when its media server dies: ${kind}`, async () => {
    await untilFloating();
    const pair = await lab.pair(options);
    if (secure) {
      const phone = await lab.phone(pair.caller, { ...options, hertz: callerHertz, secure });
      await lab.register(phone);
      pair.alice = phone;
    }
    await talk(pair);
    const dead = await serverOf(pair);
    const before = await pair.alice.snapshot();
    const { from } = await pair.alice.audio();
    await listen(pair);

    await lab.kill(dead);
    const heard = await heardFor(pair, 150);

    expectSameAudio(heard);
    for (const report of [heard.atAlice, heard.atBob]) {
      expect(report.longestGapMs).toBeLessThan(audioGapMaxMs);
      expect(report).toMatchObject({ refused: 0, sources: 1 });
    }
    expect(heard.atAlice.from, 'the same address and port').toBe(from);
    const asked = async () => (await pair.alice.snapshot()).requests.INVITE ?? 0;
    expect(await asked(), 'nobody was told anything').toBe(before.requests.INVITE ?? 0);
    expect((await pair.bob.snapshot()).requests.INVITE).toBe(1);
    await eventually('the record names the other server', 5000, async () => {
      const now = await serverOf(pair);
      return now !== '' && now !== dead;
    });
    // What comes afterwards is asked of the server that has the call now.
    expect((await pair.bob.reinvite('sendonly')).status).toBe(200);
    expect((await pair.bob.reinvite('sendrecv')).status).toBe(200);
    await listen(pair);
    const after = await heardFor(pair, 60);
    expect([after.atAlice.hertz, after.atBob.hertz]).toEqual([calleeHertz, callerHertz]);

    expect(await pair.alice.bye()).toMatchObject({ status: 200 });
    expect(await pair.bob.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
    expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered', endedBy: 'caller' });
    await lab.startAgain(dead);
    await lab.untilHealthy();
    await expectNothingLeft(lab, pair);
  });
}

test('without floating addresses both parties are told of another server', async () => {
  await withoutFloating(lab, async () => {
    const pair = await lab.pair();
    await talk(pair);
    const dead = await serverOf(pair);
    await listen(pair);

    await lab.kill(dead);
    const heard = await heardFor(pair, 150);

    expectSameAudio(heard);
    expect((await pair.bob.snapshot()).requests.INVITE).toBe(2);
    await pair.alice.bye();
    await lab.startAgain(dead);
    await expectNothingLeft(lab, pair);
  });
});
