/** Where a call goes. Pure: everything it needs to know is given. */
import { limits } from '../../domain/limits.ts';
import type { Binding } from '../../domain/registration.ts';
import type { Route } from '../calls/types.ts';
import { refuse } from './refusal.ts';

export interface RouteQuestion {
  /** The user who calls; null: somebody on a trunk, whose number may look like a user's. */
  from: string | null;
  to: string;
  /** Whether the directory has the called user. */
  known: boolean;
  /** Devices of the called user that can be rung, the preferred ones first. */
  bindings: readonly Binding[];
  /** The way out for a number that is no user's; null without one. */
  outside: Route | null;
  /** Branches the call may become. */
  breadth: number;
}

/** All devices of the called user ring at once; a number that is no user's goes out. */
export function decideRoute(question: RouteQuestion): Route {
  if (!question.known) {
    return question.outside ?? refuse('PBX_USER_UNKNOWN');
  }
  if (question.from === question.to) {
    return refuse('PBX_CALL_LOOP');
  }
  if (question.bindings.length === 0) {
    return refuse('PBX_USER_OFFLINE');
  }
  const uris = question.bindings.slice(0, limits.legsMax).map((binding) => binding.contact);
  if (uris.length > question.breadth) {
    return refuse('PBX_TOO_MANY_BRANCHES');
  }
  return { kind: 'devices', uris };
}
