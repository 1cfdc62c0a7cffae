import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Browsers, called, type Desk, dialled } from '../support/browser/desk.ts';
import { eventually } from '../support/eventually.ts';
import {
  calleeHertz,
  domain,
  openLab,
  type TestLab,
  testTimeoutMs,
  type User,
} from '../support/lab.ts';
import type { TestPhone } from '../support/phone/index.ts';

/** What the browser says; the phone says `calleeHertz`. */
const browserHertz = 1000;
const otherBrowserHertz = 800;
/** ICE, DTLS and the start of a decoder, on a machine that is busy with a cluster. */
const heardMsMax = 15_000;
/** A lease of one second runs out, both parties get a re-INVITE and make new keys. */
const movedMsMax = 20_000;

let lab: TestLab;
const browsers = new Browsers();
beforeAll(async () => {
  lab = await openLab();
}, testTimeoutMs);
afterEach(() => browsers.close());
afterAll(() => lab?.close());

async function phoneHears(phone: TestPhone, timeoutMs: number): Promise<void> {
  await phone.listen(0);
  await eventually('the phone to hear the browser', timeoutMs, async () => {
    const { hertz, received } = await phone.audio();
    return received > 50 && Math.abs(hertz - browserHertz) <= 10;
  });
}

async function bothHear({ browser, phone }: Desk, timeoutMs: number): Promise<void> {
  await browser.untilHears(calleeHertz, timeoutMs);
  await phoneHears(phone, timeoutMs);
}

test.each([
  ['calls a plain phone', dialled],
  ['is called by a plain phone', called],
] as const)('a browser %s and they hear each other, also after a hold', async (_, begin) => {
  const at = await browsers.desk(lab, { hertz: browserHertz });
  await begin(at);
  await bothHear(at, heardMsMax);

  expect(await at.browser.hold(true)).toBe(true);
  await eventually('the phone to be held', 5000, async () => (await at.phone.snapshot()).held);
  await eventually('the browser to take back', 5000, () => at.browser.hold(false));
  await eventually('the phone to be back', 5000, async () => !(await at.phone.snapshot()).held);
  await bothHear(at, heardMsMax);

  await at.browser.hangup();
  expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
});

test('two browsers hear each other', async () => {
  const [one, other] = (await lab.users(2)) as [User, User];
  const caller = await browsers.register(one, { hertz: browserHertz });
  const callee = await browsers.register(other, { hertz: otherBrowserHertz });
  await caller.dial(other.name, domain);
  await callee.untilCall('ringing', 5000);
  await callee.answer();
  await caller.untilCall('up', 5000);
  await callee.untilCall('up', 5000);
  await caller.untilHears(otherBrowserHertz, heardMsMax);
  await callee.untilHears(browserHertz, heardMsMax);
  await caller.hangup();
  expect(await callee.untilCall('ended', 5000)).toMatchObject({ endedBy: 'remote' });
});

test.each([
  ['called', dialled],
  ['was called', called],
] as const)('a browser that %s is heard again when the media server dies', async (_, begin) => {
  await lab.untilHealthy();
  const at = await browsers.desk(lab, { hertz: browserHertz });
  await begin(at);
  await bothHear(at, heardMsMax);
  const names = [at.browserUser.name, at.phoneUser.name];
  const mine = async () => (await lab.calls()).find((call) => names.includes(call.from));
  const dead = (await mine())?.mediaServer ?? '';

  await lab.kill(dead);
  await lab.untilState(dead, 'down');
  await eventually('another media server', movedMsMax, async () => {
    const now = (await mine())?.mediaServer;
    return now !== undefined && now !== dead;
  });
  await bothHear(at, movedMsMax);

  await at.browser.hangup();
  expect(await at.phone.until('ended', 5000)).toMatchObject({ endedBy: 'remote' });
  await lab.startAgain(dead);
});
