import fc from 'fast-check';
import { expect, test } from 'vitest';
import { recordOf } from '../../../../src/call-manager/calls/answering.ts';
import { isTrunkFailure, usesOf } from '../../../../src/call-manager/calls/failover.ts';
import { resumeCall, startCall, step } from '../../../../src/call-manager/calls/machine.ts';
import type { Call, CallEffect, CallEvent } from '../../../../src/call-manager/calls/types.ts';
import type { CallId, CallRecord } from '../../../../src/domain/call.ts';
import { limits } from '../../../../src/domain/limits.ts';

const media = { server: 'media-1', ng: '10.0.0.1:2223', sdp: 'v=0', moving: false };
const names = ['first', 'second', 'third'];

function begin(trunks = names): Call {
  const { call } = startCall({
    ...{ id: 'call-1' as CallId, from: '1001', fromName: '', to: '030', hops: 69, breadth: 60 },
    ...{ at: 0, deadlineAt: 60_000, callerDialogId: 'A;from-tag=1', trunk: null },
    route: { kind: 'trunks', targets: trunks.map((trunk) => ({ trunk, uri: `sip:030@${trunk}` })) },
  });
  return step(call, { type: 'mediaOffered', media }).call;
}

function feed(call: Call, ...events: CallEvent[]) {
  const effects: CallEffect[] = [];
  let now = call;
  for (const event of events) {
    const next = step(now, event);
    now = next.call;
    effects.push(...next.effects);
  }
  return { call: now, effects };
}

const dialled = (effects: CallEffect[]) =>
  effects.flatMap((one) => (one.type === 'dialLeg' ? [one.uri] : []));
const cdrOf = (effects: CallEffect[]) =>
  effects.flatMap((one) => (one.type === 'commitEnd' ? [one.cdr] : []))[0];

test.each([408, 500, 503, 401, 407])('after %i the next trunk is dialled', (status) => {
  const { call, effects } = feed(begin(), { type: 'legFailed', leg: 1, status, at: 5 });
  expect(effects.map((one) => one.type)).toEqual(['commit', 'dialLeg']);
  expect(dialled(effects)).toEqual(['sip:030@second']);
  expect(call.later.map((one) => one.trunk)).toEqual(['third']);
});

test.each([486, 404, 403, 480, 603])('after %i no other trunk is tried', (status) => {
  const { call, effects } = feed(begin(), { type: 'legFailed', leg: 1, status, at: 5 });
  expect(call.state).toBe('ended');
  expect(dialled(effects)).toEqual([]);
  expect(cdrOf(effects)).toMatchObject({ fromTrunk: null, toTrunk: 'first' });
});

test('when all trunks have failed the call fails, and names the last', () => {
  const failed = [1, 2, 3].map((leg) => ({ type: 'legFailed', leg, status: 503, at: 5 }) as const);
  const { call, effects } = feed(begin(), ...failed);
  expect(call.state).toBe('ended');
  expect(cdrOf(effects)).toMatchObject({ result: 'failed', endedBy: 'system', toTrunk: 'third' });
  expect(effects.at(-1)).toEqual({ type: 'rejectCaller', status: 500 });
});

test('a trunk that says nothing is left for the next, and hung up if it answers after all', () => {
  const late = limits.trunkSilenceMs;
  const { call, effects } = feed(begin(), { type: 'legSilent', leg: 1, at: late });
  expect(effects.map((one) => one.type)).toEqual(['commit', 'dialLeg', 'cancelLeg']);
  const answer = { type: 'legAnswered', leg: 1, dialogId: 'd', sdp: 'v=0', at: late + 1 } as const;
  expect(feed(call, answer).effects).toEqual([{ type: 'destroyLeg', leg: 1, dialogId: 'd' }]);
  expect(feed(call, { type: 'legFailed', leg: 1, status: 408, at: late }).call.state).toBe(
    'ringing',
  );
});

test('what the last trunk says is what the caller hears, not the silence before', () => {
  const silent = { type: 'legSilent', leg: 1, at: limits.trunkSilenceMs } as const;
  const gone = { type: 'legFailed', leg: 1, status: 487, at: 5000 } as const;
  const unknown = { type: 'legFailed', leg: 2, status: 404, at: 5000 } as const;
  const { effects } = feed(begin(), silent, gone, unknown);
  expect(effects.at(-1)).toEqual({ type: 'rejectCaller', status: 404 });
});

test('a trunk that was heard is waited for, and so is the last', () => {
  const at = limits.trunkSilenceMs;
  const heard = feed(begin(), { type: 'legHeard', leg: 1 }, { type: 'legSilent', leg: 1, at });
  expect(dialled(heard.effects)).toEqual([]);
  const early = feed(begin(), { type: 'legSilent', leg: 1, at: at - 1 });
  expect(dialled(early.effects)).toEqual([]);
  const last = feed(begin(['only']), { type: 'legSilent', leg: 1, at });
  expect(last.effects).toEqual([]);
});

test('the record says which trunks are left, so the next leader goes on with them', () => {
  const { effects } = feed(begin(), { type: 'legFailed', leg: 1, status: 503, at: 5 });
  const commit = effects.find((one) => one.type === 'commit');
  const record = JSON.parse(JSON.stringify(commit?.record)) as CallRecord;
  const resumed = feed(resumeCall(record).call, { type: 'invite' });
  expect(dialled(resumed.effects)).toEqual(['sip:030@second']);
  const failed = { type: 'legFailed', leg: 2, status: 503, at: 9 } as const;
  expect(dialled(feed(resumed.call, failed).effects)).toEqual(['sip:030@third']);
});

const event: fc.Arbitrary<CallEvent> = fc.oneof(
  fc.record({
    type: fc.constant('legFailed' as const),
    leg: fc.integer({ min: 1, max: 4 }),
    status: fc.constantFrom(401, 404, 408, 486, 500, 503, 603),
    at: fc.nat(9000),
  }),
  fc.record({
    type: fc.constant('legSilent' as const),
    leg: fc.integer({ min: 1, max: 4 }),
    at: fc.nat(9000),
  }),
  fc.record({ type: fc.constant('legHeard' as const), leg: fc.integer({ min: 1, max: 4 }) }),
  fc
    .record({ leg: fc.integer({ min: 1, max: 4 }), at: fc.nat(9000) })
    .map((one) => ({ ...one, type: 'legAnswered', dialogId: `d${one.leg}`, sdp: 'v=0' }) as const),
  fc.constant<CallEvent>({ type: 'mediaAnswered', sdp: 'v=0' }),
  fc.record({ type: fc.constant('cancelled' as const), at: fc.nat(9000) }),
);

test('whatever happens, trunks are dialled once each, in order, one open at a time', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 20 }), (events) => {
      let call = begin();
      const uris = ['sip:030@first'];
      let ends = 0;
      for (const each of events) {
        const next = step(call, each);
        call = next.call;
        uris.push(...dialled(next.effects));
        ends += next.effects.filter((one) => one.type === 'commitEnd').length;
        const uses = names.map((name) => usesOf(call, name));
        expect(uses.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(1);
        if (call.state !== 'ended') {
          expect(recordOf(call)?.later?.length ?? 0).toBe(call.later.length);
        }
      }
      expect(uris).toEqual(names.slice(0, uris.length).map((name) => `sip:030@${name}`));
      expect(ends).toBe(call.state === 'ended' ? 1 : 0);
    }),
    { numRuns: 300 },
  );
});

test('a refusal by a person is never a failure of the trunk', () => {
  expect([404, 480, 484, 486, 487, 488, 600, 603].some(isTrunkFailure)).toBe(false);
});
