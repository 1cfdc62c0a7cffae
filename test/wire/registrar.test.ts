/**
 * The registrar over real sockets and a real store: what a phone is answered, and what a
 * takeover does not forget. Three stores in one process; the engine of the leader answers.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Nonces } from '../../src/call-manager/elsewhere/nonces.ts';
import { parseRegistration } from '../../src/domain/registration.ts';
import { migrations } from '../../src/domain/schema.ts';
import { digestCredentials } from '../../src/domain/user.ts';
import { SipEngine, type SipEvent, type SipOptions } from '../../src/native/index.ts';
import { eventually } from '../support/eventually.ts';
import { answer } from '../support/phone/digest.ts';
import { StoreCluster } from '../support/store-cluster.ts';

const realm = 'pbx.test';
const port = { sip: 15410, drachtio: 15411 };
const waitMs = 5_000;

let cluster: StoreCluster;
let engine: SipEngine;
let events: SipEvent[] = [];
let phone: ScriptedPhone;

/** Says what it is told to, and hears what comes. */
class ScriptedPhone {
  readonly socket: Socket = createSocket('udp4');
  readonly heard: string[] = [];
  #sequence = 0;

  async open(): Promise<this> {
    this.socket.bind(0, '127.0.0.1');
    await once(this.socket, 'listening');
    this.socket.on('message', (bytes) => this.heard.push(bytes.toString()));
    return this;
  }

  get contact(): string {
    return `sip:1001@127.0.0.1:${this.socket.address().port}`;
  }

  send(text: string): void {
    this.socket.send(text, port.sip, '127.0.0.1');
  }

  /** The next message that begins so. */
  next(start: string): Promise<string> {
    return eventually(start, waitMs, () => {
      const at = this.heard.findIndex((one) => one.startsWith(start));
      return at >= 0 && (this.heard.splice(at, 1)[0] ?? false);
    });
  }

  register(more: readonly string[], authorization = '', user = '1001'): string {
    this.#sequence += 1;
    const lines = [
      `REGISTER sip:${realm} SIP/2.0`,
      `Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK${Math.random()};rport`,
      `From: <sip:${user}@${realm}>;tag=t`,
      `To: <sip:${user}@${realm}>`,
      `Call-ID: ${this.socket.address().port}`,
      `CSeq: ${this.#sequence} REGISTER`,
      'Max-Forwards: 70',
      ...more,
      ...(authorization === '' ? [] : [`Authorization: ${authorization}`]),
      'Content-Length: 0',
    ];
    return `${lines.join('\r\n')}\r\n\r\n`;
  }

  /** Registers with a password; gives the last answer. */
  async logIn(more: readonly string[], password = 'secret', user = '1001'): Promise<string> {
    this.send(this.register(more, '', user));
    const challenge = await this.next('SIP/2.0 401');
    const offered = headers(challenge, 'WWW-Authenticate');
    const credentials = { user, password, algorithm: 'MD5' } as const;
    const proof = answer(offered, credentials, 'REGISTER', `sip:${realm}`);
    this.send(this.register(more, proof, user));
    return this.next('SIP/2.0');
  }
}

function headers(message: string, name: string): string[] {
  const lines = message.split('\r\n').filter((line) => line.startsWith(`${name}: `));
  return lines.map((line) => line.slice(name.length + 2));
}

const options: SipOptions = {
  listen: [`udp/127.0.0.1:${port.sip}`],
  nameServers: [],
  connectionsPerAddress: 16,
  tls: null,
  drachtio: { listen: `127.0.0.1:${port.drachtio}`, secret: 'not a real secret' },
  registrar: {
    domains: [realm],
    realm,
    minExpiresS: 60,
    maxExpiresS: 7200,
    defaultExpiresS: 3600,
    maxBindings: 2,
    digest: 'md5',
    whenFull: 'refuse',
    serviceRoutes: ['sip:out.pbx.test;lr'],
    pushProviders: [],
    qualifyS: 1,
    flowTimerS: 120,
    trusted: [],
  },
  authenticateCalls: true,
  trusted: [],
  sessionTimer: { expiresS: 0, minSeS: 90 },
  secret: 'the secret of this cluster',
};

beforeAll(async () => {
  cluster = await StoreCluster.start();
  const store = cluster.stores.get(await cluster.leader());
  for (const { version, sql } of migrations) {
    await store?.execute(['SQL.MIGRATE', String(version), sql]);
  }
  const { ha1Md5, ha1Sha256 } = digestCredentials('1001', realm, 'secret');
  const row = JSON.stringify(['1001', '1001', ha1Md5, ha1Sha256, 0]);
  await store?.execute(['SQL.EXEC', 'INSERT INTO users VALUES (?, ?, ?, ?, ?)', row]);
});

afterAll(() => cluster.stop());

beforeEach(async () => {
  events = [];
  const store = cluster.stores.get(await cluster.leader()) ?? null;
  engine = SipEngine.start(options, store, (batch) => events.push(...batch));
  await eventually('the engine leads', waitMs, () => engine.status().leading);
  phone = await new ScriptedPhone().open();
});

afterEach(async () => {
  phone.socket.close();
  engine.close();
  const store = cluster.stores.get(await cluster.leader());
  for (const prefix of ['registration:', 'sip:ban:']) {
    for (const { key } of store?.scan(prefix) ?? []) {
      await store?.execute(['DEL', key]);
    }
  }
});

async function stored(key: string): Promise<string | undefined> {
  const store = cluster.stores.get(await cluster.leader());
  return store?.scan(key)[0]?.value;
}

it('a registration is in the store before the phone is told', async () => {
  const told = await phone.logIn([
    `Contact: <${phone.contact}>;+sip.instance="<urn:uuid:1>";reg-id=1;expires=600`,
    'Supported: path, outbound, gruu',
  ]);
  expect(told).toMatch(/^SIP\/2\.0 200/);
  const registration = parseRegistration((await stored('registration:1001')) ?? '');
  expect(registration?.bindings).toHaveLength(1);
  expect(registration?.bindings[0]).toMatchObject({ instance: '<urn:uuid:1>', regId: 1 });
  expect(headers(told, 'Require')).toEqual(['outbound']);
  expect(headers(told, 'Flow-Timer')).toEqual(['120']);
  expect(headers(told, 'Service-Route')).toEqual(['<sip:out.pbx.test;lr>']);
  expect(headers(told, 'Contact')[0]).toContain('pub-gruu="sip:1001@pbx.test;gr=urn:uuid:1"');
});

it('a nonce of the engine is one of call control, too', async () => {
  phone.send(phone.register([]));
  const challenge = await phone.next('SIP/2.0 401');
  const nonce = /nonce="([^"]+)"/.exec(challenge)?.[1] ?? '';
  expect(new Nonces(options.secret).issuedS(nonce, Date.now())).not.toBeNull();
  expect(new Nonces('another secret').issuedS(nonce, Date.now())).toBeNull();
});

it('what cannot be registered is told why', async () => {
  const brief = await phone.logIn([`Contact: <${phone.contact}>;expires=5`]);
  expect(brief).toMatch(/^SIP\/2\.0 423/);
  expect(headers(brief, 'Min-Expires')).toEqual(['60']);
  const many = ['a', 'b', 'c'].map((user) => `Contact: <sip:${user}@127.0.0.1>`);
  expect(await phone.logIn(many)).toMatch(/^SIP\/2\.0 403 Too Many Bindings/);
  phone.send(phone.register(['Require: telepathy']));
  expect(headers(await phone.next('SIP/2.0 420'), 'Unsupported')).toEqual(['telepathy']);
  expect(await stored('registration:1001')).toBeUndefined();
});

it('a ban outlives the engine and is lifted by deleting its key', async () => {
  for (let count = 0; count < 10; count += 1) {
    expect(await phone.logIn([], 'guess')).toMatch(/^SIP\/2\.0 403/);
  }
  const store = cluster.stores.get(await cluster.leader()) ?? null;
  await eventually('the ban', waitMs, async () => (await stored('sip:ban:')) !== undefined);
  engine.close();
  engine = SipEngine.start(options, store, (batch) => events.push(...batch));
  await eventually('the engine leads', waitMs, () => engine.status().leading);
  phone.send(phone.register([]));
  const dropped = /raftpbx_sip_dropped_total 1/;
  await eventually('the request is dropped', waitMs, () => dropped.test(engine.metrics()));
  await store?.execute(['DEL', 'sip:ban:127.0.0.1']);
  const known = () => {
    phone.send(phone.register([]));
    return phone.heard.some((one) => one.startsWith('SIP/2.0 401'));
  };
  await eventually('the phone is heard again', waitMs, known);
  expect(phone.heard.filter((one) => !one.startsWith('SIP/2.0 401'))).toEqual([]);
});

it('a phone that answers OPTIONS is asked again and nobody is told', async () => {
  const contact = `Contact: <${phone.contact}>`;
  expect(await phone.logIn([contact])).toMatch(/^SIP\/2\.0 200/);
  const options = await phone.next('OPTIONS');
  const names = ['Via', 'From', 'To', 'Call-ID', 'CSeq'];
  const same = names.map((name) => `${name}: ${headers(options, name)[0]}`);
  phone.send(`SIP/2.0 200 OK\r\n${same.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`);
  await eventually('another round', waitMs, () => phone.heard.some((one) => one !== options));
  expect(events).toEqual([]);
});
