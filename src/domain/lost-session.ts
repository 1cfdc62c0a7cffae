/**
 * Sessions that a media server has lost and goes on without: `media-lost:{callId}` in the store,
 * with the name of the server. Pure.
 */

export const lostPrefix = 'media-lost:';

export function lostKey(callId: string): string {
  return `${lostPrefix}${callId}`;
}

/** The call-id of such a key; null for others. */
export function parseLostKey(key: string): string | null {
  return key.startsWith(lostPrefix) ? key.slice(lostPrefix.length) : null;
}
