/**
 * How many branches a call may still become (RFC 5393 section 5.3.3). Each leg gets a share of
 * what the caller's INVITE was given, so that calls forwarded in a ring cannot multiply. Pure.
 */
import { limits } from '../../domain/limits.ts';
import type { Call } from './types.ts';

/** The value of a Max-Breadth header; without one the most that a proxy may assume. */
export function breadthOf(header: string | undefined): number {
  const text = header?.trim() ?? '';
  return /^\d{1,5}$/.test(text) ? Math.min(Number(text), limits.breadthMax) : limits.breadthMax;
}

/** The share of one leg. Devices ring together; of trunks only one is tried at a time. */
export function breadthOfLeg({ breadth, legs }: Pick<Call, 'breadth' | 'legs'>, no: number) {
  const isAlone = legs.some((leg) => leg.no === no && leg.trunk !== undefined);
  const sharers = isAlone ? 1 : Math.max(1, legs.length);
  const isLucky = !isAlone && no <= breadth % sharers;
  return Math.floor(breadth / sharers) + (isLucky ? 1 : 0);
}
