/** The test phone's side of one call: identifiers, route set and the SDP of both ends. */
import { headerOf, headersOf, type SipMessage, tagOf, uriOf } from './message.ts';
import type { CallState } from './snapshot.ts';
import type { Place } from './wire.ts';

export interface Dialog {
  callId: string;
  localUri: string;
  remoteUri: string;
  localTag: string;
  remoteTag: string;
  /** Request URI of requests inside the dialog. */
  target: string;
  routes: string[];
  localSequence: number;
}

/** From the 2xx that answered our INVITE (RFC 3261 section 12.1.2). */
export function fromAnswer(dialog: Dialog, answer: SipMessage): Dialog {
  return {
    ...dialog,
    remoteTag: tagOf(headerOf(answer, 'to')),
    target: uriOf(headerOf(answer, 'contact')),
    routes: headersOf(answer, 'record-route').flatMap(splitList).reverse(),
  };
}

/** From an INVITE that came in (RFC 3261 section 12.1.1). */
export function fromInvite(invite: SipMessage, localTag: string): Dialog {
  return {
    callId: headerOf(invite, 'call-id'),
    localUri: uriOf(headerOf(invite, 'to')),
    remoteUri: uriOf(headerOf(invite, 'from')),
    localTag,
    remoteTag: tagOf(headerOf(invite, 'from')),
    target: uriOf(headerOf(invite, 'contact')),
    routes: headersOf(invite, 'record-route').flatMap(splitList),
    localSequence: 0,
  };
}

function splitList(value: string): string[] {
  return value.split(',').map((part) => part.trim());
}

/** Where a request for `uri` goes; `otherwise` when it names no numeric host. */
export function placeOf(uri: string, otherwise: Place): Place {
  const found = /^sip:(?:[^@]*@)?(\[[^\]]+\]|[\d.]+)(?::(\d+))?/.exec(uri);
  const address = found?.[1];
  if (address === undefined || !/\d/.test(address)) {
    return otherwise;
  }
  return { address: address.replace(/[[\]]/g, ''), port: Number(found?.[2] ?? 5060) };
}

export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

/** `crypto`: the line that makes it secure, behind `a=crypto:`. */
export function describe(
  local: Place,
  version: number,
  direction: Direction,
  crypto: string | null = null,
): string {
  const family = local.address.includes(':') ? 'IP6' : 'IP4';
  return [
    'v=0',
    `o=phone 1 ${version} IN ${family} ${local.address}`,
    's=-',
    `c=IN ${family} ${local.address}`,
    't=0 0',
    `m=audio ${local.port} RTP/${crypto === null ? 'AVP' : 'SAVP'} 0`,
    'a=rtpmap:0 PCMU/8000',
    ...(crypto === null ? [] : [`a=crypto:${crypto}`]),
    `a=${direction}`,
    '',
  ].join('\r\n');
}

export interface Described {
  remote: Place;
  direction: Direction;
  /** Whether the peer takes the only codec of these phones. */
  takesPcmu: boolean;
}

/** The peer's media address and direction; null without an audio line. */
export function described(sdp: string): Described | null {
  const [, port, formats = ''] = /^m=audio (\d+) \S+ (.*)/m.exec(sdp) ?? [];
  const audio = sdp.slice(Math.max(0, sdp.indexOf('m=audio')));
  const line = /^c=IN IP[46] (\S+)/m;
  const address = (line.exec(audio) ?? line.exec(sdp))?.[1];
  if (port === undefined || address === undefined) {
    return null;
  }
  const direction = /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(audio)?.[1];
  return {
    remote: { address, port: Number(port) },
    direction: (direction ?? 'sendrecv') as Direction,
    takesPcmu: formats.trim().split(' ').includes('0'),
  };
}

/** What a phone in this state refuses an INVITE with; 0: it takes it. */
export function refusalOf(invite: SipMessage, state: CallState, dialog: Dialog | null): number {
  const isAgain = tagOf(headerOf(invite, 'to')) !== '';
  if (isAgain && (state !== 'up' || headerOf(invite, 'call-id') !== dialog?.callId)) {
    return 481;
  }
  if (!isAgain && (state === 'up' || state === 'ringing' || state === 'calling')) {
    return 486;
  }
  return described(invite.body)?.takesPcmu === false ? 488 : 0;
}
