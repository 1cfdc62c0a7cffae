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
  /** Unix milliseconds of the last REGISTER. */
  refreshedAt?: number;
  /** The device, `<urn:...>`; null of one that does not say. */
  instance?: string | null;
  /** Number of the flow, of a device that keeps several (RFC 5626). */
  regId?: number;
  /** How to wake it (RFC 8599). */
  push?: { provider: string; prid: string; param: string | null };
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

/** Bindings that have not expired, as they stand. */
export function live(registration: Registration, now: number): Binding[] {
  return registration.bindings.filter((binding) => binding.expiresAt > now);
}

/** Devices that can be rung now, the preferred ones first; of several flows the newest. */
export function reachable(registration: Registration, now: number): Binding[] {
  const all = live(registration, now);
  return all.filter((one) => !all.some((two) => isNewerFlow(two, one))).sort((a, b) => b.q - a.q);
}

/** The engine takes another flow by itself when this one is closed. */
function isNewerFlow(one: Binding, two: Binding): boolean {
  const [first, second] = [one.regId ?? 0, two.regId ?? 0];
  if (first === 0 || second === 0 || first === second) {
    return false;
  }
  if (!one.instance || one.instance !== two.instance) {
    return false;
  }
  const newer = (one.refreshedAt ?? 0) - (two.refreshedAt ?? 0);
  return newer === 0 ? first < second : newer > 0;
}

function isBinding(value: unknown): value is Binding {
  const binding = value as Partial<Binding> | null;
  return typeof binding?.contact === 'string' && typeof binding.expiresAt === 'number';
}
