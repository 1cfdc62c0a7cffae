/** How a call ends: what is torn down, in which order, and what its record says. Pure. */
import { isOpen, type Leg } from '../../domain/call.ts';
import { type CdrResult, type EndedBy, resultOfStatus } from '../../domain/cdr.ts';
import type { Call, CallEffect, Step } from './types.ts';

export interface Ending {
  at: number;
  result: CdrResult;
  endedBy: EndedBy;
  /** Answer to the caller's INVITE if it is still open. */
  status: number | null;
  /** The leg whose BYE ended the call. */
  hungUp?: { leg: number; dialogId: string };
}

/**
 * Ends the call. Legs and media are released first, so that a takeover in between finds the
 * record and repeats it; then one entry ends the call; only then the caller is told, because a
 * final answer stops its retransmissions.
 */
export function endCall(call: Call, ending: Ending): Step {
  const hungUp = ending.hungUp?.leg ?? null;
  const winner = call.legs.find((leg) => leg.no === call.winner);
  const effects: CallEffect[] = releaseLegs(call, hungUp);
  const callerTalks =
    call.caller === 'connected' || (call.caller === 'away' && call.state === 'answered');
  if (callerTalks && hungUp !== 0) {
    effects.push({ type: 'destroyLeg', leg: 0, dialogId: call.callerDialogId });
  }
  const modifying = call.modification?.leg ?? null;
  if (modifying !== null && modifying !== hungUp) {
    // RFC 3261 section 15.1.2: pending requests of the dialog get a 487.
    effects.push({ type: 'modifyReject', leg: modifying, status: 487 });
  }
  if (call.mediaOpen) {
    effects.push({ type: 'deleteMedia' });
  }
  effects.push({
    type: 'commitEnd',
    cdr: {
      id: call.id,
      from: call.from,
      to: call.to,
      startedAt: call.startedAt,
      answeredAt: ending.result === 'answered' ? call.answeredAt : null,
      endedAt: Math.max(ending.at, call.startedAt),
      result: ending.result,
      endedBy: ending.endedBy,
      fromTrunk: call.trunk,
      toTrunk: (winner ?? call.legs.at(-1))?.trunk ?? null,
    },
    dialogIds: ending.hungUp === undefined ? [] : [ending.hungUp.dialogId],
  });
  if (call.caller === 'waiting' && ending.status !== null) {
    effects.push({ type: 'rejectCaller', status: ending.status });
  }
  return {
    call: {
      ...call,
      state: 'ended',
      mediaOpen: false,
      modification: null,
      move: null,
      legs: call.legs.map((leg) => released(leg)),
    },
    effects,
  };
}

function releaseLegs(call: Call, hungUp: number | null): CallEffect[] {
  const effects: CallEffect[] = [];
  for (const leg of call.legs) {
    if (isOpen(leg)) {
      effects.push({ type: 'cancelLeg', leg: leg.no });
    } else if (leg.state === 'answered' && leg.no !== hungUp && leg.dialogId !== null) {
      effects.push({ type: 'destroyLeg', leg: leg.no, dialogId: leg.dialogId });
    }
  }
  return effects;
}

function released(leg: Leg): Leg {
  if (isOpen(leg)) {
    return { ...leg, state: 'cancelled' };
  }
  return leg.state === 'answered' ? { ...leg, state: 'ended' } : leg;
}

/** Ends a call nobody answered with the best of the devices' answers. */
export function endUnanswered(call: Call, at: number): Step {
  const last = call.legs.at(-1);
  // Of trunks, which are tried in turn, the last one has the last word.
  const legs = last?.trunk === undefined ? call.legs : [last];
  const status = bestStatus(legs.map((leg) => leg.status ?? 480));
  return endCall(call, {
    at,
    result: resultOfStatus(status),
    endedBy: status === 408 || status >= 500 ? 'system' : 'callee',
    status,
  });
}

/**
 * The answer that represents all devices, RFC 3261 section 16.7: a 6xx ends the search, busy
 * says most to a person, else the lowest class.
 */
export function bestStatus(statuses: readonly number[]): number {
  const meaningful = statuses.map(forCaller);
  const global = meaningful.find((status) => status >= 600);
  if (global !== undefined) {
    return global;
  }
  if (meaningful.includes(486)) {
    return 486;
  }
  return meaningful.reduce(
    (best, status) => (Math.floor(status / 100) < Math.floor(best / 100) ? status : best),
    meaningful[0] ?? 480,
  );
}

/** Leaves out what concerns only the leg: a redirection, a challenge, its own transport. */
function forCaller(status: number): number {
  if (status < 400 || status === 401 || status === 407 || status === 481 || status === 487) {
    return 480;
  }
  return status === 503 ? 500 : status;
}
