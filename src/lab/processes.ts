/**
 * The processes of a lab. Only what provably belongs to it is ever sent a signal: a process whose
 * command line names the configuration file of the server, or one inside the lab's namespaces.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { inNamespace } from './network.ts';
import { serverFiles } from './plan.ts';

const program = fileURLToPath(new URL('../cli/index.ts', import.meta.url));

/** How often the process table is looked at while waiting. */
const lookPeriodMs = 20;

/** Starts a server that outlives this process; returns its id. */
export function launchServer(namespace: string, directory: string): number {
  const files = serverFiles(directory);
  const output = openSync(files.log, 'a', 0o640);
  const errors = openSync(files.errors, 'a', 0o640);
  const command = [process.execPath, program, 'start', '--config', files.config];
  const [first = '', ...args] = inNamespace(namespace, command);
  const child = spawn(first, args, {
    detached: true,
    stdio: ['ignore', output, errors],
    env: cleanEnvironment(),
  });
  closeSync(output);
  closeSync(errors);
  child.unref();
  if (child.pid === undefined) {
    throw new Error(`PBX_LAB_COMMAND: ${first} could not be started`);
  }
  return child.pid;
}

/** A server gets nothing of what this terminal or test run has in its environment. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG, TZ } = process.env;
  const kept = { PATH, HOME, LANG, TZ };
  return Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined));
}

/** Whether this process runs and is that server. */
export function isServer(pid: number, directory: string): boolean {
  return pid > 0 && commandLine(pid).includes(serverFiles(directory).config);
}

/** Arguments of a process; none when it is gone or a zombie. */
function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') {
      return [];
    }
    throw error;
  }
}

export function isAlive(pid: number): boolean {
  return commandLine(pid).some((part) => part !== '');
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') {
      throw error;
    }
  }
}

/** Resolves to the processes that still run at the deadline. */
export async function waitForExit(pids: readonly number[], timeoutMs: number): Promise<number[]> {
  const deadline = performance.now() + timeoutMs;
  let left = pids.filter(isAlive);
  while (left.length > 0 && performance.now() < deadline) {
    await delay(lookPeriodMs);
    left = left.filter(isAlive);
  }
  return left;
}

/** Ends processes: asks first, then insists. */
export async function endProcesses(pids: readonly number[], patienceMs: number): Promise<void> {
  for (const pid of pids) {
    signalProcess(pid, 'SIGCONT');
    signalProcess(pid, 'SIGTERM');
  }
  const stubborn = await waitForExit(pids, patienceMs);
  for (const pid of stubborn) {
    signalProcess(pid, 'SIGKILL');
  }
  const left = await waitForExit(stubborn, 5000);
  if (left.length > 0) {
    throw new Error(`PBX_LAB_COMMAND: processes ${left.join(', ')} could not be ended`);
  }
}
