/** Reads a call that no user of ours makes: whether a trunk does, from whom, for whom. */
import { fail, type Result, succeed } from '../../domain/errors.ts';
import { numberPattern, type Trunk } from '../../domain/trunk.ts';
import { cleanDisplayName } from '../../domain/user.ts';
import type { SipRequest } from '../../sip/srf.ts';
import { acceptInbound } from '../routing/inbound.ts';
import type { TrunkBook } from './book.ts';

/** Who calls from outside. The number and the name are what the provider says: to be shown only. */
export interface OutsideCaller {
  trunk: string;
  from: string;
  fromName: string;
  to: string;
}

export function readTrunkCall(
  req: SipRequest,
  book: TrunkBook,
  isFull: (trunk: Trunk) => boolean,
): Result<OutsideCaller> {
  const answer = acceptInbound({
    source: req.source_address,
    requestUser: numberIn(req.uri),
    toUser: numberIn(addressIn(req.get('To') ?? '').uri),
    trunks: book.known(),
    routes: book.inbound(),
  });
  if (!answer.ok) {
    return answer;
  }
  const { trunk, to } = answer.value;
  if (isFull(trunk)) {
    return fail('PBX_TRUNK_FULL', trunk.name);
  }
  const shown = addressIn(req.get('From') ?? '');
  // Kept by the engine from trunks: who it is when From is anonymous.
  const asserted = numberIn(addressIn(req.get('P-Asserted-Identity') ?? '').uri);
  const number = asserted || numberIn(shown.uri);
  const from = numberPattern.test(number) ? number : 'anonymous';
  return succeed({ trunk: trunk.name, from, fromName: cleanDisplayName(shown.name), to });
}

/** Name and URI of an address header, whatever it looks like: nothing that comes in may throw. */
export function addressIn(header: string): { name: string; uri: string } {
  const match = /^\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*))\s*<([^>]*)>/.exec(header);
  const bare = { name: '', uri: header.split(';')[0]?.trim() ?? '' };
  return match === null ? bare : { name: (match[1] ?? match[2] ?? '').trim(), uri: match[3] ?? '' };
}

/** The user part of a SIP URI, or the number of a `tel:` URI; empty when it has none. */
export function numberIn(uri: string): string {
  const [, scheme = '', rest = ''] = /^\s*(sips?|tel):(.*)$/i.exec(uri) ?? [];
  if (scheme.toLowerCase() === 'tel') {
    // RFC 3966 section 3: dots, hyphens and brackets are there for people.
    return (rest.split(';')[0] ?? '').replace(/[-.()]/g, '');
  }
  const user = rest.includes('@') ? (rest.split('@')[0] ?? '') : '';
  try {
    return decodeURIComponent(user.split(/[;:]/)[0] ?? '');
  } catch (error) {
    if (error instanceof URIError) {
      return '';
    }
    throw error;
  }
}
