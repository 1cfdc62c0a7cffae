/** The users of a store that runs alone: a file with what `raftpbx store-account` prints. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { ConfigError } from './load.ts';
import { type StoreAccount, storeAccountList } from './store-accounts.ts';

/** Reads and checks the file. Throws `ConfigError`. */
export function readAccountsFile(file: string): StoreAccount[] {
  let content: unknown;
  try {
    content = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw refused(file, [`cannot be read: ${(cause as Error).message}`]);
  }
  const result = storeAccountList.safeParse(content);
  if (result.success) {
    return result.data;
  }
  throw refused(
    file,
    result.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`.trim()),
  );
}

function refused(file: string, messages: string[]): ConfigError {
  const fix = 'write a list of accounts as `raftpbx store-account NAME` prints them';
  return new ConfigError(
    file,
    messages.map((message) => ({ line: 1, column: 1, message, fix })),
  );
}
