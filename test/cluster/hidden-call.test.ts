/** `sip.topologyHiding`: a call that is forwarded, and whose leader dies, in real processes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectSameAudio, heardFor, listen, talk } from '../support/call.ts';
import { type Inside, openInside } from '../support/inside.ts';
import {
  calleeHertz,
  closeLab,
  openLab,
  type Pair,
  phonesNamespace,
  type TestLab,
  testTimeoutMs,
  type User,
  vip,
} from '../support/lab.ts';
import { editConfig } from '../support/operator.ts';

const managers = ['cm-1', 'cm-2', 'cm-3'];
/** Decides that calls are forwarded. */
const handler = { address: '10.77.0.243', port: 8060 };
/** Where the callees are, each with a port of its own. */
const there = '10.77.0.244';
let nextPort = 5060;

let lab: TestLab;
let forwarder: Inside;

beforeAll(async () => {
  lab = await openLab();
  forwarder = openInside(phonesNamespace, new URL('../support/forwarder.ts', import.meta.url));
  await forwarder.call('listen', handler.address, handler.port);
  const url = `http://${handler.address}:${handler.port}/`;
  for (const name of managers) {
    editConfig(name, ({ sip }) => {
      sip.topologyHiding = { enabled: true, callIds: true };
      sip.applications = { requestHandlers: [{ method: 'INVITE', url }] };
    });
    await lab.stop(name);
    await lab.startAgain(name);
    await lab.untilHealthy();
  }
}, 3 * testTimeoutMs);

afterAll(async () => {
  await forwarder?.stop();
  await lab?.close();
  await closeLab();
});

async function pair(): Promise<Pair> {
  const [caller, callee] = (await lab.users(2)) as [User, User];
  const alice = await lab.register(await lab.phone(caller));
  nextPort += 2;
  const place = { address: there, port: nextPort, hertz: calleeHertz };
  await forwarder.call('forward', callee.name, `${there}:${nextPort}`);
  const bob = await lab.register(await lab.phone(callee, place));
  return { caller, callee, alice, bob };
}

/** Neither phone knows where the other one is: all it has leads to the cluster. */
async function expectHidden({ alice, bob }: Pair): Promise<void> {
  for (const phone of [alice, bob]) {
    const { peer, routes } = await phone.snapshot();
    expect([peer, ...routes].filter((uri) => !uri.includes(`@${vip}`))).toEqual([]);
  }
}

test.each(['caller', 'callee'] as const)(
  'a hidden call outlives its leader: it is held, resumed, and ended by the %s',
  async (who) => {
    await lab.untilHealthy();
    const both = await pair();
    await talk(both);
    await expectHidden(both);
    await listen(both);

    const killed = await lab.killLeader();
    await lab.untilLeaderIsNot(killed.name);
    expectSameAudio(await heardFor(both, 50));

    const [leaves, stays] = who === 'caller' ? [both.alice, both.bob] : [both.bob, both.alice];
    expect(await stays.reinvite('sendonly')).toMatchObject({ status: 200 });
    expect(await leaves.snapshot()).toMatchObject({ held: true, state: 'up' });
    expect(await leaves.reinvite('sendrecv')).toMatchObject({ status: 200 });
    await expectHidden(both);
    expect(await leaves.bye()).toMatchObject({ status: 200 });
    expect(await stays.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
    await lab.startAgain(killed.name);
  },
  testTimeoutMs,
);

test(
  'a leader that dies while a hidden call rings leaves it to the next',
  async () => {
    await lab.untilHealthy();
    const both = await pair();
    await both.alice.invite(both.callee.name);
    await both.bob.until('ringing', 5000);

    const killed = await lab.killLeader();
    await lab.untilLeaderIsNot(killed.name);
    await both.bob.answer();
    await both.alice.until('up', 10_000);
    await expectHidden(both);
    expect(await both.alice.bye()).toMatchObject({ status: 200 });
    expect(await both.bob.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
    await lab.startAgain(killed.name);
  },
  testTimeoutMs,
);
