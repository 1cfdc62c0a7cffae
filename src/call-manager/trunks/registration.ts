/**
 * One trunk's registration at its provider. Pure: what is known after an attempt, and when the
 * next one leaves. The state is in the store, so the next leader goes on where this one was.
 *
 *   due -> REGISTER -> 200: refreshed at three quarters of what was granted
 *                  \-> refused or silent: again after 5 s, 10 s, ... 5 min
 */
import { createHash } from 'node:crypto';
import { limits } from '../../domain/limits.ts';
import { type LeftTrunk, leftKey, type Trunk, type TrunkState } from '../../domain/trunk.ts';
import type { Command } from '../../native/index.ts';

/** What came of one REGISTER. */
export type Attempt =
  | { type: 'registered'; expiresS: number; address: string | null }
  | { type: 'refused'; status: number; reason: string; retryAfterS: number | null }
  /** The Contact was taken away, as asked. */
  | { type: 'gone' }
  /** 423: the provider wants fewer refreshes. */
  | { type: 'tooBrief'; minExpiresS: number }
  | { type: 'failed'; reason: string };

/** The state of a trunk that was never registered: due at once. */
export function newState(callId: string, at: number): TrunkState {
  const asking = { expiresS: limits.trunkExpiresS, callId, cseq: 0, address: null };
  const none = { registeredUntil: null, reason: null, failures: 0 };
  return { version: 1, state: 'failed', ...none, dueAt: at, ...asking };
}

export function afterAttempt(
  name: string,
  state: TrunkState,
  attempt: Attempt,
  { at, cseq }: { at: number; cseq: number },
): TrunkState {
  const next = { ...state, cseq };
  switch (attempt.type) {
    case 'registered': {
      const { expiresS, address } = attempt;
      const refreshMs = expiresS * 1000 * (0.7 + 0.1 * spread(name, at));
      const registeredUntil = at + expiresS * 1000;
      const well = { state: 'registered', reason: null, failures: 0, address } as const;
      return { ...next, ...well, registeredUntil, dueAt: Math.round(at + refreshMs) };
    }
    case 'tooBrief': {
      const isNew = attempt.minExpiresS > state.expiresS;
      return isNew
        ? { ...next, expiresS: attempt.minExpiresS, dueAt: at }
        : failed(name, next, { reason: '423 Interval Too Brief', waitMs: 0 }, at);
    }
    case 'refused': {
      const { status, reason, retryAfterS } = attempt;
      const isPassword = [401, 403, 404, 407].includes(status);
      const waitMs = Math.max(isPassword ? limits.trunkRefusedMs : 0, (retryAfterS ?? 0) * 1000);
      return failed(name, next, { reason: `${status} ${reason}`.trim(), waitMs }, at);
    }
    case 'failed':
      return failed(name, next, { reason: attempt.reason, waitMs: 0 }, at);
    case 'gone':
      return failed(name, next, { reason: 'the provider keeps no Contact', waitMs: 0 }, at);
    default:
      return attempt satisfies never;
  }
}

function failed(
  name: string,
  state: TrunkState,
  { reason, waitMs }: { reason: string; waitMs: number },
  at: number,
): TrunkState {
  const failures = state.failures + 1;
  const doubled = limits.trunkRetryMs * 2 ** Math.min(failures - 1, 16);
  const pauseMs = Math.max(waitMs, Math.min(doubled, limits.trunkRetryMsMax));
  // What was granted before may still hold: the provider has forgotten nothing.
  const holds = state.registeredUntil !== null && state.registeredUntil > at;
  const dueAt = Math.round(at + pauseMs * (0.75 + 0.5 * spread(name, failures)));
  return { ...state, state: holds ? 'registered' : 'failed', reason, failures, dueAt };
}

/** Between 0 and 1, from what is the same on every node: trunks do not all come at once. */
function spread(name: string, turn: number): number {
  return (createHash('md5').update(`${name} ${turn}`).digest()[0] ?? 0) / 255;
}

/** What is left to do after a trunk was to be taken away; null when nothing is, or in vain. */
export function afterLeaving(
  name: string,
  state: TrunkState,
  attempt: Attempt,
  { at, cseq }: { at: number; cseq: number },
): TrunkState | null {
  const isAnswer = attempt.type === 'refused' && attempt.status !== 408 && attempt.status < 500;
  const isOver = isAnswer || attempt.type === 'gone' || attempt.type === 'tooBrief';
  if (isOver || !isRegistered(state, at) || state.failures + 1 >= limits.trunkLeavingMax) {
    return null;
  }
  return afterAttempt(name, state, attempt, { at, cseq });
}

/** Of a trunk that is disabled now: due at once to be taken away; null when there is nothing. */
export function leavingState(state: TrunkState | null, at: number): TrunkState | null {
  return state !== null && isRegistered(state, at) ? { ...state, leaving: true, dueAt: at } : null;
}

/** Keeps a trunk that is removed until its provider has been told, or has forgotten it. */
export function keepLeft(trunk: Trunk, state: TrunkState): Command {
  const left: LeftTrunk = { version: 1, trunk, state };
  const until = String(state.registeredUntil ?? 0);
  return ['SET', leftKey(trunk.name, state), JSON.stringify(left), 'PXAT', until];
}

/** Whether the provider knows us now. */
export function isRegistered(state: TrunkState | null, at: number): boolean {
  return state?.registeredUntil !== null && (state?.registeredUntil ?? 0) > at;
}

/** Seconds granted by a 200: of our Contact, else of the answer, else what was asked for. */
export function grantedS(contact: string, expires: string, askedS: number): number {
  const own = /;\s*expires\s*=\s*"?(\d{1,9})/i.exec(contact)?.[1];
  const all = /^\s*(\d{1,9})\s*$/.exec(expires)?.[1];
  return Number(own ?? all ?? askedS);
}
