/** Waiting in tests: look again until it is so, and say what was awaited when it never was. */
import { setTimeout as delay } from 'node:timers/promises';

/** Pause between two looks. */
const lookMs = 50;

/**
 * Resolves to the first true value of `look`. A look that throws counts as "not yet"; its
 * last words are in the error after `timeoutMs`.
 */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  look: () => Promise<T | false> | T | false,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last = '';
  for (;;) {
    try {
      const value = await look();
      if (value !== false) {
        return value;
      }
      last = '';
    } catch (error) {
      last = `; last: ${(error as Error).message}`;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms for ${what}${last}`);
    }
    await delay(lookMs);
  }
}
