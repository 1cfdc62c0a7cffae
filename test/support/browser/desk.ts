/** A browser and a plain phone: how they are opened, and how one calls the other. */
import { eventually } from '../eventually.ts';
import {
  calleeHertz,
  domain,
  phonesNamespace,
  type TestLab,
  testLab,
  type User,
  vip,
} from '../lab.ts';
import type { TestPhone } from '../phone/index.ts';
import { fitOf } from '../phone/melody.ts';
import type { Saying } from '../phone/rtp.ts';
import { BrowserPhone, type BrowserPhoneOptions } from './phone.ts';

export interface Desk {
  browser: BrowserPhone;
  browserUser: User;
  phone: TestPhone;
  phoneUser: User;
}

/** The browsers of a test file, closed together. */
export class Browsers {
  #open: BrowserPhone[] = [];

  /** A browser, registered over WSS. */
  async register(user: User, audio: BrowserPhoneOptions['audio']): Promise<BrowserPhone> {
    const browser = await BrowserPhone.open({
      namespace: phonesNamespace,
      certificates: ['cm-1', 'cm-2', 'cm-3'].map(
        (name) => `${testLab.directory}/${name}/tls/certificate.pem`,
      ),
      server: `wss://${vip}:7443`,
      user: user.name,
      password: user.password,
      domain,
      audio,
    });
    this.#open.push(browser);
    await browser.until('registered', 10_000, (seen) => seen.registered);
    return browser;
  }

  /** A registered browser and a registered phone on UDP, which says `calleeHertz`. */
  async desk(
    lab: TestLab,
    audio: BrowserPhoneOptions['audio'],
    says: Saying = { hertz: calleeHertz },
  ): Promise<Desk> {
    const [browserUser, phoneUser] = (await lab.users(2)) as [User, User];
    const browser = await this.register(browserUser, audio);
    const phone = await lab.register(await lab.phone(phoneUser, says));
    return { browser, browserUser, phone, phoneUser };
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((browser) => browser.close()));
    this.#open = [];
  }
}

/** The browser dials, the phone answers. */
export async function dialled({ browser, phone, phoneUser }: Desk): Promise<void> {
  await browser.dial(phoneUser.name, domain);
  await phone.until('ringing', 5000);
  await browser.untilCall('ringing', 5000);
  await phone.answer();
  await browser.untilCall('up', 5000);
  await phone.until('up', 5000);
}

/** The phone dials, the browser answers. */
export async function called({ browser, browserUser, phone }: Desk): Promise<void> {
  await phone.invite(browserUser.name);
  await browser.untilCall('ringing', 5000);
  await phone.until('ringing', 5000);
  await browser.answer();
  await browser.untilCall('up', 5000);
  await phone.until('up', 5000);
}

/** The seeds of what a browser and a phone say. */
export const melodies = { browser: 11, phone: 22 };
/** A codec changes sound a little; another place of a melody, and another one, fit far worse. */
const correlationMin = 0.85;

/**
 * Waits until what each says is what the other one hears, by correlation with all places of the
 * melody.
 */
export async function untilMelodiesHeard(
  { browser, phone }: Desk,
  timeoutMs: number,
): Promise<void> {
  const hears = async (who: string, samples: () => Promise<number[]>, seed: number) => {
    let best = 0;
    try {
      await eventually(`the ${who} to hear the melody`, timeoutMs, async () => {
        const { correlation } = fitOf(await samples(), seed);
        best = Math.max(best, correlation);
        return correlation >= correlationMin;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; best correlation: ${best.toFixed(3)}`);
    }
  };
  await phone.listen(0);
  await hears('browser', () => browser.samples(), melodies.phone);
  await hears('phone', () => phone.heard(), melodies.browser);
}
