/**
 * Runs around all cluster tests: one run at a time has the test lab, and whatever happened in
 * it, nothing of the lab stays.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { closeLab, testLab } from './lab.ts';

/** Holds the process id of the run that has the lab. Namespaces are the machine's, so is this. */
const lock = `/run/${testLab.prefix}.lock`;

/** A run that was refused takes nobody's lab down. */
let isOurs = false;

export function setup(): void {
  if (process.getuid?.() !== 0) {
    throw new Error('cluster tests make network namespaces, which needs root: run with sudo');
  }
  const owner = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
  if (owner > 0 && existsSync(`/proc/${owner}`)) {
    throw new Error(
      `process ${owner} is running the cluster tests; they have one lab between them`,
    );
  }
  rmSync(lock, { force: true });
  // Fails when another run was quicker.
  writeFileSync(lock, String(process.pid), { flag: 'wx' });
  isOurs = true;
}

export async function teardown(): Promise<void> {
  if (!isOurs) {
    return;
  }
  await closeLab();
  rmSync(lock, { force: true });
}
