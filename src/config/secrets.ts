/** Reads secrets from files that nobody else can read. The values are never logged. */
import { readFileSync, statSync } from 'node:fs';

/** A secret file that is missing, empty or open to others. */
export class SecretError extends Error {
  readonly code = 'PBX_SECRET_UNSAFE';

  constructor(file: string, what: string, fix: string) {
    super(`${file}: ${what}\n  fix: ${fix}`);
    this.name = 'SecretError';
  }
}

/** The first line of a secret file. */
export function readSecret(file: string): string {
  let mode: number;
  let text: string;
  try {
    mode = statSync(file).mode;
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? 'error';
    throw new SecretError(file, `cannot be read (${why})`, 'create it with mode 600');
  }
  if ((mode & 0o077) !== 0) {
    throw new SecretError(file, 'can be read by others', `chmod 600 ${file}`);
  }
  const secret = text.split('\n', 1)[0]?.trim() ?? '';
  if (secret === '') {
    throw new SecretError(file, 'is empty', 'put the secret on its first line');
  }
  return secret;
}
