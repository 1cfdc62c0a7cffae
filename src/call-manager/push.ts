/**
 * Wakes devices that sleep (RFC 8599): asks the push service of the configuration, then waits for
 * their REGISTER. Owner of: what it waits for. A call that waits dies with its leader like any
 * that is not stored yet: the next one gets its INVITE again and wakes the device once more.
 */
import { limits } from '../domain/limits.ts';
import type { Log } from '../domain/log.ts';
import type { Binding } from '../domain/registration.ts';

export interface PushOptions {
  /** HTTP POST with JSON; null when there is no push service. */
  url: string | null;
  /** How long a call waits for its devices. */
  waitMs: number;
  log: Log;
  now(): number;
  /** Devices of a user, as this node knows them now. */
  devices(user: string): Binding[];
}

/** What the push service is told. */
export interface PushMessage {
  user: string;
  provider: string;
  prid: string;
  param: string | null;
  /** Who calls. */
  from: string;
  call: string;
}

export class Push {
  readonly counts = { asked: 0, refused: 0, woken: 0, missed: 0 };
  readonly #options: PushOptions;
  #waiting = 0;

  constructor(options: PushOptions) {
    this.#options = options;
  }

  /** Whether one of these has to be woken before it can ring. */
  needs(devices: readonly Binding[]): boolean {
    return this.#options.url !== null && devices.some((device) => device.push);
  }

  /** Resolves when every sleeping device is back, or when the time is over. */
  async wake(user: string, from: string, call: string): Promise<void> {
    const { now, waitMs, devices, log } = this.#options;
    if (this.#waiting >= limits.pushWaitsMax) {
      this.counts.refused += 1;
      return;
    }
    this.#waiting += 1;
    try {
      const since = now();
      const asleep = devices(user).filter((device) => device.push);
      await Promise.all(asleep.map((device) => this.#ask(device, { user, from, call })));
      const isBack = () => asleep.every((device) => isAwake(device, devices(user), since));
      while (!isBack() && now() - since < waitMs) {
        await new Promise((resolve) => setTimeout(resolve, limits.pushPollMs));
      }
      this.counts[isBack() ? 'woken' : 'missed'] += 1;
      log.debug({ call, user, took: now() - since }, 'waited for devices to wake');
    } finally {
      this.#waiting -= 1;
    }
  }

  async #ask(device: Binding, about: Pick<PushMessage, 'user' | 'from' | 'call'>): Promise<void> {
    const { url, log } = this.#options;
    if (url === null || !device.push) {
      return;
    }
    const message: PushMessage = { ...about, ...device.push };
    this.counts.asked += 1;
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(message),
        signal: AbortSignal.timeout(limits.pushRequestMs),
      });
      await response.body?.cancel();
      if (!response.ok) {
        throw new Error(`status ${response.status}`);
      }
    } catch (error) {
      this.counts.refused += 1;
      log.warn({ call: about.call, user: about.user, error }, 'the push service did not take it');
    }
  }
}

/** The device has registered since: its own binding, or one that took its place. */
function isAwake(device: Binding, now: readonly Binding[], since: number): boolean {
  return now.some(
    (one) =>
      (one.refreshedAt ?? 0) >= since &&
      (one.push?.prid === device.push?.prid || one.contact === device.contact),
  );
}
