/** Reads a new INVITE: who calls whom, and whether it can become a call at all. */
import type { CallId } from '../../domain/call.ts';
import { parseCallId } from '../../domain/call.ts';
import { fail, type Result, succeed } from '../../domain/errors.ts';
import { limits } from '../../domain/limits.ts';
import { type SipMessage, type SipRequest, Srf } from '../../sip/srf.ts';
import type { OutsideCaller } from '../trunks/incoming.ts';
import { breadthOf } from './breadth.ts';

export interface Intake {
  id: CallId;
  /**
   * The user that authenticated, never believed from the network. Of a caller on a trunk it is the
   * number to show.
   */
  from: string;
  /** Name to show of a caller on a trunk; null: the directory has it. */
  fromName: string | null;
  /** The trunk the call comes over; null: it is a user's. */
  trunk: string | null;
  to: string;
  /** Max-Forwards of the legs. */
  hops: number;
  /** Max-Breadth of all legs together. */
  breadth: number;
  callerDialogId: string;
  /** The one device that is called, by its GRUU; null calls them all. */
  instance: string | null;
}

/** RFC 3261 section 8.1.1.6: recommended when a phone sends none. */
const defaultHops = 70;

/** The user that our own engine has let in; it takes such a header from nobody else. */
export function verifiedUser(req: SipRequest): string | null {
  return req.get('X-Authenticated-User')?.trim() || null;
}

/** `outside` reads a call that is no user's. */
export function readInvite(
  req: SipRequest,
  user: string | null,
  outside: (req: SipRequest) => Result<OutsideCaller>,
): Result<Intake> {
  const caller = user ? succeed(null) : outside(req);
  if (!caller.ok) {
    return caller;
  }
  const from = user ?? caller.value?.from ?? '';
  const { trunk = null, fromName = null } = caller.value ?? {};
  const id = parseCallId(req.stackTxnId);
  const to = caller.value?.to ?? userOf(req.uri);
  const tag = callerTag(req);
  const sipCallId = req.get('Call-ID');
  if (id === null || to === null || !tag || !sipCallId || !req.has('Contact')) {
    return fail('PBX_CALL_MALFORMED', `request URI '${req.uri.slice(0, 80)}'`);
  }
  if (req.has('require')) {
    return fail('PBX_EXTENSION_REQUIRED', req.get('require'));
  }
  const hops = hopsOf(req);
  if (hops < 1) {
    return fail('PBX_TOO_MANY_HOPS');
  }
  const breadth = breadthOf(req.get('Max-Breadth'));
  if (breadth < 1) {
    return fail('PBX_TOO_MANY_BRANCHES');
  }
  const sdp = req.body ?? '';
  if (sdp === '' || sdp.length > limits.sdpBytesMax) {
    return fail('PBX_OFFER_MISSING');
  }
  const callerDialogId = `${sipCallId};from-tag=${tag}`;
  const instance = trunk === null ? instanceOf(req.uri) : null;
  const who = { from, fromName, trunk, to };
  return succeed({ id, ...who, hops: hops - 1, breadth, callerDialogId, instance });
}

/** The device that a GRUU names (RFC 5627): `;gr=urn:...` becomes `<urn:...>`. */
export function instanceOf(uri: string): string | null {
  const value = /;gr=([^;?>]+)/i.exec(uri)?.[1];
  const name = value === undefined ? null : decoded(value);
  return name === null ? null : `<${name}>`;
}

/** The user part of a SIP URI, unescaped; null when there is none. */
export function userOf(uri: string): string | null {
  const user = Srf.parseUri(uri)?.user;
  return user ? decoded(user) : null;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) {
      return null;
    }
    throw error;
  }
}

/** A display name may say anything: parameters stand behind the URI. */
function callerTag(req: SipMessage): string | null {
  const from = req.get('From') ?? '';
  const params = from.slice(from.lastIndexOf('>') + 1);
  return /;\s*tag\s*=\s*([^\s;,]+)/i.exec(params)?.[1] ?? null;
}

function hopsOf(req: SipMessage): number {
  const text = req.get('Max-Forwards')?.trim();
  return text !== undefined && /^\d{1,3}$/.test(text) ? Number(text) : defaultHops;
}
