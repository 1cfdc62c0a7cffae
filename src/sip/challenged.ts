/** The same request again with an answer to its challenge (RFC 3261 section 22.2). */
import { randomBytes } from 'node:crypto';
import { answerTo, type Credentials, challengeOf } from './digest.ts';
import type { Dialog, SipRequest, SipResponse } from './srf.ts';

/** Times one request is answered: once, and again when only its nonce was too old. */
const answersMax = 2;

/** The header that answers; null when none can, or one did and the password is wrong. */
export function authorizationFor(
  { method, uri }: SipRequest,
  response: SipResponse,
  credentials: Credentials,
  answered: number,
): Record<string, string> | null {
  const isChallenge = response.status === 401 || response.status === 407;
  const challenge = isChallenge ? challengeOf(response.msg.raw ?? '') : null;
  const isRefused = answered > 0 && challenge?.stale !== true;
  if (challenge === null || isRefused || answered >= answersMax) {
    return null;
  }
  const cnonce = randomBytes(8).toString('hex');
  const answer = answerTo(challenge, credentials, { method, uri, cnonce, count: 1 });
  return { [challenge.answerHeader]: answer };
}

/**
 * The headers that make it the same request outside dialogs: Call-ID and From with its tag are
 * kept, CSeq is one higher.
 */
export function headersAgain(
  request: SipRequest,
  response: SipResponse,
  credentials: Credentials,
  answered: number,
): Record<string, string> | null {
  const authorization = authorizationFor(request, response, credentials, answered);
  const seq = Number(/^\s*(\d+)/.exec(request.get('CSeq') ?? '')?.[1]);
  const [callId, from] = [request.get('Call-ID'), request.get('From')];
  return authorization === null || !callId || !from
    ? null
    : { from, 'Call-ID': callId, CSeq: `${seq + 1} ${request.method}`, ...authorization };
}

interface InDialog {
  method: string;
  headers?: Record<string, string>;
  body?: string;
}

/** A request inside a dialog, of which the engine knows the rest; `done` as of `Dialog.request`. */
export function requestInDialog(
  dialog: Dialog,
  options: InDialog,
  credentials: Credentials | null,
  done: Parameters<Dialog['request']>[1],
  answered = 0,
): void {
  dialog.request(options, (error, response) => {
    const authorization =
      error || credentials === null
        ? null
        : authorizationFor(response.req, response, credentials, answered);
    if (authorization === null) {
      done(error, response);
    } else {
      const headers = { ...options.headers, ...authorization };
      requestInDialog(dialog, { ...options, headers }, credentials, done, answered + 1);
    }
  });
}
