/** The connection of call control to an engine elsewhere: over TLS, and again after it broke. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { silentLog } from '../../src/domain/log.ts';
import { createAuthority, issueCertificate, SipEngine } from '../../src/native/index.ts';
import { engineConnection, type SipConnection } from '../../src/sip/connection.ts';
import { eventually } from '../support/eventually.ts';
import { freePorts } from '../support/free-port.ts';

const host = '127.0.0.1';
const secret = 'not a real secret';
const waitMs = 10_000;
const authority = createAuthority();

let directory = '';
let ports: number[] = [];
let engine: SipEngine | null = null;
let connection: SipConnection | null = null;
const seen = { up: 0, down: 0, refused: 0 };

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'engine-connection-'));
  ports = await freePorts(3);
  const { certificate, key } = issueCertificate(authority, 'engine', [host], ['engine']);
  writeFileSync(join(directory, 'certificate.pem'), certificate);
  writeFileSync(join(directory, 'key.pem'), key, { mode: 0o600 });
});

afterEach(() => {
  connection?.close();
  engine?.close();
  engine = null;
  Object.assign(seen, { up: 0, down: 0, refused: 0 });
});

afterAll(() => rmSync(directory, { recursive: true }));

function start(): SipEngine {
  const [sip, plain, secure] = ports;
  engine = SipEngine.start(
    {
      ...{ listen: [`udp/${host}:${sip}`], nameServers: [], connectionsPerAddress: 16 },
      tls: {
        certificate: join(directory, 'certificate.pem'),
        key: join(directory, 'key.pem'),
        authority: null,
      },
      drachtio: { listen: `${host}:${plain}`, secure: `${host}:${secure}`, secret },
      ...{ registrar: null, authenticateCalls: false, trusted: [], secret },
      sessionTimer: { expiresS: 0, minSeS: 90 },
    },
    null,
    () => undefined,
  );
  return engine;
}

function count(): void {
  seen.refused += 1;
}

function connect(trusted: string | null, port: number | undefined): SipConnection {
  connection = engineConnection({
    ...{ host, port: port ?? 0, secret, authority: trusted },
    log: { ...silentLog, debug: () => count() },
    onStray: () => false,
    onInvite: () => undefined,
    onUp: () => {
      seen.up += 1;
    },
    onDown: () => {
      seen.down += 1;
    },
  });
  return connection;
}

it.each(['tcp', 'tls'] as const)('comes up over %s, and again after a restart', async (kind) => {
  const first = start();
  const made = kind === 'tls' ? connect(authority.certificate, ports[2]) : connect(null, ports[1]);
  expect(made.up).toBe(false);
  made.open();
  made.open();
  await eventually('connected', waitMs, () => made.up);
  expect(first.status().applications).toBe(1);
  first.close();
  await eventually('lost', waitMs, () => !made.up);
  const second = start();
  await eventually('connected again', waitMs, () => made.up);
  expect(second.status().applications).toBe(1);
  expect(seen).toMatchObject({ up: 2, down: 1 });
});

it('does not talk to a server nobody vouches for', async () => {
  start();
  const made = connect(createAuthority().certificate, ports[2]);
  made.open();
  await eventually('it is tried again and again', waitMs, () => seen.refused > 2);
  expect(made.up).toBe(false);
  expect(seen.up).toBe(0);
});

it('closes for good, also while it connects', async () => {
  const server = start();
  const made = connect(null, ports[1]);
  made.open();
  made.close();
  await eventually('nobody is connected', waitMs, () => server.status().applications === 0);
  made.open();
  await eventually('connected', waitMs, () => made.up);
  made.close();
  await eventually('nobody is connected', waitMs, () => server.status().applications === 0);
  expect(seen).toMatchObject({ up: 1, down: 0 });
});
