import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { BrowserPhone } from '../support/browser/phone.ts';
import { eventually } from '../support/eventually.ts';
import {
  calleeHertz,
  domain,
  openLab,
  phonesNamespace,
  type TestLab,
  testLab,
  testTimeoutMs,
  type User,
  vip,
} from '../support/lab.ts';
import type { TestPhone } from '../support/phone/index.ts';

/** Where the browser's SDP says that it listens; no process of it does. */
const audioAddress = '10.77.0.209';
/** A browser connects again a second after it has noticed; the machine may be busy. */
const reconnectMsMax = 20_000;

interface Desk {
  browser: BrowserPhone;
  browserUser: User;
  phone: TestPhone;
  phoneUser: User;
  heard(): Promise<{ received: number; hertz: number; differing: number }>;
}

let lab: TestLab;
let browsers: BrowserPhone[] = [];
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterEach(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  browsers = [];
});
afterAll(() => lab?.close());

/** A registered browser and a registered phone on UDP. */
async function desk(): Promise<Desk> {
  const [browserUser, phoneUser] = (await lab.users(2)) as [User, User];
  const recorder = await lab.record(audioAddress, calleeHertz);
  const browser = await BrowserPhone.open({
    namespace: phonesNamespace,
    certificates: ['cm-1', 'cm-2', 'cm-3'].map(
      (name) => `${testLab.directory}/${name}/tls/certificate.pem`,
    ),
    server: `wss://${vip}:7443`,
    user: browserUser.name,
    password: browserUser.password,
    domain,
    audio: { address: audioAddress, port: recorder.port },
  });
  browsers.push(browser);
  await browser.until('registered', 10_000, (seen) => seen.registered);
  const phone = await lab.register(await lab.phone(phoneUser, { hertz: calleeHertz }));
  return { browser, browserUser, phone, phoneUser, heard: () => recorder.report() };
}

/** The browser dials, the phone answers. */
async function dialled({ browser, phone, phoneUser }: Desk): Promise<void> {
  await browser.dial(phoneUser.name, domain);
  await phone.until('ringing', 5000);
  await browser.untilCall('ringing', 5000);
  await phone.answer();
  await browser.untilCall('up', 5000);
  await phone.until('up', 5000);
}

/** The phone dials, the browser answers. */
async function called({ browser, browserUser, phone }: Desk): Promise<void> {
  await phone.invite(browserUser.name);
  await browser.untilCall('ringing', 5000);
  await phone.until('ringing', 5000);
  await browser.answer();
  await browser.untilCall('up', 5000);
  await phone.until('up', 5000);
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
