/** One REGISTER to a provider, with the answers to its challenges, and what came of it. */
import type { Trunk, TrunkState } from '../../domain/trunk.ts';
import { headersAgain } from '../../sip/challenged.ts';
import type { Credentials } from '../../sip/digest.ts';
import type { SipRequest, SipResponse, SrfInstance } from '../../sip/srf.ts';
import { identityDomainOf, proxyUriOf } from '../routing/outbound.ts';
import { type Attempt, grantedS } from './registration.ts';

export interface Exchange {
  trunk: Trunk;
  state: TrunkState;
  credentials: Credentials;
  cseq: number;
}

/** Calls `done` with what came of it and the last CSeq that was used. */
export function register(
  srf: SrfInstance,
  exchange: Exchange,
  done: (attempt: Attempt, cseq: number) => void,
): void {
  const { trunk, state, cseq } = exchange;
  const first = { 'Call-ID': state.callId, CSeq: `${cseq} REGISTER`, from: fromOf(trunk) };
  send(srf, { ...exchange, answered: 0 }, first, done);
}

function send(
  srf: SrfInstance,
  exchange: Exchange & { answered: number },
  own: Record<string, string>,
  done: (attempt: Attempt, cseq: number) => void,
): void {
  const { trunk, state, credentials, answered } = exchange;
  const cseq = Number.parseInt(own.CSeq ?? '0', 10);
  const askedS = state.leaving ? 0 : state.expiresS;
  const headers = {
    to: fromOf(trunk),
    Contact: `<sip:${userPart(trunk)}@localhost${transportOf(trunk)}>`,
    Expires: String(askedS),
    ...own,
  };
  const options = { method: 'REGISTER', headers, proxy: proxyUriOf(trunk) };
  const heard = (request: SipRequest, response: SipResponse) => {
    const { status } = response;
    if (status < 200) {
      return;
    }
    const again = headersAgain(request, response, credentials, answered);
    if (again === null) {
      done(attemptOf(request, response, askedS), cseq);
    } else {
      send(srf, { ...exchange, answered: answered + 1 }, again, done);
    }
  };
  try {
    const uri = `sip:${identityDomainOf(trunk)}`;
    srf.request(uri, options, (error, request) => {
      if (error || request === undefined) {
        done({ type: 'failed', reason: String(error?.message ?? 'not sent') }, cseq);
      } else {
        request.on('response', (response: SipResponse) => heard(request, response));
      }
    });
  } catch (error) {
    // Thrown when there is no connection to the engine.
    done({ type: 'failed', reason: String(error) }, cseq);
  }
}

/** Who we are to the provider, in From and To. */
export function fromOf(trunk: Trunk): string {
  const domain = identityDomainOf(trunk);
  const account = trunk.user === '' ? domain : `${trunk.user}@${domain}`;
  return `<sip:${trunk.user.includes('@') ? trunk.user : account}>`;
}

/** The provider calls this Contact: it tells the account apart from others there. */
function userPart(trunk: Trunk): string {
  return trunk.user.split('@')[0] ?? '';
}

function transportOf({ transport }: Trunk): string {
  return transport === 'udp' ? '' : `;transport=${transport}`;
}

function attemptOf(request: SipRequest, response: SipResponse, askedS: number): Attempt {
  const { status, reason, source_address: address } = response;
  const seconds = (name: string) => {
    const text = /^\s*(\d{1,9})/.exec(response.get(name) ?? '')?.[1];
    return text === undefined ? null : Number(text);
  };
  if (status < 300 && askedS === 0) {
    return { type: 'gone' };
  }
  if (status < 300) {
    // The answer lists all Contacts of the account; the echo of the request has ours.
    const own = /<[^>]*>/.exec(request.get('Contact') ?? '')?.[0] ?? '';
    const all = (response.get('Contact') ?? '').split(',');
    const contact = all.find((one) => one.includes(own)) ?? '';
    const expiresS = grantedS(contact, response.get('Expires') ?? '', askedS);
    return expiresS > 0
      ? { type: 'registered', expiresS, address: address ?? null }
      : { type: 'failed', reason: 'the provider keeps no Contact' };
  }
  const minExpiresS = seconds('Min-Expires');
  if (status === 423 && minExpiresS !== null) {
    return { type: 'tooBrief', minExpiresS };
  }
  return { type: 'refused', status, reason, retryAfterS: seconds('Retry-After') };
}
