/** Which trunks carry a number out, in which order. Pure. */
import type { TrunkTarget } from '../../domain/call.ts';
import { limits } from '../../domain/limits.ts';
import { hostOf, type OutboundRoute, type Trunk } from '../../domain/trunk.ts';
import type { Route } from '../calls/types.ts';
import { bestRoute, rewrite } from './number.ts';
import { refuse } from './refusal.ts';

export interface OutboundQuestion {
  number: string;
  routes: readonly OutboundRoute[];
  trunks: readonly Trunk[];
  /** Calls that a trunk carries now. */
  used(trunk: string): number;
  /** Not to be hoped for: it is tried after the others. */
  isFailing(trunk: string): boolean;
}

/** Null when no route is for such numbers. */
export function planOutbound(question: OutboundQuestion): Route | null {
  const route = bestRoute(question.routes, question.number);
  if (route === null) {
    return null;
  }
  const number = rewrite(question.number, route);
  const named = [...new Set(route.trunks)].flatMap(
    (name) => question.trunks.find((one) => one.name === name && one.enabled) ?? [],
  );
  if (named.length === 0 || number === '') {
    return refuse('PBX_TRUNK_NONE');
  }
  const free = named.filter((one) => question.used(one.name) < one.channelsMax);
  if (free.length === 0) {
    return refuse('PBX_TRUNK_FULL');
  }
  const failing = (one: Trunk) => Number(question.isFailing(one.name));
  const ordered = free.toSorted((a, b) => failing(a) - failing(b));
  const targets = ordered.slice(0, limits.trunksPerRoute);
  return { kind: 'trunks', targets: targets.map((trunk) => targetOf(trunk, number)) };
}

function targetOf(trunk: Trunk, number: string): TrunkTarget {
  const transport = trunk.transport === 'udp' ? '' : `;transport=${trunk.transport}`;
  const user = encodeURIComponent(number).replaceAll('%2B', '+').replaceAll('%2A', '*');
  return { trunk: trunk.name, uri: `sip:${user}@${domainOf(trunk)}${transport}` };
}

/** Host, and port as far as it is the proxy's, in the URIs of a trunk. */
export function domainOf(trunk: Trunk): string {
  return trunk.domain === '' ? trunk.proxy : trunk.domain;
}

/** The same for From and To, where no port belongs. */
export function identityDomainOf(trunk: Trunk): string {
  return trunk.domain === '' ? (hostOf(trunk.proxy) ?? trunk.proxy) : trunk.domain;
}

/** Where requests of a trunk are sent, whatever their URI says. */
export function proxyUriOf(trunk: Trunk): string {
  return `sip:${trunk.proxy};transport=${trunk.transport}`;
}
