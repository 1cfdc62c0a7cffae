/** Servers and load programs of the benchmarks: started, waited for, and ended by their id. */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

export interface Running {
  pid: number;
  /** What it has said so far, both streams. */
  output(): string;
  stop(): Promise<void>;
}

export interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Starts a server; with `ready` it resolves when the output holds that text, within 15 s. */
export async function start(argv: readonly string[], ready: string | null): Promise<Running> {
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes;
  });
  child.stderr.on('data', (bytes: Buffer) => {
    output += bytes;
  });
  const running = {
    pid: child.pid ?? 0,
    output: () => output,
    stop: () => stop(child),
  };
  if (ready !== null) {
    await until(`${argv.join(' ')} to say '${ready}'`, 15_000, () => {
      if (child.exitCode !== null) {
        throw new Error(`${argv.join(' ')} ended: ${output.slice(-500)}`);
      }
      return output.includes(ready);
    });
  }
  return running;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5000);
  await gone;
  clearTimeout(late);
}

/** Runs a program to its end, or to `timeoutMs`; `onStart` may signal it meanwhile. */
export function finish(
  argv: readonly string[],
  timeoutMs: number,
  cwd?: string,
  onStart?: (child: ChildProcess) => void,
): Promise<Finished> {
  const options = { stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] };
  const child = spawn(
    argv[0] ?? '',
    argv.slice(1),
    cwd === undefined ? options : { ...options, cwd },
  );
  onStart?.(child);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes;
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes;
  });
  const late = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ status: null, stdout, stderr: error.message }));
    child.once('close', (status) => {
      clearTimeout(late);
      resolve({ status, stdout, stderr });
    });
  });
}

/** Looks every 20 ms until `condition` holds; past the deadline it says what was awaited. */
export async function until(
  what: string,
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    }
    await delay(20);
  }
}
