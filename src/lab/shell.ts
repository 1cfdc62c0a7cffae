/** Runs system programs for the lab and reports their own words when they fail. */
import { spawnSync } from 'node:child_process';

/** A system program that failed. */
export class CommandError extends Error {
  readonly code = 'PBX_LAB_COMMAND';

  constructor(command: readonly string[], said: string) {
    super(`${command.join(' ')}: ${said.trim() || 'failed'}`);
    this.name = 'CommandError';
  }
}

/** Runs a program to its end and returns its output. Throws `CommandError`. */
export function run(command: readonly string[], input = ''): string {
  const [program = '', ...args] = command;
  const result = spawnSync(program, args, { input, encoding: 'utf8' });
  if (result.error !== undefined) {
    throw new CommandError(command, result.error.message);
  }
  if (result.status !== 0) {
    throw new CommandError(command, result.stderr);
  }
  return result.stdout;
}

/** Runs a program whose failure means nothing was to be done. */
export function attempt(command: readonly string[]): boolean {
  const [program = '', ...args] = command;
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}
