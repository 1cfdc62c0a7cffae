/** Asks HTTP questions from inside a namespace, through one small process that stays there. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { InsideAnswer, InsideRequest } from './inside.ts';
import { inNamespace } from './network.ts';

const program = fileURLToPath(new URL('./inside.ts', import.meta.url));

/** What to ask; the rest has defaults. */
export type Question = Pick<InsideRequest, 'url'> & Partial<Omit<InsideRequest, 'id'>>;

export class Insider {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, (answer: InsideAnswer) => void>();
  #lastId = 0;

  constructor(namespace: string) {
    const [first = '', ...args] = inNamespace(namespace, [process.execPath, program]);
    this.#child = spawn(first, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as InsideAnswer;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    // A question after the end is answered by the exit handler, not by a crash.
    this.#child.stdin.on('error', () => this.#abandon());
    this.#child.on('error', () => this.#abandon());
    this.#child.on('exit', () => this.#abandon());
  }

  /** Never rejects: an unreachable server is an answer with `error`. */
  ask(question: Question): Promise<InsideAnswer> {
    this.#lastId += 1;
    const id = this.#lastId;
    const request: InsideRequest = {
      method: 'GET',
      headers: {},
      body: null,
      authority: null,
      timeoutMs: 1000,
      ...question,
      id,
    };
    return new Promise((resolve) => {
      if (this.#child.exitCode !== null) {
        resolve(lost(id));
        return;
      }
      this.#waiting.set(id, resolve);
      this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    });
  }

  #abandon(): void {
    for (const [id, resolve] of this.#waiting) {
      resolve(lost(id));
    }
    this.#waiting.clear();
  }

  /** Ends the process; resolves when it is gone. */
  close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.kill();
    });
  }
}

function lost(id: number): InsideAnswer {
  return { id, status: 0, body: '', error: 'the namespace is gone' };
}
