/** Where a user is registered, as this node's own copy of the store has it. */
import { parseRegistration, type Registration, registrationKey } from '../domain/registration.ts';
import type { Store } from '../native/index.ts';

/** Null for a user without devices. */
export function registrationOf(store: Pick<Store, 'read'>, user: string): Registration | null {
  const value = store.read(['GET', registrationKey(user)]);
  return typeof value === 'string' ? parseRegistration(value) : null;
}
