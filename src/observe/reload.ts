/**
 * `SIGHUP`: the configuration file is read again. What may change while a server runs is taken
 * over; what needs a restart is named in the log. A file that is wrong changes nothing.
 *
 * Owner of: the configuration that is in force. Each part of the server registers what it takes.
 */
import { isDeepStrictEqual } from 'node:util';
import { loadConfig } from '../config/load.ts';
import type { ServerConfig } from '../config/schema.ts';
import type { Log } from '../domain/log.ts';
import { describeFatal } from './fatal.ts';

/** Keys that are taken over while the server runs. */
export const reloadable = ['log.level', 'store.accounts', 'cluster.peers'] as const;

/** Takes over what concerns one part of the server. */
export type TakeOver = (config: ServerConfig) => void | Promise<void>;

/** What differs between two configurations. */
export interface Difference {
  /** Keys that are taken over now. */
  taken: string[];
  /** Keys that count from the next start on. */
  restart: string[];
}

export class Reload {
  readonly #file: string;
  readonly #parts: { name: string; take: TakeOver }[] = [];
  #config: ServerConfig;
  #log: Log;
  /** One at a time, in the order of the signals. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(file: string, config: ServerConfig, log: Log) {
    this.#file = file;
    this.#config = config;
    this.#log = log;
  }

  /** Registers a part; `name` is for the log. */
  add(name: string, take: TakeOver): void {
    this.#parts.push({ name, take });
  }

  /** Reads the file and the files it names again; null when it was refused. Never rejects. */
  run(): Promise<Difference | null> {
    const next = this.#last.then(() => this.#run());
    this.#last = next;
    return next;
  }

  async #run(): Promise<Difference | null> {
    let config: ServerConfig;
    try {
      config = loadConfig(this.#file);
    } catch (error) {
      const { code, message, fix } = describeFatal(error);
      this.#log.error({ code, fix }, `nothing was changed: ${message}`);
      return null;
    }
    const difference = compare(this.#config, config);
    for (const { name, take } of this.#parts) {
      try {
        await take(config);
      } catch (error) {
        const { code, message, fix } = describeFatal(error);
        this.#log.error({ code, fix, part: name }, `${name} stays as it was: ${message}`);
      }
    }
    this.#config = config;
    this.#log.info({ ...difference }, 'the configuration was read again');
    if (difference.restart.length > 0) {
      const keys = difference.restart.join(', ');
      this.#log.warn({ keys: difference.restart }, `restart this server to change ${keys}`);
    }
    return difference;
  }
}

/** Which keys differ: pure. */
export function compare(before: ServerConfig, after: ServerConfig): Difference {
  const changed = [...new Set([...leaves(before).keys(), ...leaves(after).keys()])].filter(
    (key) => !isDeepStrictEqual(leaves(before).get(key), leaves(after).get(key)),
  );
  const isTaken = (key: string) => (reloadable as readonly string[]).includes(key);
  const moved = after.cluster.peers.some((peer) =>
    before.cluster.peers.some((one) => one.id === peer.id && one.address !== peer.address),
  );
  return {
    taken: changed.filter(isTaken),
    // Who belongs to the cluster may change at any time, where a node is found may not.
    restart: [
      ...changed.filter((key) => !isTaken(key)),
      ...(moved ? ['cluster.peers (an address)'] : []),
    ],
  };
}

/** Values by dotted key; a list is one value. */
function leaves(config: object, prefix = ''): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const [key, value] of Object.entries(config)) {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [inner, leaf] of leaves(value, `${prefix}${key}.`)) {
        found.set(inner, leaf);
      }
    } else {
      found.set(`${prefix}${key}`, value);
    }
  }
  return found;
}
