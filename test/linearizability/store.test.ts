/**
 * The store under faults, judged by a checker of linearizability; and the same trial with a
 * promise broken on purpose, which the checker must notice. See docs/internals/store-proof.md.
 */
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, type Programs } from '../support/faults/build.ts';
import { faults } from '../support/faults/faults.ts';
import { type Report, runTrial } from '../support/faults/trial.ts';

const folder = fileURLToPath(new URL('../../report/linearizability', import.meta.url));

/** Other seeds give other orders and lengths of the same faults. */
const seeds = [1];

/** A mutation must be found within this time; each attempt takes seconds. */
const searchMs = 180_000;

let programs: Programs;

beforeAll(() => {
  programs = buildPrograms(`${folder}/programs`);
}, 900_000);

describe('the store', () => {
  it.each(seeds)('is linearizable under every fault, seed %i', async (seed) => {
    const report = await runTrial({ seed, programs, seconds: null, folder: `${folder}/${seed}` });
    expect(report).toMatchObject({
      failure: null,
      ownEnds: 0,
      abilities: { compareAndSet: true },
      verdict: { violations: [], undecided: [] },
    });
    expect(report.faults.map(({ name }) => name).toSorted()).toEqual(
      Object.keys(faults).toSorted(),
    );
    const notHappened = report.faults.filter(({ evidence }) => evidence <= 0);
    expect(notHappened).toEqual([]);
    expect(report.writesAnswered).toBeGreaterThan(2000);
    expect(report.verdict.calls).toBe(report.answered + report.unknown);
    expect(report.verdict.keys).toBe(report.keys);
  });
});

describe('the proof', () => {
  it('notices reads that ignore the lease', async () => {
    const report = await search('local-reads', ['partition the leader']);
    expect(report.verdict.violations).not.toEqual([]);
  });

  it('notices reads under a lease that is over', async () => {
    const report = await search('old-lease', ['suspend the leader', 'pause the leader']);
    expect(report.verdict.violations).not.toEqual([]);
  });

  it('notices flushes that are skipped', async () => {
    const report = await search('skip-fsync', ['power cut of all nodes']);
    expect(report.verdict.violations).not.toEqual([]);
  });
});

/** Tries seeds until the checker reports a violation. */
async function search(mutation: string, only: string[]): Promise<Report> {
  const deadline = performance.now() + searchMs;
  for (let seed = 1; ; seed += 1) {
    const place = `${folder}/${mutation}`;
    const trial = { seed, programs, mutation, faults: only, seconds: 8, folder: place };
    const report = await runTrial(trial);
    if (report.verdict.violations.length > 0 || performance.now() > deadline) {
      return report;
    }
  }
}
