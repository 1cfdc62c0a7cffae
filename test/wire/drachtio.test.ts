/**
 * Unmodified drachtio-srf against the engine inside the addon, with scripted phones on real
 * UDP sockets: what an application written for drachtio-server relies on.
 */
import { type EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import Untyped from 'drachtio-srf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SipEngine } from '../../src/native/index.ts';
import { eventually } from '../support/eventually.ts';
import { Phone } from '../support/phone/phone.ts';

interface Req {
  body: string;
  method: string;
  calledNumber: string;
  on(event: 'cancel', listener: () => void): void;
}
interface Res {
  send(status: number, options?: { body?: string; headers?: Record<string, string> }): void;
}
interface Dialog extends EventEmitter {
  id: string;
  destroy(): Promise<unknown>;
  modify(sdp: string): Promise<string>;
  request(options: {
    method: string;
    body?: string;
    headers?: object;
  }): Promise<{ status: number }>;
}
type Handler = (req: Req, res: Res) => void;
interface Application extends EventEmitter {
  connect(options: object): void;
  disconnect(): void;
  invite(handler: Handler): void;
  register(handler: Handler): void;
  options(handler: Handler): void;
  createUAS(req: Req, res: Res, options: { localSdp: string }): Promise<Dialog>;
  createUAC(uri: string, options: { localSdp: string }): Promise<Dialog>;
  createB2BUA(
    req: Req,
    res: Res,
    uri: string,
    options: { localSdpB: string },
  ): Promise<{ uas: Dialog; uac: Dialog }>;
  findDialogById(id: string): Dialog | undefined;
}
const Srf = Untyped as unknown as new () => Application;

const sdp = [
  'v=0',
  'o=- 1 1 IN IP4 127.0.0.1',
  's=-',
  'c=IN IP4 127.0.0.1',
  't=0 0',
  'm=audio 15998 RTP/AVP 0',
  'a=sendrecv',
  '',
].join('\r\n');
const secret = 'not a real secret';
const address = '127.0.0.1';
const port = { sip: 15310, drachtio: 15311, caller: 15312, callee: 15313 };
const waitMs = 5_000;

let engine: SipEngine;
let srf: Application;
let caller: Phone;
let callee: Phone;
/** Ends what a test started, latest first. */
let endings: (() => void)[] = [];

function phone(user: string, own: number): Promise<Phone> {
  return Phone.open({
    user,
    password: 'none',
    domain: `${address}:${port.sip}`,
    registrar: { address, port: port.sip },
    address,
    port: own,
    transport: 'udp',
    algorithm: 'MD5',
    hertz: 400,
  });
}

async function application(): Promise<Application> {
  const app = new Srf();
  app.on('error', () => undefined);
  const { disconnect } = app;
  let connected = true;
  // Disconnecting twice is an error of its own in drachtio-srf.
  app.disconnect = () => {
    if (connected) {
      connected = false;
      disconnect.call(app);
    }
  };
  endings.push(() => app.disconnect());
  app.connect({ host: address, port: port.drachtio, secret });
  await once(app, 'connect');
  return app;
}

beforeEach(async () => {
  engine = SipEngine.start(
    {
      listen: [`udp/${address}:${port.sip}`, `tcp/${address}:${port.sip}`],
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
  endings.push(() => engine.close());
  caller = await phone('caller', port.caller);
  callee = await phone('callee', port.callee);
  endings.push(
    () => caller.close(),
    () => callee.close(),
  );
  srf = await application();
});

afterEach(() => {
  for (const end of endings.reverse()) {
    end();
  }
  endings = [];
});

/** Answers every call; resolves with the dialog of the first. */
function answering(): Promise<Dialog> {
  return new Promise((resolve, reject) => {
    srf.invite((req, res) => {
      srf.createUAS(req, res, { localSdp: sdp }).then(resolve, reject);
    });
  });
}

const calleeUri = `sip:callee@${address}:${port.callee}`;

/** Connects every call to the callee; resolves with both dialogs. */
function bridging(): Promise<{ uas: Dialog; uac: Dialog }> {
  return new Promise((resolve, reject) => {
    srf.invite((req, res) => {
      srf
        .createB2BUA(req, res, calleeUri, { localSdpB: req.body })
        .then(({ uas, uac }) => {
          uas.on('destroy', () => uac.destroy());
          uac.on('destroy', () => uas.destroy());
          resolve({ uas, uac });
        })
        .catch(reject);
    });
  });
}

it('answers a call and hears of its end', async () => {
  const answered = answering();
  caller.invite('service');
  await caller.until('up', waitMs);
  const dialog = await answered;
  const ended = once(dialog, 'destroy');
  expect((await caller.bye()).status).toBe(200);
  await ended;
  expect(srf.findDialogById(dialog.id)).toBeUndefined();
});

it('ends a call it has answered', async () => {
  const answered = answering();
  caller.invite('service');
  await caller.until('up', waitMs);
  await (await answered).destroy();
  expect((await caller.until('ended', waitMs)).endedBy).toBe('remote');
});

it('calls a phone and ends the call', async () => {
  const calling = srf.createUAC(calleeUri, { localSdp: sdp });
  await callee.until('ringing', waitMs);
  callee.answer();
  const dialog = await calling;
  await eventually('the ACK', waitMs, () => callee.snapshot().requests.ACK === 1);
  await dialog.destroy();
  await callee.until('ended', waitMs);
});

it.each(['caller', 'callee'] as const)('connects two phones until the %s hangs up', async (who) => {
  const bridged = bridging();
  caller.invite('callee');
  await callee.until('ringing', waitMs);
  await caller.until('ringing', waitMs);
  callee.answer();
  await caller.until('up', waitMs);
  await bridged;
  const [first, second] = who === 'caller' ? [caller, callee] : [callee, caller];
  expect((await first.bye()).status).toBe(200);
  expect((await second.until('ended', waitMs)).endedBy).toBe('remote');
});

it('takes the call back from the callee when the caller gives up', async () => {
  const bridged = bridging().catch((error: { status: number }) => error.status);
  caller.invite('callee');
  await caller.until('ringing', waitMs);
  expect((await caller.cancel()).status).toBe(200);
  expect((await caller.until('ended', waitMs)).status).toBe(487);
  expect((await callee.until('ended', waitMs)).endedBy).toBe('cancel');
  expect(await bridged).toBe(487);
});

it('passes on that the callee is busy', async () => {
  const bridged = bridging().catch((error: { status: number }) => error.status);
  caller.invite('callee');
  await callee.until('ringing', waitMs);
  callee.reject(486);
  expect((await caller.until('ended', waitMs)).status).toBe(486);
  expect(await bridged).toBe(486);
});

it('lets either side change the session', async () => {
  const answered = answering();
  caller.invite('service');
  await caller.until('up', waitMs);
  const dialog = await answered;
  const modified = once(dialog, 'modify');
  const held = caller.reinvite('sendonly');
  const [, res] = (await modified) as [Req, Res];
  res.send(200, { body: sdp });
  expect((await held).status).toBe(200);
  expect(await dialog.modify(sdp.replace('15998', '15996'))).toContain('m=audio');
  expect(caller.snapshot().requests.INVITE).toBe(1);
});

it('carries other requests inside a call', async () => {
  const calling = srf.createUAC(calleeUri, { localSdp: sdp });
  await callee.until('ringing', waitMs);
  callee.answer();
  const dialog = await calling;
  const headers = { 'Content-Type': 'text/plain' };
  const response = await dialog.request({ method: 'INFO', body: 'hello', headers });
  // This phone answers 501 to what it does not know.
  expect(response.status).toBe(501);
  expect(callee.snapshot().requests.INFO).toBe(1);
});

it('gives REGISTER to an application that asks for it, and answers OPTIONS without one', async () => {
  expect((await caller.options()).status).toBe(200);
  expect((await caller.register()).status).toBe(503);
  srf.register((_req, res) => res.send(200, { headers: { Contact: '<sip:x@y>;expires=60' } }));
  await eventually('the route', waitMs, async () => (await caller.register()).status === 200);
});

it('refuses calls while no application takes them', async () => {
  caller.invite('service');
  expect((await caller.until('ended', waitMs)).status).toBe(503);
});

it('tells a call to the application that is left when another one goes', async () => {
  const other = await application();
  const gone = new Promise<void>((resolve) => {
    other.invite(() => {
      other.disconnect();
      resolve();
    });
  });
  caller.invite('service');
  await gone;
  answering();
  await caller.until('up', waitMs);
});

it('closes a connection that does not know the secret', async () => {
  const socket = connect(port.drachtio, address);
  let told = '';
  socket.on('data', (bytes) => {
    told += bytes.toString();
  });
  const request = 'a|route|invite';
  socket.write(`${request.length}#${request}`);
  await once(socket, 'close');
  expect(told).toContain('|response|a|NO|');
});
