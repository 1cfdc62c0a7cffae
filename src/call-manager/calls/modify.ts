/**
 * Re-INVITEs that pass through an established call: hold, resume, a moved device, another
 * codec. Pure.
 *
 *   leg -> modify -> media server -> modifyOffered -> other leg -> modifyAccepted
 *       -> media server -> modifyAnswered -> leg
 */
import { commit } from './answering.ts';
import { withState } from './kept.ts';
import type { Call, CallEvent, Step } from './types.ts';

type ModifyEvent = Extract<CallEvent, { type: `modify${string}` }>;

export function stepModify(call: Call, event: ModifyEvent): Step {
  if (event.type === 'modify') {
    return begin(call, event.leg, event.sdp);
  }
  const { modification } = call;
  if (modification === null) {
    return { call, effects: [] };
  }
  const { leg, phase } = modification;
  const other = otherLeg(call, leg);
  switch (event.type) {
    case 'modifyOffered':
      return phase === 'offering'
        ? {
            call: { ...call, modification: { leg, phase: 'asking' } },
            effects: [{ type: 'modifyLeg', leg: other, sdp: event.sdp }],
          }
        : { call, effects: [] };
    case 'modifyAccepted':
      return phase === 'asking' && event.leg === other
        ? {
            call: { ...call, modification: { leg, phase: 'answering' } },
            effects: [{ type: 'modifyAnswer', leg: other, sdp: event.sdp }],
          }
        : { call, effects: [] };
    case 'modifyAnswered':
      return phase === 'answering'
        ? accept(withState({ ...call, modification: null }, event.state), leg, event.sdp)
        : { call, effects: [] };
    case 'modifyRefused':
      return {
        call: { ...call, modification: null },
        effects: [{ type: 'modifyReject', leg, status: event.status }],
      };
    default:
      return event satisfies never;
  }
}

/** What another media server would need is committed before the party hears of it. */
function accept(call: Call, leg: number, sdp: string): Step {
  const changed = call.media?.state === undefined ? [] : commit(call);
  return { call, effects: [...changed, { type: 'modifyAccept', leg, sdp }] };
}

function begin(call: Call, leg: number, sdp: string): Step {
  const talking = call.state === 'answered' && call.caller === 'connected';
  if (!talking || (leg !== 0 && leg !== call.winner)) {
    return { call, effects: [{ type: 'modifyReject', leg, status: 481 }] };
  }
  if (call.modification !== null || call.move !== null) {
    // Glare, RFC 3261 section 14.2: both wait a random time and one comes again first.
    return { call, effects: [{ type: 'modifyReject', leg, status: 491 }] };
  }
  return {
    call: { ...call, modification: { leg, phase: 'offering' } },
    effects: [{ type: 'modifyOffer', leg, sdp }],
  };
}

function otherLeg(call: Call, leg: number): number {
  return leg === 0 ? (call.winner ?? 0) : 0;
}
