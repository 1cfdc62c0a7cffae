/**
 * From the bindings a user has and a REGISTER to the bindings it has then: the rules of our own
 * registrar (`crates/sip/src/registrar/machine.rs`) and the same JSON. Pure.
 *
 * Flows (RFC 5626) and GRUUs (RFC 5627) are not offered: an engine elsewhere keeps its
 * connections to itself.
 */
import type { Binding, Registration } from '../../domain/registration.ts';
import type { Contacts, ContactWish } from './contacts.ts';

/** Limits of the registrar. */
export interface Rules {
  minExpiresS: number;
  maxExpiresS: number;
  defaultExpiresS: number;
  maxBindings: number;
  whenFull: 'refuse' | 'replace-oldest';
}

/** What the engine of our own keeps of a binding besides what others read. */
export interface StoredBinding extends Binding {
  /** Where the REGISTER arrived: `udp/host:port`. */
  local: string;
  callId: string;
  cseq: number;
  refreshedAt: number;
  instance: string | null;
  /** Proxies on the way to the device, nearest to us first (RFC 3327). */
  path?: string[];
  nat?: boolean;
}

/** A REGISTER of an authenticated user. */
export interface Wish {
  user: string;
  contacts: Exclude<Contacts, { type: 'bad' }>;
  /** Its Expires header. */
  expiresS: number | null;
  callId: string;
  cseq: number;
  userAgent: string | null;
  /** Where it came from and where it arrived, `udp/host:port`. */
  received: string;
  local: string;
  path: string[];
  nowMs: number;
}

export type Outcome =
  /** Nothing to store. */
  | { type: 'same'; bindings: StoredBinding[] }
  /** To be stored before the 200. */
  | { type: 'changed'; bindings: StoredBinding[] }
  /** 423 with Min-Expires. */
  | { type: 'tooBrief' }
  | { type: 'refused'; status: number; reason: string };

const stale = { type: 'refused', status: 500, reason: 'Stale CSeq' } as const;
const full = { type: 'refused', status: 403, reason: 'Too Many Bindings' } as const;

/** RFC 3261 section 10.3 steps 6 to 8. All Contacts are taken or none. */
export function register(current: Registration | null, wish: Wish, rules: Rules): Outcome {
  const stored = (current?.bindings ?? []) as StoredBinding[];
  let bindings = stored.filter((one) => one.expiresAt > wish.nowMs);
  const { contacts } = wish;
  if (contacts.type === 'query') {
    return { type: 'same', bindings };
  }
  if (contacts.type === 'removeAll') {
    return bindings.some((one) => isStale(one, wish)) ? stale : changed(stored, []);
  }
  for (const contact of contacts.wishes) {
    const next = take(bindings, contact, wish, rules);
    if ('type' in next) {
      return next;
    }
    bindings = next.bindings;
  }
  while (bindings.length > rules.maxBindings) {
    // What this REGISTER asked for is never what goes.
    const others = bindings.filter((one) => one.callId !== wish.callId);
    const [oldest] = others.sort((a, b) => a.refreshedAt - b.refreshedAt);
    if (rules.whenFull === 'refuse' || oldest === undefined) {
      return full;
    }
    bindings = bindings.filter((one) => one !== oldest);
  }
  return changed(stored, bindings);
}

function changed(before: StoredBinding[], bindings: StoredBinding[]): Outcome {
  const isSame = before.length === bindings.length && before.every((one, i) => one === bindings[i]);
  return { type: isSame ? 'same' : 'changed', bindings };
}

/** A REGISTER of the same Call-ID that was overtaken by a later one. */
function isStale(binding: StoredBinding, wish: Wish): boolean {
  return binding.callId === wish.callId && wish.cseq < binding.cseq;
}

/** Applies one Contact. */
function take(
  bindings: StoredBinding[],
  contact: ContactWish,
  wish: Wish,
  rules: Rules,
): Exclude<Outcome, { bindings: unknown }> | { bindings: StoredBinding[] } {
  const askedS = contact.expiresS ?? wish.expiresS ?? rules.defaultExpiresS;
  if (askedS !== 0 && askedS < rules.minExpiresS) {
    return { type: 'tooBrief' };
  }
  const found = bindings.find((one) => isSameDevice(one, contact));
  if (found !== undefined && isStale(found, wish)) {
    return stale;
  }
  const isRepeated = found?.callId === wish.callId && found.cseq === wish.cseq;
  if (isRepeated && askedS !== 0 && found.received === wish.received) {
    return { bindings };
  }
  if (askedS === 0) {
    return { bindings: bindings.filter((one) => one !== found) };
  }
  const made = bindingOf(contact, wish, Math.min(askedS, rules.maxExpiresS));
  if (found === undefined) {
    return { bindings: [...bindings, made] };
  }
  const kept = { ...made, registeredAt: found.registeredAt };
  return { bindings: bindings.map((one) => (one === found ? kept : one)) };
}

/** A device is known by its instance when it tells one, else by its Contact URI. */
function isSameDevice(binding: StoredBinding, contact: ContactWish): boolean {
  return binding.instance && contact.instance
    ? binding.instance === contact.instance
    : binding.contact === contact.uri;
}

function bindingOf(contact: ContactWish, wish: Wish, expiresS: number): StoredBinding {
  const { received, local, callId, cseq, userAgent, path, nowMs } = wish;
  return {
    ...{ contact: contact.uri, received, local, callId, cseq },
    expiresAt: nowMs + expiresS * 1000,
    ...{ q: contact.q, instance: contact.instance, userAgent },
    ...{ registeredAt: nowMs, refreshedAt: nowMs },
    ...(path.length === 0 ? {} : { path }),
    ...(contact.push === null ? {} : { push: contact.push }),
  };
}

/** The Contact header of a 200: all bindings and what is left of them. */
export function contactHeader(bindings: readonly StoredBinding[], nowMs: number): string {
  const values = bindings.map(({ contact, q, expiresAt, instance }) =>
    [
      `<${contact}>`,
      ...(q < 1 ? [`q=${q}`] : []),
      `expires=${Math.ceil((expiresAt - nowMs) / 1000)}`,
      ...(instance === null ? [] : [`+sip.instance="${instance}"`]),
    ].join(';'),
  );
  return values.join(', ');
}

/**
 * Where a request to a binding is sent, a route URL; null: where its Contact says. A connection
 * is the engine's own business: it remembers it under the Contact, and no other way leads
 * through a translator.
 */
export function routeTo({ received, path }: Pick<StoredBinding, 'received' | 'path'>) {
  const [first] = path ?? [];
  if (first !== undefined) {
    return /<([^>]*)>/.exec(first)?.[1] ?? first;
  }
  return received.startsWith('udp/') ? `sip:${received.slice(4)};transport=udp` : null;
}
