/** Where a call goes. Pure: everything it needs to know is given. */
import { errorTable } from '../../domain/errors.ts';
import { limits } from '../../domain/limits.ts';
import type { Binding } from '../../domain/registration.ts';
import type { Route } from '../calls/types.ts';

export interface RouteQuestion {
  from: string;
  to: string;
  /** Whether the directory has the called user. */
  known: boolean;
  /** Devices of the called user that can be rung, the preferred ones first. */
  bindings: readonly Binding[];
}

/** All devices of the called user ring at once. */
export function decideRoute(question: RouteQuestion): Route {
  if (!question.known) {
    return refuse('PBX_USER_UNKNOWN');
  }
  if (question.from === question.to) {
    return refuse('PBX_CALL_LOOP');
  }
  if (question.bindings.length === 0) {
    return refuse('PBX_USER_OFFLINE');
  }
  const uris = question.bindings.slice(0, limits.legsMax).map((binding) => binding.contact);
  return { kind: 'devices', uris };
}

function refuse(code: 'PBX_USER_UNKNOWN' | 'PBX_CALL_LOOP' | 'PBX_USER_OFFLINE'): Route {
  return { kind: 'refuse', status: errorTable[code].sipStatus };
}
