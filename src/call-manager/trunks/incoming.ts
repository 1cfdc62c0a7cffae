/** Reads a call that no user of ours makes: whether a trunk does, from whom, for whom. */
import { fail, type Result, succeed } from '../../domain/errors.ts';
import { numberPattern, type Trunk } from '../../domain/trunk.ts';
import { cleanDisplayName } from '../../domain/user.ts';
import { type SipRequest, Srf } from '../../sip/srf.ts';
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
    requestUser: userIn(req.uri),
    toUser: req.has('to') ? userIn(req.getParsedHeader('to').uri) : '',
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
  const shown = req.has('from') ? req.getParsedHeader('from') : { uri: '', name: '' };
  // Kept by the engine from trunks: who it is when From is anonymous.
  const asserted = userIn(/<([^>]*)>/.exec(req.get('P-Asserted-Identity') ?? '')?.[1] ?? '');
  const number = asserted || userIn(shown.uri);
  const from = numberPattern.test(number) ? number : 'anonymous';
  const fromName = cleanDisplayName(shown.name ?? '');
  return succeed({ trunk: trunk.name, from, fromName, to });
}

/** The user part, unescaped; empty when there is none that can be read. */
function userIn(uri: string): string {
  const user = Srf.parseUri(uri)?.user ?? '';
  try {
    return decodeURIComponent(user).split(';')[0] ?? '';
  } catch (error) {
    if (error instanceof URIError) {
      return '';
    }
    throw error;
  }
}
