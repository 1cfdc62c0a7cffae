/** What a media server says about itself. Pure. */
import { limits } from '../domain/limits.ts';
import type { MediaEvent } from '../native/index.ts';

export interface MediaState {
  /** Sessions given up because nobody sent anything. */
  timeouts: number;
  /** Sessions that ended because the thread that carried them failed. */
  lost: number;
  /** Audio sources learned from packets: phones behind NAT. */
  latched: number;
  /** Keys pressed. */
  digits: number;
  /** Clips and tones that came to their end. */
  played: number;
  /** Parties that came into rooms, and that left them. */
  joined: number;
  left: number;
}

export type MediaEffect =
  | { type: 'report'; callId: string; reason: 'silent' | 'failed' }
  /** What call control has written down of the session is not true any more. */
  | { type: 'tellChanged'; callId: string };

export const startedState: MediaState = {
  timeouts: 0,
  lost: 0,
  latched: 0,
  digits: 0,
  played: 0,
  joined: 0,
  left: 0,
};

export function stepMedia(
  state: MediaState,
  event: MediaEvent,
): { state: MediaState; effects: MediaEffect[] } {
  switch (event.type) {
    case 'timeout':
      return {
        state: { ...state, timeouts: state.timeouts + 1 },
        effects: [{ type: 'report', callId: event.callId, reason: 'silent' }],
      };
    case 'lost':
      return {
        state: { ...state, lost: state.lost + 1 },
        effects: [{ type: 'report', callId: event.callId, reason: 'failed' }],
      };
    case 'changed':
      return { state, effects: [{ type: 'tellChanged', callId: event.callId }] };
    case 'latched':
      return { state: { ...state, latched: state.latched + 1 }, effects: [] };
    case 'dtmf':
      return { state: { ...state, digits: state.digits + 1 }, effects: [] };
    case 'playEnd':
      return { state: { ...state, played: state.played + 1 }, effects: [] };
    case 'roomJoined':
      return { state: { ...state, joined: state.joined + 1 }, effects: [] };
    case 'roomLeft':
      return { state: { ...state, left: state.left + 1 }, effects: [] };
    case 'roomTalking':
    case 'roomSpeaker':
    case 'roomPlayEnd':
      return { state, effects: [] };
    default:
      return event satisfies never;
  }
}

/** A relayed call with RTCP takes two ports on each side. */
const portsPerSession = 4;

/** Sessions this server may carry: bounded by its ports. */
export function capacityOf(ports: { from: number; to: number }): number {
  const fit = Math.floor((ports.to - ports.from + 1) / portsPerSession);
  return Math.max(1, Math.min(fit, limits.mediaSessionsMax));
}

/** Prometheus text beside the engine's own. */
export function mediaMetrics(state: MediaState, leaseFailures: number): string {
  return [
    '# TYPE raftpbx_media_session_timeouts_total counter',
    `raftpbx_media_session_timeouts_total ${state.timeouts}`,
    '# TYPE raftpbx_media_sources_learned_total counter',
    `raftpbx_media_sources_learned_total ${state.latched}`,
    '# TYPE raftpbx_media_digits_reported_total counter',
    `raftpbx_media_digits_reported_total ${state.digits}`,
    '# TYPE raftpbx_media_plays_ended_total counter',
    `raftpbx_media_plays_ended_total ${state.played}`,
    '# TYPE raftpbx_media_room_joins_total counter',
    `raftpbx_media_room_joins_total ${state.joined}`,
    '# TYPE raftpbx_media_room_leaves_total counter',
    `raftpbx_media_room_leaves_total ${state.left}`,
    '# TYPE raftpbx_media_lease_failures_total counter',
    `raftpbx_media_lease_failures_total ${leaseFailures}`,
    '',
  ].join('\n');
}
