import { expect, test } from 'vitest';
import { recordOf } from '../../../src/call-manager/calls/answering.ts';
import { bestStatus } from '../../../src/call-manager/calls/ending.ts';
import { resumeCall, startCall, step } from '../../../src/call-manager/calls/machine.ts';
import type { Call, CallEffect, CallEvent, Route } from '../../../src/call-manager/calls/types.ts';
import { refuse } from '../../../src/call-manager/routing/refusal.ts';
import type { CallId } from '../../../src/domain/call.ts';

const media = { server: 'media-1', ng: '10.0.0.1:2223', sdp: 'offer for devices', moving: false };

function begin(route: Route = { kind: 'devices', uris: ['sip:a@h', 'sip:b@h'] }) {
  return startCall({
    id: 'call-1' as CallId,
    from: '1001',
    fromName: 'Ada',
    to: '1002',
    hops: 69,
    breadth: 60,
    at: 1000,
    deadlineAt: 61_000,
    callerDialogId: 'A;from-tag=1',
    trunk: null,
    route,
  });
}

/** Feeds events; answers the call and the effects of the last one. */
function feed(call: Call, ...events: CallEvent[]): { call: Call; effects: CallEffect[] } {
  let result = { call, effects: [] as CallEffect[] };
  for (const event of events) {
    result = step(result.call, event);
  }
  return result;
}

const answered = (leg: number, at = 5000): CallEvent => ({
  type: 'legAnswered',
  leg,
  dialogId: `B${leg};from-tag=1`,
  sdp: 'answer',
  at,
});
const talking: CallEvent[] = [
  { type: 'mediaOffered', media },
  answered(2),
  { type: 'mediaAnswered', sdp: 'answer for caller' },
  { type: 'callerConnected' },
];
const types = (effects: readonly CallEffect[]) => effects.map((effect) => effect.type);
const cdrOf = (effects: readonly CallEffect[]) =>
  effects.flatMap((effect) => (effect.type === 'commitEnd' ? [effect.cdr] : []))[0];

test('a call is committed before its devices are dialled', () => {
  const { effects } = feed(begin().call, { type: 'mediaOffered', media });
  expect(types(effects)).toEqual(['commit', 'dialLeg', 'dialLeg']);
});

test('the first answer is committed, then the caller is answered and the other device cancelled', () => {
  const { call, effects } = feed(begin().call, ...talking.slice(0, 3));
  expect(types(effects)).toEqual(['commit', 'answerCaller', 'cancelLeg']);
  expect(call).toMatchObject({ state: 'answered', winner: 2, answeredAt: 5000 });
});

test('an answer that crosses the cancel is hung up', () => {
  const { effects } = feed(begin().call, ...talking, answered(1));
  expect(effects).toEqual([{ type: 'destroyLeg', leg: 1, dialogId: 'B1;from-tag=1' }]);
});

test('the end by the caller releases device and media before it is committed', () => {
  const bye: CallEvent = {
    type: 'bye',
    leg: 0,
    dialogId: 'A;from-tag=1',
    bySystem: false,
    at: 9000,
  };
  const { effects } = feed(begin().call, ...talking, bye);
  expect(types(effects)).toEqual(['destroyLeg', 'deleteMedia', 'commitEnd']);
  expect(cdrOf(effects)).toEqual({
    id: 'call-1',
    from: '1001',
    to: '1002',
    startedAt: 1000,
    answeredAt: 5000,
    endedAt: 9000,
    result: 'answered',
    endedBy: 'caller',
    fromTrunk: null,
    toTrunk: null,
  });
  expect(effects.at(-1)).toMatchObject({ dialogIds: ['A;from-tag=1'] });
});

test.each([
  ['busy', 486, 'busy', 486],
  ['declined', 603, 'busy', 603],
  ['silent', 408, 'no-answer', 408],
  ['broken', 500, 'failed', 500],
])('a %s device ends the call as %s', (_name, status, result, told) => {
  const { call } = feed(begin({ kind: 'devices', uris: ['sip:a@h'] }).call, {
    type: 'mediaOffered',
    media,
  });
  const { effects } = feed(call, { type: 'legFailed', leg: 1, status, at: 3000 });
  expect(cdrOf(effects)?.result).toBe(result);
  expect(effects).toContainEqual({ type: 'rejectCaller', status: told });
});

test('one busy device leaves the other ringing', () => {
  const offered = feed(begin().call, { type: 'mediaOffered', media });
  const { call, effects } = feed(offered.call, {
    type: 'legFailed',
    leg: 1,
    status: 486,
    at: 3000,
  });
  expect(call.state).toBe('ringing');
  expect(types(effects)).toEqual(['commit']);
});

test('a cancelled call cancels its devices and tells the caller nothing', () => {
  const offered = feed(begin().call, { type: 'mediaOffered', media });
  const { effects } = feed(offered.call, { type: 'cancelled', at: 4000 });
  expect(types(effects)).toEqual(['cancelLeg', 'cancelLeg', 'deleteMedia', 'commitEnd']);
  expect(cdrOf(effects)).toMatchObject({ result: 'cancelled', endedBy: 'caller' });
});

test('nobody answers in time: not before the deadline, then 480', () => {
  const { call } = feed(begin().call, { type: 'mediaOffered', media });
  expect(feed(call, { type: 'deadline', at: 60_999 }).effects).toEqual([]);
  const { effects } = feed(call, { type: 'deadline', at: 61_000 });
  expect(cdrOf(effects)).toMatchObject({ result: 'no-answer', endedBy: 'system' });
  expect(effects).toContainEqual({ type: 'rejectCaller', status: 480 });
});

test('a refused route is recorded before the caller is told', () => {
  const { effects } = begin(refuse('PBX_USER_UNKNOWN'));
  expect(types(effects)).toEqual(['commitEnd', 'rejectCaller']);
  expect(cdrOf(effects)?.result).toBe('failed');
});

test('only the first device with early media is heard', () => {
  const { call } = feed(
    begin().call,
    { type: 'mediaOffered', media },
    { type: 'legProgress', leg: 1, sdp: 'early' },
  );
  expect(feed(call, { type: 'legProgress', leg: 2, sdp: 'other' }).effects).toEqual([]);
  expect(feed(call, { type: 'earlyMedia', leg: 1, sdp: 'heard' }).effects).toEqual([
    { type: 'ringCaller', status: 183, sdp: 'heard' },
  ]);
});

test('a re-INVITE passes through both parties, and a second one meanwhile gets 491', () => {
  let now = feed(begin().call, ...talking, { type: 'modify', leg: 0, sdp: 'hold' });
  expect(now.effects).toEqual([{ type: 'modifyOffer', leg: 0, sdp: 'hold' }]);
  expect(feed(now.call, { type: 'modify', leg: 2, sdp: 'x' }).effects).toEqual([
    { type: 'modifyReject', leg: 2, status: 491 },
  ]);
  now = feed(now.call, { type: 'modifyOffered', sdp: 'hold*' });
  expect(now.effects).toEqual([{ type: 'modifyLeg', leg: 2, sdp: 'hold*' }]);
  now = feed(now.call, { type: 'modifyAccepted', leg: 2, sdp: 'held' });
  expect(now.effects).toEqual([{ type: 'modifyAnswer', leg: 2, sdp: 'held' }]);
  now = feed(now.call, { type: 'modifyAnswered', sdp: 'held*' });
  expect(now.effects).toEqual([{ type: 'modifyAccept', leg: 0, sdp: 'held*' }]);
  expect(now.call.modification).toBeNull();
});

test('a refused re-INVITE passes its status back and the call goes on', () => {
  const asked = feed(
    begin().call,
    ...talking,
    { type: 'modify', leg: 2, sdp: 'hold' },
    { type: 'modifyOffered', sdp: 'hold*' },
  );
  const { call, effects } = feed(asked.call, { type: 'modifyRefused', leg: 0, status: 488, at: 1 });
  expect(effects).toEqual([{ type: 'modifyReject', leg: 2, status: 488 }]);
  expect(call).toMatchObject({ state: 'answered', modification: null });
});

const second = { server: 'media-2', ng: '10.0.0.2:2223', sdp: 'new offer', moving: false };

/** A call whose parties are being told of a new media server. */
function telling() {
  return feed(
    begin().call,
    ...talking,
    { type: 'mediaLost' },
    { type: 'mediaMoved', media: second },
  );
}

test('a call whose media server died moves both parties to another at once', () => {
  const lost = feed(begin().call, ...talking, { type: 'mediaLost' });
  expect(types(lost.effects)).toEqual(['moveMedia']);
  let now = feed(lost.call, { type: 'mediaMoved', media: second });
  expect(types(now.effects)).toEqual(['commit', 'modifyLeg', 'assumeAnswer']);
  expect(now.effects[1]).toMatchObject({ leg: 2, sdp: 'new offer' });
  expect(recordOf(now.call)?.media).toEqual({ ...second, moving: true });
  now = feed(now.call, { type: 'moveAssumed', sdp: 'o=1\nfor caller' });
  expect(now.effects).toEqual([{ type: 'modifyLeg', leg: 0, sdp: 'o=1\nfor caller' }]);
  now = feed(now.call, { type: 'modifyAccepted', leg: 2, sdp: 'device' });
  expect(now.effects).toEqual([{ type: 'modifyAnswer', leg: 2, sdp: 'device' }]);
  now = feed(now.call, { type: 'modifyAccepted', leg: 0, sdp: 'caller' });
  expect(now.effects).toEqual([]);
  now = feed(now.call, { type: 'modifyAnswered', sdp: 'o=2\nfor caller' });
  expect(types(now.effects)).toEqual(['commit', 'renewMedia']);
  expect(now.effects[1]).toMatchObject({ sdp: 'caller' });
  expect(recordOf(now.call)?.media).toEqual(second);
});

test('a device that says something else when its call moves has the caller told once more', () => {
  const assumed = feed(telling().call, { type: 'moveAssumed', sdp: 'old' });
  const device: CallEvent[] = [
    { type: 'modifyAccepted', leg: 2, sdp: 'device' },
    { type: 'modifyAnswered', sdp: 'new' },
  ];
  const told = [{ type: 'modifyLeg', leg: 0, sdp: 'new' }];
  const caller: CallEvent = { type: 'modifyAccepted', leg: 0, sdp: 'caller' };
  // Before the caller has answered, one re-INVITE follows the other; and after it.
  const early = feed(assumed.call, ...device);
  expect(early.effects).toEqual([]);
  const late = feed(assumed.call, caller, ...device);
  for (const { call, effects } of [feed(early.call, caller), late]) {
    expect(effects).toEqual(told);
    expect(types(feed(call, caller).effects)).toEqual(['commit', 'renewMedia']);
  }
});

test('where nothing can be assumed the caller is told when the device has answered', () => {
  const now = feed(
    telling().call,
    { type: 'modifyAccepted', leg: 2, sdp: 'device' },
    { type: 'modifyAnswered', sdp: 'for caller' },
  );
  expect(now.effects).toEqual([{ type: 'modifyLeg', leg: 0, sdp: 'for caller' }]);
  const late = feed(now.call, { type: 'moveAssumed', sdp: 'too late' });
  expect(late.effects).toEqual([]);
  const done = feed(late.call, { type: 'modifyAccepted', leg: 0, sdp: 'caller' });
  expect(types(done.effects)).toEqual(['commit', 'renewMedia']);
});

test('a re-INVITE during a move gets 491, a refused move leaves the call and is tried again', () => {
  const moving = feed(begin().call, ...talking, { type: 'mediaLost' });
  expect(feed(moving.call, { type: 'modify', leg: 0, sdp: 'x' }).effects).toEqual([
    { type: 'modifyReject', leg: 0, status: 491 },
  ]);
  const refused = feed(
    moving.call,
    { type: 'mediaMoved', media: second },
    { type: 'modifyRefused', leg: 0, status: 491, at: 9 },
  );
  expect(refused.call).toMatchObject({ state: 'answered', media: { moving: true } });
  expect(types(feed(refused.call, { type: 'mediaLost' }).effects)).toEqual(['moveMedia']);
});

test('a media server that died while it rang is replaced before the caller is connected', () => {
  const lost = feed(begin().call, { type: 'mediaOffered', media }, answered(2), {
    type: 'mediaRefused',
    status: 503,
    silent: true,
    at: 5001,
  });
  expect(types(lost.effects)).toEqual(['moveMedia']);
  const { call, effects } = feed(
    lost.call,
    { type: 'mediaMoved', media: second },
    { type: 'modifyAccepted', leg: 2, sdp: 'device' },
    { type: 'modifyAnswered', sdp: 'for caller' },
  );
  expect(types(effects)).toEqual(['commit', 'answerCaller', 'cancelLeg']);
  expect(call).toMatchObject({ state: 'answered', media: second, move: null });
});

test('a ringing call that was taken over dials its open devices again and goes on', () => {
  const ringing = feed(
    begin().call,
    { type: 'mediaOffered', media },
    { type: 'legFailed', leg: 1, status: 486, at: 2000 },
  );
  const record = recordOf(ringing.call);
  const resumed = resumeCall(JSON.parse(JSON.stringify(record)));
  expect(resumed.effects).toEqual([]);
  const again = feed(resumed.call, { type: 'invite' });
  expect(again.effects).toEqual([{ type: 'dialLeg', leg: 2, uri: 'sip:b@h' }]);
  const { effects } = feed(again.call, answered(2), { type: 'mediaAnswered', sdp: 'x' });
  expect(types(effects)).toEqual(['commit', 'answerCaller']);
});

test('an answer that was committed but not sent is sent after a takeover', () => {
  const answering = feed(begin().call, ...talking.slice(0, 3));
  const resumed = resumeCall(JSON.parse(JSON.stringify(recordOf(answering.call))));
  expect(resumed.effects).toEqual([{ type: 'cancelLeg', leg: 1 }]);
  const again = feed(resumed.call, { type: 'invite' });
  expect(again.effects).toEqual([{ type: 'dialLeg', leg: 2, uri: 'sip:b@h' }]);
  const { call, effects } = feed(again.call, answered(2, 7777), {
    type: 'mediaAnswered',
    sdp: 'x',
  });
  expect(types(effects)).toContain('answerCaller');
  expect(call.answeredAt).toBe(5000);
});

test('a call nobody came back for is ended as what it was', () => {
  const ringing = feed(begin().call, { type: 'mediaOffered', media });
  const orphan = resumeCall(JSON.parse(JSON.stringify(recordOf(ringing.call)))).call;
  expect(cdrOf(feed(orphan, { type: 'orphaned', at: 9 }).effects)?.result).toBe('cancelled');
  const talked = recordOf(feed(begin().call, ...talking).call);
  const lonely = resumeCall(JSON.parse(JSON.stringify(talked))).call;
  expect(cdrOf(feed(lonely, { type: 'orphaned', at: 9000 }).effects)?.result).toBe('answered');
});

test.each([
  [[486, 480], 486],
  [[404, 603], 603],
  [[500, 404], 404],
  [[401], 480],
  [[302], 480],
  [[503], 500],
  [[], 480],
])('of the answers %j the caller hears %i', (statuses, best) => {
  expect(bestStatus(statuses)).toBe(best);
});

test('what another media server needs is committed before the caller is answered', () => {
  const events = talking.slice(0, 2);
  const told: CallEvent = { type: 'mediaAnswered', sdp: 'answer for caller', state: 'written' };
  const { effects } = feed(begin().call, ...events, told);
  expect(types(effects)).toEqual(['commit', 'answerCaller', 'cancelLeg']);
  expect(effects[0]).toMatchObject({ record: { media: { server: 'media-1', state: 'written' } } });
});

test('another media server goes on under the same address without a word to the parties', () => {
  const before = feed(begin().call, ...talking).call;
  const kept = feed(before, { type: 'mediaKept', server: 'media-1', state: 'written' });
  expect(types(kept.effects)).toEqual(['commit']);
  const other = { server: 'media-2', ng: '10.0.0.2:2223' };
  const taken = feed(kept.call, { type: 'mediaTaken', from: 'media-1', ...other });
  expect(types(taken.effects)).toEqual(['commit', 'resumeMusic']);
  expect(taken.call.media).toEqual({ ...media, ...other, state: 'written' });
  const late = feed(taken.call, { type: 'mediaKept', server: 'media-1', state: 'old' });
  expect(late).toEqual({ call: taken.call, effects: [] });
});

test('what is not true any more is taken out of the record', () => {
  const kept = feed(begin().call, ...talking, {
    type: 'mediaKept',
    server: 'media-1',
    state: 'written',
  });
  const stale = feed(kept.call, { type: 'mediaStale' });
  expect(types(stale.effects)).toEqual(['commit']);
  expect(stale.call.media).toEqual(media);
  expect(feed(stale.call, { type: 'mediaStale' }).effects).toEqual([]);
});
