/**
 * What unmodified drachtio-srf applications rely on beyond single calls: bursts, several of
 * them, one that dies, `proxy`, call records, and being called by the server.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type RequestHandler, SipEngine } from '../../src/native/index.ts';
import { type Application, application, type Dialog, Srf } from '../support/application.ts';
import { DatagramPhone, type Message, tagOf } from '../support/datagram-phone.ts';
import { eventually } from '../support/eventually.ts';

const sdp = 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n';
const secret = 'not a real secret';
const host = '127.0.0.1';
const port = { sip: 15_330, drachtio: 15_331, caller: 15_332, callee: 15_333, app: 15_334 };
const calleeUri = `sip:callee@${host}:${port.callee}`;
const waitMs = 10_000;
const burst = 1_000;

let caller: DatagramPhone;
let callee: DatagramPhone;
/** Ends what a test started, latest first. */
let endings: (() => void)[] = [];

function engine(requestHandlers: RequestHandler[] = []): void {
  const started = SipEngine.start(
    {
      listen: [`udp/${host}:${port.sip}`],
      nameServers: [],
      connectionsPerAddress: 16,
      tls: null,
      drachtio: { listen: `${host}:${port.drachtio}`, secret },
      requestHandlers,
      registrar: null,
      authenticateCalls: false,
      trusted: [],
      sessionTimer: { expiresS: 0, minSeS: 90 },
      secret,
    },
    null,
    () => undefined,
  );
  endings.push(() => started.close());
}

async function connected(tags?: string[]): Promise<Application> {
  const app = await application({ host, port: port.drachtio, secret }, tags);
  endings.push(() => app.disconnect());
  return app;
}

beforeEach(async () => {
  caller = await DatagramPhone.open(host, port.caller);
  callee = await DatagramPhone.open(host, port.callee);
  endings.push(
    () => caller.close(),
    () => callee.close(),
  );
});

afterEach(() => {
  for (const end of endings.reverse()) {
    end();
  }
  endings = [];
});

/** Hangs up in the same burst that acknowledges. */
function hangUpAtOnce(answer: Message): void {
  const [call, tag] = [answer.header('Call-ID'), tagOf(answer.header('To'))];
  caller.send(port.sip, caller.request('ACK', call, 1, tag), caller.request('BYE', call, 2, tag));
}

/** Calls one after the other, a few at a time, each ended as soon as it is answered. */
function callAndHangUp(): { ended: () => number } {
  let started = 0;
  const answered = new Set<string>();
  let ended = 0;
  const next = () => {
    if (started < burst) {
      started += 1;
      caller.send(port.sip, caller.request('INVITE', `call-${started}`, 1));
    }
  };
  caller.onMessage = (message) => {
    if (message.start.startsWith('SIP/2.0 200')) {
      const call = message.header('Call-ID');
      if (message.header('CSeq').endsWith('INVITE') && !answered.has(call)) {
        answered.add(call);
        hangUpAtOnce(message);
      } else if (message.header('CSeq').endsWith('BYE')) {
        ended += 1;
        next();
      }
    }
  };
  for (let at = 0; at < 8; at += 1) {
    next();
  }
  return { ended: () => ended };
}

it('loses no BYE that follows its ACK at once, also when the application stands still', async () => {
  engine();
  const srf = await connected();
  let destroyed = 0;
  srf.invite((req, res) => {
    srf
      .createUAS(req, res, { localSdp: sdp })
      .then((dialog) => {
        dialog.on('destroy', () => {
          destroyed += 1;
        });
      })
      .catch(() => undefined);
    // Now and then the event loop stands still for longer than any pause helps.
    if (Math.random() < 0.02) {
      const until = performance.now() + 30;
      while (performance.now() < until) {}
    }
  });
  const calls = callAndHangUp();
  await eventually('all calls', 60_000, () => calls.ended() === burst);
  await eventually('all BYEs', waitMs, () => destroyed === burst);
}, 90_000);

it('ends both legs of every call when BYE follows ACK at once', async () => {
  engine();
  const srf = await connected();
  const byes = new Set<string>();
  callee.onMessage = (message) => {
    if (message.start.startsWith('INVITE ')) {
      callee.send(port.sip, callee.response(message, '200 OK', sdp));
    } else if (message.start.startsWith('BYE ')) {
      byes.add(message.header('Call-ID'));
      callee.send(port.sip, callee.response(message, '200 OK'));
    }
  };
  srf.invite((req, res) => {
    srf
      .createB2BUA(req, res, calleeUri, { localSdpB: sdp })
      .then(({ uas, uac }) => {
        uas.on('destroy', () => uac.destroy());
        uac.on('destroy', () => uas.destroy());
      })
      .catch(() => undefined);
  });
  const calls = callAndHangUp();
  await eventually('all calls', 60_000, () => calls.ended() === burst);
  await eventually('all second legs', waitMs, () => byes.size === burst);
}, 90_000);

it('gives the dialogs of a dead application to one with its tag', async () => {
  engine();
  const [first, other, heir] = [
    await connected(['red']),
    await connected(['blue']),
    new Srf(['red']),
  ];
  const up = new Promise<Dialog>((resolve, reject) => {
    first.invite((req, res) => {
      first.createUAS(req, res, { localSdp: sdp }).then(resolve, reject);
    });
  });
  caller.send(port.sip, caller.request('INVITE', 'orphan', 1));
  let tag = '';
  let byeStatus = '';
  caller.onMessage = (message) => {
    if (message.header('CSeq').endsWith('INVITE') && message.start.includes('200')) {
      tag = tagOf(message.header('To'));
      caller.send(port.sip, caller.request('ACK', 'orphan', 1, tag));
    } else if (message.header('CSeq').endsWith('BYE')) {
      byeStatus = message.start;
    }
  };
  const { id } = await up;
  let wrong = 0;
  other.use('bye', () => {
    wrong += 1;
  });
  first.disconnect();
  caller.send(port.sip, caller.request('BYE', 'orphan', 2, tag));
  const heard = new Promise<string>((resolve) => {
    heir.use('bye', (req, res) => {
      res.send(200);
      resolve(req.stackDialogId);
    });
  });
  heir.on('error', () => undefined);
  endings.push(() => heir.disconnect());
  heir.connect({ host, port: port.drachtio, secret });
  expect(await heard).toBe(id);
  await eventually('the answer', waitMs, () => byeStatus === 'SIP/2.0 200 OK');
  expect(wrong).toBe(0);
});

it('forwards a call and tells every final response', async () => {
  engine();
  const srf = await connected();
  const busy = await DatagramPhone.open(host, port.app);
  endings.push(() => busy.close());
  busy.onMessage = (message) => {
    if (message.start.startsWith('INVITE ')) {
      busy.send(port.sip, busy.response(message, '486 Busy Here'));
    }
  };
  let bye = false;
  callee.onMessage = (message) => {
    if (message.start.startsWith('INVITE ')) {
      callee.send(port.sip, callee.response(message, '200 OK', sdp));
    } else if (message.start.startsWith('BYE ')) {
      bye = true;
      callee.send(port.sip, callee.response(message, '200 OK'));
    }
  };
  const forwarded = new Promise((resolve, reject) => {
    srf.invite((req) => {
      const destination = [`sip:b@${host}:${port.app}`, calleeUri];
      req.proxy({ remainInDialog: true, destination, finalTimeout: '5s' }).then(resolve, reject);
    });
  });
  let over = false;
  caller.onMessage = (message) => {
    if (message.start.includes(' 200 ') && message.header('CSeq').endsWith('INVITE')) {
      const tag = tagOf(message.header('To'));
      const route = `Route: ${message.header('Record-Route')}\r\n`;
      const toCallee = (text: string) => text.replace(`sip:callee@${host} SIP`, `${calleeUri} SIP`);
      caller.send(port.sip, toCallee(caller.request('ACK', 'proxied', 1, tag, route)));
      caller.send(port.sip, toCallee(caller.request('BYE', 'proxied', 2, tag, route)));
    } else if (message.header('CSeq').endsWith('BYE')) {
      over = true;
    }
  };
  caller.send(port.sip, caller.request('INVITE', 'proxied', 1));
  expect(await forwarded).toMatchObject({ connected: true, finalStatus: 200 });
  await eventually('the BYE on our route', waitMs, () => bye && over);
});

it('tells call records to whom they are asked for', async () => {
  engine();
  const srf = await connected();
  const records: string[] = [];
  srf.on('cdr:attempt', (source: string) => records.push(`attempt ${source}`));
  srf.on('cdr:start', (source: string, _time: string, role: string) =>
    records.push(`start ${source} ${role}`),
  );
  srf.on('cdr:stop', (source: string, _time: string, reason: string) =>
    records.push(`stop ${source} ${reason}`),
  );
  srf.invite((req, res) => {
    srf.createUAS(req, res, { localSdp: sdp }).catch(() => undefined);
  });
  caller.onMessage = (message) => {
    if (message.start.includes(' 200 ') && message.header('CSeq').endsWith('INVITE')) {
      hangUpAtOnce(message);
    }
  };
  caller.send(port.sip, caller.request('INVITE', 'recorded', 1));
  await eventually('three records', waitMs, () => records.length === 3);
  expect(records).toEqual([
    'attempt network',
    'start application uas',
    'stop network normal-release',
  ]);
});

it('connects to the application that a web server names', async () => {
  const asked: string[] = [];
  const web = createServer((req, res) => {
    asked.push(req.url ?? '');
    res.end(JSON.stringify({ action: 'route', data: { uri: `${host}:${port.app}` } }));
  });
  web.listen(0, host);
  await once(web, 'listening');
  endings.push(() => web.close());
  const url = `http://${host}:${(web.address() as AddressInfo).port}/route`;
  engine([{ sipMethod: 'INVITE', httpMethod: 'GET', url }]);
  const srf = new Srf();
  srf.on('error', () => undefined);
  const server = srf.listen({ host, port: port.app, secret });
  await once(srf, 'listening');
  endings.push(() => server.close());
  srf.invite((_req, res) => res.send(486));
  let status = '';
  caller.onMessage = (message) => {
    status = message.start;
  };
  caller.send(port.sip, caller.request('INVITE', 'outward', 1));
  await eventually('the answer', waitMs, () => status === 'SIP/2.0 486 Busy Here');
  expect(asked[0]).toContain('/route?method=INVITE');
  expect(asked[0]).toContain('fromUser=caller');
});

it.each([
  ['reject', { status: 503, reason: 'Later' }, 'SIP/2.0 503 Later'],
  ['redirect', { contacts: ['sip:x@192.0.2.1'] }, 'SIP/2.0 302 Moved Temporarily'],
  ['route', { uri: `${host}:9` }, 'SIP/2.0 480 Temporarily Unavailable'],
  ['dance', {}, 'SIP/2.0 480 Temporarily Unavailable'],
])('does what a web server says: %s', async (action, data, expected) => {
  const web = createServer((_req, res) => res.end(JSON.stringify({ action, data })));
  web.listen(0, host);
  await once(web, 'listening');
  endings.push(() => web.close());
  const url = `http://${host}:${(web.address() as AddressInfo).port}/`;
  engine([{ sipMethod: '*', httpMethod: 'POST', url }]);
  let status = '';
  caller.onMessage = (message) => {
    status = message.start;
  };
  caller.send(port.sip, caller.request('INVITE', 'decided', 1));
  await eventually('the answer', waitMs, () => status === expected);
});
