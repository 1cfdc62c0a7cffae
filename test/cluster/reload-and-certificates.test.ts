/** Certificates and settings change while calls go on: nothing is restarted, nobody is elected. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../../src/native/index.ts';
import type { StatusEntry } from '../../src/portal/api/shapes.ts';
import { expectSameAudio, heardFor, listen, talk } from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import {
  closeLab,
  domain,
  openLab,
  type Pair,
  raftpbx,
  type TestLab,
  testLab,
  testTimeoutMs,
} from '../support/lab.ts';
import { editConfig, issueCertificateFor, logged } from '../support/operator.ts';

const managers = ['cm-1', 'cm-2', 'cm-3'];
const inUse = 'new certificates are in use';
const authority = `${testLab.directory}/ca.pem`;

let lab: TestLab;
let pair: Pair;
let before: StatusEntry;
let pids: number[];

beforeAll(async () => {
  lab = await openLab();
  pair = await lab.pair();
  await talk(pair);
  await listen(pair);
  before = await lab.status();
  pids = managers.map((name) => lab.server(name).pid);
}, testTimeoutMs);

afterAll(async () => {
  await lab?.close();
  await closeLab();
});

/** What the API of a server shows, as openssl reads it. */
async function shown(name: string): Promise<string> {
  const address = `${lab.server(name).address}:8443`;
  const command = `openssl s_client -connect ${address} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint`;
  return (await raftpbx('lab', 'exec', 'phones', '--', 'sh', '-c', command)).stdout;
}

/** Does one step on every Call Manager and waits until each has taken it over. */
async function round(step: (name: string) => void | Promise<void>): Promise<void> {
  for (const name of managers) {
    const seen = logged(name, inUse);
    await step(name);
    await eventually(`${name} to use it`, 15_000, () => logged(name, inUse) > seen);
  }
}

async function expectUndisturbed(): Promise<void> {
  expect(await lab.status()).toMatchObject({
    leader: before.leader,
    term: before.term,
    alarms: [],
  });
  expect(managers.map((name) => lab.server(name).pid)).toEqual(pids);
}

test('every certificate is renewed under a call, and each server shows its new one', async () => {
  const old = await Promise.all(managers.map(shown));
  expect(old.every((one) => one.includes('ingerprint'))).toBe(true);

  await round((name) => issueCertificateFor(lab.server(name), Number(name.slice(-1))));

  for (const [i, name] of managers.entries()) {
    await eventually(`${name} to show it to people`, 15_000, async () => {
      const now = await shown(name);
      return now.includes('ingerprint') && now !== old[i];
    });
  }
  await expectUndisturbed();
  expectSameAudio(await heardFor(pair, 50));
});

test('the authority is changed in three rounds', async () => {
  const next = createAuthority();
  const both = readFileSync(authority, 'utf8') + next.certificate;
  writeFileSync(`${testLab.directory}/next.pem`, next.certificate);
  writeFileSync(`${testLab.directory}/next.key`, next.key, { mode: 0o600 });
  const trust = (text: string) => (name: string) =>
    writeFileSync(`${testLab.directory}/${name}/tls/authority.pem`, text);

  await round(trust(both));
  await round((name) => issueCertificateFor(lab.server(name), Number(name.slice(-1)), 'next'));
  await round(trust(next.certificate));

  expectSameAudio(await heardFor(pair, 50));
  for (const kind of ['pem', 'key']) {
    copyFileSync(`${testLab.directory}/next.${kind}`, `${testLab.directory}/ca.${kind}`);
  }
  await eventually('a command line that believes them', 15_000, async () => {
    return (await raftpbx('member', 'list')).status === 0;
  });
  // The tests' own questions still go by the authority they were started with.
  await lab.close();
  lab = await openLab();
  await expectUndisturbed();
});

test('SIGHUP takes over the log level, and says what needs a restart', async () => {
  const name = before.leader as string;
  const [read, restart] = ['the configuration was read again', 'restart this server to change'];
  editConfig(name, (config) => {
    config.log = { level: 'warn' };
    config.sip.domain = 'another.test';
  });
  expect((await raftpbx('lab', 'reload', name)).stdout).toBe(`told ${name}; see their logs\n`);
  await eventually('the word', 15_000, () => logged(name, `${restart} sip.domain`) === 1);
  // The line of level info comes before it, and was left out.
  expect(logged(name, read)).toBe(0);

  editConfig(name, (config) => {
    config.log = { level: 'info' };
    config.sip.domain = domain;
  });
  await raftpbx('lab', 'reload', name);
  await eventually('a line of level info', 15_000, () => logged(name, read) === 1);
  await expectUndisturbed();
});
