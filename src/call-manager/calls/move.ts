/**
 * Moves the audio of a call to another media server when its own has died. Pure.
 *
 *   mediaLost -> new server -> mediaMoved -> device -> modifyAccepted -> new server
 *             -> modifyAnswered -> caller -> modifyAccepted
 *
 * The record says `moving` until both parties know the new address, so another leader goes on.
 */
import { commit, connectCaller } from './answering.ts';
import { endCall } from './ending.ts';
import type { Call, CallEvent, Move, Step } from './types.ts';

export type MoveEvent = Extract<
  CallEvent,
  { type: 'mediaMoved' | 'moveFailed' | `modify${'Offered' | 'Accepted' | 'Answered' | 'Refused'}` }
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
  const winner = call.winner ?? 0;
  switch (event.type) {
    case 'mediaMoved': {
      if (move !== 'offering') {
        return { call, effects: [] };
      }
      const next: Call = { ...call, media: { ...event.media, moving: true }, move: 'asking' };
      const { sdp } = event.media;
      return { call: next, effects: [...commit(next), { type: 'modifyLeg', leg: winner, sdp }] };
    }
    case 'modifyAccepted':
      if (move === 'asking') {
        const { sdp } = event;
        const effects = [{ type: 'modifyAnswer', leg: winner, sdp } as const];
        return { call: { ...call, move: 'answering' }, effects };
      }
      return move === 'telling' ? moved(call, event.sdp) : { call, effects: [] };
    case 'modifyAnswered':
      return move === 'answering' ? tellCaller(call, event.sdp) : { call, effects: [] };
    case 'modifyOffered':
      return { call, effects: [] };
    case 'modifyRefused':
    case 'moveFailed':
      return giveUp(call, event.at);
    default:
      return event satisfies never;
  }
}

function tellCaller(call: Call, sdp: string): Step {
  if (call.caller === 'connected') {
    return { call: { ...call, move: 'telling' }, effects: [{ type: 'modifyLeg', leg: 0, sdp }] };
  }
  return connectCaller(settled(call), sdp);
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
