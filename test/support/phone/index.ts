/**
 * Scripted phones for tests: `openPhones` starts a process in the phones' namespace,
 * `add` puts a phone into it, and each method of the phone is called from the test.
 */
import { type Inside, openInside } from '../inside.ts';
import type { BurstOptions, BurstReport } from './burst.ts';
import type { Phone, PhoneOptions } from './phone.ts';
import type { AudioReport } from './rtp.ts';

export type { BurstReport } from './burst.ts';
export type { Outcome } from './exchange.ts';

export type { AudioReport } from './rtp.ts';
export type { Snapshot } from './snapshot.ts';

type Remote<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R
    ? (...args: A) => Promise<Awaited<R>>
    : never;
};

/** A phone that lives in the other process. */
export type TestPhone = Remote<Phone>;

export interface Phones {
  add(options: PhoneOptions): Promise<TestPhone>;
  burst(options: BurstOptions): Promise<BurstReport>;
  /** An RTP end without a phone, for a sipp that names its port in SDP. */
  record(
    address: string,
    expectHertz: number,
  ): Promise<{ port: number; report(): Promise<AudioReport> }>;
  stop(): Promise<void>;
}

export function openPhones(namespace: string | null): Phones {
  const inside: Inside = openInside(namespace, new URL('./process.ts', import.meta.url));
  return {
    add: async (options) => remote(inside, await inside.call<number>('open', options)),
    burst: (options) => inside.call<BurstReport>('burst', options),
    record: async (address, expectHertz) => {
      const opened = await inside.call<{ index: number; port: number }>(
        'record',
        address,
        expectHertz,
      );
      return {
        port: opened.port,
        report: () => inside.call<AudioReport>('recorded', opened.index),
      };
    },
    stop: () => inside.stop(),
  };
}

function remote(inside: Inside, index: number): TestPhone {
  // `then` must be absent, or awaiting the phone would call it in the other process.
  return new Proxy({} as TestPhone, {
    get: (_, method: string) =>
      method === 'then'
        ? undefined
        : (...args: unknown[]) => inside.call('do', index, method, args),
  });
}
