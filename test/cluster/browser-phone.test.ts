import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Browsers, called, type Desk, dialled } from '../support/browser/desk.ts';
import { eventually } from '../support/eventually.ts';
import { calleeHertz, domain, openLab, type TestLab, testTimeoutMs } from '../support/lab.ts';

/** Where the browser's SDP says that it listens; no process of it does. */
const audioAddress = '10.77.0.209';
/** A browser connects again a second after it has noticed; the machine may be busy. */
const reconnectMsMax = 20_000;

interface RecordedDesk extends Desk {
  heard(): Promise<{ received: number; hertz: number; differing: number }>;
}

let lab: TestLab;
const browsers = new Browsers();
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterEach(() => browsers.close());
afterAll(() => lab?.close());

/** A browser whose SDP names the place of a recorder, and a phone. */
async function desk(): Promise<RecordedDesk> {
  const recorder = await lab.record(audioAddress, calleeHertz);
  const at = await browsers.desk(lab, { address: audioAddress, port: recorder.port });
  return { ...at, heard: () => recorder.report() };
}

test('a browser registers over WSS and calls a phone on UDP, which it hears and puts on hold', async () => {
  const at = await desk();
  const mine = (await lab.registrations()).filter((one) => one.user === at.browserUser.name);
  expect(mine).toHaveLength(1);
  expect(mine[0]?.contact).toMatch(/\.invalid;transport=ws/);

  await dialled(at);
  await eventually('the audio of the phone where the browser listens', 5000, async () => {
    const { received, hertz, differing } = await at.heard();
    return received > 50 && hertz === calleeHertz && differing === 0;
  });
  expect(await at.browser.hold(true)).toBe(true);
  await eventually('the phone to be held', 5000, async () => (await at.phone.snapshot()).held);
  // JsSIP refuses while its own re-INVITE is under way: the phone knows before it does.
  await eventually('the browser to take back', 5000, () => at.browser.hold(false));
  await eventually('the phone to be back', 5000, async () => !(await at.phone.snapshot()).held);

  await at.browser.hangup();
  expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
});

test('a phone on UDP calls a browser, and either refuses, cancels or hangs up', async () => {
  const at = await desk();
  await called(at);
  expect(await at.phone.bye()).toMatchObject({ status: 200 });
  expect(await at.browser.untilCall('ended', 5000)).toMatchObject({ endedBy: 'remote' });

  await at.phone.invite(at.browserUser.name);
  await at.browser.untilCall('ringing', 5000);
  await at.browser.hangup();
  expect(await at.phone.until('ended', 5000)).toMatchObject({ status: 480 });

  await at.browser.dial(at.phoneUser.name, domain);
  await at.browser.untilCall('ringing', 5000);
  await at.browser.hangup();
  expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'cancel' });
});

test.each([
  ['calls, and hangs up itself', dialled, 'browser'],
  ['calls, and the phone hangs up', dialled, 'phone'],
  ['is called, and hangs up itself', called, 'browser'],
  ['is called, and the phone hangs up', called, 'phone'],
] as const)(
  'the leader dies while a browser %s after it has connected again',
  async (_, begin, who) => {
    await lab.untilHealthy();
    const at = await desk();
    await begin(at);
    const before = await at.browser.snapshot();

    const { name } = await lab.killLeader();
    await lab.untilLeaderIsNot(name);
    const after = await at.browser.until(
      'registered over a new connection',
      reconnectMsMax,
      (seen) => seen.connected > before.connected && seen.registrations > before.registrations,
    );
    expect(after.call).toBe('up');

    if (who === 'browser') {
      await at.browser.hangup();
      expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
    } else {
      expect(await at.phone.bye()).toMatchObject({ status: 200 });
      expect(await at.browser.untilCall('ended', 5000)).toMatchObject({ endedBy: 'remote' });
    }
    const [cdr] = await eventually('a record', 5000, async () => {
      const found = await lab.cdrs(at.browserUser.name);
      return found.length > 0 && found;
    });
    expect(cdr).toMatchObject({ result: 'answered' });
    await called(at);
    expect(await at.phone.bye()).toMatchObject({ status: 200 });
    await lab.startAgain(name);
  },
);
