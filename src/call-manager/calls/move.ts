/**
 * Moves the audio of a call to another media server when its own has died. Pure.
 *
 *   mediaLost -> new server -> mediaMoved -+-> device -> modifyAccepted -> new server
 *                                          |            -> modifyAnswered
 *                                          +-> new server -> moveAssumed -> caller
 *                                                         -> modifyAccepted
 *
 * Both parties are told at once: what the caller is told follows from what the device said last.
 * When it says something else now, the caller is told once more. Where nothing can be assumed
 * the caller is told when the device has answered. A party that refuses (491: it is just asking
 * us, RFC 3261 section 14.1) ends the attempt; whoever noticed begins another one.
 *
 * The record says `moving` until both parties know the new address, so another leader goes on.
 */
import { commit, connectCaller } from './answering.ts';
import { endCall } from './ending.ts';
import { withState } from './kept.ts';
import type { Call, CallEvent, Move, Step, Telling } from './types.ts';

export type MoveEvent = Extract<
  CallEvent,
  {
    type:
      | 'mediaMoved'
      | 'moveAssumed'
      | 'moveFailed'
      | `modify${'Offered' | 'Accepted' | 'Answered' | 'Refused'}`;
  }
>;

/** Begins to move unless the call is busy with something; whoever noticed asks again. */
export function beginMove(call: Call): Step {
  const connecting = call.caller === 'waiting' && call.winner !== null;
  const talking = call.state === 'answered' && call.caller === 'connected';
  if (!(connecting || talking) || call.modification !== null || call.move !== null) {
    return { call, effects: [] };
  }
  return { call: { ...call, move: 'offering' }, effects: [{ type: 'moveMedia' }] };
}

export function stepMove(call: Call, move: Move, event: MoveEvent): Step {
  if (event.type === 'modifyRefused' || event.type === 'moveFailed') {
    return giveUp(call, event.at);
  }
  if (event.type === 'mediaMoved') {
    return move === 'offering' ? tellBoth(call, event.media) : { call, effects: [] };
  }
  if (move === 'offering') {
    return { call, effects: [] };
  }
  switch (event.type) {
    case 'moveAssumed':
      return move.caller === 'preparing' && move.device !== 'done'
        ? tellCaller(call, move, event.sdp)
        : { call, effects: [] };
    case 'modifyAccepted':
      return event.leg === 0
        ? callerAccepts(call, move, event.sdp)
        : deviceAccepts(call, move, event.sdp);
    case 'modifyAnswered':
      return move.device === 'answering'
        ? deviceIsDone(withState(call, event.state), move, event.sdp)
        : { call, effects: [] };
    case 'modifyOffered':
      return { call, effects: [] };
    default:
      return event satisfies never;
  }
}

function tellBoth(call: Call, anchor: NonNullable<Call['media']>): Step {
  const leg = call.winner ?? 0;
  const talking = call.caller === 'connected';
  const move: Telling = {
    device: 'asked',
    caller: talking ? 'preparing' : 'waiting',
    told: null,
    next: null,
    heard: '',
  };
  const next: Call = { ...call, media: { ...anchor, moving: true }, move };
  const ask = { type: 'modifyLeg', leg, sdp: anchor.sdp } as const;
  const assume = talking ? [{ type: 'assumeAnswer', leg } as const] : [];
  return { call: next, effects: [...commit(next), ask, ...assume] };
}

function tellCaller(call: Call, move: Telling, sdp: string): Step {
  return {
    call: { ...call, move: { ...move, caller: 'told', told: sdp, next: null } },
    effects: [{ type: 'modifyLeg', leg: 0, sdp }],
  };
}

function deviceAccepts(call: Call, move: Telling, sdp: string): Step {
  return move.device === 'asked'
    ? {
        call: { ...call, move: { ...move, device: 'answering' } },
        effects: [{ type: 'modifyAnswer', leg: call.winner ?? 0, sdp }],
      }
    : { call, effects: [] };
}

function deviceIsDone(call: Call, before: Telling, sdp: string): Step {
  const move: Telling = { ...before, device: 'done' };
  switch (move.caller) {
    case 'waiting':
      return connectCaller(settled(call), sdp);
    case 'preparing':
      return tellCaller(call, move, sdp);
    case 'told':
      return { call: { ...call, move: withNews(move, sdp) }, effects: [] };
    case 'done':
      return isSame(move.told, sdp) ? moved(call, move.heard) : tellCaller(call, move, sdp);
    default:
      return move.caller satisfies never;
  }
}

function withNews(move: Telling, sdp: string): Telling {
  return isSame(move.told, sdp) ? move : { ...move, next: sdp };
}

function callerAccepts(call: Call, move: Telling, sdp: string): Step {
  if (move.caller !== 'told') {
    return { call, effects: [] };
  }
  if (move.next !== null) {
    return tellCaller(call, move, move.next);
  }
  return move.device === 'done'
    ? moved(call, sdp)
    : { call: { ...call, move: { ...move, caller: 'done', heard: sdp } }, effects: [] };
}

/** Whether two descriptions say the same; each has a version of its own (RFC 8866, `o=`). */
function isSame(told: string | null, sdp: string): boolean {
  const body = (text: string) => text.replace(/^o=.*$/m, '');
  return told !== null && body(told) === body(sdp);
}

function moved(call: Call, sdp: string): Step {
  const next = settled(call);
  return { call: next, effects: [...commit(next), { type: 'renewMedia', leg: 0, sdp }] };
}

function settled(call: Call): Call {
  const media = call.media === null ? null : { ...call.media, moving: false };
  return { ...call, move: null, media };
}

/** People who talk keep their call and it is tried again; one that began fails. */
function giveUp(call: Call, at: number): Step {
  const next: Call = { ...call, move: null };
  return call.caller === 'waiting'
    ? endCall(next, { at, status: 503, result: 'failed', endedBy: 'system' })
    : { call: next, effects: [] };
}
