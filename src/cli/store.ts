/** `raftpbx store`: one node of the replicated store alone, in place of a Redis. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { readAccountsFile } from '../config/accounts-file.ts';
import {
  generateStorePassword,
  hashStorePassword,
  type StoreAccount,
  type StoreRole,
  storeRoles,
} from '../config/store-accounts.ts';
import { CliError } from './failure.ts';
import { print } from './output.ts';
import { requireAddress, runAlone, splitList } from './stand-alone.ts';

interface StoreCommandOptions {
  id: string;
  dir: string;
  resp: string;
  raft: string;
  peers: string;
  password?: string;
  accounts?: string;
  respTls?: true;
  insecure?: true;
  join?: true;
}

/** As the defaults of a Call Manager. */
const timing = { heartbeatMs: 40, electionMinMs: 250, electionMaxMs: 400 };

export function addStore(program: Command): void {
  program
    .command('store')
    .description('run one node of the replicated store alone, in place of a Redis')
    .requiredOption('--id <number>', 'number of this node among the peers')
    .requiredOption('--dir <directory>', 'where its log and data are kept')
    .requiredOption('--resp <address>', 'ADDRESS:PORT of the Redis protocol')
    .requiredOption('--raft <address>', 'ADDRESS:PORT for the other nodes')
    .requiredOption('--peers <list>', '1=ADDRESS:PORT,2=... Raft addresses of every node')
    .option('--password <password>', 'what Redis clients authenticate with')
    .addOption(
      new Option(
        '--accounts <file>',
        'users of the Redis protocol, from store-account; read again on SIGHUP',
      ).conflicts('password'),
    )
    .option('--join', 'wait to be added to the cluster of the peers, never found one')
    .option('--resp-tls', 'Redis clients speak TLS with the certificate in DIR/tls')
    .option('--insecure', 'no TLS between nodes; otherwise DIR/tls has the certificates')
    .action((options: StoreCommandOptions) => {
      const peers = splitList('--peers', options.peers).map(requirePeer);
      const id = Number(options.id);
      if (!peers.some((peer) => peer.id === id)) {
        const message = `--id ${options.id} is not among --peers`;
        throw new CliError('PBX_CLI_USE', message, 'name every node in --peers, this one too');
      }
      const resp = requireAddress('--resp', options.resp);
      const raftListen = requireAddress('--raft', options.raft);
      const tls = options.insecure === true ? null : requireTls(options.dir);
      const accounts = readAccounts(options);
      const { certificate, key } =
        options.respTls === true ? requireTls(options.dir) : { certificate: '', key: '' };
      return runAlone('store', async () => {
        const { Store } = await import('../native/index.ts');
        const store = await Store.open({
          id,
          directory: options.dir,
          raftListen,
          peers: peers.map((peer) => ({ ...peer, name: `node-${peer.id}`, resp: null })),
          join: options.join === true,
          respListen: [resp],
          accounts,
          respTls: options.respTls === true ? { certificate, key } : null,
          respIdleS: null,
          tls,
          ...timing,
        });
        const reload = async () => {
          if (options.accounts !== undefined) {
            store.setAccounts(readAccountsFile(options.accounts));
          }
          await store.reloadCertificates();
        };
        const ready = `store resp ${resp} raft ${raftListen}`;
        return { ready, stop: () => store.close(), reload };
      });
    });
}

function readAccounts({ password, accounts }: StoreCommandOptions): StoreAccount[] {
  if (accounts !== undefined) {
    return readAccountsFile(accounts);
  }
  if (password === undefined) {
    return [];
  }
  return [{ name: 'default', role: 'node', hashes: [hashStorePassword(password)] }];
}

/** `raftpbx store-account`: makes a password and what the configuration carries of it. */
export function addStoreAccount(program: Command): void {
  program
    .command('store-account <name>')
    .description('make a password for a user of the Redis protocol; shown once')
    .addOption(
      new Option('--role <role>', 'what the user may do').choices(storeRoles).default('operator'),
    )
    .action((name: string, { role }: { role: StoreRole }) => {
      const password = generateStorePassword();
      const made = { name, role, hashes: [hashStorePassword(password)] };
      print(`# password: ${password}`);
      print('# under store.accounts of every Call Manager:');
      print(stringify([made]).trimEnd());
    });
}

function requirePeer(text: string): { id: number; raft: string } {
  const match = /^(\d{1,9})=(.+)$/.exec(text);
  if (match === null || Number(match[1]) < 1) {
    const message = `--peers has '${text}'`;
    throw new CliError('PBX_CLI_USE', message, 'write NUMBER=ADDRESS:PORT for each node');
  }
  return { id: Number(match[1]), raft: requireAddress('--peers', match[2] ?? '') };
}

function requireTls(directory: string) {
  const file = (name: string) => join(directory, 'tls', `${name}.pem`);
  const tls = {
    authority: file('authority'),
    certificate: file('certificate'),
    key: file('key'),
  };
  const missing = Object.values(tls).filter((one) => !existsSync(one));
  if (missing.length > 0) {
    throw new CliError(
      'PBX_STORE_TLS',
      `nodes speak mutual TLS and ${missing.join(', ')} is missing`,
      'put the three files there, or accept plain TCP between nodes with --insecure',
    );
  }
  return tls;
}
