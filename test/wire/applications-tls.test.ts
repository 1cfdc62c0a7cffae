/** Unmodified drachtio-srf over TLS: an application that connects, and one that is called. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  createAuthority,
  issueCertificate,
  type RequestHandler,
  SipEngine,
} from '../../src/native/index.ts';
import { application, Srf } from '../support/application.ts';
import { DatagramPhone, type Message } from '../support/datagram-phone.ts';
import { eventually } from '../support/eventually.ts';

const secret = 'not a real secret';
const host = '127.0.0.1';
const port = { sip: 15_340, drachtio: 15_341, caller: 15_342, secure: 15_343 };
const waitMs = 10_000;
const authority = createAuthority();

/** Ends what a test started, latest first. */
let endings: (() => void)[] = [];
let caller: DatagramPhone;
let heard: string[];

function issued(name: string, by = authority): { cert: string; key: string } {
  const { certificate, key } = issueCertificate(by, name, [host], [name]);
  return { cert: certificate, key };
}

/** `forApplications`: whose certificate applications are shown in place of the phones'. */
function engine(requestHandlers: RequestHandler[] = [], forApplications = authority): void {
  const directory = mkdtempSync(join(tmpdir(), 'applications-tls-'));
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const { cert, key } = issued('engine');
  const own = issued('applications', forApplications);
  const started = SipEngine.start(
    {
      listen: [`udp/${host}:${port.sip}`],
      nameServers: [],
      connectionsPerAddress: 16,
      tls: {
        certificate: write('certificate.pem', cert),
        key: write('key.pem', key),
        authority: write('authority.pem', authority.certificate),
      },
      drachtio: {
        listen: `${host}:${port.drachtio}`,
        secure: `${host}:${port.secure}`,
        tls:
          forApplications === authority
            ? null
            : { certificate: write('own.pem', own.cert), key: write('own-key.pem', own.key) },
        secret,
      },
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
  endings.push(
    () => rmSync(directory, { recursive: true }),
    () => started.close(),
  );
}

function connected(tls: object) {
  return application({ host, port: port.secure, secret, tls });
}

beforeEach(async () => {
  heard = [];
  caller = await DatagramPhone.open(host, port.caller);
  caller.onMessage = (message: Message) => heard.push(message.start);
  endings.push(() => caller.close());
});

afterEach(() => {
  for (const end of endings.reverse()) {
    end();
  }
  endings = [];
});

it.each(['TLSv1.2', 'TLSv1.3'])('serves an application that connects with %s', async (version) => {
  engine();
  const srf = await connected({
    ca: authority.certificate,
    minVersion: version,
    maxVersion: version,
  });
  endings.push(() => srf.disconnect());
  srf.invite((_req, res) => res.send(486));
  caller.send(port.sip, caller.request('INVITE', `call-${version}`, 1));
  await eventually('the answer', waitMs, () => heard.some((one) => one.startsWith('SIP/2.0 486')));
});

it('shows applications a certificate of their own', async () => {
  const others = createAuthority();
  engine([], others);
  const srf = await connected({ ca: others.certificate });
  endings.push(() => srf.disconnect());
  srf.invite((_req, res) => res.send(486));
  caller.send(port.sip, caller.request('INVITE', 'call-own', 1));
  await eventually('the answer', waitMs, () => heard.some((one) => one.startsWith('SIP/2.0 486')));
});

it('shows a certificate that a stranger to the authority does not believe', async () => {
  engine();
  const srf = new Srf();
  const failed = once(srf, 'error');
  srf.connect({ host, port: port.secure, secret, tls: {}, reconnect: false });
  endings.push(() => srf.disconnect());
  const [error] = await failed;
  expect((error as NodeJS.ErrnoException).code).toMatch(/UNABLE_TO|SELF_SIGNED/);
});

it.each([
  ['our own authority', true, 'SIP/2.0 486'],
  ['another one', false, 'SIP/2.0 480'],
])('connects to an application whose certificate is of %s', async (_whose, ours, answer) => {
  const srf = new Srf();
  srf.on('error', () => undefined);
  srf.invite((_req, res) => res.send(486));
  const other = createAuthority();
  const stranger = issueCertificate(other, 'app', [host], ['app']);
  const tls = ours ? issued('app') : { cert: stranger.certificate, key: stranger.key };
  const server = srf.listen({ host, port: 0, secret, tls });
  endings.push(() => server.close());
  if (!server.listening) {
    await once(server, 'listening');
  }
  const at = (server.address() as AddressInfo).port;
  engine([{ sipMethod: 'INVITE', httpMethod: 'GET', url: `tls://${host}:${at}` }]);
  caller.send(port.sip, caller.request('INVITE', 'call', 1));
  await eventually('the answer', waitMs, () => heard.some((one) => one.startsWith(answer)));
});

it('asks a web server whose certificate is of our authority', async () => {
  const web = createServer(issued('web'), (_request, response) => {
    response.end(JSON.stringify({ action: 'reject', data: { status: 503, reason: 'Later' } }));
  });
  web.listen(0, host);
  await once(web, 'listening');
  endings.push(() => web.close());
  const url = `https://${host}:${(web.address() as AddressInfo).port}/route`;
  engine([{ sipMethod: 'INVITE', httpMethod: 'GET', url }]);
  caller.send(port.sip, caller.request('INVITE', 'call', 1));
  await eventually('the answer', waitMs, () => heard.some((one) => one.startsWith('SIP/2.0 503')));
});
