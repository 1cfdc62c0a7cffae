/**
 * Many users register from one socket, each with digest and the retransmissions of
 * RFC 3261, so that a leader can be killed in the middle and every acknowledgement counted.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { answer } from './digest.ts';
import { Exchange } from './exchange.ts';
import { headersOf, parse, type SipMessage, statusOf } from './message.ts';
import type { Place } from './wire.ts';

export interface BurstOptions {
  users: { name: string; password: string }[];
  domain: string;
  registrar: Place;
  address: string;
  port: number;
  perSecond: number;
  expiresS: number;
}

export interface BurstReport {
  /** Users whose REGISTER got its 200. */
  acknowledged: string[];
  /** The others, with the final status. */
  refused: { name: string; status: number }[];
  retransmissions: number;
  slowestMs: number;
}

export async function registerBurst(options: BurstOptions): Promise<BurstReport> {
  const { address, port, registrar, users, perSecond } = options;
  const exchange = new Exchange(false);
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(port, address, resolve));
  socket.on('message', (bytes) => exchange.handle(parse(bytes.toString())));
  const send = (text: string) => socket.send(text, registrar.port, registrar.address);
  const report: BurstReport = { acknowledged: [], refused: [], retransmissions: 0, slowestMs: 0 };
  const startedAt = Date.now();
  const one = async (user: { name: string; password: string }, index: number) => {
    const dueMs = startedAt + (index * 1000) / perSecond - Date.now();
    await new Promise((resolve) => setTimeout(resolve, dueMs));
    const callId = randomBytes(8).toString('hex');
    const first = await exchange.request(register(options, user.name, callId, 1, null), send);
    const challenges = first.response === null ? [] : headersOf(first.response, 'www-authenticate');
    const credentials = { user: user.name, password: user.password, algorithm: 'MD5' as const };
    const value = answer(challenges, credentials, 'REGISTER', `sip:${options.domain}`);
    const second = await exchange.request(register(options, user.name, callId, 2, value), send);
    report.retransmissions += first.sent + second.sent - 2;
    report.slowestMs = Math.max(report.slowestMs, first.tookMs + second.tookMs);
    if (second.response !== null && statusOf(second.response) === 200) {
      report.acknowledged.push(user.name);
    } else {
      report.refused.push({ name: user.name, status: second.status });
    }
  };
  await Promise.all(users.map(one));
  socket.close();
  return report;
}

function register(
  { domain, address, port, expiresS }: BurstOptions,
  user: string,
  callId: string,
  sequence: number,
  authorization: string | null,
): SipMessage {
  const branch = `z9hG4bK${randomBytes(8).toString('hex')}`;
  return {
    start: `REGISTER sip:${domain} SIP/2.0`,
    headers: [
      ['Via', `SIP/2.0/UDP ${address}:${port};branch=${branch};rport`],
      ['Max-Forwards', '70'],
      ['From', `<sip:${user}@${domain}>;tag=${callId}`],
      ['To', `<sip:${user}@${domain}>`],
      ['Call-ID', callId],
      ['CSeq', `${sequence} REGISTER`],
      ['Contact', `<sip:${user}@${address}:${port}>;expires=${expiresS}`],
      ...(authorization === null ? [] : [['Authorization', authorization] as [string, string]]),
    ],
    body: '',
  };
}
