/** What clients asked and were told, in the form the checker reads: one JSON text a line. */
import { writeFileSync } from 'node:fs';

/** How the checker understands a key. */
export type Model = 'text' | 'hash' | 'queue';

/** One call of one client. */
export interface Call {
  client: number;
  model: Model;
  key: string;
  operation: string;
  args: string[];
  /** Nanoseconds since the run began. */
  called: number;
  /** Null: the outcome is unknown; it may have happened, may still happen, or never. */
  returned: number | null;
  /** The answer as text, null for Redis' null. */
  output: string | null;
}

/** When a fault was there, for the picture of a violation. */
export interface Span {
  fault: string;
  from: number;
  to: number;
}

export class History {
  readonly #calls: Call[] = [];
  readonly #spans: Span[] = [];
  readonly #began = process.hrtime.bigint();
  #answered = 0;
  #writesAnswered = 0;
  #unknown = 0;

  /** Nanoseconds since the run began. */
  now(): number {
    return Number(process.hrtime.bigint() - this.#began);
  }

  add(call: Call, isWrite: boolean): void {
    this.#calls.push(call);
    if (call.returned === null) {
      this.#unknown += 1;
    } else {
      this.#answered += 1;
      this.#writesAnswered += isWrite ? 1 : 0;
    }
  }

  span(fault: string, from: number): void {
    this.#spans.push({ fault, from, to: this.now() });
  }

  get answered(): number {
    return this.#answered;
  }

  get writesAnswered(): number {
    return this.#writesAnswered;
  }

  get unknown(): number {
    return this.#unknown;
  }

  save(path: string): void {
    const lines = [...this.#calls, ...this.#spans].map((one) => JSON.stringify(one));
    writeFileSync(path, `${lines.join('\n')}\n`);
  }
}
