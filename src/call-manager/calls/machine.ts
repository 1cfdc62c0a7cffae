/**
 * The call machine: one caller, one or more devices, one media anchor. Pure.
 *
 *             mediaOffered             mediaAnswered
 *   routing ----------------> ringing ---------------> answered
 *      |                         |                        |
 *      +-------------------------+------------------------+---> ended
 *
 * Invariants (checked by property tests): one `commitEnd` a call; every leg that was dialled is
 * answered, cancelled, destroyed or failed by itself; the media session is deleted once; at
 * most one leg wins. Recovery is the same code: `resumeCall` restores the state from the record
 * and the INVITE that is delivered again repeats the effects, which are idempotent.
 */
import { type CallRecord, isOpen, type Leg, type LegState } from '../../domain/call.ts';
import { resultOfStatus } from '../../domain/cdr.ts';
import { limits } from '../../domain/limits.ts';
import { commit, connectCaller } from './answering.ts';
import { endCall, endUnanswered } from './ending.ts';
import { afterTrunkFailure, afterTrunkSilence, trunkLeg } from './failover.ts';
import { stepKept, withState } from './kept.ts';
import { stepModify } from './modify.ts';
import { beginMove, type MoveEvent, stepMove } from './move.ts';
import type { Call, CallEffect, CallEvent, NewCall, Step } from './types.ts';

/** A new call: asks for media, or ends at once when the route refuses it. */
export function startCall(input: NewCall): Step {
  const { route, at, ...identity } = input;
  const [first, ...later] = route.kind === 'trunks' ? route.targets : [];
  const uris = route.kind === 'devices' ? route.uris.slice(0, limits.legsMax) : [];
  const devices = uris.map((uri, i) => newLeg(i + 1, uri));
  const call: Call = {
    ...identity,
    state: 'routing',
    startedAt: at,
    answeredAt: null,
    caller: 'waiting',
    media: null,
    mediaOpen: false,
    legs: first === undefined ? devices : [trunkLeg(1, first, at)],
    later,
    winner: null,
    earlyLeg: null,
    modification: null,
    move: null,
  };
  if (route.kind === 'refuse') {
    const result = resultOfStatus(route.status);
    return endCall(call, { at, result, endedBy: 'system', status: route.status });
  }
  return { call: { ...call, mediaOpen: true }, effects: [{ type: 'offerMedia' }] };
}

/** The call as its record tells it, after a takeover. */
export function resumeCall(record: CallRecord): Step {
  const { version: _, ...fields } = record;
  const call: Call = {
    ...fields,
    breadth: record.breadth ?? limits.breadthMax,
    trunk: record.trunk ?? null,
    later: record.later ?? [],
    caller: 'away',
    mediaOpen: true,
    earlyLeg: null,
    modification: null,
    move: null,
  };
  // Losers whose end was never confirmed: the CANCEL may not have left.
  const effects = call.legs
    .filter((leg) => leg.state === 'cancelled')
    .map((leg): CallEffect => ({ type: 'cancelLeg', leg: leg.no }));
  return { call, effects };
}

export function step(call: Call, event: CallEvent): Step {
  if (call.state === 'ended') {
    return stepEnded(call, event);
  }
  if (call.move !== null && isMoveEvent(event)) {
    return stepMove(call, call.move, event);
  }
  switch (event.type) {
    case 'invite':
      return inviteAgain(call);
    case 'mediaOffered':
    case 'mediaRefused':
    case 'earlyMedia':
    case 'mediaAnswered':
      return stepMedia(call, event);
    case 'legRinging':
    case 'legProgress':
      return legRings(call, event);
    case 'legAnswered':
      return legAnswered(call, event);
    case 'legHeard':
      return { call: changed(call, event.leg, { silentAt: null }), effects: [] };
    case 'legSilent':
      return afterTrunkSilence(call, event.leg, event.at);
    case 'legFailed':
      return legFailed(call, event.leg, event.status, event.at);
    case 'callerConnected':
      return { call: { ...call, caller: 'connected' }, effects: [] };
    case 'callerLost':
    case 'cancelled':
      return callerGivesUp(call, event.at);
    case 'bye':
      return hangUp(call, event);
    case 'modify':
    case 'modifyOffered':
    case 'modifyAccepted':
    case 'modifyAnswered':
    case 'modifyRefused':
      return stepModify(call, event);
    case 'mediaLost':
      return beginMove(call);
    case 'mediaMoved':
    case 'moveAssumed':
    case 'moveFailed':
      return { call, effects: [] };
    case 'mediaKept':
    case 'mediaStale':
    case 'mediaTaken':
      return stepKept(call, event);
    case 'deadline':
      return deadline(call, event.at);
    case 'orphaned':
      return orphaned(call, event.at);
    case 'failed':
      return failed(call, event.status, event.at);
    default:
      return event satisfies never;
  }
}

function isMoveEvent(event: CallEvent): event is MoveEvent {
  const { type } = event;
  const ofMove = type === 'mediaMoved' || type === 'moveAssumed' || type === 'moveFailed';
  return ofMove || (type.startsWith('modify') && type !== 'modify');
}

/** Late events: whatever turns up after the end is put away. */
function stepEnded(call: Call, event: CallEvent): Step {
  switch (event.type) {
    case 'legAnswered': {
      const { leg, dialogId } = event;
      return { call, effects: [{ type: 'destroyLeg', leg, dialogId }] };
    }
    case 'callerConnected': {
      const dialogId = call.callerDialogId;
      return { call, effects: [{ type: 'destroyLeg', leg: 0, dialogId }] };
    }
    case 'bye':
      return { call, effects: [{ type: 'forgetDialog', dialogId: event.dialogId }] };
    case 'modify':
      return { call, effects: [{ type: 'modifyReject', leg: event.leg, status: 481 }] };
    default:
      return { call, effects: [] };
  }
}

/** After a takeover the open legs are dialled again: the engine attaches them by their key. */
function inviteAgain(call: Call): Step {
  if (call.caller !== 'away') {
    return { call, effects: [] };
  }
  const open = call.legs.filter((leg) => isOpen(leg) || leg.no === call.winner);
  return {
    call: { ...call, caller: 'waiting' },
    effects: open.map((leg) => ({ type: 'dialLeg', leg: leg.no, uri: leg.uri })),
  };
}

type MediaEvent = Extract<
  CallEvent,
  { type: 'mediaOffered' | 'mediaRefused' | 'earlyMedia' | 'mediaAnswered' }
>;

function stepMedia(call: Call, event: MediaEvent): Step {
  switch (event.type) {
    case 'mediaOffered': {
      if (call.state !== 'routing') {
        return { call, effects: [] };
      }
      const next: Call = { ...call, state: 'ringing', media: event.media };
      const dial = next.legs.map(
        (leg): CallEffect => ({ type: 'dialLeg', leg: leg.no, uri: leg.uri }),
      );
      return { call: next, effects: [...commit(next), ...dial] };
    }
    case 'mediaRefused': {
      const { at, status } = event;
      if (event.silent && call.winner !== null && call.move === null) {
        // The server died while it rang: the device is moved to another, then connected.
        return beginMove(call);
      }
      return endCall(call, { at, status, result: 'failed', endedBy: 'system' });
    }
    case 'earlyMedia':
      return call.state === 'ringing' && call.winner === null && call.caller === 'waiting'
        ? { call, effects: [{ type: 'ringCaller', status: 183, sdp: event.sdp }] }
        : { call, effects: [] };
    case 'mediaAnswered':
      return connectCaller(withState(call, event.state), event.sdp);
    default:
      return event satisfies never;
  }
}

function legRings(
  call: Call,
  event: Extract<CallEvent, { type: 'legRinging' | 'legProgress' }>,
): Step {
  const leg = findLeg(call, event.leg);
  if (leg === undefined || !isOpen(leg) || call.winner !== null) {
    return { call, effects: [] };
  }
  const next = changeLeg(call, leg.no, 'ringing', null);
  if (event.type === 'legProgress' && (call.earlyLeg === null || call.earlyLeg === leg.no)) {
    return {
      call: { ...next, earlyLeg: leg.no },
      effects: [{ type: 'answerEarly', leg: leg.no, sdp: event.sdp }],
    };
  }
  if (call.caller !== 'waiting' || call.earlyLeg !== null) {
    return { call: next, effects: [] };
  }
  const status = event.type === 'legRinging' ? event.status : 180;
  return { call: next, effects: [{ type: 'ringCaller', status, sdp: null }] };
}

/** The first answer wins; any other, however it got past its CANCEL, is hung up. */
function legAnswered(call: Call, event: Extract<CallEvent, { type: 'legAnswered' }>): Step {
  const leg = findLeg(call, event.leg);
  const dialled = leg !== undefined && call.state !== 'routing';
  const wins = call.winner === null && dialled && isOpen(leg);
  const again = leg !== undefined && call.winner === leg.no && call.caller === 'waiting';
  if (!wins && !again) {
    const next = leg === undefined ? call : changeLeg(call, leg.no, 'ended', null);
    const lost = event.leg !== call.winner;
    return {
      call: lost ? next : call,
      effects: lost ? [{ type: 'destroyLeg', leg: event.leg, dialogId: event.dialogId }] : [],
    };
  }
  const next: Call = {
    ...call,
    winner: event.leg,
    answeredAt: call.answeredAt ?? event.at,
    legs: call.legs.map((each) =>
      each.no === event.leg ? { ...each, state: 'answered', dialogId: event.dialogId } : each,
    ),
  };
  return { call: next, effects: [{ type: 'answerMedia', leg: event.leg, sdp: event.sdp }] };
}

function legFailed(call: Call, no: number, status: number, at: number): Step {
  const leg = findLeg(call, no);
  if (leg === undefined || !(isOpen(leg) || leg.state === 'cancelled' || no === call.winner)) {
    return { call, effects: [] };
  }
  const next = changeLeg(call, no, 'failed', status);
  if (no === call.winner) {
    // Only after a takeover: the winner's dialog was gone when it was dialled again.
    return endCall(next, { at, status: 480, result: 'failed', endedBy: 'system' });
  }
  if (call.winner === null && status >= 600) {
    // RFC 3261 section 16.7: a 6xx speaks for the user, so the other devices stop ringing.
    return endUnanswered(next, at);
  }
  if (call.winner === null && !next.legs.some(isOpen)) {
    return afterTrunkFailure(next, no, at) ?? endUnanswered(next, at);
  }
  // So that a takeover neither rings a device again that refused, nor cancels one twice.
  return { call: next, effects: commit(next) };
}

function callerGivesUp(call: Call, at: number): Step {
  if (call.caller === 'connected') {
    return { call, effects: [] };
  }
  return endCall({ ...call, caller: 'gone' }, cancelledAt(at));
}

function cancelledAt(at: number) {
  return { at, status: null, result: 'cancelled', endedBy: 'caller' } as const;
}

function hangUp(call: Call, event: Extract<CallEvent, { type: 'bye' }>): Step {
  const { leg, dialogId, at } = event;
  if (leg !== 0 && leg !== call.winner) {
    // A device that lost the race hung up before our BYE reached it.
    return { call, effects: [{ type: 'forgetDialog', dialogId }] };
  }
  const hungUp = { leg, dialogId };
  const person = leg === 0 ? 'caller' : 'callee';
  const endedBy = event.bySystem ? 'system' : person;
  return call.state === 'answered'
    ? endCall(call, { at, hungUp, endedBy, status: 480, result: 'answered' })
    : endCall(call, { at, hungUp, endedBy, status: 480, result: 'failed' });
}

function deadline(call: Call, at: number): Step {
  if (call.winner !== null || call.state === 'answered' || at < call.deadlineAt) {
    return { call, effects: [] };
  }
  return endCall(call, { at, status: 480, result: 'no-answer', endedBy: 'system' });
}

function orphaned(call: Call, at: number): Step {
  // An INVITE that is gone without our final answer was cancelled while nobody led.
  return call.state === 'answered'
    ? endCall(call, { at, status: null, result: 'answered', endedBy: 'system' })
    : endCall(call, cancelledAt(at));
}

function failed(call: Call, status: number, at: number): Step {
  if (call.caller === 'connected') {
    return { call, effects: [] };
  }
  // The effects behind the failed commit were not carried out: open what they had closed.
  const caller = call.caller === 'connecting' ? 'waiting' : call.caller;
  const legs = call.legs.map((leg) =>
    leg.state === 'cancelled' ? { ...leg, state: 'ringing' as const } : leg,
  );
  return endCall({ ...call, caller, legs }, { at, status, result: 'failed', endedBy: 'system' });
}

function newLeg(no: number, uri: string): Leg {
  return { no, uri, state: 'dialing', status: null, dialogId: null };
}

function findLeg(call: Call, no: number): Leg | undefined {
  return call.legs.find((leg) => leg.no === no);
}

function changeLeg(call: Call, no: number, state: LegState, status: number | null): Call {
  return changed(call, no, { state, status });
}

function changed(call: Call, no: number, change: Partial<Leg>): Call {
  return {
    ...call,
    legs: call.legs.map((leg) => (leg.no === no ? { ...leg, ...change } : leg)),
  };
}
