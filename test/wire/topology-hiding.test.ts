/** `sip.topologyHiding` on the wire: an unmodified application forwards, nobody sees through. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SipEngine } from '../../src/native/index.ts';
import { type Application, application } from '../support/application.ts';
import { DatagramPhone, type Message, tagOf } from '../support/datagram-phone.ts';
import { eventually } from '../support/eventually.ts';

const sdp = 'v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=phone\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n';
const secret = 'not a real secret';
const host = '127.0.0.1';
const port = { sip: 15_430, drachtio: 15_431, caller: 15_432, callee: 15_433 };
const waitMs = 10_000;

let engine: SipEngine;
let srf: Application;
let caller: DatagramPhone;
let callee: DatagramPhone;

beforeEach(async () => {
  caller = await DatagramPhone.open(host, port.caller);
  callee = await DatagramPhone.open(host, port.callee);
  engine = SipEngine.start(
    {
      listen: [`udp/${host}:${port.sip}`],
      nameServers: [],
      connectionsPerAddress: 16,
      tls: null,
      drachtio: { listen: `${host}:${port.drachtio}`, secret },
      registrar: null,
      authenticateCalls: false,
      trusted: [],
      sessionTimer: { expiresS: 0, minSeS: 90 },
      topologyHiding: { enabled: true, callIds: true },
      secret,
    },
    null,
    () => undefined,
  );
  srf = await application({ host, port: port.drachtio, secret });
});

afterEach(() => {
  srf.disconnect();
  engine.close();
  caller.close();
  callee.close();
});

/** The request again, for where a Contact leads. */
function toward(contact: string, text: string): string {
  const uri = /<([^>]+)>/.exec(contact)?.[1] ?? '';
  return text.replace(/^(\S+) \S+ /, `$1 ${uri} `);
}

it('keeps the two sides of a forwarded call apart until its end', async () => {
  srf.invite((req) => {
    void req.proxy({ destination: `sip:callee@${host}:${port.callee}`, remainInDialog: false });
  });
  const heardByCallee: Message[] = [];
  const heardByCaller: Message[] = [];
  callee.onMessage = (message) => {
    heardByCallee.push(message);
    if (message.start.startsWith('INVITE ')) {
      callee.send(port.sip, callee.response(message, '200 OK', sdp, 'Server: phone\r\n'));
    } else if (message.start.startsWith('ACK ')) {
      const invite = heardByCallee[0] as Message;
      const bye = callee
        .request('BYE', invite.header('Call-ID'), 1, 'caller')
        .replace(/From: .*/, `From: <sip:callee@${host}>;tag=callee`);
      callee.send(port.sip, toward(invite.header('Contact'), bye));
    }
  };
  caller.onMessage = (message) => {
    heardByCaller.push(message);
    if (message.start.includes(' 200 ') && message.header('CSeq').endsWith('INVITE')) {
      const ack = caller.request('ACK', 'hidden@198.51.100.7', 1, tagOf(message.header('To')));
      caller.send(port.sip, toward(message.header('Contact'), ack));
    } else if (message.start.startsWith('BYE ')) {
      caller.send(port.sip, caller.response(message, '200 OK'));
    }
  };
  const kind = 'Content-Type: application/sdp\r\n';
  caller.send(port.sip, caller.request('INVITE', 'hidden@198.51.100.7', 1, '', kind, sdp));
  const answered = () => heardByCallee.some(({ start }) => start.includes(' 200 '));
  await eventually('the answer to the BYE', waitMs, answered);

  const [invite] = heardByCallee as [Message, ...Message[]];
  expect(invite.text.match(/^Via:/gm)).toHaveLength(1);
  expect(invite.header('Contact')).toContain(`@${host}:${port.sip}`);
  const shown = (message: Message) => message.text.replace(/^(From|To): .*$/gm, '');
  for (const message of heardByCallee) {
    expect(shown(message)).not.toMatch(/15432|198\.51\.100\.7/);
  }
  const ok = heardByCaller.find(({ start }) => start.includes(' 200 ')) as Message;
  expect(ok.header('Call-ID')).toBe('hidden@198.51.100.7');
  for (const message of heardByCaller) {
    expect(message.text).not.toMatch(/15433|Server:|IP4 198\.51/);
  }
  const bye = heardByCaller.find(({ start }) => start.startsWith('BYE ')) as Message;
  expect(bye.start).toBe(`BYE sip:caller@${host}:${port.caller} SIP/2.0`);
});
