/**
 * The lab as tests see it: one cluster shared by all cluster tests, brought back to full
 * strength by `openLab` before each file, with fresh users for each test so that no test
 * meets the registrations or the records of another.
 */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  clusterDown,
  clusterUp,
  Insider,
  killServer,
  type LabRecord,
  labDomain,
  labFiles,
  labPorts,
  planOf,
  readCredentials,
  readLab,
  startServer,
} from '../../src/lab/index.ts';
import type {
  CallEntry,
  CdrEntry,
  Page,
  RegistrationEntry,
  ServerEntry,
  StatusEntry,
} from '../../src/portal/api/shapes.ts';
import { eventually } from './eventually.ts';
import { openPhones, type Phones, type TestPhone } from './phone/index.ts';
import type { PhoneOptions } from './phone/phone.ts';

export interface User {
  name: string;
  password: string;
}

export const root = fileURLToPath(new URL('../..', import.meta.url));
type LabServerRecord = LabRecord['servers'][number];

/** A lab of its own: the one that a person may have up in `.lab` is left alone. */
export const testLab = { directory: `${root}report/test-lab`, prefix: 'pbxtest' };
const plan = planOf(testLab);
export const phonesNamespace = plan.phonesNamespace;
export const vip = plan.vip[0] as string;
export const domain = labDomain;
/** Options of a phone on IPv6. */
export const onIpv6 = {
  address: plan.phones6[1] as string,
  registrar: { address: plan.vip[1] as string, port: labPorts.sip },
};

/** Bringing the lab up takes seconds; on a loaded machine more. */
export const testTimeoutMs = 120_000;

/** Tones of the phones that `phones` makes, in order: caller 440 Hz, callee 600 Hz. */
export const callerHertz = 440;
export const calleeHertz = 600;

/** Runs `bin/raftpbx` for the test lab; never rejects. */
export function raftpbx(
  ...args: string[]
): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(`${root}bin/raftpbx`, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, RAFTPBX_LAB: testLab.directory },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes;
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes;
  });
  const late = setTimeout(() => child.kill('SIGKILL'), 90_000);
  return new Promise((resolve) => {
    child.once('close', (code) => {
      clearTimeout(late);
      resolve({ status: code ?? -1, stdout, stderr });
    });
  });
}

export class TestLab {
  readonly #insider = new Insider(phonesNamespace);
  readonly #phones: Phones = openPhones(phonesNamespace);
  readonly #opened: { phone: TestPhone; registered: boolean }[] = [];
  readonly #authority = readFileSync(labFiles(testLab.directory).authority, 'utf8');
  readonly credentials = readCredentials(labFiles(testLab.directory).credentials);
  #nextPort = 5070;
  #closed = false;
  #sessionsBefore = 0;

  // --- the API, through the VIP or one server

  /** One request to the API; rejects when there is no good answer. */
  async api<T>(method: string, path: string, body: unknown = null, host = vip): Promise<T> {
    const { user, password } = this.credentials.admin;
    const basic = Buffer.from(`${user}:${password}`).toString('base64');
    const answer = await this.#insider.ask({
      url: `https://${host}:${labPorts.api}/api/v1/${path}`,
      method,
      headers: {
        authorization: `Basic ${basic}`,
        ...(body === null ? {} : { 'content-type': 'application/json' }),
      },
      body: body === null ? null : JSON.stringify(body),
      authority: this.#authority,
      timeoutMs: 5000,
    });
    if (answer.error !== null || answer.status >= 400) {
      throw new Error(`${method} ${path}: ${answer.error ?? `${answer.status} ${answer.body}`}`);
    }
    return (answer.body === '' ? null : JSON.parse(answer.body)) as T;
  }

  status(host = vip): Promise<StatusEntry> {
    return this.api('GET', 'status', null, host);
  }

  servers(): Promise<ServerEntry[]> {
    return this.#all('servers');
  }

  calls(host = vip): Promise<CallEntry[]> {
    return this.#all('calls', host);
  }

  registrations(host = vip): Promise<RegistrationEntry[]> {
    return this.#all('registrations', host);
  }

  /** Records of calls from or to this user. */
  async cdrs(user: string, host = vip): Promise<CdrEntry[]> {
    const page = await this.api<Page<CdrEntry>>('GET', 'cdrs?limit=500', null, host);
    return page.items.filter((cdr) => cdr.from === user || cdr.to === user);
  }

  async #all<T>(noun: string, host = vip): Promise<T[]> {
    const items: T[] = [];
    for (let after: string | null = ''; after !== null; ) {
      const from: string = after === '' ? '' : `&after=${encodeURIComponent(after)}`;
      const path = `${noun}?limit=1000${from}`;
      const page: Page<T> = await this.api('GET', path, null, host);
      items.push(...page.items);
      after = page.next;
    }
    return items;
  }

  /**
   * Sessions on all media servers, as their leases say, above those this file began with: a
   * session another file has lost is that file's failure.
   */
  async mediaSessions(): Promise<number> {
    return (await this.#sessions()) - this.#sessionsBefore;
  }

  /** Remembers what is there before the first test of the file. */
  async begin(): Promise<void> {
    this.#sessionsBefore = await this.#sessions();
  }

  async #sessions(): Promise<number> {
    const servers = await this.servers();
    return servers
      .filter((server) => server.roles.includes('media'))
      .reduce((sum, server) => sum + server.load, 0);
  }

  // --- users and phones

  /** Adds users nobody else has. */
  async users(count: number): Promise<User[]> {
    const from = randomInt(200_000, 900_000_000);
    const users = Array.from({ length: count }, (_, i) => ({
      name: String(from + i),
      password: `secret-${from + i}`,
    }));
    await this.api('POST', 'users', { users });
    return users;
  }

  /** A phone for `user`, not registered yet. */
  async phone(user: User, options: Partial<PhoneOptions> = {}): Promise<TestPhone> {
    this.#nextPort += 2;
    const phone = await this.#phones.add({
      user: user.name,
      password: user.password,
      domain,
      registrar: { address: vip, port: labPorts.sip },
      address: plan.phones[1] as string,
      port: this.#nextPort,
      transport: 'udp',
      algorithm: 'MD5',
      hertz: callerHertz,
      ...options,
    });
    this.#opened.push({ phone, registered: false });
    return phone;
  }

  /** Registers; the binding is taken away when the lab closes. */
  async register(phone: TestPhone): Promise<TestPhone> {
    const outcome = await phone.register();
    if (outcome.status !== 200) {
      throw new Error(`REGISTER was answered ${outcome.status}`);
    }
    const entry = this.#opened.find((one) => one.phone === phone);
    if (entry !== undefined) {
      entry.registered = true;
    }
    return phone;
  }

  /** Two registered phones of fresh users: the caller and the callee. */
  async pair(options: Partial<PhoneOptions> = {}): Promise<Pair> {
    const [caller, callee] = (await this.users(2)) as [User, User];
    return {
      caller,
      callee,
      alice: await this.register(await this.phone(caller, { hertz: callerHertz, ...options })),
      bob: await this.register(await this.phone(callee, { hertz: calleeHertz, ...options })),
    };
  }

  burst(users: User[], perSecond: number) {
    return this.#phones.burst({
      users,
      perSecond,
      domain,
      registrar: { address: vip, port: labPorts.sip },
      address: plan.phones[2] as string,
      port: 5060,
      expiresS: 600,
    });
  }

  /** A recorder on `address`, for a sipp whose SDP names its port. */
  record(address: string, expectHertz: number) {
    return this.#phones.record(address, expectHertz);
  }

  // --- servers

  /** The lab's record of a server, with the process id of now. */
  server(name: string): LabServerRecord {
    const found = readLab(testLab.directory)?.servers.find((one) => one.name === name);
    if (found === undefined) {
      throw new Error(`there is no server ${name}`);
    }
    return found;
  }

  /** What Prometheus reads of a server. */
  async metric(server: string, name: string): Promise<number> {
    const url = `http://${this.server(server).address}:${labPorts.metrics}/metrics`;
    const { stdout } = await raftpbx('lab', 'exec', 'phones', '--', 'curl', '-s', url);
    return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(stdout)?.[1]);
  }

  async leader(): Promise<LabServerRecord> {
    const status = await this.status();
    if (status.leader === null) {
      throw new Error('nobody leads');
    }
    return this.server(status.leader);
  }

  /** kill -9 of the leader; resolves when the process is gone. */
  async killLeader(): Promise<{ name: string; atMs: number }> {
    const { name } = await this.leader();
    const atMs = Date.now();
    await killServer(name, 'SIGKILL', testLab);
    return { name, atMs };
  }

  /** A new leader answers at the VIP. */
  untilLeaderIsNot(name: string): Promise<StatusEntry> {
    return eventually(`a leader other than ${name}`, 15_000, async () => {
      const status = await this.status();
      return status.leader !== null && status.leader !== name && status;
    });
  }

  /** Every server is up and somebody leads. */
  untilHealthy(): Promise<StatusEntry> {
    return eventually('every server to be up', 30_000, async () => {
      const status = await this.status();
      const up = status.servers.filter((server) => server.state === 'up').length;
      return status.leader !== null && up === plan.servers.length && status;
    });
  }

  /** kill -9 of any server. */
  kill(name: string): Promise<void> {
    return killServer(name, 'SIGKILL', testLab);
  }

  /** The cluster counts a server as `state`. */
  async untilState(name: string, state: ServerEntry['state']): Promise<void> {
    await eventually(`${name} to be ${state}`, 15_000, async () => {
      const status = await this.status();
      return status.servers.some((server) => server.name === name && server.state === state);
    });
  }

  /** Stops a server as an administrator would. */
  stop(name: string): Promise<void> {
    return killServer(name, 'SIGTERM', testLab);
  }

  /** Starts a server that was stopped or killed; resolves when it works. */
  startAgain(name: string): Promise<void> {
    return startServer(name, testLab);
  }

  /** Every Call Manager, asked by itself, knows `registrations`. */
  async untilSameOnEveryNode(registrations: number): Promise<void> {
    const nodes = plan.servers.filter((server) => server.roles.includes('call-manager'));
    await eventually(`${registrations} registrations on every node`, 15_000, async () => {
      const seen = await Promise.all(nodes.map(({ address }) => this.status(address)));
      return seen.every((status) => status.registrations === registrations);
    });
  }

  /** Takes the phones' bindings away and ends what runs for this file. */
  async close(): Promise<void> {
    if (this.#closed) {
      return;
    }
    this.#closed = true;
    await Promise.all(this.#opened.map(({ phone }) => phone.leave()));
    const registered = this.#opened.filter((one) => one.registered);
    await Promise.all(registered.map(({ phone }) => phone.register(0)));
    await this.#phones.stop();
    await this.#insider.close();
  }
}

export interface Pair {
  caller: User;
  callee: User;
  alice: TestPhone;
  bob: TestPhone;
}

/** Brings the lab to full strength, starting what does not run. */
export async function openLab(): Promise<TestLab> {
  await clusterUp(testLab);
  const lab = new TestLab();
  await lab.untilHealthy();
  await lab.begin();
  return lab;
}

/** Takes the lab down with everything it has written. */
export async function closeLab(): Promise<void> {
  await clusterDown(testLab);
}
