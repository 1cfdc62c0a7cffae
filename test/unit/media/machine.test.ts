import { expect, test } from 'vitest';
import { capacityOf, mediaMetrics, startedState, stepMedia } from '../../../src/media/machine.ts';

test('a silent session is reported and counted', () => {
  const { state, effects } = stepMedia(startedState, {
    type: 'timeout',
    callId: 'call-1',
    silentS: 60,
  });
  expect(state.timeouts).toBe(1);
  expect(effects).toEqual([{ type: 'report', callId: 'call-1', reason: 'silent' }]);
});

test('a session whose thread failed is reported and counted', () => {
  const { state, effects } = stepMedia(startedState, { type: 'lost', callId: 'call-1' });
  expect(state.lost).toBe(1);
  expect(effects).toEqual([{ type: 'report', callId: 'call-1', reason: 'failed' }]);
});

test('a session that a command has changed is told to call control', () => {
  const { state, effects } = stepMedia(startedState, { type: 'changed', callId: 'call-1' });
  expect(state).toEqual(startedState);
  expect(effects).toEqual([{ type: 'tellChanged', callId: 'call-1' }]);
});

test('digits and clips that ended are counted', () => {
  const [callId, tag] = ['call-1', 'a'];
  const digit = { type: 'dtmf', callId, tag, digit: '5', durationMs: 100, inBand: false } as const;
  const { state } = stepMedia(startedState, digit);
  const ended = stepMedia(state, { type: 'playEnd', callId, tag, playedMs: 20 });
  expect(ended.state).toEqual({ ...startedState, digits: 1, played: 1 });
  expect(ended.effects).toEqual([]);
});

test('who comes into rooms and leaves them is counted', () => {
  const [room, callId, tag] = ['room-1', 'call-1', 'a'];
  const events = [
    { type: 'roomJoined', room, callId, tag },
    { type: 'roomTalking', room, callId, tag, talking: true },
    { type: 'roomSpeaker', room, callId, tag },
    { type: 'roomPlayEnd', room, playedMs: 20 },
    { type: 'roomLeft', room, callId, tag, reason: 'gone' },
  ] as const;
  const end = events.reduce((state, event) => stepMedia(state, event).state, startedState);
  expect(end).toEqual({ ...startedState, joined: 1, left: 1 });
});

test.each([
  [{ from: 20_000, to: 59_999 }, 10_000],
  [{ from: 20_000, to: 20_007 }, 2],
  [{ from: 20_000, to: 20_001 }, 1],
])('ports %j carry %i sessions', (ports, sessions) => {
  expect(capacityOf(ports)).toBe(sessions);
});

test('metrics are Prometheus text', () => {
  const text = mediaMetrics(startedState, 3);
  expect(text).toContain('raftpbx_media_lease_failures_total 3\n');
});
