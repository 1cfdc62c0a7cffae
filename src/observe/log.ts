/**
 * The log: one stream of JSON lines for TypeScript and Rust alike, on standard output.
 * A line about a call carries its id in the field `call`. Secrets are never given to it.
 */
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino';
import { type LogLine, setNativeLogLevel, startNativeLog } from '../native/index.ts';

export type { Logger } from 'pino';

/** Levels a configuration may name, the noisiest first. */
export type LogLevel = LogLine['level'];

/** Makes the log of a server. */
export function createLog(
  server: string,
  level: LogLevel,
  stream: DestinationStream = destination({ dest: 1, sync: true }),
): Logger {
  const options = {
    level,
    base: { server },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, stream);
}

/** For programs whose standard output says something else. */
export function toStandardError(): DestinationStream {
  return destination({ dest: 2, sync: true });
}

/** The log of one call: every line carries the call's id. */
export function callLog(log: Logger, callId: string): Logger {
  return log.child({ call: callId });
}

/** Sends the Rust side's lines into the same stream, with their module as `target`. */
export function joinNativeLog(log: Logger, level: LogLevel): void {
  startNativeLog(level, (lines) => {
    for (const line of lines) {
      writeNativeLine(log, line);
    }
  });
}

/** Changes the level of a server's log and those of its parts, and of the Rust side. */
export function setLogLevel(logs: readonly Logger[], level: LogLevel): void {
  for (const log of logs) {
    log.level = level;
  }
  setNativeLogLevel(level);
}

/** Writes one line of the Rust side. */
export function writeNativeLine(log: Logger, line: LogLine): void {
  log[line.level]({ ...line.fields, target: line.target }, line.message);
}
