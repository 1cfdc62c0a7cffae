import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Attempt,
  afterAttempt,
  grantedS,
  newState,
} from '../../../../src/call-manager/trunks/registration.ts';
import { limits } from '../../../../src/domain/limits.ts';
import { seal, sealingKey, unseal } from '../../../../src/domain/sealing.ts';
import { parseTrunkState } from '../../../../src/domain/trunk.ts';

const at = 1_000_000;
const registered: Attempt = { type: 'registered', expiresS: 600, address: '192.0.2.1' };
const refused: Attempt = { type: 'refused', status: 503, reason: 'Busy', retryAfterS: null };

test('a registration is refreshed before it ends', () => {
  const state = afterAttempt('a', newState('c', at), registered, { at, cseq: 2 });
  expect(state).toMatchObject({ state: 'registered', registeredUntil: at + 600_000, cseq: 2 });
  expect(state.dueAt).toBeGreaterThanOrEqual(at + 420_000);
  expect(state.dueAt).toBeLessThanOrEqual(at + 480_000);
  expect(parseTrunkState(JSON.stringify(state))).toEqual(state);
});

test('attempts that fail come ever more slowly, up to a limit, and one that does not ends it', () => {
  let state = newState('c', at);
  const pauses: number[] = [];
  for (let turn = 0; turn < 12; turn += 1) {
    state = afterAttempt('a', state, refused, { at, cseq: turn });
    pauses.push(state.dueAt - at);
  }
  expect(pauses[0]).toBeLessThanOrEqual(limits.trunkRetryMs * 1.25);
  expect(pauses.at(-1)).toBeGreaterThanOrEqual(limits.trunkRetryMsMax * 0.75);
  expect(pauses.every((pause) => pause <= limits.trunkRetryMsMax * 1.25)).toBe(true);
  expect(state).toMatchObject({ state: 'failed', reason: '503 Busy', failures: 12 });
  const well = afterAttempt('a', state, registered, { at, cseq: 13 });
  expect(well).toMatchObject({ state: 'registered', reason: null, failures: 0 });
});

test('a refused password is not tried again for a while, and Retry-After is kept', () => {
  const wrong: Attempt = { type: 'refused', status: 403, reason: 'No', retryAfterS: null };
  const after = (attempt: Attempt) =>
    afterAttempt('a', newState('c', at), attempt, { at, cseq: 1 }).dueAt - at;
  expect(after(wrong)).toBeGreaterThanOrEqual(limits.trunkRefusedMs * 0.75);
  expect(after({ ...refused, retryAfterS: 900 })).toBeGreaterThanOrEqual(900_000 * 0.75);
});

test('a provider that wants fewer refreshes is asked for so many at once', () => {
  const brief: Attempt = { type: 'tooBrief', minExpiresS: 7200 };
  const state = afterAttempt('a', newState('c', at), brief, { at, cseq: 1 });
  expect(state).toMatchObject({ expiresS: 7200, dueAt: at, failures: 0 });
  // Not for ever, if it says so again.
  expect(afterAttempt('a', state, brief, { at, cseq: 2 }).dueAt).toBeGreaterThan(at);
});

test('a failed refresh leaves the registration for as long as it was granted', () => {
  const before = afterAttempt('a', newState('c', at), registered, { at, cseq: 1 });
  const soon = afterAttempt('a', before, refused, { at: at + 500_000, cseq: 2 });
  expect(soon.state).toBe('registered');
  expect(afterAttempt('a', soon, refused, { at: at + 600_001, cseq: 3 }).state).toBe('failed');
});

test('trunks that were registered at once are not refreshed at once', () => {
  const due = Array.from({ length: 50 }, (_, i) => {
    const state = afterAttempt(`t${i}`, newState('c', at), registered, { at, cseq: 1 });
    return state.dueAt;
  });
  expect(new Set(due).size).toBeGreaterThan(30);
});

test('what a Contact grants counts before the header Expires', () => {
  expect(grantedS('<sip:a@b>;expires=60', '120', 3600)).toBe(60);
  expect(grantedS('<sip:a@b>', '120', 3600)).toBe(120);
  expect(grantedS('<sip:a@b>', '', 3600)).toBe(3600);
});

test('a password is sealed, and opens with its own key and owner only', () => {
  const key = sealingKey('cluster secret');
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (text) => {
      const sealed = seal(key, 'a', text);
      expect(unseal(key, 'a', sealed)).toBe(text);
      expect(unseal(key, 'b', sealed)).toBeNull();
      expect(unseal(sealingKey('another'), 'a', sealed)).toBeNull();
      expect(unseal(key, 'a', sealed.slice(0, -5))).toBeNull();
    }),
    { numRuns: 30 },
  );
  expect(unseal(key, 'a', 'plain')).toBeNull();
});
