/**
 * Encrypted media as call control sees it. The media server has keys of its own with each party
 * (RFC 4568); what is decided here is which party is offered any. Pure.
 *
 * Keys stand in clear text in the description, so they are only worth something where signalling
 * is encrypted: a device behind TLS is offered them beside plain RTP (RFC 8643) and takes them
 * or not. A party that asks for encryption gets it.
 */

/** The transport of the first line with RTP, null without one. */
export function profileOf(sdp: string): string | null {
  return /^m=\S+ \S+ (\S*RTP\/\S+)/m.exec(sdp)?.[1] ?? null;
}

/** The same transport without encryption; null for those whose keys are agreed elsewhere. */
export function plainProfile(profile: string | null): string | null {
  return profile?.startsWith('RTP/') ? profile.replace('/SAVP', '/AVP') : null;
}

/** The lines with keys. */
export function keysOf(sdp: string): string[] {
  return sdp.match(/^a=crypto:.*$/gm) ?? [];
}

export function withoutKeys(sdp: string): string {
  return sdp.replace(/^a=crypto:.*\r?\n/gm, '');
}

/** The same offer to a device that does not talk without encryption; null without keys. */
export function insisting(sdp: string): string | null {
  const secure = sdp.replace(/^(m=\S+ \S+ )RTP\/AVP/gm, '$1RTP/SAVP');
  return keysOf(sdp).length > 0 && secure !== sdp ? secure : null;
}

/** Whether a device is reached over TLS. */
export function isBehindTls(uri: string): boolean {
  return /^sips:/i.test(uri) || /;transport=tls(;|>|\?|$)/i.test(uri);
}
