/**
 * Clients: unmodified ioredis, each on one connection to one node, each with one call at a time.
 * Every call is written to the history with what is known of its outcome, and no more.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Dice } from './dice.ts';
import type { Call, History } from './history.ts';
import type { Key, Keys } from './keys.ts';

/** A call that takes longer has an unknown outcome. Nodes hold calls for up to 2 s. */
const callTimeoutMs = 2500;

/** Longest pause between two calls of a client. */
const pauseMaxMs = 12;

const reconnectMs = 50;

const hashFields = ['a', 'b', 'c'];

/** What the server under test can do beside the minimum; asked once before a run. */
export interface Abilities {
  compareAndSet: boolean;
  watch: boolean;
}

interface Step {
  operation: string;
  args: string[];
  isWrite: boolean;
}

export function connect(address: string, port: number): Redis {
  const redis = new Redis({
    host: address,
    port,
    connectTimeout: 1000,
    commandTimeout: callTimeoutMs,
    // A call is sent at most once, or not at all: nothing is repeated behind the history's back.
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => reconnectMs,
  });
  // Every call reports its own failure.
  redis.on('error', () => undefined);
  return redis;
}

export async function abilitiesOf(redis: Redis): Promise<Abilities> {
  const works = (call: Promise<unknown>) => call.then(() => true).catch(() => false);
  return {
    compareAndSet: await works(redis.call('SET', 'probe:ifeq', '1', 'IFEQ', '0')),
    watch: (await works(redis.watch('probe:watch'))) && (await works(redis.unwatch())),
  };
}

export class Client {
  readonly #history: History;
  readonly #keys: Keys;
  readonly #dice: Dice;
  readonly #abilities: Abilities;
  readonly #redis: Redis;
  /** The checker wants at most one call at a time of a client: an unknown one never returns. */
  #number: number;
  readonly #numbersApart: number;
  #stopped = false;

  constructor(parts: {
    history: History;
    keys: Keys;
    dice: Dice;
    abilities: Abilities;
    redis: Redis;
    number: number;
    clients: number;
  }) {
    this.#history = parts.history;
    this.#keys = parts.keys;
    this.#dice = parts.dice;
    this.#abilities = parts.abilities;
    this.#redis = parts.redis;
    this.#number = parts.number;
    this.#numbersApart = parts.clients;
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      await delay(this.#dice.below(pauseMaxMs + 1));
      if (this.#redis.status === 'ready') {
        const key = this.#keys.pick(this.#dice);
        const steps = this.#choose(key);
        for (const step of steps) {
          await this.#call(key, step);
        }
      } else {
        await delay(reconnectMs);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  close(): void {
    this.#redis.disconnect();
  }

  /** Reads a key for the last time; true when the answer is known. */
  async readLast(key: Key): Promise<boolean> {
    if (key.model === 'text') {
      return this.#call(key, read('get'));
    }
    if (key.model === 'hash') {
      return this.#call(key, read('hgetall'));
    }
    return this.#call(key, read('members'));
  }

  async #call(key: Key, step: Step): Promise<boolean> {
    const { operation, args, isWrite } = step;
    const call: Call = {
      client: this.#number,
      model: key.model,
      key: key.name,
      operation,
      args,
      called: this.#history.now(),
      returned: null,
      output: null,
    };
    try {
      call.output = await this.#send(key.name, step);
      call.returned = this.#history.now();
      if (key.model === 'text') {
        key.seen = operation === 'get' ? call.output : (args[0] ?? null);
      }
    } catch {
      // A read that failed says nothing. A write that failed may have happened all the same.
      if (!isWrite) {
        return false;
      }
      key.unknown += 1;
      this.#number += this.#numbersApart;
    }
    this.#history.add(call, isWrite);
    return call.returned !== null;
  }

  #choose(key: Key): Step[] {
    const { next, below } = { next: this.#dice.next(), below: (n: number) => this.#dice.below(n) };
    key.fresh += 1;
    const value = `v${key.fresh}`;
    if (key.model === 'text') {
      return [this.#chooseText(key, next, value)];
    }
    if (key.model === 'hash') {
      return [chooseHash(next, hashFields[below(hashFields.length)] as string, value)];
    }
    const member = `m${key.fresh}`;
    return [next < 0.5 ? write('zadd', String(below(3)), member) : write('zpopmin')];
  }

  #chooseText(key: Key, chance: number, value: string): Step {
    if (chance < 0.4) {
      return read('get');
    }
    const choices = [write('set', value), write('setnx', value), write('getset', value)];
    choices.push(write('del'));
    if (this.#abilities.compareAndSet && key.seen !== null) {
      const swap = write('cas', value, key.seen);
      choices.push(swap, swap, swap);
    }
    if (this.#abilities.watch) {
      choices.push(write('watchset', value), write('watchset', value));
    }
    return this.#dice.pick(choices);
  }

  async #send(key: string, { operation, args }: Step): Promise<string | null> {
    const redis = this.#redis;
    const [first = '', second = ''] = args;
    switch (operation) {
      case 'get':
        return await redis.get(key);
      case 'set':
        return await redis.set(key, first);
      case 'setnx':
        return await redis.set(key, first, 'NX');
      case 'getset':
        return await redis.getset(key, first);
      case 'cas':
        return text(await redis.call('SET', key, first, 'IFEQ', second));
      case 'watchset':
        return await this.#watchSet(key, first);
      case 'del':
        return text(await redis.del(key));
      case 'hset':
        return text(await redis.hset(key, first, second));
      case 'hget':
        return await redis.hget(key, first);
      case 'hdel':
        return text(await redis.hdel(key, first));
      case 'hgetall':
        return sorted(await redis.hgetall(key));
      case 'zadd':
        return text(await redis.zadd(key, first, second));
      case 'zpopmin':
        return (await redis.zpopmin(key))[0] ?? null;
      case 'members':
        return (await redis.zrange(key, '0', '-1')).join(',');
      default:
        throw new Error(`there is no operation ${operation}`);
    }
  }

  /** Answers `old>OK` or `old>` followed by nothing when another client was quicker. */
  async #watchSet(key: string, value: string): Promise<string> {
    const redis = this.#redis;
    await redis.watch(key);
    const old = await redis.get(key);
    const done = await redis.multi().set(key, value).exec();
    return `${old ?? ''}>${done === null ? '' : 'OK'}`;
  }
}

function chooseHash(chance: number, field: string, value: string): Step {
  if (chance < 0.25) {
    return read('hget', field);
  }
  if (chance < 0.45) {
    return read('hgetall');
  }
  return chance < 0.85 ? write('hset', field, value) : write('hdel', field);
}

function read(operation: string, ...args: string[]): Step {
  return { operation, args, isWrite: false };
}

function write(operation: string, ...args: string[]): Step {
  return { operation, args, isWrite: true };
}

function text(reply: unknown): string | null {
  return reply === null ? null : String(reply);
}

function sorted(fields: Record<string, string>): string {
  const entries = Object.entries(fields).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([field, value]) => `${field}=${value}`).join(',');
}
