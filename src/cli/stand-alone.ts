/**
 * What the parts that run alone have in common: they say `ready` when they listen, log to
 * standard error and leave cleanly on SIGTERM.
 */
import { splitAddress } from '../config/address.ts';
import type { Log } from '../domain/log.ts';
import { describeFatal } from '../observe/fatal.ts';
import type { LogLevel } from '../observe/log.ts';
import { CliError } from './failure.ts';

/** A part that runs alone. */
export interface Part {
  /** What is said behind `ready`. */
  ready: string;
  stop(): Promise<void> | void;
  /** What SIGHUP does; without it, SIGHUP ends the process as it always did. */
  reload?(): Promise<void>;
}

/** Starts a part, says so, and ends the process when it is told to stop. */
export async function runAlone(name: string, start: () => Promise<Part>): Promise<void> {
  const { RAFTPBX_LOG: level = 'warn' } = process.env;
  const { createLog, joinNativeLog, toStandardError } = await import('../observe/log.ts');
  const log = createLog(name, level as LogLevel, toStandardError());
  joinNativeLog(log, level as LogLevel);
  // The addon's threads do not keep the process alive by themselves.
  const alive = setInterval(() => undefined, 60_000);
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  const part = await start();
  reloadOnHangup(part, log);
  process.stdout.write(`ready ${part.ready}\n`);
  await stopped;
  await part.stop();
  clearInterval(alive);
  process.exit(0);
}

/** One reload at a time, in the order of the signals; one that is refused changes nothing. */
function reloadOnHangup(part: Part, log: Log): void {
  const { reload } = part;
  if (reload === undefined) {
    return;
  }
  let last: Promise<void> = Promise.resolve();
  process.on('SIGHUP', () => {
    last = last.then(reload).then(
      () => log.info({}, 'accounts and certificates were read again'),
      (error: unknown) => {
        const { code, message, fix } = describeFatal(error);
        log.error({ code, fix }, `what could not be read stays as it was: ${message}`);
      },
    );
  });
}

/** Refuses what is not `ADDRESS:PORT`. */
export function requireAddress(option: string, text: string): string {
  if (splitAddress(text) === null) {
    const message = `${option} '${text}' is not ADDRESS:PORT`;
    throw new CliError('PBX_CLI_USE', message, 'for example 127.0.0.1:9022 or [::1]:9022');
  }
  return text;
}

/** Splits a list at its commas; empty entries are refused. */
export function splitList(option: string, text: string): string[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.some((part) => part === '')) {
    const message = `${option} '${text}' has an empty entry`;
    throw new CliError('PBX_CLI_USE', message, 'separate entries with one comma');
  }
  return parts;
}
