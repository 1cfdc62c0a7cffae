/**
 * What another media server needs to go on with the call under the same address, kept in its
 * record. Pure. It is there before the party whose answer made it hears of it.
 */
import type { MediaAnchor } from '../../domain/call.ts';
import { commit } from './answering.ts';
import type { Call, CallEvent, Step } from './types.ts';

type KeptEvent = Extract<CallEvent, { type: 'mediaKept' | 'mediaStale' | 'mediaTaken' }>;

/** With the state that came with an answer; without one the old is not true any more. */
export function withState(call: Call, state: string | undefined): Call {
  if (call.media === null) {
    return call;
  }
  const { state: _, ...media } = call.media;
  return { ...call, media: state === undefined ? media : { ...media, state } };
}

export function stepKept(call: Call, event: KeptEvent): Step {
  const { media } = call;
  if (media === null) {
    return { call, effects: [] };
  }
  switch (event.type) {
    case 'mediaKept':
      return media.server === event.server ? kept(withState(call, event.state)) : stay(call);
    case 'mediaStale':
      return media.state === undefined ? stay(call) : kept(withState(call, undefined));
    case 'mediaTaken':
      return media.server === event.from ? taken({ ...call, media: at(media, event) }) : stay(call);
    default:
      return event satisfies never;
  }
}

function at(media: MediaAnchor, { server, ng }: { server: string; ng: string }): MediaAnchor {
  return { ...media, server, ng };
}

/** The record first: whatever comes next is asked of the new server. */
function taken(call: Call): Step {
  return { call, effects: [...commit(call), { type: 'resumeMusic' }] };
}

function stay(call: Call): Step {
  return { call, effects: [] };
}

function kept(call: Call): Step {
  return { call, effects: commit(call) };
}
