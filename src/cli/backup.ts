/** `raftpbx backup`, `backup inspect` and `restore`. */
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, link, open as openFile, unlink } from 'node:fs/promises';
import type { Command } from 'commander';
import { joinAddress } from '../config/address.ts';
import { loadConfig } from '../config/load.ts';
import type { ServerConfig } from '../config/schema.ts';
import { planOf } from '../lab/cluster.ts';
import { serverFiles } from '../lab/plan.ts';
import type { BackupReport, BackupSink } from '../native/index.ts';
import { isAge, open, seal } from './age.ts';
import { CliError } from './failure.ts';
import { formatJson, print } from './output.ts';
import { addPassphraseOptions, findPassphrase, type PassphraseOptions } from './passphrase.ts';
import { Progress } from './progress.ts';
import type { TargetOptions } from './target.ts';
import { addTargetOptions, download, findTarget, labDirectory } from './target.ts';

/** Bytes read from a file at once. */
const pieceBytes = 256 * 1024;

export function addBackup(program: Command): void {
  const backup = addPassphraseOptions(addTargetOptions(program.command('backup')))
    .description('write all keys and tables to a file, as of one moment, while the cluster runs')
    .argument('<file>', 'a file that does not exist yet')
    .action(async (file: string, options: TargetOptions & PassphraseOptions) => {
      const report = await takeBackup(file, options);
      print(`${file} holds ${describe(report)}`);
    });
  addPassphraseOptions(backup.command('inspect'))
    .description('check a backup to its last byte and say what it is')
    .argument('<file>', 'the backup')
    .option('-o, --output <format>', 'json, or lines for people')
    .action(async (file: string, options: PassphraseOptions & { output?: string }) => {
      const merged = { ...backup.opts<PassphraseOptions>(), ...options };
      const report = await inspectBackup(file, merged);
      print(options.output === 'json' ? formatJson(report) : `${file} holds ${describe(report)}`);
    });
}

export function addRestore(program: Command): void {
  addPassphraseOptions(program.command('restore'))
    .description('make a cluster that is stopped begin from a backup')
    .argument('<file>', 'the backup')
    .option('--config <file>', 'this server only; run it on every Call Manager before any starts')
    .option('--replace', 'move aside what is there')
    .action(async (file: string, options: RestoreCommandOptions) => {
      const { report, directories } = await restoreBackupFile(file, options);
      print(`restored ${describe(report)}\n${directories.join('\n')}`);
      print(`next: start every Call Manager that was restored from this file`);
    });
}

interface RestoreCommandOptions extends PassphraseOptions {
  config?: string;
  replace?: true;
}

/** One line about a backup. */
export function describe({ head }: BackupReport): string {
  const taken = new Date(head.takenMs).toISOString();
  return (
    `entry ${head.index} of ${taken}: ${head.records} records, ` +
    `${Math.ceil(head.sqlBytes / 1024)} KiB of tables, by version ${head.version}`
  );
}

async function takeBackup(
  file: string,
  options: TargetOptions & PassphraseOptions,
): Promise<BackupReport> {
  const target = findTarget(options);
  refuseExisting(file);
  const passphrase = await findPassphrase(options, 'seal');
  const { checkBackup } = await import('../native/index.ts');
  const sink = checkBackup();
  const progress = new Progress('bytes written');
  const partial = `${file}.partial`;
  const handle = await create(partial);
  try {
    const plain = through(await download(target, '/api/v1/backup'), sink);
    const sealed = passphrase === null ? plain : seal(plain, passphrase);
    for await (const bytes of sealed) {
      await handle.writeFile(bytes);
      progress.add(bytes.length);
    }
    const report = await sink.finish();
    await handle.sync();
    // Unlike a rename, a link never takes the place of a file that came meanwhile.
    await link(partial, file).catch(() => refuseExisting(file));
    return report;
  } finally {
    progress.end();
    await handle.close();
    await unlink(partial);
  }
}

async function create(file: string): Promise<FileHandle> {
  try {
    return await openFile(file, 'wx', 0o600);
  } catch (error) {
    const message = `cannot write ${file}: ${(error as Error).message}`;
    throw new CliError('PBX_BACKUP_FILE', message, 'remove it, or give another name');
  }
}

function refuseExisting(file: string): void {
  if (existsSync(file)) {
    const fix = 'give a name that is free; backups are never overwritten';
    throw new CliError('PBX_BACKUP_EXISTS', `${file} is there already`, fix);
  }
}

/** Hands a stream on and shows it to a sink, which refuses what is damaged. */
async function* through(source: AsyncIterable<Buffer>, sink: BackupSink): AsyncGenerator<Buffer> {
  for await (const bytes of source) {
    await sink.write(bytes);
    yield bytes;
  }
}

async function inspectBackup(file: string, options: PassphraseOptions): Promise<BackupReport> {
  const { checkBackup } = await import('../native/index.ts');
  return (await feed(file, options, [checkBackup()]))[0] as BackupReport;
}

async function restoreBackupFile(
  file: string,
  options: RestoreCommandOptions,
): Promise<{ report: BackupReport; directories: string[] }> {
  const { restoreBackup } = await import('../native/index.ts');
  const configs = configFiles(options).map(loadConfig);
  const sinks: BackupSink[] = [];
  try {
    for (const config of configs) {
      const replace = options.replace === true;
      sinks.push(await restoreBackup({ ...placeOf(config), replace }));
    }
    const reports = await feed(file, options, sinks);
    const directories = reports.map(({ aside }, i) => {
      const directory = configs[i]?.directory ?? '';
      return aside === null ? directory : `${directory} (what was there: ${aside})`;
    });
    return { report: reports[0] as BackupReport, directories };
  } catch (error) {
    for (const sink of sinks) {
      sink.abandon();
    }
    throw error;
  }
}

/** The configurations of the servers to restore: one that is named, or those of the lab. */
function configFiles({ config }: RestoreCommandOptions): string[] {
  if (config !== undefined) {
    return [config];
  }
  const plan = planOf({ directory: labDirectory() });
  const servers = plan.servers.filter((server) => server.id !== null);
  const files = servers.map((server) => serverFiles(server.directory).config);
  if (!files.every((one) => existsSync(one))) {
    const fix =
      "give --config, or make a lab with 'bin/raftpbx lab up' and stop it with --keep-data";
    throw new CliError('PBX_RESTORE_WHERE', 'there is no lab here to restore', fix);
  }
  return files;
}

function placeOf(config: ServerConfig) {
  const { raftPort, respPort } = config.store;
  return {
    directory: config.directory,
    peers: config.cluster.peers.map((peer) => ({
      id: peer.id,
      name: peer.name,
      raft: joinAddress(peer.address, raftPort),
      resp: joinAddress(peer.address, respPort),
    })),
  };
}

/** Reads a file once for all sinks. */
async function feed(
  file: string,
  options: PassphraseOptions,
  sinks: readonly BackupSink[],
): Promise<BackupReport[]> {
  const progress = new Progress('bytes read');
  try {
    for await (const bytes of await plainBytes(file, options)) {
      for (const sink of sinks) {
        await sink.write(bytes);
      }
      progress.add(bytes.length);
    }
    const reports: BackupReport[] = [];
    for (const sink of sinks) {
      reports.push(await sink.finish());
    }
    return reports;
  } finally {
    progress.end();
  }
}

async function plainBytes(
  file: string,
  options: PassphraseOptions,
): Promise<AsyncIterable<Buffer>> {
  const handle = await openFile(file, 'r').catch((error: Error) => {
    throw new CliError('PBX_BACKUP_FILE', `cannot read ${file}: ${error.message}`, 'see its path');
  });
  const start = Buffer.alloc(64);
  const { bytesRead } = await handle.read(start, 0, start.length, 0);
  const source: AsyncIterable<Buffer> = createReadStream('', {
    fd: handle,
    start: 0,
    highWaterMark: pieceBytes,
  });
  if (!isAge(start.subarray(0, bytesRead))) {
    return source;
  }
  const passphrase = await findPassphrase(options, 'open');
  if (passphrase === null) {
    throw new CliError(
      'PBX_BACKUP_SEALED',
      `${file} is sealed with a passphrase`,
      'give --passphrase or --passphrase-file',
    );
  }
  return open(source, passphrase);
}
