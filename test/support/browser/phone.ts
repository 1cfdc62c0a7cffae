/**
 * A phone in a browser: JsSIP in a real Chromium, over WSS to the VIP. Its audio is WebRTC, or a
 * place outside the browser that its SDP names.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { eventually } from '../eventually.ts';
import { Chromium } from './chromium.ts';
import type { BrowserCommands, PageOptions, PageSnapshot } from './page.ts';
import type { HeardSound } from './sound.ts';

export interface BrowserPhoneOptions extends PageOptions {
  namespace: string;
  /** Files of the certificates that the page may believe. */
  certificates: readonly string[];
}

const page = fileURLToPath(new URL('./page.ts', import.meta.url));

export class BrowserPhone {
  readonly #browser: Chromium;

  private constructor(browser: Chromium) {
    this.#browser = browser;
  }

  /** Starts the browser and JsSIP in it, which connects and registers at once. */
  static async open({
    namespace,
    certificates,
    ...options
  }: BrowserPhoneOptions): Promise<BrowserPhone> {
    const publicKeyPins = certificates.map(publicKeyPin);
    const script = await bundled();
    const phone = new BrowserPhone(await Chromium.open({ namespace, publicKeyPins }));
    try {
      await phone.#browser.evaluate(script);
      await phone.#call('start', options);
      return phone;
    } catch (error) {
      await phone.close();
      throw error;
    }
  }

  snapshot(): Promise<PageSnapshot> {
    return this.#call('snapshot');
  }

  /** Waits until the page has seen what `condition` looks for. */
  async until(
    what: string,
    timeoutMs: number,
    condition: (seen: PageSnapshot) => boolean,
  ): Promise<PageSnapshot> {
    let last: PageSnapshot | null = null;
    try {
      return await eventually(`the browser to be ${what}`, timeoutMs, async () => {
        last = await this.snapshot();
        return condition(last) && last;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; seen: ${JSON.stringify(last, null, 1)}`);
    }
  }

  untilCall(call: PageSnapshot['call'], timeoutMs: number): Promise<PageSnapshot> {
    return this.until(`in a call '${call}'`, timeoutMs, (seen) => seen.call === call);
  }

  dial(user: string, domain: string): Promise<void> {
    return this.#call('dial', user, domain);
  }

  answer(): Promise<void> {
    return this.#call('answer');
  }

  hangup(): Promise<void> {
    return this.#call('hangup');
  }

  hold(held: boolean): Promise<boolean> {
    return this.#call('hold', held);
  }

  heard(): Promise<HeardSound> {
    return this.#call('heard');
  }

  /** Samples of what came last, at 8 kHz. */
  samples(): Promise<number[]> {
    return this.#call('samples');
  }

  /** Waits until it hears a tone. */
  async untilHears(hertz: number, timeoutMs: number): Promise<HeardSound> {
    let last: HeardSound | null = null;
    try {
      return await eventually(`the browser to hear ${hertz} Hz`, timeoutMs, async () => {
        last = await this.heard();
        return Math.abs(last.hertz - hertz) <= 10 && last;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; heard: ${JSON.stringify(last)}`);
    }
  }

  /** Takes the binding away and ends the browser. */
  async close(): Promise<void> {
    try {
      await this.#call('stop');
      await this.until('unregistered', 3000, (seen) => !seen.registered);
    } finally {
      await this.#browser.close();
    }
  }

  #call<Name extends keyof BrowserCommands>(
    name: Name,
    ...args: Parameters<BrowserCommands[Name]>
  ): Promise<Awaited<ReturnType<BrowserCommands[Name]>>> {
    const list = args.map((arg) => JSON.stringify(arg)).join(', ');
    return this.#browser.evaluate(`browserPhone.${name}(${list})`);
  }
}

/** The page's program with JsSIP in it, as one script. */
async function bundled(): Promise<string> {
  const bundle = await rolldown({ input: page, platform: 'browser', logLevel: 'warn' });
  const { output } = await bundle.generate({ format: 'iife' });
  await bundle.close();
  return output[0].code;
}

/** What Chromium compares: SHA-256 of the certificate's SubjectPublicKeyInfo. */
function publicKeyPin(file: string): string {
  const { publicKey } = new X509Certificate(readFileSync(file));
  const info = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(info).digest('base64');
}
