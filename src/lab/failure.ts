/** How a lab refuses: with the fix, and the log that matters when a server is to blame. */
import { existsSync, readFileSync } from 'node:fs';
import { serverFiles } from './plan.ts';

/** Lines of a log that are shown. */
const tailLines = 12;

export class LabError extends Error {
  readonly code: string;
  readonly fix: string;

  constructor(code: string, message: string, fix: string) {
    super(message);
    this.name = 'LabError';
    this.code = code;
    this.fix = fix;
  }
}

/** The last lines a server wrote, shortened for a terminal. */
export function tailOf(directory: string): string {
  const files = serverFiles(directory);
  const errors = lastLines(files.errors);
  const lines = errors.length > 0 ? errors : lastLines(files.log).map(readable);
  return lines.map((line) => `    ${line.slice(0, 200)}`).join('\n');
}

function lastLines(file: string): string[] {
  if (!existsSync(file)) {
    return [];
  }
  return readFileSync(file, 'utf8').split('\n').filter(Boolean).slice(-tailLines);
}

function readable(line: string): string {
  try {
    const { time, level, msg, target, server: _, ...rest } = JSON.parse(line);
    const fields = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
    return `${time} ${level} ${target ? `${target}: ` : ''}${msg}${fields}`;
  } catch (error) {
    if (error instanceof SyntaxError) {
      return line;
    }
    throw error;
  }
}
