/**
 * Who is on hold, as the descriptions of both parties tell it (RFC 3264 section 8.4). Pure.
 */
import type { MediaSide } from '../media-control.ts';

type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

/** The side that the other one has put on hold and that listens; null when nobody does. */
export function sideOnHold(callerSdp: string, deviceSdp: string): MediaSide | null {
  if (holds(callerSdp) && listens(deviceSdp)) {
    return 'device';
  }
  return holds(deviceSdp) && listens(callerSdp) ? 'caller' : null;
}

/**
 * Whether the party wants to hear nothing; 0.0.0.0 is how phones of RFC 2543 say it. With ICE it
 * says only that no address is known yet (RFC 8839 section 4.2.1.3).
 */
function holds(sdp: string): boolean {
  const { direction, address } = audioOf(sdp);
  const nowhere = address === '0.0.0.0' && !/^a=ice-ufrag:/m.test(sdp);
  return direction === 'sendonly' || direction === 'inactive' || nowhere;
}

function listens(sdp: string): boolean {
  const { direction } = audioOf(sdp);
  return direction === 'sendrecv' || direction === 'recvonly';
}

/** What is said for the audio line, or for all lines before the first one. */
function audioOf(sdp: string): { direction: Direction; address: string | null } {
  const [session = '', ...lines] = sdp.split(/^(?=m=)/m);
  const audio = lines.find((line) => line.startsWith('m=audio')) ?? '';
  const said = (pattern: RegExp) => (pattern.exec(audio) ?? pattern.exec(session))?.[1];
  return {
    direction: (said(/^a=(sendrecv|sendonly|recvonly|inactive)\r?$/m) ?? 'sendrecv') as Direction,
    address: said(/^c=IN IP[46] (\S+)/m) ?? null,
  };
}
