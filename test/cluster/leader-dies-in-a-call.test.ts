import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  expectNothingLeft,
  expectSameAudio,
  heardFor,
  listen,
  ms,
  onlyCdr,
  talk,
} from '../support/call.ts';
import { openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

/** A relay does not notice its Call Manager's death: no more than a hiccup of the machine. */
const audioGapMaxMs = 200;
/** Two clocks on one machine, and the time a commit takes. */
const clockToleranceMs = 1500;

let lab: TestLab;
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterAll(() => lab?.close());

test.each(['caller', 'callee'] as const)(
  'a call outlives its leader: the audio goes on and the %s can hang up',
  async (who) => {
    await lab.untilHealthy();
    const pair = await lab.pair();
    const dialledAt = Date.now();
    await talk(pair);
    const registered = await lab.registrations();
    await listen(pair);

    const killed = await lab.killLeader();
    const status = await lab.untilLeaderIsNot(killed.name);
    const heard = await heardFor(pair, 150);

    expectSameAudio(heard);
    expect(heard.atAlice.longestGapMs).toBeLessThan(audioGapMaxMs);
    expect(heard.atBob.longestGapMs).toBeLessThan(audioGapMaxMs);
    expect(status.vip.holder).toBe(status.leader);

    const [leaves, stays] = who === 'caller' ? [pair.alice, pair.bob] : [pair.bob, pair.alice];
    const endedAt = Date.now();
    expect(await leaves.bye()).toMatchObject({ status: 200 });
    expect(await stays.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });

    const cdr = await onlyCdr(lab, pair);
    expect(cdr).toMatchObject({ result: 'answered', endedBy: who });
    expect(Math.abs(ms(cdr.startedAt) - dialledAt)).toBeLessThan(clockToleranceMs);
    expect(Math.abs(ms(cdr.endedAt) - endedAt)).toBeLessThan(clockToleranceMs);
    expect(ms(cdr.answeredAt)).toBeGreaterThanOrEqual(ms(cdr.startedAt));
    expect(ms(cdr.answeredAt)).toBeLessThan(killed.atMs);
    await expectNothingLeft(lab, pair);

    const contacts = new Set((await lab.registrations()).map((one) => one.contact));
    expect(registered.filter((one) => !contacts.has(one.contact))).toEqual([]);

    const next = await lab.pair();
    await talk(next);
    expect(await next.bob.bye()).toMatchObject({ status: 200 });
    await next.alice.until('ended', 5000);
    await lab.startAgain(killed.name);
  },
);
