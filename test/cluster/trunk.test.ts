import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TrunkEntry } from '../../src/portal/api/trunk-shapes.ts';
import { expectNothingLeft, expectSameAudio, heardFor, listen, onlyCdr } from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import { Provider } from '../support/kamailio/provider.ts';
import {
  calleeHertz,
  openLab,
  type Pair,
  phonesNamespace,
  raftpbx,
  type TestLab,
  testTimeoutMs,
  type User,
} from '../support/lab.ts';

const place = { address: '10.77.0.241', port: 5060 };
/** Nobody has this address. */
const nobody = '10.77.0.99';
const providerDomain = 'provider.test';
/** So that a registration is refreshed while a test waits for it. */
const expiresS = 20;
/** Of the users of the provider: its passwords are made from the names. */
const outside: User = { name: '4930123', password: 'secret-4930123' };
const number = '5550100';

let lab: TestLab;
let provider: Provider;
let user: User;
let alice: Pair['alice'];
let bob: Pair['bob'];

beforeAll(async () => {
  lab = await openLab();
  const way = { namespace: phonesNamespace, ...place, algorithm: 'SHA-256' as const, expiresS };
  provider = new Provider(way);
  [user] = (await lab.users(1)) as [User];
  alice = await lab.register(await lab.phone(user));
  const there = { registrar: place, domain: providerDomain, algorithm: 'SHA-256' as const };
  bob = await lab.phone(outside, { ...there, hertz: calleeHertz });
  await eventually('kamailio to answer', 15_000, async () => (await bob.options()).status === 200);
  await cli('trunk', 'add', 'dead', '--proxy', nobody, '--caller-id', number);
  const folder = mkdtempSync(join(tmpdir(), 'raftpbx-trunk-'));
  const file = join(folder, 'password');
  writeFileSync(file, 'secret-acme\n', { mode: 0o600 });
  const account = ['--account', 'acme', '--password-file', file, '--domain', providerDomain];
  const shown = ['--caller-id', number];
  await cli('trunk', 'add', 'provider', '--proxy', place.address, ...account, ...shown);
  rmSync(folder, { recursive: true });
  await cli('route', 'out', '049.', '--over', 'provider', '--strip', '1');
  await cli('route', 'out', '949.', '--over', 'dead', '--over', 'provider', '--strip', '1');
  await cli('route', 'out', '849.', '--over', 'provider', '--over', 'dead', '--strip', '1');
  await cli('route', 'in', '5550100', '--to', user.name);
}, testTimeoutMs);

afterAll(async () => {
  for (const [way, pattern] of [
    ['out', '049.'],
    ['out', '949.'],
    ['out', '849.'],
    ['in', '5550100'],
  ] as const) {
    await raftpbx('route', `remove-${way}`, pattern);
  }
  await raftpbx('trunk', 'remove', 'dead');
  await raftpbx('trunk', 'remove', 'provider');
  await lab?.close();
  await provider?.stop();
});

/** The provider keeps nobody's registration for long. */
async function register(phone: Pair['bob']): Promise<void> {
  expect((await phone.register()).status, provider.said).toBe(200);
}

async function cli(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await raftpbx(...args);
  expect(status, `${args.join(' ')}: ${stderr}`).toBe(0);
  return stdout;
}

async function trunk(): Promise<TrunkEntry> {
  const all = JSON.parse(await cli('get', 'trunks', '-o', 'json')) as TrunkEntry[];
  return all.find((one) => one.name === 'provider') as TrunkEntry;
}

function untilRegistered(after: string | null): Promise<TrunkEntry> {
  return eventually('the trunk to be registered', 40_000, async () => {
    const found = await trunk();
    const isNew = after === null || (found.registeredUntil ?? '') > after;
    return found.state === 'registered' && isNew && found;
  });
}

/** Alice dials a number at the provider, Bob answers, both hear each other. */
async function callOut(dialled: string): Promise<Pair> {
  const pair = { caller: user, callee: outside, alice, bob };
  await register(bob);
  await alice.invite(dialled);
  await bob.until('ringing', 8000);
  await alice.until('ringing', 5000);
  await bob.answer();
  await alice.until('up', 5000);
  await listen(pair);
  expectSameAudio(await heardFor(pair, 25));
  return pair;
}

/** The records of the user's calls, newest first. */
async function newestCdr(count: number) {
  return eventually(`${count} records`, 5000, async () => {
    const all = await lab.cdrs(user.name);
    expect(all.length).toBeLessThanOrEqual(count);
    return all.length === count && all[0];
  });
}

test('a trunk registers with its password and shows until when', async () => {
  const { registeredUntil, networks } = await untilRegistered(null);
  expect(Date.parse(registeredUntil ?? '')).toBeGreaterThan(Date.now());
  expect(networks).toEqual([place.address]);
  expect(await cli('get', 'trunks', '-o', 'wide')).not.toContain('secret-acme');
});

test('a user calls a number at the provider', async () => {
  const pair = await callOut('04930123');
  expect(await alice.bye()).toMatchObject({ status: 200 });
  await bob.until('ended', 5000);
  expect(await onlyCdr(lab, pair)).toMatchObject({
    ...{ to: '04930123', result: 'answered', endedBy: 'caller' },
    ...{ fromTrunk: null, toTrunk: 'provider' },
  });
  await expectNothingLeft(lab, pair);
});

test('a number that the provider does not have is no reason to try another trunk', async () => {
  await alice.invite('949999');
  expect(await alice.until('ended', 10_000)).toMatchObject({ status: 404 });
  expect(await newestCdr(2)).toMatchObject({ result: 'failed', toTrunk: 'provider' });
});

test('the provider calls a number of ours, and the user of its route rings', async () => {
  await bob.invite(number);
  await alice.until('ringing', 5000);
  await bob.until('ringing', 5000);
  await alice.answer();
  await bob.until('up', 5000);
  await alice.listen(calleeHertz);
  await eventually('Bob to be heard', 10_000, async () => (await alice.audio()).received > 25);
  expect(await alice.bye()).toMatchObject({ status: 200 });
  await bob.until('ended', 5000);
  expect(await newestCdr(3)).toMatchObject({
    ...{ from: outside.name, to: user.name, result: 'answered', endedBy: 'callee' },
    ...{ fromTrunk: 'provider', toTrunk: null },
  });
});

test('when the first trunk is dead the call goes over the second', async () => {
  await callOut('94930123');
  expect(await bob.bye()).toMatchObject({ status: 200 });
  await alice.until('ended', 5000);
  expect(await newestCdr(4)).toMatchObject({ result: 'answered', toTrunk: 'provider' });
});

test('the leader dies in a call over a trunk: the call and the registration stay', async () => {
  await lab.untilHealthy();
  const pair = await callOut('04930123');
  const before = await trunk();
  expect(await lab.calls()).toMatchObject([{ from: user.name, trunk: 'provider' }]);
  const { name } = await lab.killLeader();
  await lab.untilLeaderIsNot(name);
  await listen(pair);
  expectSameAudio(await heardFor(pair, 50));
  expect(await alice.reinvite('sendonly')).toMatchObject({ status: 200 });
  expect(await alice.reinvite('sendrecv')).toMatchObject({ status: 200 });
  expect(await bob.bye()).toMatchObject({ status: 200 });
  await alice.until('ended', 5000);
  expect(await newestCdr(5)).toMatchObject({ result: 'answered', endedBy: 'callee' });
  await expectNothingLeft(lab, pair);

  // The next leader refreshes when it is due, and has never been without a registration.
  const after = await untilRegistered(before.registeredUntil);
  expect(after.reason).toBeNull();
  await bob.invite(number);
  await alice.until('ringing', 5000);
  expect(await bob.cancel()).toMatchObject({ status: 200 });
  await alice.until('ended', 5000);
  await lab.startAgain(name);
});

test('the leader dies while the number rings: it rings on, and no other trunk is tried', async () => {
  await lab.untilHealthy();
  await register(bob);
  await alice.invite('84930123');
  await bob.until('ringing', 5000);
  const { name } = await lab.killLeader();
  await lab.untilLeaderIsNot(name);
  // Longer than a trunk may be silent, which this one is not.
  await eventually('the time of a silent trunk to pass', 10_000, async () => {
    expect(await bob.snapshot()).toMatchObject({ state: 'ringing' });
    const [call] = await lab.calls();
    return call !== undefined && Date.now() - Date.parse(call.startedAt) > 6000;
  });
  await bob.answer();
  await alice.until('up', 5000);
  expect(await alice.bye()).toMatchObject({ status: 200 });
  await bob.until('ended', 5000);
  expect(await newestCdr(7)).toMatchObject({ result: 'answered', toTrunk: 'provider' });
  await lab.startAgain(name);
});

test('a trunk that is disabled is taken away at the provider', async () => {
  await lab.untilHealthy();
  await register(bob);
  await untilRegistered(null);
  await cli('trunk', 'disable', 'provider');
  await eventually('the provider to know nobody there', 10_000, async () => {
    await bob.invite(number);
    return (await bob.until('ended', 5000)).status === 404;
  });
  await alice.invite('04930123');
  expect(await alice.until('ended', 5000)).toMatchObject({ status: 503 });
  await cli('trunk', 'enable', 'provider');
  await untilRegistered(null);
});
