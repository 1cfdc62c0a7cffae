/** A backup that is taken while phones register and talk makes a fresh cluster the same again. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clusterDown, clusterUp, planOf } from '../../src/lab/index.ts';
import { onlyCdr, talk } from '../support/call.ts';
import {
  closeLab,
  openLab,
  type Pair,
  raftpbx,
  root,
  type TestLab,
  testLab,
  testTimeoutMs,
} from '../support/lab.ts';

const directory = `${root}report/backups`;
const passphrase = `${directory}/passphrase`;
const managers = planOf(testLab).servers.filter((server) => server.id !== null);

let lab: TestLab;
let pair: Pair;
/** Users that register while the backups are taken. */
let crowd: string[];

beforeAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(passphrase, 'correct horse battery staple\n', { mode: 0o600 });
  writeFileSync(`${directory}/wrong`, 'not this one\n', { mode: 0o600 });
  lab = await openLab();
}, testTimeoutMs);

afterAll(async () => {
  await lab?.close();
  rmSync(directory, { recursive: true, force: true });
  // What follows begins with a lab of its own.
  await closeLab();
});

const fileOf = (server: string) => `${directory}/${server}.backup`;

/** `raftpbx` as an administrator runs it on a machine in the cluster's network. */
function inside(...args: string[]) {
  return raftpbx('lab', 'exec', 'phones', '--', `${root}bin/raftpbx`, ...args);
}

function takeFrom({ name, address }: { name: string; address: string }) {
  const place = ['--url', `https://${address}:8443`, '--authority', `${testLab.directory}/ca.pem`];
  const who = ['--credentials', `${testLab.directory}/credentials.json`];
  return inside('backup', fileOf(name), ...place, ...who, '--passphrase-file', passphrase);
}

test('every Call Manager gives a backup while phones register and a call is up', async () => {
  pair = await lab.pair();
  await talk(pair);
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  await onlyCdr(lab, pair);
  await talk(pair);
  const users = await lab.users(200);
  crowd = users.map((user) => user.name);
  const burst = lab.burst(users, 100);

  for (const server of managers) {
    const taken = await takeFrom(server);
    expect(taken).toMatchObject({ status: 0, stderr: '' });
    expect(taken.stdout).toMatch(/holds entry \d+ of .*: \d+ records, \d+ KiB of tables/);
  }
  const again = await takeFrom(managers[0] as (typeof managers)[number]);
  expect(again.status).toBe(2);
  expect(again.stderr).toContain('PBX_BACKUP_EXISTS');

  await burst;
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
});

test('a backup is inspected with its passphrase only', async () => {
  const file = fileOf('cm-2');
  const closed = await raftpbx('backup', 'inspect', file);
  expect(closed.stderr).toContain('PBX_BACKUP_SEALED');
  const wrong = await raftpbx('backup', 'inspect', file, '--passphrase-file', `${directory}/wrong`);
  expect(wrong.stderr).toContain('PBX_BACKUP_PASSPHRASE');
  const right = await raftpbx(
    'backup',
    'inspect',
    file,
    '--passphrase-file',
    passphrase,
    '-o',
    'json',
  );
  expect(right.status).toBe(0);
  expect(JSON.parse(right.stdout).head.node).toBe(2);
});

test('users, devices and records are there in a fresh cluster that was restored', async () => {
  const contacts = (await lab.registrations())
    .filter((one) => one.user === pair.caller.name || one.user === pair.callee.name)
    .map((one) => one.contact)
    .sort();
  expect(contacts).toHaveLength(2);
  const last = fileOf('cm-3');
  await lab.close();
  // Nothing of the old cluster stays, its secrets and certificates neither.
  await closeLab();
  await clusterUp(testLab);
  const running = await raftpbx('restore', last, '--passphrase-file', passphrase, '--replace');
  expect(running.stderr).toContain('PBX_RESTORE_RUNNING');
  await clusterDown({ ...testLab, keepData: true });

  const refused = await raftpbx('restore', last, '--passphrase-file', passphrase);
  expect(refused.stderr).toContain('PBX_RESTORE_NOT_EMPTY');
  const restored = await raftpbx('restore', last, '--passphrase-file', passphrase, '--replace');
  expect(restored).toMatchObject({ status: 0, stderr: '' });
  expect(restored.stdout).toContain('next: start every Call Manager');
  lab = await openLab();

  const { items } = await lab.api<{ items: { name: string }[] }>('GET', 'users?limit=1000');
  const names = new Set(items.map((user) => user.name));
  expect([pair.caller.name, pair.callee.name, ...crowd].filter((name) => !names.has(name))).toEqual(
    [],
  );
  expect(await lab.cdrs(pair.caller.name)).toMatchObject([
    { from: pair.caller.name, to: pair.callee.name, result: 'answered' },
  ]);
  const back = (await lab.registrations())
    .filter((one) => one.user === pair.caller.name || one.user === pair.callee.name)
    .map((one) => one.contact)
    .sort();
  expect(back).toEqual(contacts);

  const { caller, callee } = pair;
  const alice = await lab.register(await lab.phone(caller));
  const bob = await lab.register(await lab.phone(callee, { hertz: 600 }));
  await talk({ caller, callee, alice, bob });
  expect(await alice.bye()).toMatchObject({ status: 200 });
});
