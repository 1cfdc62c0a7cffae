import { afterAll, beforeAll, expect, test } from 'vitest';
import { labPorts } from '../../src/lab/index.ts';
import { expectSameAudio, heardFor, listen, talk } from '../support/call.ts';
import { type Hostile, openHostile } from '../support/hostile.ts';
import { openLab, phonesNamespace, type TestLab, testTimeoutMs, vip } from '../support/lab.ts';
import { ngNonsense, respNonsense, sipNonsense, tlsNonsense } from '../support/nonsense.ts';

let lab: TestLab;
let hostile: Hostile;
beforeAll(async () => {
  lab = await openLab();
  hostile = openHostile(phonesNamespace);
}, testTimeoutMs);
afterAll(async () => {
  await hostile?.stop();
  await lab?.close();
});

/** Process ids of all servers, as the lab wrote them and as the system has them. */
function processes(): number[] {
  const names = ['cm-1', 'cm-2', 'cm-3', 'media-1', 'media-2'];
  return names.map((name) => {
    const { pid } = lab.server(name);
    // Signal 0 only asks: it throws when there is no such process.
    process.kill(pid, 0);
    return pid;
  });
}

/** A call is up, nonsense comes, and nothing of the call or of the cluster changes. */
async function expectUnmoved(attack: () => Promise<void>): Promise<void> {
  const pair = await lab.pair();
  await talk(pair);
  const before = { pids: processes(), status: await lab.status() };
  await listen(pair);

  await attack();

  const heard = await heardFor(pair, 50);
  expectSameAudio(heard);
  expect(await pair.alice.options()).toMatchObject({ status: 200 });
  const after = await lab.status();
  expect(processes()).toEqual(before.pids);
  expect(after).toMatchObject({
    leader: before.status.leader,
    term: before.status.term,
    registrations: before.status.registrations,
    calls: before.status.calls,
  });
  expect(await pair.bob.bye()).toMatchObject({ status: 200, sent: 1 });
  await pair.alice.until('ended', 5000);
  const next = await lab.pair();
  await talk(next);
  expect(await next.alice.bye()).toMatchObject({ status: 200 });
  await next.bob.until('ended', 5000);
}

test('nonsense on the SIP port changes nothing, by UDP', () =>
  expectUnmoved(() => hostile.udp(vip, labPorts.sip, sipNonsense())));

test('nonsense on the SIP port changes nothing, by TCP', () =>
  expectUnmoved(() => hostile.tcp(vip, labPorts.sip, sipNonsense())));

test('nonsense on the NG ports of the media servers changes nothing', () =>
  expectUnmoved(async () => {
    await hostile.udp(lab.server('media-1').address, labPorts.ng, ngNonsense());
    await hostile.udp(lab.server('media-2').address, labPorts.ng, ngNonsense());
  }));

test('nonsense on the Redis port changes nothing, and nothing is written without a password', () =>
  expectUnmoved(async () => {
    for (const name of ['cm-1', 'cm-2', 'cm-3']) {
      await hostile.tcp(lab.server(name).address, labPorts.resp, respNonsense());
    }
  }));

test('nonsense on the Raft and API ports changes nothing', () =>
  expectUnmoved(async () => {
    for (const name of ['cm-1', 'cm-2', 'cm-3']) {
      await hostile.tcp(lab.server(name).address, labPorts.raft, tlsNonsense());
      await hostile.tcp(lab.server(name).address, labPorts.api, tlsNonsense());
    }
  }));

test('nonsense on the RTP ports of a call is not passed on', async () => {
  const pair = await lab.pair();
  await talk(pair);
  const media = (await pair.alice.audio()).from.split(':');
  await listen(pair);
  await hostile.udp(media[0] ?? '', Number(media[1]), sipNonsense());

  const heard = await heardFor(pair, 50);

  expectSameAudio(heard);
  expect(await pair.alice.bye()).toMatchObject({ status: 200 });
  await pair.bob.until('ended', 5000);
});
