/** How the caller is connected to the device that answered, and what is kept of it. Pure. */
import { type CallRecord, isOpen } from '../../domain/call.ts';
import { limits } from '../../domain/limits.ts';
import type { Call, CallEffect, Step } from './types.ts';

/** The winner's answer is translated: commit it, then tell the caller and cancel the others. */
export function connectCaller(call: Call, sdp: string): Step {
  if (call.winner === null || call.caller !== 'waiting') {
    return { call, effects: [] };
  }
  const losers = call.legs.filter(isOpen);
  const next: Call = {
    ...call,
    state: 'answered',
    caller: 'connecting',
    legs: call.legs.map((leg) => (isOpen(leg) ? { ...leg, state: 'cancelled' as const } : leg)),
  };
  return {
    call: next,
    effects: [
      ...commit(next),
      { type: 'answerCaller', sdp },
      ...losers.map((leg): CallEffect => ({ type: 'cancelLeg', leg: leg.no })),
    ],
  };
}

/** What the store keeps of the call; null while nothing of it has to survive. */
export function recordOf(call: Call): CallRecord | null {
  if (call.media === null || (call.state !== 'ringing' && call.state !== 'answered')) {
    return null;
  }
  return {
    version: 1,
    id: call.id,
    state: call.state,
    from: call.from,
    fromName: call.fromName,
    to: call.to,
    hops: call.hops,
    ...(call.breadth === limits.breadthMax ? {} : { breadth: call.breadth }),
    startedAt: call.startedAt,
    answeredAt: call.answeredAt,
    deadlineAt: call.deadlineAt,
    callerDialogId: call.callerDialogId,
    media: call.media,
    legs: call.legs,
    winner: call.winner,
    ...(call.trunk === null ? {} : { trunk: call.trunk }),
    ...(call.later.length === 0 ? {} : { later: [...call.later] }),
  };
}

export function commit(call: Call): CallEffect[] {
  const record = recordOf(call);
  return record === null ? [] : [{ type: 'commit', record }];
}
