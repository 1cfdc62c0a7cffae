/** What a REGISTER asks for, read from its headers. Pure: nothing that comes in may throw. */
import { limits } from '../../domain/limits.ts';
import type { Binding } from '../../domain/registration.ts';
import { Srf } from '../../sip/srf.ts';
import { addressIn } from '../trunks/incoming.ts';

export interface ContactWish {
  uri: string;
  expiresS: number | null;
  q: number;
  instance: string | null;
  push: NonNullable<Binding['push']> | null;
}

export type Contacts =
  /** None: a question. */
  | { type: 'query' }
  /** `*` with Expires 0. */
  | { type: 'removeAll' }
  | { type: 'some'; wishes: ContactWish[] }
  | { type: 'bad' };

/** Reads Contacts; `*` goes alone and with Expires 0 only (RFC 3261 section 10.3 step 6). */
export function contactsOf(header: string | undefined, expiresS: number | null): Contacts {
  const values = splitList(header ?? '');
  if (values.length === 0) {
    return { type: 'query' };
  }
  if (values.includes('*')) {
    const isAlone = values.length === 1 && expiresS === 0;
    return isAlone ? { type: 'removeAll' } : { type: 'bad' };
  }
  const wishes = values.flatMap((value) => wishOf(value) ?? []);
  return wishes.length === values.length && wishes.length <= limits.contactsMax
    ? { type: 'some', wishes }
    : { type: 'bad' };
}

/** A number of seconds; null when it is none, which counts as absent. */
export function secondsOf(text: string | undefined): number | null {
  const value = text?.trim() ?? '';
  return /^\d{1,10}$/.test(value) ? Math.min(Number(value), 2 ** 32 - 1) : null;
}

/** The values of a header behind each other; commas in quotes and brackets do not part them. */
export function splitList(header: string): string[] {
  const values = header
    .slice(0, limits.headerCharactersMax)
    .replace(/\r\n[ \t]+/g, ' ')
    .match(/(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^",<])+/g);
  return (values ?? []).map((value) => value.trim()).filter((value) => value !== '');
}

/** Whether a header that lists option tags has this one. */
export function lists(header: string | undefined, tag: string): boolean {
  return splitList(header ?? '').some((one) => one.toLowerCase() === tag);
}

function wishOf(value: string): ContactWish | null {
  const { uri } = addressIn(value);
  const params = paramsOf(value.includes('<') ? value.slice(value.indexOf('>') + 1) : value);
  if (!/^sips?:[^\s<>"]+$/i.test(uri) || !Srf.parseUri(uri)?.host) {
    return null;
  }
  const q = Number(params.get('q') ?? '1');
  const instance = params.get('+sip.instance') ?? '';
  return {
    uri,
    expiresS: secondsOf(params.get('expires')),
    q: q >= 0 && q <= 1 ? q : 1,
    instance: instance === '' ? null : instance,
    push: pushOf(uri),
  };
}

/** A device without both parameters cannot be woken (RFC 8599 section 5.6.1). */
function pushOf(uri: string): ContactWish['push'] {
  const params = paramsOf(uri);
  const [provider, prid] = [params.get('pn-provider'), params.get('pn-prid')];
  return provider && prid ? { provider, prid, param: params.get('pn-param') || null } : null;
}

function paramsOf(text: string): Map<string, string> {
  const found = text.matchAll(/;\s*([^\s;=>?]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;>?]*)))?/g);
  return new Map(
    [...found].map(([, name = '', quoted, plain = '']) => [name.toLowerCase(), quoted ?? plain]),
  );
}
