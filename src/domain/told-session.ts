/**
 * Sessions that a media server has lost and goes on without, `media-lost:{callId}` in the store,
 * and those that somebody else's command has changed, `media-changed:{callId}`; with the name of
 * the server. Pure.
 */

const lostPrefix = 'media-lost:';
const changedPrefix = 'media-changed:';
export const toldPrefixes = [lostPrefix, changedPrefix] as const;

export function lostKey(callId: string): string {
  return `${lostPrefix}${callId}`;
}

export function changedKey(callId: string): string {
  return `${changedPrefix}${callId}`;
}

/** What such a key tells, and of which call; null for others. */
export function parseToldKey(key: string): { what: 'lost' | 'changed'; callId: string } | null {
  if (key.startsWith(lostPrefix)) {
    return { what: 'lost', callId: key.slice(lostPrefix.length) };
  }
  return key.startsWith(changedPrefix)
    ? { what: 'changed', callId: key.slice(changedPrefix.length) }
    : null;
}
