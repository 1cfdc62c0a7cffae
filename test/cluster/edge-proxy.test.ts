import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  expectNothingLeft,
  expectSameAudio,
  heardFor,
  listen,
  onlyCdr,
  talk,
} from '../support/call.ts';
import { eventually } from '../support/eventually.ts';
import { Edge } from '../support/kamailio/edge.ts';
import {
  calleeHertz,
  openLab,
  type Pair,
  phonesNamespace,
  type TestLab,
  testTimeoutMs,
  type User,
  vip,
} from '../support/lab.ts';
import type { TestPhone } from '../support/phone/index.ts';

/** A kamailio on this address stands between some phones and the VIP. */
const place = { address: '10.77.0.240', port: 5060 };

let lab: TestLab;
let edge: Edge;
beforeAll(async () => {
  lab = await openLab();
  const cluster = { address: vip, port: 5060 };
  edge = new Edge({ namespace: phonesNamespace, ...place, cluster });
  const [user] = (await lab.users(1)) as [User];
  const asking = await lab.phone(user, { registrar: place });
  await eventually('kamailio to answer', 15_000, async () => {
    return (await asking.options()).status === 200;
  });
}, testTimeoutMs);
afterAll(async () => {
  await lab?.close();
  await edge?.stop();
});

const sides = ['the caller', 'the callee', 'both'] as const;

/** Two registered phones; `who` of them is behind kamailio. */
async function pairBehind(who: (typeof sides)[number]): Promise<Pair> {
  const [caller, callee] = (await lab.users(2)) as [User, User];
  const behind = { registrar: place };
  const alice = await lab.phone(caller, who === 'the callee' ? {} : behind);
  const hertz = { hertz: calleeHertz };
  const bob = await lab.phone(callee, who === 'the caller' ? hertz : { ...hertz, ...behind });
  return { caller, callee, alice: await lab.register(alice), bob: await lab.register(bob) };
}

/** kamailio stands in the route set of a phone behind it, and of no other. */
async function expectRouted(pair: Pair, who: (typeof sides)[number]): Promise<void> {
  const through = async (phone: TestPhone) =>
    (await phone.snapshot()).routes.some((route) => route.includes(place.address));
  expect(await through(pair.alice)).toBe(who !== 'the callee');
  expect(await through(pair.bob)).toBe(who !== 'the caller');
}

test.each(sides)('%s behind a kamailio with Path and Record-Route', async (who) => {
  const pair = await pairBehind(who);
  const { alice, bob } = pair;
  await talk(pair);
  await expectRouted(pair, who);

  for (const [holds, held] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    expect(await holds.reinvite('sendonly')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ held: true, state: 'up' });
    expect(await holds.reinvite('sendrecv')).toMatchObject({ status: 200 });
    expect(await held.snapshot()).toMatchObject({ held: false, state: 'up' });
  }
  expect(await bob.bye()).toMatchObject({ status: 200 });
  expect(await alice.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
  expect(await onlyCdr(lab, pair)).toMatchObject({ result: 'answered', endedBy: 'callee' });

  await alice.invite(pair.callee.name);
  await bob.until('ringing', 5000);
  await alice.until('ringing', 5000);
  expect(await alice.cancel()).toMatchObject({ status: 200 });
  expect(await bob.until('ended', 5000)).toMatchObject({ endedBy: 'cancel' });
  await expectNothingLeft(lab, pair);
});

test.each(sides)('the leader dies in a call with %s behind a kamailio', async (who) => {
  await lab.untilHealthy();
  const pair = await pairBehind(who);
  await talk(pair);

  const { name } = await lab.killLeader();
  await lab.untilLeaderIsNot(name);
  await listen(pair);
  expectSameAudio(await heardFor(pair, 50));
  expect(await pair.alice.reinvite('sendonly')).toMatchObject({ status: 200 });
  expect(await pair.bob.snapshot()).toMatchObject({ held: true });
  expect(await pair.bob.bye()).toMatchObject({ status: 200 });
  expect(await pair.alice.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
  await expectNothingLeft(lab, pair);

  // The Path is in the binding the new leader has: a call finds its way again.
  await talk(pair);
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  await pair.bob.until('ended', 5000);
  await lab.startAgain(name);
});
