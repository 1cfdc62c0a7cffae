/**
 * The sign of life of a server: `server:{name}` in the store, renewed four times before it
 * expires. A server whose event loop hangs loses its lease, which is what a lease is for.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import type { Alarm, Lease } from '../domain/server.ts';

export interface LeaseOptions {
  /** What does not change while the server runs. */
  server: Omit<Lease, 'load' | 'alarms'>;
  /** Sessions now; asked at each renewal. */
  load(): number;
  /** What needs a person on this server, so that every other one can tell. */
  alarms?(): readonly Alarm[];
  /** Runs one command of the store: `Store.execute` or ioredis. */
  execute(command: readonly (string | number)[]): Promise<unknown>;
  log: Log;
}

export class ServerLease {
  readonly #options: LeaseOptions;
  #timer: NodeJS.Timeout | null = null;
  #renewing: Promise<void> | null = null;
  #introduced = false;
  #failures = 0;
  /** When the last renewal that succeeded was sent; a monotonic clock. */
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /** Renewals that failed since the start, for metrics. */
  get failures(): number {
    return this.#failures;
  }

  /** What is wrong with the lease, null while it holds. */
  get failing(): string | null {
    const expired = performance.now() - this.#renewedAtMs > limits.leaseMs;
    return expired ? 'the lease is not renewed, the store does not answer' : null;
  }

  /** Takes the lease now and keeps it; never throws, the store may come later. */
  start(): void {
    if (this.#timer === null) {
      this.#timer = setInterval(() => this.#tick(), limits.leaseRenewMs);
      this.#tick();
    }
  }

  /** Gives the lease back, so nobody has to wait for its expiry. */
  async stop(): Promise<void> {
    if (this.#timer === null) {
      return;
    }
    clearInterval(this.#timer);
    this.#timer = null;
    // To wait longer than the lease would live gains nobody anything.
    await Promise.race([this.#giveBack(), delay(limits.leaseMs, undefined, { ref: false })]);
  }

  async #giveBack(): Promise<void> {
    await this.#renewing;
    try {
      await this.#options.execute(['DEL', `server:${this.#options.server.name}`]);
    } catch (error) {
      this.#options.log.warn({ error: text(error) }, 'the lease was not given back, it expires');
    }
  }

  #tick(): void {
    // One renewal at a time: a slow store gets no queue of them.
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = null;
    });
  }

  async #renew(): Promise<void> {
    const { server, load, execute, log } = this.#options;
    const sentAtMs = performance.now();
    try {
      if (!this.#introduced) {
        const { name, roles, address } = server;
        await execute(['HSET', 'servers', name, JSON.stringify({ name, roles, address })]);
        this.#introduced = true;
      }
      const alarms = this.#options.alarms?.().slice(0, limits.alarmsMax) ?? [];
      const told = alarms.length > 0 ? { alarms } : {};
      const lease: Lease = { ...server, load: load(), ...told };
      const value = JSON.stringify(lease);
      await execute(['SET', `server:${server.name}`, value, 'PX', limits.leaseMs]);
      this.#renewedAtMs = sentAtMs;
    } catch (error) {
      this.#failures += 1;
      log.warn({ error: text(error) }, 'the lease was not renewed');
    }
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
