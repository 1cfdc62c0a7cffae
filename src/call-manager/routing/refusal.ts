/** A route that leads nowhere, by why. Pure. */
import { type ErrorCode, errorTable } from '../../domain/errors.ts';
import type { Route } from '../calls/types.ts';

export function refuse(code: ErrorCode): Route {
  return { kind: 'refuse', status: errorTable[code].sipStatus, code };
}
