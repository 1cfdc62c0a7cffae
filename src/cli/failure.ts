/** How the command line refuses: exit status 2, one line that says why, one with the fix. */

/** Exit statuses: everything is well, something is degraded, wrong use or unreachable. */
export const exitStatus = { well: 0, degraded: 1, failed: 2 } as const;

/** An expected end of a command. */
export class CliError extends Error {
  readonly code: string;
  readonly fix: string;

  constructor(code: string, message: string, fix: string) {
    super(message);
    this.name = 'CliError';
    this.code = code;
    this.fix = fix;
  }
}
