/**
 * Reads that do not wait for each other. A client with one call at a time has asked before its
 * node is paused; what it is told late may be old and still be right. These go on asking a node
 * that cannot answer: when it wakes up, it holds questions that are younger than what others have
 * written.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Dice } from './dice.ts';
import type { History } from './history.ts';
import type { Keys } from './keys.ts';

/** Reads of one reader that were sent and not answered; each counts as a client of its own. */
export const readerNumbers = 20;

/** Few: calls that overlap are what makes a history hard to check. */
const pauseMs = { low: 100, high: 250 };

export class Reader {
  readonly #history: History;
  readonly #keys: Keys;
  readonly #dice: Dice;
  readonly #redis: Redis;
  readonly #free: number[];
  #stopped = false;

  constructor(parts: {
    history: History;
    keys: Keys;
    dice: Dice;
    redis: Redis;
    firstNumber: number;
  }) {
    this.#history = parts.history;
    this.#keys = parts.keys;
    this.#dice = parts.dice;
    this.#redis = parts.redis;
    this.#free = Array.from({ length: readerNumbers }, (_, i) => parts.firstNumber + i);
  }

  async run(): Promise<void> {
    const reads: Promise<void>[] = [];
    while (!this.#stopped) {
      await delay(this.#dice.between(pauseMs.low, pauseMs.high));
      const number = this.#redis.status === 'ready' ? this.#free.shift() : undefined;
      if (number !== undefined) {
        reads.push(this.#read(number).finally(() => this.#free.push(number)));
      }
    }
    await Promise.all(reads);
  }

  stop(): void {
    this.#stopped = true;
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #read(client: number): Promise<void> {
    const { name: key, model } = this.#keys.pick(this.#dice, 'text');
    const called = this.#history.now();
    const output = await this.#redis.get(key).catch(() => undefined);
    if (output !== undefined) {
      const [operation, args, returned] = ['get', [], this.#history.now()];
      this.#history.add({ client, model, key, operation, args, called, returned, output }, false);
    }
  }
}
