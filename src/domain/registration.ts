/** Registrations: which devices a user can be reached at. The SIP engine's registrar owns them. */

/** One device: a contact address and where its packets come from. */
export interface Binding {
  contact: string;
  /** `udp/host:port` the phone was seen at. */
  received: string;
  /** Unix milliseconds. */
  expiresAt: number;
  /** Preference, 0 to 1. */
  q: number;
  userAgent: string | null;
  registeredAt: number;
}

export interface Registration {
  user: string;
  bindings: Binding[];
}

export function registrationKey(user: string): string {
  return `registration:${user}`;
}

/** Parses the value of `registration:{user}`; null when it is not one. */
export function parseRegistration(text: string): Registration | null {
  try {
    const value = JSON.parse(text) as Partial<Registration> | null;
    if (typeof value?.user !== 'string' || !Array.isArray(value.bindings)) {
      return null;
    }
    return { user: value.user, bindings: value.bindings.filter(isBinding) };
  } catch (error) {
    if (error instanceof SyntaxError) {
      return null;
    }
    throw error;
  }
}

/** Devices that can be rung now, the preferred ones first. */
export function reachable(registration: Registration, now: number): Binding[] {
  return registration.bindings
    .filter((binding) => binding.expiresAt > now)
    .sort((a, b) => b.q - a.q);
}

function isBinding(value: unknown): value is Binding {
  const binding = value as Partial<Binding> | null;
  return typeof binding?.contact === 'string' && typeof binding.expiresAt === 'number';
}
