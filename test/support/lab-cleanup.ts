/** Runs around all cluster tests: whatever happened in them, nothing of the lab stays. */
import { closeLab } from './lab.ts';

export function setup(): void {
  if (process.getuid?.() !== 0) {
    throw new Error('cluster tests make network namespaces, which needs root: run with sudo');
  }
}

export async function teardown(): Promise<void> {
  await closeLab();
}
