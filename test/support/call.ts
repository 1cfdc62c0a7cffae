/** A call between two scripted phones, in the steps that most cluster tests share. */
import { expect } from 'vitest';
import type { CdrEntry } from '../../src/portal/api/shapes.ts';
import { eventually } from './eventually.ts';
import { calleeHertz, callerHertz, type Pair, type TestLab } from './lab.ts';
import type { AudioReport } from './phone/index.ts';

/** Dials, answers, and waits until both hear each other. */
export async function talk({ alice, bob, callee }: Pair): Promise<void> {
  await alice.invite(callee.name);
  await bob.until('ringing', 5000);
  await alice.until('ringing', 5000);
  await bob.answer();
  await alice.until('up', 5000);
  await listen({ alice, bob });
  await heardFor({ alice, bob }, 25);
}

/** Begins to measure at both ends. */
export async function listen({ alice, bob }: Pick<Pair, 'alice' | 'bob'>): Promise<void> {
  await alice.listen(calleeHertz);
  await bob.listen(callerHertz);
}

/** Waits until each has heard `packets` more packets since `listen`. */
export async function heardFor(
  { alice, bob }: Pick<Pair, 'alice' | 'bob'>,
  packets: number,
): Promise<{ atAlice: AudioReport; atBob: AudioReport }> {
  return await eventually(`${packets} packets at both ends`, 10_000, async () => {
    const atAlice = await alice.audio();
    const atBob = await bob.audio();
    return atAlice.received >= packets && atBob.received >= packets && { atAlice, atBob };
  });
}

/** Every packet that came is the frame the other side sent. */
export function expectSameAudio({ atAlice, atBob }: { atAlice: AudioReport; atBob: AudioReport }) {
  for (const [report, hertz] of [
    [atAlice, calleeHertz],
    [atBob, callerHertz],
  ] as const) {
    expect(report.hertz).toBe(hertz);
    expect(report.differing).toBe(0);
    expect(report.matching).toBeGreaterThan(0);
  }
}

/** The one record of the pair's only call, once it is there. */
export async function onlyCdr(lab: TestLab, { caller }: Pair): Promise<CdrEntry> {
  const cdrs = await eventually('a call record', 5000, async () => {
    const found = await lab.cdrs(caller.name);
    return found.length > 0 && found;
  });
  expect(cdrs).toHaveLength(1);
  return cdrs[0] as CdrEntry;
}

/** Calls and media sessions of the pair are gone everywhere. */
export async function expectNothingLeft(lab: TestLab, { caller }: Pair): Promise<void> {
  await eventually('no call and no media session', 10_000, async () => {
    const calls = (await lab.calls()).filter((call) => call.from === caller.name);
    return calls.length === 0 && (await lab.mediaSessions()) === 0;
  });
}

/** Milliseconds since 1970 of an ISO time; null stays null. */
export function ms(time: string | null): number {
  return time === null ? Number.NaN : Date.parse(time);
}
