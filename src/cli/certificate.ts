/** `raftpbx certificate issue`: the certificate of one server, for a new id or a new term. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Command } from 'commander';
import { writeFile } from '../lab/records.ts';
import { CliError } from './failure.ts';
import { idOf } from './member.ts';
import { print } from './output.ts';

interface IssueOptions {
  authority: string;
  authorityKey: string;
  id?: string;
  name: string;
  address: string[];
  dir: string;
}

export function addCertificate(program: Command): void {
  const certificate = program
    .command('certificate')
    .description('certificates of the mutual TLS between servers');
  certificate
    .command('issue')
    .description('sign a certificate for a server; a running server takes it into use by itself')
    .requiredOption('--authority <file>', 'certificate of the authority, PEM')
    .requiredOption('--authority-key <file>', 'its private key, PEM')
    .requiredOption('--name <name>', 'name of the server')
    .requiredOption('--address <addresses...>', 'IP addresses it is good for')
    .option('--id <id>', 'id of the node of the store; Call Managers only')
    .requiredOption('--dir <directory>', 'where certificate.pem and key.pem are written')
    .action(issue);
}

async function issue(options: IssueOptions): Promise<void> {
  const wrong = options.address.find((address) => isIP(address) === 0);
  if (wrong !== undefined) {
    const message = `'${wrong}' is not an IP address`;
    throw new CliError('PBX_CLI_USE', message, 'write --address 10.77.0.11');
  }
  const { issueCertificate, nodeName } = await import('../native/index.ts');
  const authority = {
    certificate: readFileSync(options.authority, 'utf8'),
    key: readFileSync(options.authorityKey, 'utf8'),
  };
  const node = options.id === undefined ? [] : [nodeName(idOf(options.id))];
  const names = [options.name, ...node];
  const issued = issueCertificate(authority, options.name, options.address, names);
  // The key first: a server that looks in between keeps what it has until both fit together.
  writeFile(join(options.dir, 'key.pem'), issued.key, 0o600);
  writeFile(join(options.dir, 'certificate.pem'), issued.certificate, 0o644);
  print(`${join(options.dir, 'certificate.pem')} is good for ${names.join(', ')}`);
}
