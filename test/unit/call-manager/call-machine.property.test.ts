import fc from 'fast-check';
import { expect, test } from 'vitest';
import { recordOf } from '../../../src/call-manager/calls/answering.ts';
import { resumeCall, startCall, step } from '../../../src/call-manager/calls/machine.ts';
import type {
  Call,
  CallEffect,
  CallEvent,
  NewCall,
} from '../../../src/call-manager/calls/types.ts';
import type { CallId } from '../../../src/domain/call.ts';

const legs = fc.integer({ min: 0, max: 4 });
const at = fc.integer({ min: 0, max: 100_000 });
const status = fc.constantFrom(301, 401, 404, 408, 480, 486, 487, 488, 500, 503, 600, 603);
const dialogOf = (leg: number) => `dialog-${leg}`;

const event: fc.Arbitrary<CallEvent> = fc.oneof(
  fc.constant<CallEvent>({ type: 'invite' }),
  fc.constant<CallEvent>({
    type: 'mediaOffered',
    media: { server: 'media-1', ng: '10.0.0.1:2223', sdp: 'v=0', moving: false },
  }),
  fc.record({
    type: fc.constant('mediaRefused' as const),
    status,
    silent: fc.boolean(),
    at,
  }),
  fc.record({ type: fc.constant('legRinging' as const), leg: legs, status: fc.constant(180) }),
  fc.record({ type: fc.constant('legProgress' as const), leg: legs, sdp: fc.constant('v=0') }),
  fc.record({ type: fc.constant('earlyMedia' as const), leg: legs, sdp: fc.constant('v=0') }),
  fc.record({ type: fc.constant('legAnswered' as const), leg: legs, at }).map((e) => ({
    ...e,
    dialogId: dialogOf(e.leg),
    sdp: 'v=0',
  })),
  fc.constant<CallEvent>({ type: 'mediaAnswered', sdp: 'v=0' }),
  fc.constant<CallEvent>({ type: 'callerConnected' }),
  fc.record({ type: fc.constant('callerLost' as const), at }),
  fc.record({ type: fc.constant('legFailed' as const), leg: legs, status, at }),
  fc.record({ type: fc.constant('cancelled' as const), at }),
  fc
    .record({ type: fc.constant('bye' as const), leg: legs, bySystem: fc.boolean(), at })
    .map((e) => ({ ...e, dialogId: dialogOf(e.leg) })),
  fc.record({ type: fc.constant('modify' as const), leg: legs, sdp: fc.constant('v=0') }),
  fc.constant<CallEvent>({ type: 'modifyOffered', sdp: 'v=0' }),
  fc.record({ type: fc.constant('modifyAccepted' as const), leg: legs, sdp: fc.constant('v=0') }),
  fc.constant<CallEvent>({ type: 'modifyAnswered', sdp: 'v=0' }),
  fc.record({ type: fc.constant('modifyRefused' as const), leg: legs, status, at }),
  fc.constant<CallEvent>({ type: 'mediaLost' }),
  fc.constant<CallEvent>({
    type: 'mediaMoved',
    media: { server: 'media-2', ng: '10.0.0.2:2223', sdp: 'v=0', moving: false },
  }),
  fc.constantFrom('v=0', 'v=1').map((sdp): CallEvent => ({ type: 'moveAssumed', sdp })),
  fc.record({ type: fc.constant('moveFailed' as const), at }),
  fc.record({ type: fc.constant('deadline' as const), at }),
  fc.record({ type: fc.constant('failed' as const), status, at }),
);

function newCall(devices: number): NewCall {
  return {
    id: 'call-1' as CallId,
    from: '1001',
    fromName: 'Ada',
    to: '1002',
    hops: 69,
    breadth: 60,
    at: 0,
    deadlineAt: 60_000,
    callerDialogId: dialogOf(0),
    trunk: null,
    route: {
      kind: 'devices',
      uris: Array.from({ length: devices }, (_, i) => `sip:1002@10.0.0.${i + 1}`),
    },
  };
}

interface Run {
  call: Call;
  effects: CallEffect[];
  answered: number[];
  failed: number[];
}

/** Plays the events, optionally loses the process after some, and hangs up at the end. */
function play(devices: number, events: readonly CallEvent[], crashAfter: number | null): Run {
  const first = startCall(newCall(devices));
  const run: Run = { call: first.call, effects: [...first.effects], answered: [], failed: [] };
  const feed = (event: CallEvent) => {
    const next = step(run.call, event);
    run.call = next.call;
    run.effects.push(...next.effects);
    if (event.type === 'legAnswered') {
      run.answered.push(event.leg);
    }
    if (event.type === 'legFailed') {
      run.failed.push(event.leg);
    }
  };
  for (const [i, event] of events.entries()) {
    feed(event);
    const record = i === crashAfter ? recordOf(run.call) : null;
    if (record !== null) {
      const resumed = resumeCall(JSON.parse(JSON.stringify(record)));
      run.call = resumed.call;
      run.effects.push(...resumed.effects);
    }
  }
  feed({ type: 'orphaned', at: 200_000 });
  return run;
}

const sequences = fc.array(event, { maxLength: 40 });

test('every call ends with exactly one record of its end', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), sequences, fc.nat(39), (n, events, crash) => {
      const { call, effects } = play(n, events, crash);
      expect(call.state).toBe('ended');
      expect(effects.filter((effect) => effect.type === 'commitEnd')).toHaveLength(1);
    }),
    { numRuns: 2000 },
  );
});

test('the media session is deleted once, whatever happened', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), sequences, (n, events) => {
      const { effects } = play(n, events, null);
      expect(effects.filter((effect) => effect.type === 'deleteMedia')).toHaveLength(1);
    }),
    { numRuns: 2000 },
  );
});

test('no dialled leg is left alone: it was answered or failed, or it is cancelled', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), sequences, (n, events) => {
      const { effects, answered, failed } = play(n, events, null);
      const dialled = effects.filter((effect) => effect.type === 'dialLeg');
      for (const { leg } of dialled) {
        const cancelled = effects.some((e) => e.type === 'cancelLeg' && e.leg === leg);
        expect(cancelled || answered.includes(leg) || failed.includes(leg)).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});

test('every answer is the winner until its end or is hung up', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), sequences, (n, events) => {
      const { effects, answered } = play(n, events, null);
      const hungUp = events.filter((e) => e.type === 'bye').map((e) => e.leg);
      const broken = events.filter((e) => e.type === 'legFailed').map((e) => e.leg);
      for (const leg of answered) {
        const destroyed = effects.some((e) => e.type === 'destroyLeg' && e.leg === leg);
        expect(destroyed || hungUp.includes(leg) || broken.includes(leg)).toBe(true);
      }
    }),
    { numRuns: 2000 },
  );
});

test('there is never a second winner, and a record is committed before the caller is answered', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), sequences, fc.nat(39), (n, events, crash) => {
      const { effects } = play(n, events, crash);
      const winners = new Set(
        effects.flatMap((e) => (e.type === 'commit' ? [e.record.winner] : [])),
      );
      winners.delete(null);
      expect(winners.size).toBeLessThanOrEqual(1);
      const answer = effects.findIndex((e) => e.type === 'answerCaller');
      if (answer >= 0) {
        const before = effects.slice(0, answer);
        expect(before.some((e) => e.type === 'commit' && e.record.state === 'answered')).toBe(true);
      }
      const dial = effects.findIndex((e) => e.type === 'dialLeg');
      const commit = effects.findIndex((e) => e.type === 'commit');
      expect(dial < 0 || commit < dial).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test('the caller gets at most one final answer', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), sequences, (n, events) => {
      const { effects } = play(n, events, null);
      const finals = effects.filter((e) => e.type === 'answerCaller' || e.type === 'rejectCaller');
      const gaveUp = events.some((e) => e.type === 'failed');
      // A failed commit keeps the answer in front of it from being sent, so a refusal may follow.
      expect(finals.length).toBeLessThanOrEqual(gaveUp ? 2 : 1);
    }),
    { numRuns: 2000 },
  );
});
