/**
 * Reliable provisional responses and subscriptions between unmodified drachtio-srf and a peer
 * that sends what it is told to, on a real UDP socket.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import Untyped from 'drachtio-srf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SipEngine } from '../../src/native/index.ts';

type Header = Record<string, string>;
interface Res {
  send(
    status: number,
    options: { body?: string; headers?: Header },
    echo?: (error: unknown) => void,
    onPrack?: (prack: { get(name: string): string }) => void,
  ): void;
}
interface Application {
  on(event: 'error', listener: () => void): void;
  once(event: 'connect', listener: () => void): this;
  connect(options: object): void;
  disconnect(): void;
  invite(handler: (req: unknown, res: Res) => void): void;
  createUAC(uri: string, options: object): Promise<NodeJS.EventEmitter & { id: string }>;
}
const Srf = Untyped as unknown as new () => Application & NodeJS.EventEmitter;

const address = '127.0.0.1';
const port = { sip: 15330, drachtio: 15331, peer: 15332 };
const secret = 'not a real secret';
const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n';
const waitMs = 5_000;

/** A peer without any logic of its own. */
class Peer {
  readonly #socket: Socket;
  readonly #received: string[] = [];
  #wake: () => void = () => undefined;

  constructor() {
    this.#socket = createSocket('udp4');
    this.#socket.on('message', (bytes) => {
      this.#received.push(bytes.toString());
      this.#wake();
    });
    this.#socket.bind(port.peer, address);
  }

  close(): void {
    this.#socket.close();
  }

  send(text: string): void {
    this.#socket.send(text, port.sip, address);
  }

  request(method: string, cseq: number, tag: string, more: string[], body = ''): void {
    const lines = [
      `${method} sip:app@${address}:${port.sip} SIP/2.0`,
      `Via: SIP/2.0/UDP ${address}:${port.peer};branch=z9hG4bK${method}${cseq}${tag};rport`,
      `From: <sip:peer@${address}>;tag=peer`,
      `To: <sip:app@${address}>${tag && `;tag=${tag}`}`,
      `Call-ID: ${this.callId}`,
      `CSeq: ${cseq} ${method}`,
      'Max-Forwards: 70',
      `Contact: <sip:peer@${address}:${port.peer}>`,
      ...more,
      `Content-Length: ${body.length}`,
    ];
    this.send(`${lines.join('\r\n')}\r\n\r\n${body}`);
  }

  callId = 'peer-call';

  answer(request: string, status: string, more: string[], body = ''): void {
    const copied = request.split('\r\n').filter((line) => /^(Via|From|Call-ID|CSeq):/.test(line));
    const to = header(request, 'To');
    const lines = [
      `SIP/2.0 ${status}`,
      ...copied,
      `To: ${to}${to.includes('tag=') ? '' : ';tag=peer'}`,
      `Contact: <sip:peer@${address}:${port.peer}>`,
      ...more,
      `Content-Length: ${body.length}`,
    ];
    this.send(`${lines.join('\r\n')}\r\n\r\n${body}`);
  }

  /** The next message that starts so; others before it are passed over. */
  async expect(start: string): Promise<string> {
    const deadline = AbortSignal.timeout(waitMs);
    for (;;) {
      const at = this.#received.findIndex((text) => text.startsWith(start));
      if (at >= 0) {
        return this.#received.splice(0, at + 1).at(-1) ?? '';
      }
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        deadline.onabort = () => reject(new Error(`no ${start} in time`));
      });
    }
  }
}

function header(message: string, name: string): string {
  const line = message.split('\r\n').find((one) => one.startsWith(`${name}: `));
  return line?.slice(name.length + 2) ?? '';
}

function tagOf(value: string): string {
  return value.split('tag=')[1] ?? '';
}

let engine: SipEngine;
let srf: Application;
let peer: Peer;

beforeEach(async () => {
  engine = SipEngine.start(
    {
      listen: [`udp/${address}:${port.sip}`],
      nameServers: [],
      connectionsPerAddress: 16,
      tls: null,
      drachtio: { listen: `${address}:${port.drachtio}`, secret },
      registrar: null,
      authenticateCalls: false,
      trusted: [],
      sessionTimer: { expiresS: 0, minSeS: 90 },
      secret,
    },
    null,
    () => undefined,
  );
  peer = new Peer();
  const app = new Srf();
  app.on('error', () => undefined);
  app.connect({ host: address, port: port.drachtio, secret });
  await once(app, 'connect');
  srf = app;
});

afterEach(() => {
  srf.disconnect();
  peer.close();
  engine.close();
});

it('tells an application of the PRACK to its reliable response', async () => {
  const pracked = new Promise<string>((resolve) => {
    srf.invite((_req, res) => {
      const options = { body: sdp, headers: { Require: '100rel' } };
      res.send(183, options, undefined, (prack) => {
        resolve(prack.get('RAck'));
        res.send(200, { body: sdp });
      });
    });
  });
  peer.callId = 'reliable';
  // The route of the application may still be on its way.
  let progress = '';
  for (let cseq = 1; progress === ''; cseq += 1) {
    peer.request('INVITE', cseq, '', ['Supported: 100rel'], sdp);
    const answer = await Promise.any([peer.expect('SIP/2.0 503'), peer.expect('SIP/2.0 183')]);
    progress = answer.startsWith('SIP/2.0 183') ? answer : '';
  }
  const [number] = header(progress, 'CSeq').split(' ');
  const rack = `${header(progress, 'RSeq')} ${number} INVITE`;
  peer.request('PRACK', 50, tagOf(header(progress, 'To')), [`RAck: ${rack}`]);
  expect(await pracked).toBe(rack);
  await peer.expect('SIP/2.0 200');
});

it('lets an application call a phone that answers reliably', async () => {
  const calling = srf.createUAC(`sip:peer@${address}:${port.peer}`, {
    localSdp: sdp,
    headers: { Supported: '100rel' },
  });
  const invite = await peer.expect('INVITE');
  peer.answer(invite, '183 Session Progress', ['Require: 100rel', 'RSeq: 77'], sdp);
  const prack = await peer.expect('PRACK');
  expect(header(prack, 'RAck')).toBe('77 1 INVITE');
  peer.answer(prack, '200 OK', []);
  peer.answer(invite, '200 OK', ['Content-Type: application/sdp'], sdp);
  await peer.expect('ACK');
  expect((await calling).id).toContain(header(invite, 'Call-ID'));
});

it('lets an application subscribe and hear of the state', async () => {
  const subscribing = srf.createUAC(`sip:peer@${address}:${port.peer}`, {
    method: 'SUBSCRIBE',
    headers: { Event: 'presence', Expires: '600', Contact: `<sip:app@${address}:${port.sip}>` },
  });
  const subscribe = await peer.expect('SUBSCRIBE');
  peer.answer(subscribe, '200 OK', ['Expires: 600']);
  const dialog = await subscribing;
  const notified = once(dialog, 'notify');
  peer.callId = header(subscribe, 'Call-ID');
  const state = ['Event: presence', 'Subscription-State: active;expires=600'];
  peer.request('NOTIFY', 1, tagOf(header(subscribe, 'From')), state);
  const [, res] = (await notified) as [unknown, Res];
  res.send(200, {});
  expect(header(await peer.expect('SIP/2.0 200'), 'CSeq')).toBe('1 NOTIFY');
});
