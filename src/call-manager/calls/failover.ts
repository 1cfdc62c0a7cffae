/**
 * A call over trunks: one is dialled, and when it fails the next. A person's refusal is an answer
 * and not a failure of the trunk. Pure.
 */
import { isOpen, type Leg, type TrunkTarget } from '../../domain/call.ts';
import { limits } from '../../domain/limits.ts';
import { commit } from './answering.ts';
import type { Call, Step } from './types.ts';

export function trunkLeg(no: number, { trunk, uri }: TrunkTarget, at: number): Leg {
  const silentAt = at + limits.trunkSilenceMs;
  return { no, uri, state: 'dialing', status: null, dialogId: null, trunk, silentAt };
}

/** Whether another trunk may do better: a broken one, or one that does not take our password. */
export function isTrunkFailure(status: number): boolean {
  return status === 401 || status === 407 || status === 408 || (status >= 500 && status < 600);
}

/** The next trunk after one that failed; null when there is none or it did not fail. */
export function afterTrunkFailure(call: Call, no: number, at: number): Step | null {
  const leg = call.legs.find((one) => one.no === no);
  const isFailure = leg?.trunk !== undefined && isTrunkFailure(leg.status ?? 0);
  return isFailure ? nextTrunk(call, at) : null;
}

/** A trunk that says nothing is left for the next one; the last one is waited for. */
export function afterTrunkSilence(call: Call, no: number, at: number): Step {
  const leg = call.legs.find((one) => one.no === no);
  const stay = { call, effects: [] };
  if (leg === undefined || !isSilent(call, leg, at)) {
    return stay;
  }
  const legs = call.legs.map((one) =>
    one.no === no ? { ...one, state: 'cancelled' as const, status: 408 } : one,
  );
  const next = nextTrunk({ ...call, legs }, at);
  return next === null
    ? stay
    : { ...next, effects: [...next.effects, { type: 'cancelLeg', leg: no }] };
}

/** Whether a leg is overdue with its first word, and another trunk is left. */
export function isSilent(call: Call, leg: Leg, at: number): boolean {
  const isWaiting = call.state === 'ringing' && call.winner === null && call.later.length > 0;
  const isOverdue = (leg.silentAt ?? Number.POSITIVE_INFINITY) <= at;
  return isWaiting && leg.state === 'dialing' && isOverdue;
}

function nextTrunk(call: Call, at: number): Step | null {
  const [target, ...later] = call.later;
  const isOver = call.winner !== null || call.state !== 'ringing' || call.caller === 'gone';
  if (target === undefined || isOver || call.legs.length >= limits.legsMax) {
    return null;
  }
  const leg = trunkLeg(call.legs.length + 1, target, at);
  // The caller may hear what the next one sends before the answer.
  const next: Call = { ...call, later, earlyLeg: null, legs: [...call.legs, leg] };
  return {
    call: next,
    effects: [...commit(next), { type: 'dialLeg', leg: leg.no, uri: leg.uri }],
  };
}

/** Calls of a trunk are counted by what goes over it now: the caller, or a leg. */
export function usesOf(call: Call, trunk: string): number {
  const isCaller = call.trunk === trunk && call.state !== 'ended';
  const legs = call.legs.filter(
    (leg) => leg.trunk === trunk && (isOpen(leg) || leg.state === 'answered'),
  );
  return Number(isCaller) + legs.length;
}
