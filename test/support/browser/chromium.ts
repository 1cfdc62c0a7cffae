/**
 * A headless Chromium inside a namespace, driven over its debugging pipe: JSON messages that end
 * with a zero byte, on descriptors 3 and 4. Nothing listens on a port.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { inNamespace } from '../../../src/lab/network.ts';

export interface ChromiumOptions {
  namespace: string;
  /** Base64 of SHA-256 over a public key: certificates with one of them are believed. */
  publicKeyPins: readonly string[];
}

interface Answer {
  id?: number;
  result?: unknown;
  error?: { message: string };
}

interface Evaluated {
  result: { value?: unknown };
  exceptionDetails?: { text: string; exception?: { description?: string } };
}

/** How long it may take to end by itself. */
const endMsMax = 3000;
/** Longest answer to one command, the start of the browser included. */
const answerMsMax = 30_000;

const flags = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--no-first-run',
  '--no-proxy-server',
  // The page comes from nowhere, so each private address would have to be allowed by a person.
  '--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets,WebRtcHideLocalIpsWithMdns',
  // Sound without loudspeakers, microphones and a person who allows any.
  '--autoplay-policy=no-user-gesture-required',
  '--disable-audio-output',
  '--remote-debugging-pipe',
];

export class Chromium {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #gone: Promise<void>;
  readonly #open = new Map<number, (answer: Answer) => void>();
  #received = '';
  #lastId = 0;
  #session = '';

  private constructor({ namespace, publicKeyPins }: ChromiumOptions) {
    this.#folder = mkdtempSync(join(tmpdir(), 'raftpbx-chromium-'));
    const own = [
      `--user-data-dir=${this.#folder}`,
      `--ignore-certificate-errors-spki-list=${publicKeyPins.join(',')}`,
    ];
    const argv = inNamespace(namespace, ['chromium', ...flags, ...own, 'about:blank']);
    this.#child = spawn(argv[0] as string, argv.slice(1), {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH ?? '', HOME: this.#folder },
    });
    this.#gone = new Promise((resolve) => {
      this.#child.once('error', () => resolve());
      this.#child.once('exit', () => resolve());
    });
    this.#gone.then(() => this.#lost());
    const answers = this.#child.stdio[4] as Readable;
    answers.setEncoding('utf8');
    answers.on('data', (text: string) => this.#receive(text));
    (this.#child.stdio[3] as Writable).on('error', () => undefined);
  }

  /** Starts the browser with one empty page. */
  static async open(options: ChromiumOptions): Promise<Chromium> {
    const browser = new Chromium(options);
    try {
      const { targetId } = await browser.#command<{ targetId: string }>('Target.createTarget', {
        url: 'about:blank',
      });
      const { sessionId } = await browser.#command<{ sessionId: string }>('Target.attachToTarget', {
        targetId,
        flatten: true,
      });
      browser.#session = sessionId;
      return browser;
    } catch (error) {
      await browser.close();
      throw error;
    }
  }

  /** Runs an expression in the page, awaits it, and brings its value here as JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#command<Evaluated>('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails !== undefined) {
      const { text, exception } = exceptionDetails;
      throw new Error(`in the page: ${exception?.description ?? text}`);
    }
    return result.value as T;
  }

  /** Ends it with all its processes, which follow their first. */
  async close(): Promise<void> {
    this.#write({ id: 0, method: 'Browser.close' });
    const late = setTimeout(() => this.#child.kill('SIGKILL'), endMsMax);
    await this.#gone;
    clearTimeout(late);
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }

  #command<T>(method: string, params: Record<string, unknown>): Promise<T> {
    this.#lastId += 1;
    const id = this.#lastId;
    const session = this.#session === '' ? {} : { sessionId: this.#session };
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => this.#settle({ id, error: { message: `no answer to ${method}` } }),
        answerMsMax,
      );
      this.#open.set(id, ({ result, error }) => {
        clearTimeout(late);
        if (error === undefined) {
          resolve(result as T);
        } else {
          reject(new Error(`chromium: ${error.message}`));
        }
      });
      this.#write({ id, method, params, ...session });
    });
  }

  #write(message: object): void {
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`);
  }

  #receive(text: string): void {
    const parts = (this.#received + text).split('\0');
    this.#received = parts.pop() ?? '';
    for (const part of parts) {
      this.#settle(JSON.parse(part) as Answer);
    }
  }

  #settle(answer: Answer): void {
    const waiting = this.#open.get(answer.id ?? 0);
    this.#open.delete(answer.id ?? 0);
    waiting?.(answer);
  }

  #lost(): void {
    for (const id of [...this.#open.keys()]) {
      this.#settle({ id, error: { message: 'it has ended' } });
    }
  }
}
