/**
 * Encrypted media as call control sees it. The media server has keys of its own with each party
 * (RFC 4568, or DTLS with browsers: RFC 5764); what is decided here is which party is offered
 * any. Pure.
 *
 * Keys stand in clear text in the description, so they are only worth something where signalling
 * is encrypted: a device behind TLS is offered them beside plain RTP (RFC 8643) and takes them
 * or not. A party that asks for encryption gets it.
 *
 * A call rings at devices of all kinds with one description, which says everything: keys, a
 * certificate, ICE. Each device gets the part that it understands.
 */

const browserProfile = 'UDP/TLS/RTP/SAVPF';
/** What only browsers understand, of what the media server writes. */
const browserLines =
  /^a=(?:fingerprint|setup|ice-\w+|candidate|end-of-candidates|rtcp-mux)\b.*\r?\n/gm;

/** The transport of the first line with RTP, null without one. */
export function profileOf(sdp: string): string | null {
  return /^m=\S+ \S+ (\S*RTP\/\S+)/m.exec(sdp)?.[1] ?? null;
}

/** The same transport without encryption; that of each phone for a browser's. */
export function plainProfile(profile: string | null): string | null {
  if (profile?.startsWith('UDP/TLS/RTP/')) {
    return 'RTP/AVP';
  }
  return profile?.startsWith('RTP/') ? profile.replace('/SAVP', '/AVP') : null;
}

/** Whether a description is that of a browser, or of what speaks as they do. */
export function isBrowsers(sdp: string): boolean {
  return profileOf(sdp)?.startsWith('UDP/TLS/RTP/') ?? false;
}

/** Whether a device is reached over a WebSocket: it is a browser. */
export function isBehindWebSocket(uri: string): boolean {
  return /;transport=wss?(;|>|\?|$)/i.test(uri);
}

/** The part of an offer that a device understands. */
export function offerFor(uri: string, sdp: string): string {
  if (isBehindWebSocket(uri)) {
    return withoutKeys(sdp).replace(/^(m=\S+ \S+ )RTP\/AVPF?(?= )/gm, `$1${browserProfile}`);
  }
  const plain = sdp.replace(browserLines, '');
  return isBehindTls(uri) ? plain : withoutKeys(plain);
}

/** An offer leaves it to the other one who begins the handshake, as it has to (RFC 8842). */
export function asOffer(sdp: string): string {
  return sdp.replace(/^a=setup:\w+/gm, 'a=setup:actpass');
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
