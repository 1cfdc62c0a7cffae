/** How a leg over a trunk differs from one to a device of ours: identity, way, password. Pure. */
import type { Trunk } from '../../domain/trunk.ts';
import type { Credentials } from '../../sip/digest.ts';
import { identityDomainOf, proxyUriOf } from '../routing/outbound.ts';
import type { Call } from './types.ts';

/** A trunk with what it takes to call over it. */
export interface OutgoingTrunk {
  trunk: Trunk;
  credentials: Credentials | null;
}

export interface TrunkIdentity {
  from: string;
  to: string;
  headers: Record<string, string>;
  proxy: string;
  credentials: Credentials | null;
}

/** The provider is told the trunk's number, else the caller's own (RFC 3325). */
export function trunkIdentity(
  call: Pick<Call, 'from' | 'fromName'>,
  uri: string,
  { trunk, credentials }: OutgoingTrunk,
): TrunkIdentity {
  const domain = identityDomainOf(trunk);
  const number = trunk.callerId === '' ? call.from : trunk.callerId;
  const name = call.fromName === '' ? '' : `"${call.fromName}" `;
  const called = /^sip:([^@]*)@/.exec(uri)?.[1] ?? '';
  const identity = `<sip:${encodeURIComponent(number).replaceAll('%2B', '+')}@${domain}>`;
  return {
    from: `${name}${identity}`,
    to: `<sip:${called}@${domain}>`,
    headers: { 'P-Asserted-Identity': `${name}${identity}` },
    proxy: proxyUriOf(trunk),
    credentials,
  };
}
