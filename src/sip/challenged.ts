/** The same request again with an answer to its challenge (RFC 3261 section 22.2). */
import { randomBytes } from 'node:crypto';
import { answerTo, type Credentials, challengeOf } from './digest.ts';
import type { SipRequest, SipResponse } from './srf.ts';

/** Times one request is answered: once, and again when only its nonce was too old. */
const answersMax = 2;

/**
 * The headers that make it the same request: Call-ID and From with its tag are kept, CSeq is one
 * higher. Null when it cannot be answered, or was and the password is wrong.
 */
export function headersAgain(
  request: SipRequest,
  response: SipResponse,
  credentials: Credentials,
  answered: number,
): Record<string, string> | null {
  const challenge = challengeOf(response.msg.raw ?? '');
  const seq = Number(/^\s*(\d+)/.exec(request.get('CSeq') ?? '')?.[1]);
  const [callId, from] = [request.get('Call-ID'), request.get('From')];
  const isRefused = answered > 0 && challenge?.stale !== true;
  if (challenge === null || isRefused || answered >= answersMax || !callId || !from) {
    return null;
  }
  const { method, uri } = request;
  const cnonce = randomBytes(8).toString('hex');
  return {
    from,
    'Call-ID': callId,
    CSeq: `${seq + 1} ${method}`,
    [challenge.answerHeader]: answerTo(challenge, credentials, { method, uri, cnonce, count: 1 }),
  };
}
