/** Messages the test phone derives from other messages (RFC 3261 sections 8.2.6, 9.1, 17.1.1.3). */
import { randomBytes } from 'node:crypto';
import { headerOf, type SipMessage, tagOf } from './message.ts';

/** A fresh tag, branch or Call-ID. */
export const id = () => randomBytes(6).toString('hex');

function copied(message: SipMessage, names: RegExp): [string, string][] {
  return message.headers.filter(([name]) => names.test(name));
}

/** CANCEL names the very transaction of the INVITE. */
export function cancelOf(invite: SipMessage): SipMessage {
  return {
    start: invite.start.replace('INVITE', 'CANCEL'),
    headers: [
      ...copied(invite, /^(via|from|to|call-id|route)$/i),
      ['Max-Forwards', '70'],
      ['CSeq', headerOf(invite, 'cseq').replace('INVITE', 'CANCEL')],
    ],
    body: '',
  };
}

/** The ACK of a failure belongs to the INVITE's own transaction. */
export function ackOfFailure(invite: SipMessage, response: SipMessage): SipMessage {
  return {
    start: invite.start.replace('INVITE', 'ACK'),
    headers: [
      ...copied(invite, /^(via|from|call-id|route)$/i),
      ['Max-Forwards', '70'],
      ['To', headerOf(response, 'to')],
      ['CSeq', headerOf(response, 'cseq').replace('INVITE', 'ACK')],
    ],
    body: '',
  };
}

export function responseTo(
  request: SipMessage,
  status: number,
  tag: string,
  contact: string,
  body: string,
): SipMessage {
  const to = headerOf(request, 'to');
  const type: [string, string][] = body === '' ? [] : [['Content-Type', 'application/sdp']];
  return {
    start: `SIP/2.0 ${status} Test`,
    headers: [
      ...copied(request, /^(via|from|call-id|cseq|record-route|v|f|i)$/i),
      ['To', tagOf(to) === '' ? `${to};tag=${tag}` : to],
      ['Contact', `<${contact}>`],
      ...type,
    ],
    body,
  };
}
