/** Passphrases: from a file or typed on the terminal, never an argument that `ps` shows. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { CliError } from './failure.ts';

export interface PassphraseOptions {
  passphrase?: true;
  passphraseFile?: string;
}

/** Shorter ones are guessed. */
const charactersMin = 8;

export function addPassphraseOptions(command: Command): Command {
  return command
    .option('--passphrase', 'seal or open the file with a passphrase, asked on the terminal')
    .option('--passphrase-file <file>', 'take the passphrase from the first line of a file');
}

/** The passphrase that is asked for; null when none is. */
export async function findPassphrase(
  options: PassphraseOptions,
  purpose: 'seal' | 'open',
): Promise<string | null> {
  if (options.passphraseFile !== undefined) {
    return checked(readFileSync(options.passphraseFile, 'utf8').split(/\r?\n/)[0] ?? '', purpose);
  }
  if (options.passphrase !== true) {
    return null;
  }
  const typed = checked(await type('passphrase: '), purpose);
  if (purpose === 'seal' && (await type('once more: ')) !== typed) {
    throw refusal('the two passphrases differ', 'type the same passphrase twice');
  }
  return typed;
}

function checked(passphrase: string, purpose: 'seal' | 'open'): string {
  if (purpose === 'seal' && passphrase.length < charactersMin) {
    const fix = `choose one of ${charactersMin} characters or more`;
    throw refusal('the passphrase is too short', fix);
  }
  return passphrase;
}

function refusal(message: string, fix: string): CliError {
  return new CliError('PBX_BACKUP_PASSPHRASE', message, fix);
}

async function type(prompt: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw refusal('there is no terminal to ask on', 'use --passphrase-file');
  }
  process.stderr.write(prompt);
  // What is typed is not echoed.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const line = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await line.question('');
  } finally {
    line.close();
    process.stderr.write('\n');
  }
}
