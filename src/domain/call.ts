/**
 * Calls, their legs and the record by which a call survives its Call Manager. Pure.
 *
 * Leg 0 is the caller; legs 1 and up are the devices that ring. A call is known by the SIP
 * engine's transaction of the caller's INVITE, which is the same on every node.
 */

declare const brand: unique symbol;

export type CallId = string & { readonly [brand]: 'CallId' };

/** Accepts what the engine makes: a UUID, or any short token without separators. */
export function parseCallId(text: string): CallId | null {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text) ? (text as CallId) : null;
}

/**
 * `dialing` and `ringing` legs are open. `cancelled` waits for the device to confirm,
 * `failed` and `ended` are over, `answered` is the winner.
 */
export type LegState = 'dialing' | 'ringing' | 'answered' | 'cancelled' | 'failed' | 'ended';

export interface Leg {
  no: number;
  /** Contact of the device. */
  uri: string;
  state: LegState;
  /** Final status when it failed. */
  status: number | null;
  /** `Call-ID;from-tag=tag` once answered. */
  dialogId: string | null;
  /** The trunk it goes out over; absent: a device of ours. */
  trunk?: string;
  /** Unix ms: a trunk that has said nothing by then is given up; null once it has. */
  silentAt?: number | null;
}

/** A number at a provider. */
export interface TrunkTarget {
  trunk: string;
  uri: string;
}

/** Where the call's audio is anchored, and what the devices are offered. */
export interface MediaAnchor {
  server: string;
  /** `host:port` of its NG listener. */
  ng: string;
  sdp: string;
  /** Chosen after another server died; not both parties know it yet. */
  moving: boolean;
  /** What the keys of encrypted media are made from, base64: another server makes the same. */
  keySeed?: string;
  /** What another media server needs to go on under the same address; secret, as keys are. */
  state?: string;
}

/** The value of `call:{id}`: written before each effect it explains. */
export interface CallRecord {
  version: 1;
  id: CallId;
  state: 'ringing' | 'answered';
  from: string;
  fromName: string;
  to: string;
  /** Hops left for the legs, RFC 3261 section 8.1.1.6. */
  hops: number;
  /** Branches left for all legs, RFC 5393 section 5.3.3; absent: `limits.breadthMax`. */
  breadth?: number;
  /** Unix milliseconds, as all times. */
  startedAt: number;
  answeredAt: number | null;
  /** When ringing ends without an answer. */
  deadlineAt: number;
  callerDialogId: string;
  media: MediaAnchor;
  legs: Leg[];
  /** Number of the leg that answered first. */
  winner: number | null;
  /** The trunk the caller came over; absent: it is a user. */
  trunk?: string | null;
  /** Trunks that are tried when this one fails. */
  later?: TrunkTarget[];
}

export function isOpen(leg: Leg): boolean {
  return leg.state === 'dialing' || leg.state === 'ringing';
}

/** The key of a leg that makes dialling idempotent: `callId/legNo`. */
export function legKey(id: CallId, no: number): string {
  return `${id}/${no}`;
}

export function parseLegKey(text: string): { id: CallId; no: number } | null {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const id = match?.[1] === undefined ? null : parseCallId(match[1]);
  return id === null ? null : { id, no: Number(match?.[2]) };
}

export function callKey(id: CallId): string {
  return `call:${id}`;
}

/** Parses a record of the store; null when another version or nobody's. */
export function parseCallRecord(text: string): CallRecord | null {
  try {
    const value = JSON.parse(text) as Partial<CallRecord> | null;
    const valid =
      value?.version === 1 &&
      typeof value.id === 'string' &&
      parseCallId(value.id) !== null &&
      Array.isArray(value.legs) &&
      typeof value.media === 'object' &&
      typeof value.startedAt === 'number';
    return valid ? (value as CallRecord) : null;
  } catch (error) {
    if (error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
}
